"""Models whose validation -ELBO has risen since it was lowest: their scores at the best epoch and at the last."""

from __future__ import annotations

from collections.abc import Iterator

from vdae_bench.report.numbers.rows import title_of
from vdae_bench.report.numbers.statistics import CellRuns, Summary, summarise
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.report.style.markdown import escape, table
from vdae_bench.report.style.section import Section
from vdae_bench.store.records import TestMetrics

SCORES = ("neg_elbo", "nll")


def _finds(subject: Subject) -> list[CellRuns] | None:
    return [cell for cell in subject.cells if any(run.overfits for run in cell.completed)] or None


def _text(subject: Subject, cells: list[CellRuns]) -> Iterator[str]:
    yield (
        "The validation -ELBO of these runs is lowest before the last epoch and has risen since. The tables show their "
        "test scores with the parameters of the lowest validation if the record has them, and otherwise with those of "
        "the last epoch; here are both. The choice does not use the test images."
    )
    headers = ["latents", "method", "best epoch", "of", "rise on validation", "unit"]
    headers += [f"{name} at the {when} epoch" for name in ("-ELBO", "NLL") for when in ("best", "last")]
    yield table(headers, [_row(cell) for cell in cells], right=[name for name in headers if name != "method"])


def _row(cell: CellRuns) -> list[str]:
    unit, dataset = unit_of(cell.cell.dataset), cell.cell.dataset
    runs = [run for run in cell.completed if run.overfits]
    epochs = [run.record.metrics.validation.best_epoch for run in runs if run.record.metrics.validation]
    rise = summarise(unit.of_nats(run.overfits or 0.0, dataset) for run in runs)
    assert rise is not None
    pairs = [(run.record.metrics.test_at_best_epoch, run.record.metrics.test) for run in runs]
    shown = [
        _shown([_score(each, name, unit) for each in column], unit)
        for name in SCORES
        for column in zip(*pairs, strict=True)
    ]
    first, last = min(epochs, default=0), max(epochs, default=0)
    return [
        str(cell.cell.latents),
        escape(title_of(cell.cell)),
        f"{first}" if first == last else f"{first} to {last}",
        str(len(runs[0].record.curve.epoch)),
        unit.show(rise.mean),
        unit.name,
        *shown,
    ]


def _score(test: TestMetrics | None, name: str, unit: Unit) -> float | None:
    value: float | None = getattr(test, f"{name}_{unit.suffix}", None)
    return value


def _shown(scores: list[float | None], unit: Unit) -> str:
    summary: Summary | None = summarise(scores) if None not in scores else None
    return unit.show(summary.mean) if summary else "-"


OVERFITTING: Section[Subject, list[CellRuns]] = Section("Models that overfit", _finds, _text)
