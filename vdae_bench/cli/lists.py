"""`vdae-bench list`: what can be run and what can be set, each kind from the one registry that knows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from vdae_bench.cli.help import Verb, example
from vdae_bench.cli.options import format_option, plugin_option

if TYPE_CHECKING:
    from vdae_bench.models.registry import Method

Listed = dict[str, Any]
WIDEST = 56
"""Characters of a column of the table before its lines break."""


def _sweeps() -> Iterator[Listed]:
    from vdae_bench.spec.check import find_spec, load_spec
    from vdae_bench.spec.shipped import shipped_sweeps

    for name in shipped_sweeps():
        spec = load_spec(find_spec(name))
        yield {
            "name": name,
            "cells": len(spec.cells),
            "seeds": spec.seeds,
            "protocol": spec.protocol.name,
            "description": spec.description,
        }


def _methods() -> Iterator[Listed]:
    from vdae_bench.models.registry import known_methods

    for method in known_methods():
        yield {
            "name": method.id,
            "title": method.title,
            "data": list(method.views),
            "hyperparameters": [each.name for each in _own_of(method)],
            "options": list(method.options),
        }


def _datasets() -> Iterator[Listed]:
    from vdae_bench.data.registry import dataset_ids, find_dataset, parse_dataset_id

    for name in dataset_ids():
        files = find_dataset(parse_dataset_id(name)[1])
        yield {
            "name": name,
            "rows": files.image_shape[0],
            "columns": files.image_shape[1],
            "training": files.train_images.shape[0] - files.validation_images,
            "validation": files.validation_images,
            "test": files.test_images.shape[0],
        }


def _protocols() -> Iterator[Listed]:
    from vdae_bench.spec.protocol import load_protocol
    from vdae_bench.spec.shipped import PROTOCOLS

    shown = ("epochs", "batch_size", "seeds", "importance_samples", "precision", "description")
    for name in PROTOCOLS:
        protocol = load_protocol(name)
        yield {"name": name, **{field: getattr(protocol, field) for field in shown}}


def _options() -> Iterator[Listed]:
    from vdae_bench.models.registry import known_methods

    methods = known_methods()
    for (name, option), ids in _who((method, each) for method in methods for each in method.options.items()):
        yield {
            "name": name,
            "allowed": option.allowed,
            "default": option.default,
            "continuous_only": option.continuous_only,
            "meaning": option.meaning,
            "methods": ids,
            "only_with": [_condition(option.only_with, ids)] if option.only_with else [],
        }


def _hyperparameters() -> Iterator[Listed]:
    from vdae_bench.models.registry import get_method, known_methods
    from vdae_bench.spec.hyperparameters import OPTIMISER

    trained = [method for method in known_methods() if method.trains]
    for each, ids in _who((method, each) for method in trained for each in (*OPTIMISER, *_own_of(method))):
        needed: dict[tuple[str, tuple[Any, ...]], list[str]] = {}
        for method in ids:
            if condition := get_method(method).needed_for(each.name):
                needed.setdefault((condition[0], tuple(condition[1])), []).append(method)
        yield {
            "name": each.name,
            "type": each.kind.__name__,
            "allowed": each.allowed,
            "bounds": each.bounds or None,
            "choices": list(each.choices) or None,
            "default": each.default,
            "meaning": each.meaning,
            "methods": ids,
            "only_with": [_condition(condition, methods) for condition, methods in needed.items()],
        }


def _own_of(method: Method) -> list[Any]:
    """The hyper-parameters that a cell of a method can have, those with some of its options alone too."""
    from vdae_bench.spec.hyperparameters import OPTIMISER, hyperparameters_of

    always = [each for each in hyperparameters_of(method).values() if each not in OPTIMISER]
    others = (each for each in method.possible_hyperparameters if method.needed_for(each.name))
    return list(dict.fromkeys((*always, *others)))


def _who(declared: Iterable[tuple[Method, Any]]) -> Iterable[tuple[Any, list[str]]]:
    """Each declaration once, with the ids of the methods that have it."""
    found: dict[Any, list[str]] = {}
    for method, each in declared:
        found.setdefault(each, []).append(method.id)
    return found.items()


def _condition(needed: tuple[str, Iterable[Any]], methods: list[str]) -> Listed:
    """The option and its values without which these methods do not have something."""
    return {"option": needed[0], "values": list(needed[1]), "methods": methods}


LISTINGS: dict[str, Callable[[], Iterator[Listed]]] = {
    "sweeps": _sweeps,
    "methods": _methods,
    "datasets": _datasets,
    "protocols": _protocols,
    "options": _options,
    "hyperparameters": _hyperparameters,
}
NOT_IN_TABLE = ("bounds", "choices")
"""Fields for programs alone; the table has both as `allowed`."""


def row_of_table(row: Listed) -> Listed:
    """A row as tables have it: without the fields for programs, and conditions in words."""
    shown = {key: value for key, value in row.items() if key not in NOT_IN_TABLE}
    if "only_with" in row:
        shown["only_with"] = "; ".join(_words_of(each, row["methods"]) for each in row["only_with"])
    return shown


def _words_of(condition: Listed, methods: list[str]) -> str:
    values = " or ".join(map(_word, condition["values"]))
    whom = "" if condition["methods"] == methods else f" for {', '.join(condition['methods'])}"
    return f"{condition['option']}: {values}{whom}"


def table_of(rows: Iterable[Listed]) -> str:
    """The rows as a table for people, each value as a spec writes it."""
    from tabulate import tabulate

    shown = [{key: _word(value) for key, value in row.items()} for row in map(row_of_table, rows)]
    return tabulate(shown, headers="keys", disable_numparse=True, maxcolwidths=WIDEST)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@click.command(
    "list",
    cls=Verb,
    short_help="List sweeps, methods, data sets and settings.",
    epilog=example("vdae-bench list methods", "vdae-bench list hyperparameters --format json"),
)
@plugin_option
@click.argument("kind", type=click.Choice(list(LISTINGS)), metavar="KIND")
@format_option
def list_verb(kind: str, form: str) -> None:
    """List what you can run or set.

    KIND is sweeps, methods, datasets, protocols, options or hyperparameters.
    """
    rows = list(LISTINGS[kind]())
    click.echo(json.dumps(rows, indent=1) if form == "json" else table_of(rows))
