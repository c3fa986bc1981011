"""A sweep's table for other programs: as CSV with all digits, and as LaTeX (booktabs) ready to paste."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from vdae_bench.report.numbers.rows import SCORES, Row, Sheet
from vdae_bench.report.numbers.runs import Run
from vdae_bench.report.numbers.verdict import judge_row
from vdae_bench.report.sections.results import ABSENT, ours, seeds
from vdae_bench.report.style.markdown import portable


def results_frame(sheets: list[Sheet]) -> pd.DataFrame:
    """One row a row of the tables and score: the paper's number, ours, their difference, interval and verdict."""
    rows = [
        _numbers(sheet, row, score)
        for sheet in sheets
        for row in (*sheet.rows, *sheet.baselines)
        for _, score in SCORES
    ]
    return pd.DataFrame([row for row in rows if row["paper"] is not None or row["ours"] is not None])


def _numbers(sheet: Sheet, row: Row, score: str) -> dict[str, Any]:
    printed = getattr(row.published, score) if row.published else None
    summary = row.ran.score(score, sheet.unit) if row.ran else None
    finding = judge_row(row, score)
    estimate = finding.estimate if finding else None
    low, high = (estimate.interval() if estimate else None) or (None, None)
    return {
        "dataset": sheet.dataset,
        "latents": row.latents,
        "method": row.method,
        "cell": row.ran.cell.slug if row.ran else None,
        "score": score,
        "unit": sheet.unit.name,
        "paper": printed.value if printed else None,
        "paper_plus_minus": printed.plus_minus if printed else None,
        "ours": summary.mean if summary else None,
        "standard_deviation": summary.standard_deviation if summary else None,
        "difference": estimate.mean if estimate else None,
        "difference_low": low,
        "difference_high": high,
        "verdict": str(finding.verdict) if finding else None,
        "seeds": len(row.ran.completed) if row.ran else 0,
        "seeds_wanted": None if row.quoted else row.wanted,
    }


def to_latex(sheets: list[Sheet], title: str, label: str) -> str:
    """A `table` environment for each data set, no wider than the line; the first line says which packages it needs."""
    environments = [_environment(sheet, title, label) for sheet in sheets]
    return "\n".join(["% needs \\usepackage{booktabs,graphicx}", *environments])


def _environment(sheet: Sheet, title: str, label: str) -> str:
    compared = any(row.published for row in sheet.rows)
    headers = ["Latents", "Method"]
    for name, _ in SCORES:
        headers += [f"{name} (paper)", f"{name} (ours)"] if compared else [name]
    body = []
    for row in (*sheet.rows, *sheet.baselines):
        cells = [row.latents, row.method]
        for _, score in SCORES:
            printed = getattr(row.published, score) if row.published else None
            cells += [str(printed) if printed else ABSENT] if compared else []
            cells.append(ABSENT if row.quoted else ours(row, score, sheet.unit))
        body.append([*cells, seeds(row)])
    alignment = ["right", "left", *["right"] * (len(headers) - 2), "left"]
    tabular = tabulate(body, [*headers, "Seeds"], tablefmt="latex_booktabs", disable_numparse=True, colalign=alignment)
    caption = (
        f"{title}. {sheet.dataset}, in {sheet.unit.name}, lower is better; mean and standard deviation over seeds."
    )
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape(caption)}}}",
        f"\\label{{tab:{label}-{sheet.dataset}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"{_signs(tabular)}}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "#$%&_{}" else letter for letter in text)


def _signs(tabular: str) -> str:
    """Plus-minus, and the multiplication and minus signs that plain text writes as letters."""
    return tabular.replace("±", "$\\pm$").replace("28 x 28", "$28 \\times 28$").replace("-ELBO", "$-$ELBO")


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
