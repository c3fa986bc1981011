"""All records of a protocol as a tidy CSV: a row a record, columns named as in it (`cost.train_seconds`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vdae_bench.report.origin import portable
from vdae_bench.report.runs import Run

LEADING = ["sweep", "cell.dataset", "cell.method", "cell.latents", "seed", "status", "left_out"]


def frame(runs: list[Run], left_out: Mapping[Path, str], root: Path) -> pd.DataFrame:
    """One row a run: everything in its record but the curve and prose.

    `left_out` is the reason why a run is in no table, empty for those that are; `record` is its file under
    the results folder `root`.
    """
    rows = []
    for run in runs:
        content = run.record.model_dump(exclude={"curve", "schema_"})
        for prose in ("description", "cannot_show"):
            content["protocol"].pop(prose, None)
        content["flags"] = "; ".join(run.record.flags)
        if "command" in content["provenance"]:
            content["provenance"]["command"] = portable(str(content["provenance"]["command"]))
        rows.append(
            {
                "sweep": run.sweep,
                "left_out": left_out.get(run.path, ""),
                **content,
                "record": run.path.relative_to(root).as_posix(),
            }
        )
    flat = pd.json_normalize(rows).dropna(axis="columns", how="all")
    leading = [name for name in LEADING if name in flat.columns]
    return flat[leading + [name for name in flat.columns if name not in leading]]


def to_csv(table: pd.DataFrame) -> str:
    """The text of the file; numbers with all their digits, so that reading it back gives the same."""
    return table.convert_dtypes().to_csv(index=False, lineterminator="\n")
