"""Statistics over seeds, the only unit of replication here: images of one test set are never counted as repetitions.

Mean, sample standard deviation, and Student's t intervals: of a mean, of the difference to a printed number, of a
difference between cells paired by seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import ndtri, stdtrit  # Student's t quantile; scipy.stats would take a second to load

from vdae_bench.paper.published import PrintedValue
from vdae_bench.report.numbers.runs import LeftOut, Run, Selection, grouped
from vdae_bench.report.numbers.units import Unit
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import TestMetrics


@dataclass(frozen=True)
class Summary:
    """Some numbers in short: count, mean, sample standard deviation (divisor count - 1; None for one), extremes."""

    count: int
    mean: float
    standard_deviation: float | None
    lowest: float
    highest: float

    def show(self, unit: Unit) -> str:
        """Mean ± sample standard deviation over seeds; the mean alone for one seed."""
        mean = unit.show(self.mean)
        return mean if self.standard_deviation is None else f"{mean} ± {unit.show(self.standard_deviation)}"


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


LEVEL = 0.95
"""The confidence of every interval in a report."""


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference with its standard error; `count` seeds, None for the error of a single one.

    No number of seeds removes `slack`, such as the rounding of a printed number, nor `shared_error`, a standard error
    that all seeds have in common: both widen the interval.
    """

    mean: float
    standard_error: float | None
    degrees_of_freedom: float
    count: int
    slack: float = 0.0
    shared_error: float = 0.0

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Student's t interval; None of one seed, which says nothing of others."""
        if self.standard_error is None:
            return None
        quantile = float(stdtrit(self.degrees_of_freedom, 0.5 + level / 2))
        half = quantile * self.standard_error + self.slack
        if self.shared_error:
            half += float(ndtri(0.5 + level / 2)) * self.shared_error
        return self.mean - half, self.mean + half


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of one number a seed.

    >>> [round(each, 3) for each in mean_of([1.0, 2.0, 3.0]).interval()]
    [-0.484, 4.484]
    """
    count = len(values)
    error = statistics.stdev(values) / math.sqrt(count) if count > 1 else None
    return Estimate(statistics.fmean(values), error, count - 1, count)


def difference_to_printed(ours: Summary, printed: PrintedValue, runs: int) -> Estimate:
    """Our mean less the paper's, with the rounding of its number; without its deviation over `runs` by our seeds alone.

    With it the interval is the wider of two: Welch's, and Student's with one variance for both. Two or three seeds that
    happen to agree say little of how far seeds differ, and Welch's would believe them.
    """
    difference = ours.mean - printed.value
    slack = 0.5 * 10.0**-printed.decimals
    if ours.standard_deviation is None:
        return Estimate(difference, None, 0, ours.count, slack)
    own, spread = ours.count - 1, ours.standard_deviation**2
    if not printed.plus_minus:
        return Estimate(difference, math.sqrt(spread / ours.count), own, ours.count, slack)
    theirs, printed_spread = runs - 1, printed.plus_minus**2
    parts = (spread / ours.count, printed_spread / runs)
    welch = sum(parts) ** 2 / (parts[0] ** 2 / own + parts[1] ** 2 / theirs)
    pooled = (own * spread + theirs * printed_spread) / (own + theirs) * (1 / ours.count + 1 / runs)
    both = [(math.sqrt(sum(parts)), welch), (math.sqrt(pooled), own + theirs)]
    error, freedom = max(both, key=lambda each: each[0] * float(stdtrit(each[1], 0.5 + LEVEL / 2)))
    return Estimate(difference, error, freedom, ours.count, slack)


def in_common(first: Mapping[int, float], second: Mapping[int, float]) -> list[tuple[float, float]]:
    """The scores of two cells in each seed that both have.

    >>> in_common({0: 1.0, 1: 2.0}, {1: 5.0, 2: 6.0})
    [(2.0, 5.0)]
    """
    return [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]


@dataclass(frozen=True)
class CellRuns:
    """The runs of a cell: numbers come from the completed ones, the diverged are counted."""

    cell: Cell
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...] = ()
    """Other records of the cell that may not stand with these."""

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
        """True when there was anything to train; a trivial baseline has no curve and needs one seed."""
        return any(run.record.curve.epoch for run in self.runs)

    @property
    def exact(self) -> bool:
        """True when the method has an exact density: NLL and no -ELBO."""
        return all(test.neg_elbo_nats is None for test in self._tests())

    def _tests(self) -> list[TestMetrics]:
        return [run.test for run in self.completed if run.test]

    def score(self, name: str, unit: Unit) -> Summary | None:
        """A test score, `nll` or `neg_elbo`, in a unit, in short over seeds."""
        return self.metric(f"{name}_{unit.suffix}")

    def by_seed(self, name: str, unit: Unit) -> dict[int, float]:
        """A test score, `nll` or `neg_elbo`, of each completed seed."""
        tests = {run.seed: run.test for run in self.completed}
        scores = {seed: getattr(test, f"{name}_{unit.suffix}", None) for seed, test in tests.items()}
        return {seed: float(score) for seed, score in scores.items() if score is not None}

    def metric(self, name: str) -> Summary | None:
        """Any test metric by its name in the record, in short over seeds."""
        return summarise(getattr(test, name, None) for test in self._tests())

    def cost(self, of: Callable[[Run], float]) -> Summary | None:
        """A price, in short over the completed runs."""
        return summarise(of(run) for run in self.completed)


def cells_of(selection: Selection) -> list[CellRuns]:
    """The cells of a selection, in order of their slugs."""
    groups = grouped(selection.runs, lambda run: run.cell.slug)
    others = grouped(selection.left_out, lambda each: each.run.cell.slug)
    return [CellRuns(runs[0].cell, tuple(runs), tuple(others.get(slug, ()))) for slug, runs in groups.items()]
