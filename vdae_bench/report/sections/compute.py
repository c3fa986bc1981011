"""Cost beside quality: validation -ELBO of VAE and L-VDAE against operations, seconds and epochs (section 3.1).

L-VDAE pays for its posterior at every step. Is it worth that price where both get the same compute? Read off the
learning curves of records; `exact` and `subset` (`models.log_det`) are options of a cell, or protocols of their own
that meet only here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from vdae_bench.evaluation.units import bits_per_dim
from vdae_bench.report.numbers.rows import METHODS
from vdae_bench.report.numbers.runs import Run, Selection, by_folder, protocol_of, select
from vdae_bench.report.numbers.statistics import CellRuns, Estimate, cells_of, mean_of
from vdae_bench.report.numbers.units import NATS, Unit, dims_of, unit_of
from vdae_bench.report.style.figure import STYLES, Style, saved
from vdae_bench.report.style.markdown import bullets, code, table
from vdae_bench.store.records import Record
from vdae_bench.system.strict_json import digest

ESTIMATORS = ("subset", "projected", "exact")
STYLE_OF = {
    "VAE": STYLES[METHODS.index("vae")],
    "subset": STYLES[METHODS.index("lvdae")],
    "exact": STYLES[METHODS.index("vdae-resnet")],
    "projected": STYLES[METHODS.index("vdae-nice")],
}
NOT_WORTH_IT = "not worth its price at this length"
AXES: tuple[tuple[str, Callable[[Record], float]], ...] = (
    ("training operations (FLOP)", lambda record: float(record.cost.train_flops)),
    ("training seconds", lambda record: record.cost.train_seconds),
    ("epochs", lambda record: float(len(record.curve.epoch))),
)
"""What a seed's training cost in all; an epoch is the same share of it as of the epochs."""
PRICES = (0, 1)
"""Those that methods pay differently for an epoch."""


@dataclass(frozen=True)
class Course:
    """A cell on its way: for each seed the validation -ELBO after each epoch, and what it had cost by then."""

    label: str
    costs: tuple[dict[int, NDArray[np.float64]], ...]
    """Of each of `AXES`."""
    values: dict[int, NDArray[np.float64]]

    @property
    def style(self) -> Style:
        """How it looks."""
        return STYLE_OF[self.label]


@dataclass(frozen=True)
class Contest:
    """VAE and L-VDAE's estimators on one data set at one m, same protocol but for the estimator."""

    dataset: str
    latents: int
    vae: Course
    others: tuple[Course, ...]

    @property
    def unit(self) -> Unit:
        """Of the values."""
        return unit_of(self.dataset) if dims_of(self.dataset) else NATS


def siblings(selection: Selection, runs: Iterable[Run]) -> list[Selection]:
    """Of a sweep's runs under all protocols, those whose protocol differs from a selection's in the estimator alone."""
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
            estimator: _course(estimator, rival)
            for estimator, rival in reversed(rivals)
            if (rival.cell.dataset, rival.cell.latents) == (dataset, latents)
        }
        if courses:
            ordered = tuple(courses[name] for name in ESTIMATORS if name in courses)
            contests.append(Contest(dataset, latents, _course("VAE", vae), ordered))
    return sorted(contests, key=lambda contest: (contest.dataset, contest.latents))


def _rivals(selection: Selection) -> Iterator[tuple[str, CellRuns]]:
    """L-VDAE as it is with each estimator: the cell's, or the protocol's."""
    for each in cells_of(selection):
        options = dict(each.cell.options)
        estimator = str(options.pop("log_det", selection.protocol.log_det))
        if each.cell.method == "lvdae" and not options and each.completed:
            yield estimator, each


def _course(label: str, cell: CellRuns) -> Course:
    dims = dims_of(cell.cell.dataset)
    in_bits = dims is not None and unit_of(cell.cell.dataset) is not NATS
    costs: tuple[dict[int, NDArray[np.float64]], ...] = tuple({} for _ in AXES)
    values = {}
    for run in cell.completed:
        nats = [math.nan if value is None else value for value in run.record.curve.validation_neg_elbo_nats]
        values[run.seed] = np.array([bits_per_dim(value, dims) if in_bits and dims else value for value in nats])
        share = np.arange(1, len(nats) + 1) / len(nats)
        for each, (_, total) in zip(costs, AXES, strict=True):
            each[run.seed] = share * total(run.record)
    return Course(label, costs, values)


CAPTION = (
    "Validation -ELBO after each epoch (beta = 1), mean over seeds, against what a seed's training had cost by then. A "
    "point before the end still has a learning rate that its own schedule would have lowered by a run of that length, "
    "which flatters the method that has finished: the VAE. Differences: L-VDAE - VAE, paired by seed, below 0 is "
    "better, with 95% intervals; operations and seconds are those of L-VDAE beside the VAE's for the same epochs."
)


def draw(contests: Sequence[Contest]) -> dict[str, bytes]:
    """The figure as contents of files by their ending; empty without any contest."""
    return saved(lambda: _figure(contests)) if contests else {}


