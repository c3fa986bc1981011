"""The price of quality: validation -ELBO of VAE and L-VDAE against operations, seconds and epochs (section 3.1).

L-VDAE pays for its posterior at every step. Is it worth that price where both get the same compute? Read off the
learning curves of records; `exact` and `subset` (`models.log_det`) are options of a cell, or protocols of their own
that meet only here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vdae_bench.report.numbers.comparable import meaningless, why_unequal
from vdae_bench.report.numbers.rows import title_of
from vdae_bench.report.numbers.runs import Run, Selection, alike, by_folder, protocol_of, select
from vdae_bench.report.numbers.statistics import LEVEL, CellRuns, Estimate, cells_of, mean_of
from vdae_bench.report.numbers.units import Unit, curve_unit, in_curve_unit
from vdae_bench.store.records import Record
from vdae_bench.system.strict_json import digest

ESTIMATORS = ("subset", "projected", "lanczos", "exact")
WORTH_IT, NOT_WORTH_IT = "worth its price at this length", "not worth its price at this length"
AXES: tuple[tuple[str, Callable[[Record], float]], ...] = (
    ("training operations (FLOP)", lambda record: float(record.cost.train_flops)),
    ("training seconds", lambda record: record.cost.train_seconds),
    ("epochs", lambda record: float(len(record.curve.epoch))),
)
"""The whole cost of a seed's training, in three units; an epoch is the same share of it as of the epochs."""
PRICES = (0, 1)
"""The axes on which an epoch costs methods differently."""
SECONDS = 1
"""The axis that depends on the machine."""


UNFINISHED = (
    "A run of that length would have had a lower learning rate at that point, so points before the end look worse than "
    "such a run."
)
"""The limits of a comparison at equal cost, said wherever one is shown."""
UNSTEADY = 2.5
"""Times by which runs differ in operations a second where some of them had a far busier machine than others."""


@dataclass(frozen=True)
class Course:
    """A cell on its way: for each seed the validation -ELBO after each epoch, and what it had cost by then."""

    label: str
    costs: tuple[dict[int, NDArray[np.float64]], ...]
    """One for each of `AXES`."""
    values: dict[int, NDArray[np.float64]]
    errors: NDArray[np.float64]
    """`point_errors` of its cell; seeds have the same images left out, so they share the error."""
    cell: CellRuns

    @property
    def method(self) -> str:
        """The method of the cell."""
        return self.cell.cell.method

    @property
    def name(self) -> str:
        """The course in a legend."""
        return f"L-VDAE, {self.label}" if self.method == "lvdae" else self.label


@dataclass(frozen=True)
class Contest:
    """Methods on one data set at one m, same protocol but for the estimator, beside one of them."""

    dataset: str
    latents: int
    reference: Course
    """The course beside which the others are set: the VAE's, or in section 6 that of the plainest encoder."""
    others: tuple[Course, ...]
    timed: bool
    """True where one machine with one number of threads took all runs that the page compares."""

    @property
    def unit(self) -> Unit:
        """The unit of the values."""
        return curve_unit(self.dataset)

    def on(self, axis: int) -> tuple[Course, ...]:
        """The courses that an axis compares with the reference: none on that of seconds if machines differ."""
        return self.others if self.timed or axis != SECONDS else ()


def siblings(selection: Selection, runs: Iterable[Run]) -> list[Selection]:
    """Selections of the same sweep whose protocol differs in the estimator alone, from its runs under all protocols."""
    found = []
    for (name, _), members in by_folder(runs).items():
        protocols = [protocol for run in members if (protocol := protocol_of(run))]
        if name != selection.protocol.name and protocols:
            other = select(members)
            if _but_for_estimator(other) == _but_for_estimator(selection):
                found.append(other)
    return found


def _but_for_estimator(selection: Selection) -> str:
    content = selection.protocol.content()
    return digest({name: value for name, value in content.items() if name not in ("log_det", "log_det_rows")})


def contests_of(selection: Selection, others: Sequence[Selection]) -> list[Contest]:
    """Every m at which the selection has both methods, with L-VDAE of the other selections too."""
    rivals = [rival for each in (selection, *others) for rival in _rivals(each)]
    contests = []
    for vae in cells_of(selection):
        if vae.cell.method != "vae" or vae.cell.options or not vae.completed:
            continue
        dataset, latents = vae.cell.dataset, vae.cell.latents
        courses = {
            label: course_of(label, rival)
            for label, rival in reversed(rivals)
            if (rival.cell.dataset, rival.cell.latents) == (dataset, latents)
        }
        if courses:
            places = [*ESTIMATORS, *sorted(courses.keys() - set(ESTIMATORS))]
            ordered = tuple(courses[name] for name in places if name in courses)
            contests.append(Contest(dataset, latents, course_of("VAE", vae), ordered, timed=True))
    courses_of = [course for contest in contests for course in (contest.reference, *contest.others)]
    if not _timed_alike([run for course in courses_of for run in course.cell.completed]):
        contests = [replace(contest, timed=False) for contest in contests]
    return sorted(contests, key=lambda contest: (contest.dataset, contest.latents))


