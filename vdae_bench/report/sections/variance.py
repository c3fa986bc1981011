"""Three sources of variance, kept apart: training seeds, the evaluation of one model, and the choice by search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vdae_bench.report.numbers.rows import SCORES, Sheet
from vdae_bench.report.numbers.searches import Frozen
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import escape, table
from vdae_bench.report.style.section import Section


def variance_table(sheet: Sheet, searches: Sequence[Frozen]) -> str:
    """Three sources of variance, apart: training seeds, evaluation of one model, and the choice by search."""
    by_source = {each.winner.source: each for each in searches}
    body = []
    for row in sheet.rows:
        if row.ran is None or not row.ran.completed:
            continue
        scores = [row.ran.score(score, sheet.unit) for _, score in SCORES]
        deviations = [summary.standard_deviation if summary else None for summary in scores]
        errors = [None if row.ran.exact else row.ran.metric(f"{score}_standard_error_nats") for _, score in SCORES]
        evaluation = [sheet.unit.of_nats(error.mean, sheet.dataset) if error else None for error in errors]
        frozen = by_source.get(str(row.ran.completed[0].record.hyperparameters.get("source")))
        body.append(
            [
                row.latents,
                escape(row.method),
                *("-" if each is None else sheet.unit.show(each) for each in deviations),
                *("-" if each is None else f"{each:.2g}" for each in evaluation),
                sheet.unit.show(frozen.spread) if frozen else "no search",
            ]
        )
    varied = [f"{source}, {score}" for source in ("seeds", "evaluation") for score, _ in SCORES]
    headers = ["latents", "method", *varied, "search, validation"]
    return table(headers, body, right=[headers[0], *headers[2:]]) if body else ""


def _text(subject: Subject, sheets: Sequence[Sheet]) -> Iterator[str]:
    yield (
        "Scores vary for three reasons. Seeds: the standard deviation between training runs; ± and intervals on this "
        "page come only from it. Evaluation: the standard error of one model's NLL, from its samples and images, and "
        "of its -ELBO, from its samples only. Search: the distance of the worst of the best tenth of trials from the "
        "best."
    )
    for sheet in sheets:
        if varies := variance_table(sheet, subject.searches):
            yield f"In {sheet.unit.name}{f', {sheet.dataset}' if len(sheets) > 1 else ''}:"
            yield varies


VARIANCE = Section("What varies", lambda subject: subject.sheets, _text)
