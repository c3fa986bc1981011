"""An exporter by its name: imported when it is needed, for its library may be missing."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from vdae_bench.errors import UserError
from vdae_bench.export import LIBRARIES
from vdae_bench.export.content import ExportedRun, exported_runs
from vdae_bench.report.numbers.runs import nothing_there
from vdae_bench.store.records import Store

Write = Callable[[Sequence[ExportedRun], Path], str]
"""Writes runs into a folder and returns a line that says how to look at them."""


def export(name: str, store: Store, out: Path, protocol: str | None, sweep: str | None) -> tuple[int, str]:
    """Write the runs of a results folder into a folder; return how many, and a line that says how to look at them.

    Exported again they are there once, under the same ids.

    Raises:
        UserError: the library is not installed, there are no such records, or the folder cannot be made.
    """
    write = _writer(name)
    runs = exported_runs(store, protocol, sweep)
    if not runs:
        raise UserError(nothing_there(store, protocol, sweep))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}; give another with --out") from None
    return len(runs), write(runs, out)


def _writer(name: str) -> Write:
    found = importlib.util.find_spec(LIBRARIES[name])
    if found is None or found.origin is None:  # a folder of that name, such as wandb leaves, is no library
        raise UserError(
            f"export --to {name} writes with {LIBRARIES[name]}, which is not installed; "
            f"install it with pip install 'vdae-bench[{name}]'"
        )
    return cast(Write, importlib.import_module(f"vdae_bench.export.{name}").export)