def _timed_alike(runs: Sequence[Run]) -> bool:
    """True where seconds of these runs say something of their methods: one kind of machine, and none far busier."""
    costs = [run.record.cost for run in runs if run.record.cost.train_seconds]
    speeds = [cost.train_flops / cost.train_seconds for cost in costs]
    return alike(runs) and (not speeds or max(speeds) <= UNSTEADY * min(speeds))


def _rivals(selection: Selection) -> Iterator[tuple[str, CellRuns]]:
    """L-VDAE as it is with each estimator, the cell's or the protocol's; other methods, as from a plug-in, by title."""
    for each in cells_of(selection):
        options = dict(each.cell.options)
        if each.cell.method == "lvdae":
            label = str(options.pop("log_det", selection.protocol.log_det))
        else:
            label = title_of(each.cell)
        if each.cell.method != "vae" and each.trained and not each.exact and not options and each.completed:
            yield label, each


def course_of(label: str, cell: CellRuns) -> Course:
    """The course of a cell that ran, under a label for the legend."""
    costs: tuple[dict[int, NDArray[np.float64]], ...] = tuple({} for _ in AXES)
    values = {}
    for run in cell.completed:
        nats = np.array(run.record.curve.validation_neg_elbo_nats, dtype=np.float64)  # null is nan
        values[run.seed] = in_curve_unit(nats, cell.cell.dataset)
        share = np.arange(1, len(nats) + 1) / len(nats)
        for each, (_, total) in zip(costs, AXES, strict=True):
            each[run.seed] = share * total(run.record)
    return Course(label, costs, values, point_errors(cell), cell)


def point_errors(cell: CellRuns) -> NDArray[np.float64]:
    """Standard error of each point of the curve from the images without a Jacobian, mean over seeds, in its unit.

    It is 0 where every image has its Jacobian or needs none, and nan where it is not known.
    """
    curves = [run.record.curve for run in cell.completed]
    length = min(len(curve.epoch) for curve in curves)
    each = [np.array((curve.validation_standard_error_nats or [0.0] * length)[:length], float) for curve in curves]
    errors: NDArray[np.float64] = np.mean(each, axis=0)
    return errors * curve_unit(cell.cell.dataset).of_nats(1.0, cell.cell.dataset)


def at_equal_cost(contest: Contest, course: Course, axis: int) -> Estimate | None:
    """A course less the reference where it has spent the reference's cost, paired by seed; None before one epoch.

    The standard error of that point of the course is common to the seeds, so it widens the interval of any number.
    """
    differences, error = [], 0.0
    for seed in sorted(contest.reference.values.keys() & course.values.keys()):
        budget, costs, values = contest.reference.costs[axis][seed][-1], course.costs[axis][seed], course.values[seed]
        if budget < costs[0]:
            return None
        known = np.isfinite(values)  # a point that is not is passed over
        if not known.any() or budget < costs[known][0]:
            differences.append(math.nan)
        else:
            reached = np.interp(budget, costs[known], values[known])
            differences.append(float(reached - contest.reference.values[seed][-1]))
        error = max(error, _error_at(course, costs, budget))
    return replace(mean_of(differences), shared_error=error) if differences else None


def _error_at(course: Course, costs: NDArray[np.float64], budget: float) -> float:
    """The standard error of the point of a course where a budget was spent; infinite where it is not known."""
    error = float(np.interp(budget, costs[: len(course.errors)], course.errors))
    return error if math.isfinite(error) else math.inf


def worth(contest: Contest, course: Course, family: int = 1) -> str:
    """The verdict on L-VDAE beside the VAE when both have spent the VAE's operations.

    `family` verdicts are given together and share the level (Bonferroni).
    """
    smoke = meaningless(protocol_of(course.cell.completed[0]))
    if unequal := smoke or why_unequal([contest.reference.cell, course.cell]):
        return f"not comparable ({unequal})"
    equal = at_equal_cost(contest, course, 0)
    # Where it has not finished an epoch by then, it is taken for no better than after that epoch.
    judged = equal or mean_of(differences(contest.reference, course, epoch=0))
    interval = judged.interval(1 - (1 - LEVEL) / family)
    if interval and interval[0] > 0:
        return NOT_WORTH_IT
    return WORTH_IT if equal and interval and interval[1] < 0 else "too close to call"


def differences(other: Course, course: Course, epoch: int = -1) -> list[float]:
    """A course after an epoch - another at its end, for each seed that both have."""
    seeds = sorted(other.values.keys() & course.values.keys())
    return [float(course.values[seed][epoch] - other.values[seed][-1]) for seed in seeds] or [math.nan]
