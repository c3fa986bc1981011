"""A sweep's table for other programs, as CSV with all digits and as LaTeX, and all records as one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vdae_bench.report.numbers.columns import Output, Place
from vdae_bench.report.numbers.layout import lay_out
from vdae_bench.report.numbers.rows import SCORES, Sheet
from vdae_bench.report.numbers.runs import Run, portable
from vdae_bench.report.style.csv import csv
from vdae_bench.report.style.latex import NEEDS, environment
from vdae_bench.spec.sweep import Cell


def results_csv(sheets: Sequence[Sheet]) -> str:
    """A line for each row of the tables and score: the paper's number, ours, their difference, interval, verdict."""
    grids = [
        lay_out(sheet, [row], Output.CSV, scores=[("", score)])
        for sheet in sheets
        for row in sheet.everything
        for _, score in SCORES
        if Place(sheet, row, score).printed or Place(sheet, row, score).summary
    ]
    return to_csv(pd.DataFrame([dict(zip(grid.headings, grid.rows[0], strict=True)) for grid in grids]))


def results_latex(sheets: Sequence[Sheet], title: str, label: str, best: Collection[tuple[Cell, str]] = ()) -> str:
    """A table for each data set, the best in bold; the first line says which packages it needs."""
    return "\n".join([NEEDS, *(_environment(sheet, title, label, best) for sheet in sheets)])


def _environment(sheet: Sheet, title: str, label: str, best: Collection[tuple[Cell, str]]) -> str:
    grid = lay_out(sheet, sheet.everything, Output.LATEX, compared=sheet.compared, best=best)
    caption = (
        f"{title}. {sheet.dataset}, in {sheet.unit.name}, lower is better; mean and standard deviation over seeds."
    )
    return environment(grid.headings, grid.rows, grid.left, caption, f"{label}-{sheet.dataset}", grid.bold)


LEADING = ["sweep", "cell.dataset", "cell.method", "cell.latents", "seed", "status", "left_out"]


def frame(runs: list[Run], left_out: Mapping[Path, str], root: Path) -> pd.DataFrame:
    """One row a run: everything in its record but the curve and prose.

    `left_out` is the reason why a run is in no table, empty for those that are; `record` is its file under
    the results folder `root`.
    """
    rows = []
    for run in runs:
        content = run.record.model_dump(exclude={"curve", "schema_"}, exclude_unset=True)
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


def curves_frame(runs: Sequence[Run], root: Path) -> pd.DataFrame:
    """One row an epoch of each run: what names the run, and the columns of its curve, in nats an image."""
    parts = []
    for run in runs:
        cell = run.record.cell
        columns = {name: value for name, value in run.record.curve.model_dump().items() if isinstance(value, list)}
        names: dict[str, Any] = {"sweep": run.sweep, "protocol.name": run.protocol, "cell.dataset": cell.dataset}
        names |= {"cell.method": cell.method, "cell.latents": cell.latents, "seed": run.seed}
        parts.append(pd.DataFrame({**names, **columns, "record": run.path.relative_to(root).as_posix()}))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True) if parts else pd.DataFrame()


def to_csv(frame: pd.DataFrame) -> str:
    """The text of a table whose columns have the narrowest type that holds them: a column of counts has no `.0`."""
    return csv(frame.convert_dtypes())
