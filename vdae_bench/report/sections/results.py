"""The tables of a page: scores beside the paper's, verdicts on them, baselines, numbers of others, what varies."""

from __future__ import annotations

from collections.abc import Sequence

from vdae_bench.paper.published import outside_numbers
from vdae_bench.report.numbers.rows import SCORES, Row, Sheet
from vdae_bench.report.numbers.runs import Run
from vdae_bench.report.numbers.searches import Frozen
from vdae_bench.report.numbers.statistics import Summary
from vdae_bench.report.numbers.units import Unit
from vdae_bench.report.numbers.verdict import judge_row
from vdae_bench.report.style.markdown import anchor, escape, label, table
from vdae_bench.system import words as quantities

ABSENT = "-"


def results_table(sheet: Sheet) -> str:
    """Paper, ours and the difference for NLL and -ELBO, the seeds, and what a seed cost."""
    compared = any(row.published for row in sheet.rows)
    flop_size, flop_name = quantities.flop_unit(max((train_flops(row) or 0 for row in sheet.rows), default=0))
    scores = [
        heading
        for name, _ in SCORES
        for heading in ([f"{name} paper", f"{name} ours", "difference"] if compared else [name])
    ]
    costs = ["training s", "evaluation s", f"training {flop_name}"]
    body = []
    for row in sheet.rows:
        cells = [row.latents, escape(row.method)]
        for _, score in SCORES:
            cells += score_cells(row, score, sheet.unit) if compared else [ours(row, score, sheet.unit)]
        body.append([*cells, _linked_seeds(row), *cost_cells(row, flop_size)])
    return table(["latents", "method", *scores, "seeds", *costs], body, right=["latents", *scores, *costs])


def score_cells(row: Row, score: str, unit: Unit) -> list[str]:
    """The paper's number, ours, and ours - paper."""
    printed = getattr(row.published, score) if row.published else None
    summary = row.ran.score(score, unit) if row.ran else None
    difference = unit.show_difference(summary.mean - printed.value) if summary and printed else ""
    return [str(printed) if printed else ABSENT, ours(row, score, unit), difference]


def ours(row: Row, score: str, unit: Unit) -> str:
    """Our number for a row, or why there is none."""
    if row.quoted:
        return "quoted"
    if row.ran is None:
        return "not run"
    if not row.ran.completed:
        return "diverged"
    summary = row.ran.score(score, unit)
    return with_deviation(summary, unit) if summary else ABSENT


def with_deviation(summary: Summary, unit: Unit) -> str:
    """Mean ± sample standard deviation over seeds; the mean alone of one seed."""
    mean = unit.show(summary.mean)
    deviation = summary.standard_deviation
    return mean if deviation is None else f"{mean} ± {unit.show(deviation)}"


def seeds(row: Row) -> str:
    """How many seeds the numbers are from, of how many, and how many diverged."""
    if row.quoted:
        return ""
    if row.ran is None:
        return f"0 of {row.wanted}"
    diverged = f", {row.ran.diverged} diverged" if row.ran.diverged else ""
    return f"{len(row.ran.completed)} of {row.wanted}{diverged}"


def _linked_seeds(row: Row) -> str:
    """The same, leading to the records behind the row."""
    return f"[{seeds(row)}](#{anchor(row.ran.runs[0])})" if row.ran else seeds(row)


def train_flops(row: Row) -> float | None:
    """Mean training FLOPs of a completed seed."""
    summary = row.ran.cost(lambda run: run.record.cost.train_flops) if row.ran else None
    return summary.mean if summary else None


def train_seconds(row: Row) -> str:
    """Mean training seconds of a completed seed, as text."""
    return _mean_seconds(row, "train_seconds")


def cost_cells(row: Row, flop_size: float) -> list[str]:
    """Training and evaluation seconds and training FLOPs, means over the completed seeds."""
    flops = train_flops(row)
    return [
        _mean_seconds(row, "train_seconds"),
        _mean_seconds(row, "evaluation_seconds"),
        "" if flops is None else f"{flops / flop_size:.3g}",
    ]


def _mean_seconds(row: Row, name: str) -> str:
    def price(run: Run) -> float:
        return float(getattr(run.record.cost, name))

    summary = row.ran.cost(price) if row.ran else None
    return quantities.seconds(summary.mean) if summary else ""


