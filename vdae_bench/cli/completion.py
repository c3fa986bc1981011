"""Completion in a shell: sweeps, protocols, cells, methods, settings and data sets. Nothing is imported before Tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from vdae_bench.spec.shipped import PROTOCOLS, SWEEP_OF_PART, shipped_sweeps
from vdae_bench.store.layout import Layout

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]


def _or_file(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Words that are known, else a file of the reader's own."""
    return _beginning(words, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_sweeps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped sweeps, by their files or without the folder, then files."""
    files = shipped_sweeps()
    return _or_file([*files, *(word.rpartition("/")[2] for word in files)], incomplete)


def _protocols(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _or_file(PROTOCOLS, incomplete)


def _results(ctx: click.Context) -> Layout:
    return Layout(Path(ctx.params.get("results") or "results"))


def complete_recorded_sweeps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sweeps that the results folder has."""
    return _beginning((sweep for sweep, _ in _results(ctx).places()), incomplete)


def complete_recorded_protocols(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Protocols that the results folder has, or a file."""
    return _or_file(sorted({protocol for _, protocol in _results(ctx).places()}), incomplete)


def complete_formats(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Formats of reports, with commas between."""
    before = incomplete[: incomplete.rfind(",") + 1]
    return _beginning((f"{before}{each}" for each in ("md", "csv", "latex", "html")), incomplete)


def complete_cells(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Cells that have a record in the results folder."""
    return _beginning(sorted({path.parent.name for path in _results(ctx).record_paths()}), incomplete)


def _cells_of_spec(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Cells of the spec that stands before, and patterns that take one method's."""
    from vdae_bench.models.registry import known_methods
    from vdae_bench.spec.check import find_spec, load_spec

    patterns = [f"*_{method.id}_*" for method in known_methods()]
    word = next(iter([*filter(None, map(ctx.params.get, ("spec", "part"))), *ctx.args]), "")
    names = dict.fromkeys(SWEEP_OF_PART.values()) if word == "all" else [SWEEP_OF_PART.get(word, word)]
    try:
        cells = [*dict.fromkeys(cell.slug for name in names for cell in load_spec(find_spec(str(name))).cells)]
    except Exception:  # what is wrong with the spec, the verb will say
        cells = []
    return _beginning([*cells, *patterns], incomplete)


def _settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from vdae_bench.models.registry import known_methods
    from vdae_bench.spec.check import protocol_fields
    from vdae_bench.spec.hyperparameters import hyperparameters_of

    hyper = [name for method in known_methods() if method.trains for name in hyperparameters_of(method)]
    return _beginning((f"{name}=" for name in [*hyper, *protocol_fields()]), incomplete)


def complete_datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Data sets that are registered."""
    from vdae_bench.data import DATASETS

    return _beginning(DATASETS, incomplete)


COMPLETE: dict[str, Completer] = {"protocol": _protocols, "only": _cells_of_spec, "settings": _settings}
"""Completions of options, by the names of their fields."""
