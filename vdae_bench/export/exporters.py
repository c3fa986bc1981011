"""The table of exporters: where records go, by which library, and how it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from vdae_bench.errors import UserError
from vdae_bench.export.content import ExportedRun, exported_runs
from vdae_bench.store.records import Store

Write = Callable[[Sequence[ExportedRun], Path], str]
"""Writes runs into a folder and returns a line that says how to look at them."""


@dataclass(frozen=True)
class Exporter:
    """A place for records: the library that writes them; the module of its name in this room has the function."""

    library: str
    """The module to import, which is missing without the extra of the exporter's name."""

    def writer(self, name: str) -> Write:
        """Import the function that writes.

        Raises:
            UserError: the library is not installed.
        """
        if importlib.util.find_spec(self.library) is None:
            raise UserError(
                f"export --to {name} needs {self.library}, which is not installed; "
                f"install it with pip install 'vdae-bench[{name}]'"
            )
        return cast(Write, importlib.import_module(f"vdae_bench.export.{name}").export)


EXPORTERS = {
    "parquet": Exporter("pyarrow"),
    "wandb": Exporter("wandb"),
    "mlflow": Exporter("mlflow"),
    "tensorboard": Exporter("tensorboard"),
}


def export(name: str, store: Store, out: Path, protocol: str | None, sweep: str | None) -> tuple[int, str]:
    """Write the runs of a results folder into a folder; return how many, and a line that says how to look at them.

    Exported again they are there once, under the same ids.

    Raises:
        UserError: the library is not installed, or there are no such records.
    """
    write = EXPORTERS[name].writer(name)
    runs = exported_runs(store, protocol, sweep)
    if not runs:
        raise UserError(f"there are no records in {store.root}; give the folder of your records with --results")
    out.mkdir(parents=True, exist_ok=True)
    return len(runs), write(runs, out)