def baselines_table(sheet: Sheet) -> str:
    """The trivial baselines, and which rows do not beat them: ours, and the paper's."""
    body = []
    for row in sheet.baselines:
        summary = row.ran.score("nll", sheet.unit) if row.ran else None
        if summary:
            worse_here = [label(each) for each in sheet.rows if _nll(each, sheet.unit) > summary.mean]
            worse_there = [
                label(each) for each in sheet.rows if each.published and each.published.nll.value > summary.mean
            ]
            body.append(
                [
                    escape(row.method),
                    with_deviation(summary, sheet.unit),
                    "; ".join(worse_here) or "none",
                    "; ".join(worse_there) or "none",
                ]
            )
    headers = [
        "baseline",
        f"NLL ({sheet.unit.name})",
        "our rows that are worse",
        "the paper's rows that are worse",
    ]
    return table(headers, body)


def verdicts_table(sheet: Sheet) -> str:
    """Ours - the paper's with its interval, and whether that is the same number; nothing without records."""
    body = []
    for row in sheet.rows:
        for name, score in SCORES:
            finding = judge_row(row, score)
            if finding:
                body.append([row.latents, escape(row.method), name, str(finding.verdict), escape(finding.evidence)])
    headers = ["latents", "method", "score", "verdict", "ours - paper, 95% interval"]
    return table(headers, body, right=headers[:1]) if body else ""


def outside_table(dataset: str) -> str:
    """Numbers of others on such data; nothing where none are known."""
    body = [
        [
            escape(each.model),
            f"{each.binarisation} binarisation" if each.binarisation else "dequantised",
            str(each.nll or ABSENT),
            str(each.neg_elbo or ABSENT),
            escape(each.source),
        ]
        for each in outside_numbers(dataset)
    ]
    return table(["model", "data", "NLL", "-ELBO", "source"], body, right=["NLL", "-ELBO"]) if body else ""


def variance_table(sheet: Sheet, searches: Sequence[Frozen]) -> str:
    """Three sources of variance, apart: training seeds, evaluation of one model, and the choice by search."""
    by_source = {each.winner.source: each for each in searches}
    body = []
    for row in sheet.rows:
        if row.ran is None or not row.ran.completed:
            continue
        deviations = [summary.standard_deviation if summary else None for summary in _scores(row, sheet.unit)]
        errors = [None if row.ran.exact else row.ran.metric(f"{score}_standard_error_nats") for _, score in SCORES]
        evaluation = [sheet.unit.of_nats(error.mean, sheet.dataset) if error else None for error in errors]
        frozen = by_source.get(str(row.ran.completed[0].record.hyperparameters.get("source")))
        body.append(
            [
                row.latents,
                escape(row.method),
                *(ABSENT if each is None else sheet.unit.show(each) for each in deviations),
                *(ABSENT if each is None else f"{each:.2g}" for each in evaluation),
                sheet.unit.show(frozen.spread) if frozen else "no search",
            ]
        )
    varied = [f"{source}, {score}" for source in ("seeds", "evaluation") for score, _ in SCORES]
    headers = ["latents", "method", *varied, "search, validation"]
    return table(headers, body, right=[headers[0], *headers[2:]]) if body else ""


def _scores(row: Row, unit: Unit) -> list[Summary | None]:
    return [row.ran.score(score, unit) if row.ran else None for _, score in SCORES]


def _nll(row: Row, unit: Unit) -> float:
    """Our NLL; below anything where there is none."""
    summary = row.ran.score("nll", unit) if row.ran else None
    return summary.mean if summary else float("-inf")


def precision_table(sheet: Sheet) -> str:
    """How sure the NLL of a test set is as an integral: effective sample size, standard error, bias."""
    body = []
    for row in (*sheet.rows, *sheet.baselines):
        if row.ran is None or not row.ran.completed:
            continue
        name = [row.latents, escape(row.method)]
        effective = row.ran.metric("effective_sample_size")
        error, bias = row.ran.metric("nll_standard_error_nats"), row.ran.metric("nll_bias_nats")
        if row.ran.exact or not (effective and error and bias):
            body.append([*name, "exact density", ABSENT, ABSENT])
        else:
            extremes = f" ({effective.lowest:.1f} to {effective.highest:.1f})" if effective.count > 1 else ""
            body.append([*name, f"{effective.mean:.1f}{extremes}", f"{error.mean:.3f}", f"{bias.mean:.3f}"])
    headers = ["latents", "method", "effective samples", "standard error (nats)", "bias (nats)"]
    return table(headers, body, right=["latents", *headers[3:]])
