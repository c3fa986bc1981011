"""Statistics over seeds: mean, sample standard deviation, number; for each cell of a selection."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vdae_bench.report.runs import Run, Selection, grouped
from vdae_bench.report.units import Unit
from vdae_bench.spec import Cell
from vdae_bench.store import TestMetrics


@dataclass(frozen=True)
class Summary:
    """Of some numbers: count, mean, sample standard deviation (divisor count - 1; of one None), extremes."""

    count: int
    mean: float
    standard_deviation: float | None
    lowest: float
    highest: float


def summarise(values: Iterable[float | None]) -> Summary | None:
    """The summary of the values that there are; None if there are none.

    >>> summarise([1.0, 2.0, None]).mean
    1.5
    """
    present = [value for value in values if value is not None]
    if not present:
        return None
    return Summary(
        count=len(present),
        mean=statistics.fmean(present),
        standard_deviation=statistics.stdev(present) if len(present) > 1 else None,
        lowest=min(present),
        highest=max(present),
    )


@dataclass(frozen=True)
class CellRuns:
    """The runs of a cell: numbers come from the completed ones, the diverged are counted."""

    cell: Cell
    runs: tuple[Run, ...]

    @property
    def completed(self) -> list[Run]:
        """Those with test metrics."""
        return [run for run in self.runs if run.completed]

    @property
    def diverged(self) -> int:
        """How many did not stay finite."""
        return len(self.runs) - len(self.completed)

    @property
    def trained(self) -> bool:
        """Whether there was anything to train; a trivial baseline has no curve and needs one seed."""
        return any(run.record.curve.epoch for run in self.runs)

    @property
    def exact(self) -> bool:
        """Whether the method has an exact density: NLL and no -ELBO."""
        return all(test.neg_elbo_nats is None for test in self._tests())

    def _tests(self) -> list[TestMetrics]:
        return [run.record.metrics.test for run in self.completed if run.record.metrics.test]

    def score(self, name: str, unit: Unit) -> Summary | None:
        """Of a test score, `nll` or `neg_elbo`, in a unit."""
        return self.metric(f"{name}_{unit.suffix}")

    def metric(self, name: str) -> Summary | None:
        """Of any test metric by its name in the record."""
        return summarise(getattr(test, name, None) for test in self._tests())

    def cost(self, of: Callable[[Run], float]) -> Summary | None:
        """Of a price, over the completed runs."""
        return summarise(of(run) for run in self.completed)


def cells_of(selection: Selection) -> list[CellRuns]:
    """The cells of a selection, in order of their slugs."""
    groups = grouped(selection.runs, lambda run: run.cell.slug).values()
    return [CellRuns(runs[0].cell, tuple(runs)) for runs in groups]