def _figure(contests: Sequence[Contest]) -> Figure:
    columns = len(contests)
    figure = Figure(figsize=(max(2.4 * columns, 5.4), 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(len(AXES), columns, squeeze=False)
    several = len({contest.dataset for contest in contests}) > 1
    for column, contest in enumerate(contests):
        for row, (label, _) in enumerate(AXES):
            axes = places[row, column]
            _draw(axes, contest, row)
            axes.set_xlabel(label)
            if column == 0 or contest.unit != contests[column - 1].unit:
                axes.set_ylabel(f"validation -ELBO ({contest.unit.name})")
        places[0, column].set_title(
            f"{contest.dataset}, m = {contest.latents}" if several else f"m = {contest.latents}", loc="left"
        )
    lines = {line.get_label(): line for axes in places.flat for line in axes.lines}
    figure.legend(
        lines.values(), lines.keys(), loc="outside upper left", ncols=2 if columns < 3 else 4, handlelength=3.4
    )
    return figure


def _draw(axes: Axes, contest: Contest, axis: int) -> None:
    for course in (contest.vae, *contest.others):
        x, y = (np.mean(np.stack(_cut(list(of.values()))), axis=0) for of in (course.costs[axis], course.values))
        label = "VAE" if course.label == "VAE" else f"L-VDAE, {course.label}"
        style = course.style
        axes.plot(x, y, color=style.colour, linestyle=style.dashes, marker=style.marker, markersize=3, label=label)
    settled = [
        value
        for course in (contest.vae, *contest.others)
        for of in course.values.values()
        for value in of[len(of) // 10 :]
    ]
    finite = [value for value in settled if math.isfinite(value)]
    if finite and max(finite) > min(finite):
        margin = 0.06 * (max(finite) - min(finite))
        axes.set_ylim(min(finite) - margin, max(finite) + margin)
    if axis in PRICES:
        spent = [of[len(of) // 10 :] for course in (contest.vae, *contest.others) for of in course.costs[axis].values()]
        _logarithmic(axes, min(map(np.min, spent)), max(map(np.max, spent)))


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    if 0 < low < high:
        axes.set_xlim(low / 1.2, high * 1.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 50 * low else (1, 3), numticks=5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())


def _cut(curves: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    length = min(map(len, curves))
    return [curve[:length] for curve in curves]


def at_equal_cost(contest: Contest, course: Course, axis: int) -> Estimate | None:
    """L-VDAE - VAE where L-VDAE has spent what the VAE's whole training cost, paired by seed; None before one epoch."""
    differences = []
    for seed in sorted(contest.vae.values.keys() & course.values.keys()):
        budget, costs = contest.vae.costs[axis][seed][-1], course.costs[axis][seed]
        if budget < costs[0] or not np.isfinite(course.values[seed]).all():
            return None
        differences.append(float(np.interp(budget, costs, course.values[seed]) - contest.vae.values[seed][-1]))
    return mean_of(differences) if differences else None


def worth(contest: Contest, course: Course) -> str:
    """Whether L-VDAE is better than the VAE when both have spent the VAE's operations."""
    equal = at_equal_cost(contest, course, 0)
    # Where it has not finished an epoch by then, it is taken for no better than after that epoch.
    judged = equal or mean_of(_differences(contest.vae, course, epoch=0))
    interval = judged.interval()
    if interval and interval[0] > 0:
        return NOT_WORTH_IT
    return "worth its price" if equal and interval and interval[1] < 0 else "too close to call"


def _differences(other: Course, course: Course, epoch: int = -1) -> list[float]:
    """A course after an epoch - another at its end, for each seed that both have."""
    seeds = sorted(other.values.keys() & course.values.keys())
    return [float(course.values[seed][epoch] - other.values[seed][-1]) for seed in seeds] or [math.nan]


def findings(contests: Sequence[Contest]) -> Iterator[str]:
    """A table, and in words whether L-VDAE is worth its price at equal compute."""
    rows = [_row(contest, course) for contest in contests for course in contest.others]
    headers = [
        "data",
        "latents",
        "estimator",
        "operations",
        "seconds",
        "after the same epochs",
        "at the VAE's operations",
        "at the VAE's seconds",
        "beside `exact`, same epochs",
    ]
    yield table(headers, rows, right=headers[1:2] + headers[3:])
    yield bullets([_sentence(contests, name) for name in ESTIMATORS if _with(contests, name)])
    missing = [name for name in ("subset", "exact") if not _with(contests, name)]
    if missing:
        yield (
            f"There are no records with {code(f'log_det: {missing[0]}')} and all else equal; the sweep with "
            f"{code(f'--set log_det={missing[0]}')} makes them."
        )


def _row(contest: Contest, course: Course) -> list[str]:
    ratios = [_total(course, axis) / (_total(contest.vae, axis) or math.nan) for axis in PRICES]
    at_end = mean_of(_differences(contest.vae, course))
    estimates = [at_end, *(at_equal_cost(contest, course, axis) for axis in PRICES)]
    shown = [
        contest.unit.show_interval(each.mean, each.interval()) if each else "before its first epoch"
        for each in estimates
    ]
    exact = next((each for each in contest.others if each.label == "exact"), None)
    if exact and course is not exact:
        beside = mean_of(_differences(exact, course))
        shown.append(contest.unit.show_interval(beside.mean, beside.interval()))
    else:
        shown.append("")
    return [contest.dataset, str(contest.latents), course.label, *(f"{ratio:.3g} x" for ratio in ratios), *shown]


def _with(contests: Sequence[Contest], estimator: str) -> list[tuple[Contest, Course]]:
    return [(contest, course) for contest in contests for course in contest.others if course.label == estimator]


def _sentence(contests: Sequence[Contest], estimator: str) -> str:
    found: dict[str, list[str]] = {}
    several = len({contest.dataset for contest in contests}) > 1
    for contest, course in _with(contests, estimator):
        place = f"m = {contest.latents}{f' ({contest.dataset})' if several else ''}"
        found.setdefault(worth(contest, course), []).append(place)
    said = "; ".join(f"{verdict} at {', '.join(places)}" for verdict, places in found.items())
    return f"L-VDAE with {code(estimator)}, when both have spent the VAE's operations: {said}."


def _total(course: Course, axis: int) -> float:
    return float(np.mean([costs[-1] for costs in course.costs[axis].values()]))
