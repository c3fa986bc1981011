"""The tables beside the results: verdicts on them, trivial baselines, numbers of others."""

from __future__ import annotations

from vdae_bench.paper.published import outside_numbers
from vdae_bench.report.numbers.rows import SCORES, Row, Sheet
from vdae_bench.report.numbers.units import Unit
from vdae_bench.report.numbers.verdict import judge_order, judge_row
from vdae_bench.report.style.markdown import escape, table


def baselines_table(sheet: Sheet) -> str:
    """The trivial baselines, and which rows do not beat them: ours, and the paper's."""
    body = []
    for row in sheet.baselines:
        summary = row.ran.score("nll", sheet.unit) if row.ran else None
        if summary:
            worse_here = [escape(each.name) for each in sheet.rows if _nll(each, sheet.unit) > summary.mean]
            worse_there = [
                escape(each.name) for each in sheet.rows if each.published and each.published.nll.value > summary.mean
            ]
            body.append(
                [
                    escape(row.method),
                    summary.show(sheet.unit),
                    "; ".join(worse_here) or "none",
                    "; ".join(worse_there) or "none",
                ]
            )
    worse = ["our rows that are worse", "the paper's rows that are worse"]
    return table(["baseline", f"NLL ({sheet.unit.name})", *worse], body)


def verdicts_table(sheet: Sheet) -> str:
    """A table of our numbers less the paper's and of our order of methods, with verdicts; "" without records."""
    body = []
    for row in sheet.rows:
        for name, score in SCORES:
            finding, order = judge_row(row, score), judge_order(row, sheet.rows, score)
            if finding:
                place = [row.latents, escape(row.method), name]
                beside = [str(order.verdict), escape(order.evidence)] if order else ["-", ""]
                body.append([*place, str(finding.verdict), escape(finding.evidence), *beside])
    headers = ["latents", "method", "score", "the paper's number?", "ours - paper, 95% interval"]
    headers += ["the paper's order?", "better - worse of the paper's, ours, 95% interval"]
    return table(headers, body, right=headers[:1]) if body else ""


def outside_table(dataset: str) -> str:
    """Numbers of others on such data; nothing where none are known."""
    body = [
        [
            escape(each.model),
            f"{each.binarisation} binarisation" if each.binarisation else "dequantised",
            str(each.nll or "-"),
            str(each.neg_elbo or "-"),
            escape(each.source),
        ]
        for each in outside_numbers(dataset)
    ]
    return table(["model", "data", "NLL", "-ELBO", "source"], body, right=["NLL", "-ELBO"]) if body else ""


def _nll(row: Row, unit: Unit) -> float:
    """Our NLL; below anything where there is none."""
    summary = row.ran.score("nll", unit) if row.ran else None
    return summary.mean if summary else float("-inf")
