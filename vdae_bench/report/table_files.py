"""A sweep's table for other programs: as CSV with all digits, and as LaTeX (booktabs) ready to paste."""

from __future__ import annotations

from typing import Any

import pandas as pd
from tabulate import tabulate

from vdae_bench.report.rows import Row, Sheet
from vdae_bench.report.tables import ABSENT, SCORES, ours, seeds
from vdae_bench.report.verdict import judge_row


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
