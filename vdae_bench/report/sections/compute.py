"""Cost beside quality: L-VDAE beside the VAE at equal operations, seconds and epochs (section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from vdae_bench.report.numbers.compute import (
    AXES,
    ESTIMATORS,
    PRICES,
    UNFINISHED,
    UNSTEADY,
    Contest,
    Course,
    at_equal_cost,
    contests_of,
    differences,
    siblings,
    worth,
)
from vdae_bench.report.numbers.rows import METHODS
from vdae_bench.report.numbers.statistics import mean_of
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.figure import (
    MORE_STYLES,
    NAMED,
    STYLES,
    Style,
    canvas,
    drawn,
    fit,
    marks,
    name_ends,
    own_styles,
)
from vdae_bench.report.style.markdown import as_pixels, bullets, code, escape, picture, table
from vdae_bench.report.style.section import Section

LOOKS_LIKE = {"subset": "lvdae", "exact": "vdae-resnet", "projected": "vdae-nice", "lanczos": "vdae-coupled"}
"""The method whose style an estimator of L-VDAE has: those of methods of m = n, beside which it is rarely drawn."""
CAPTION = (
    "The curves show the validation -ELBO after each epoch (beta = 1), as a mean over seeds, against the cost of a "
    f"seed's training so far. {UNFINISHED} This favours the method that has finished, the VAE. Differences are "
    "L-VDAE - VAE, paired by seed, with 95% intervals if there are two seeds or more; below 0, L-VDAE is better. "
    "Operations and seconds are those of L-VDAE over the VAE's for the same epochs. Seconds are by the clock, so they"
    " are longer if the machine had other work."
)
MANY = 200
"""Epochs of which a curve is drawn with a thin line."""
UNLIKE = "unlike machines"
SAY_UNLIKE = (
    "The runs differ in device, processor or number of threads, or some had a far busier machine (operations a second "
    f"more than {UNSTEADY:g} times apart), so seconds are not compared."
)


def _figure(contests: Sequence[Contest]) -> Figure:
    columns = len(contests)
    axes_shown = [axis for axis in range(len(AXES)) if any(contest.on(axis) for contest in contests)]
    named = all(len(contest.others) < NAMED for contest in contests)
    figure = canvas(max((3.4 if named else 2.4) * columns, 5.4), 7.0 * len(axes_shown) / len(AXES))
    places = figure.subplots(len(axes_shown), columns, squeeze=False)
    several = len({contest.dataset for contest in contests}) > 1
    styles = _styles(contests)
    for column, contest in enumerate(contests):
        for row, axis in enumerate(axes_shown):
            axes = places[row, column]
            _draw(axes, contest, axis, styles, named)
            axes.set_xlabel(AXES[axis][0])
            if column == 0 or contest.unit != contests[column - 1].unit:
                axes.set_ylabel(f"validation -ELBO ({contest.unit.name})")
        places[0, column].set_title(
            f"{contest.dataset}, m = {contest.latents}" if several else f"m = {contest.latents}", loc="left"
        )
    if not named:
        lines = {line.get_label(): line for axes in places.flat for line in axes.lines}
        how: Any = {"loc": "outside upper left", "handlelength": 3.4}
        figure.legend(lines.values(), lines.keys(), ncols=2 if columns < 3 else 4, **how)
    return figure


def _styles(contests: Sequence[Contest]) -> dict[str, Style]:
    """The style of each course by its name; estimators of L-VDAE borrow those that no method in the figure has."""
    courses = [course for contest in contests for course in (contest.reference, *contest.others)]
    methods = own_styles(METHODS, [course.method for course in courses if course.method != "lvdae"])
    known = own_styles(METHODS, METHODS)
    styles = {course.name: methods[course.method] for course in courses if course.method != "lvdae"}
    for name, estimator in {course.name: course.label for course in courses if course.method == "lvdae"}.items():
        free = (known[LOOKS_LIKE[estimator]], *STYLES, *MORE_STYLES)
        styles[name] = next(style for style in free if style not in styles.values())
    return styles


def _draw(axes: Axes, contest: Contest, axis: int, styles: Mapping[str, Style], named: bool) -> None:
    courses, ends = (contest.reference, *contest.on(axis)), []
    for place, course in enumerate(courses):
        x, y = (np.mean(np.stack(_cut(list(of.values()))), axis=0) for of in (course.costs[axis], course.values))
        style = styles[course.name]
        how: Any = {"zorder": 3 - 0.1 * place, "linewidth": 1.6 if len(x) <= MANY else 0.9}  # a long curve is noisy
        axes.plot(x, y, label=course.name, markevery=marks(len(x), place, len(courses)), **style.marked(), **how)
        ends.append((course.name, style, float(y[-1])))
    settled = [value for course in courses for of in course.values.values() for value in of[len(of) // 10 :]]
    fit(axes, settled)
    if axis in PRICES:
        spent = [of[len(of) // 10 :] for course in courses for of in course.costs[axis].values()]
        _logarithmic(axes, min(map(np.min, spent)), max(map(np.max, spent)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if named:
        name_ends(axes, ends)


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


def findings(contests: Sequence[Contest]) -> Iterator[str]:
    """A table, and in words whether L-VDAE is worth its price at equal compute."""
    rows = [_row(contest, course) for contest in contests for course in contest.others]
    titles = list(dict.fromkeys(course.label for contest in contests for course in contest.others if _is_other(course)))
    headers = [
        "data",
        "latents",
        "method",
        "operations",
        "seconds",
        "after the same epochs",
    ]
    headers += ["at the VAE's operations", "at the VAE's seconds", "beside `exact`, same epochs"]
    yield table(headers, rows, right=headers[1:2] + headers[3:])
    if any(UNLIKE in row for row in rows):
        yield SAY_UNLIKE
    if errors := [said for contest in contests for course in contest.others if (said := _error(contest, course))]:
        yield (
            "A point of L-VDAE's curve before the last takes the Jacobian on a part of the images, the same for all "
            f"seeds. At the VAE's operations its standard error is {'; '.join(errors)}. Intervals include it; "
            "the difference of a single seed has none."
        )
    yield bullets([_sentence(contests, name) for name in (*ESTIMATORS, *titles) if _with(contests, name)])
    missing = [name for name in ("subset", "exact") if not _with(contests, name)]
    if 0 < len(missing) < 2:
        yield (
            f"There are no records with {code(f'log_det: {missing[0]}')} and all else equal; the sweep with "
            f"{code(f'--set log_det={missing[0]}')} makes them."
        )


def _row(contest: Contest, course: Course) -> list[str]:
    compared = [axis for axis in PRICES if course in contest.on(axis)]
    ratios = {axis: _total(course, axis) / (_total(contest.reference, axis) or math.nan) for axis in compared}
    at_end = mean_of(differences(contest.reference, course))
    shown = [
        contest.unit.show_interval(each.mean, each.interval()) if each else "before its first epoch"
        for each in (at_end, *(at_equal_cost(contest, course, axis) for axis in compared))
    ]
    shown += [UNLIKE] * (len(PRICES) - len(compared))
    exact = next((each for each in contest.others if each.label == "exact"), None)
    if exact and course is not exact and not _is_other(course):
        beside = mean_of(differences(exact, course))
        shown.append(contest.unit.show_interval(beside.mean, beside.interval()))
    else:
        shown.append("")
    prices = [f"{ratios[axis]:.3g} x" if axis in ratios else UNLIKE for axis in PRICES]
    return [contest.dataset, str(contest.latents), escape(course.name), *prices, *shown]


def _error(contest: Contest, course: Course) -> str:
    """The standard error of the point of a course at the reference's operations, where there is one."""
    equal = at_equal_cost(contest, course, 0)
    if not (equal and equal.shared_error):
        return ""
    return f"{contest.unit.show(equal.shared_error)} {contest.unit.name} ({contest.dataset}, m = {contest.latents})"


def _with(contests: Sequence[Contest], estimator: str) -> list[tuple[Contest, Course]]:
    return [(contest, course) for contest in contests for course in contest.others if course.label == estimator]


def _is_other(course: Course) -> bool:
    return course.method != "lvdae"


def _sentence(contests: Sequence[Contest], estimator: str) -> str:
    found: dict[str, list[str]] = {}
    family = sum(len(contest.others) for contest in contests)
    several = len({contest.dataset for contest in contests}) > 1
    for contest, course in _with(contests, estimator):
        place = f"m = {contest.latents}{f' ({contest.dataset})' if several else ''}"
        found.setdefault(escape(worth(contest, course, family)), []).append(place)
    said = "; ".join(f"{verdict} at {', '.join(places)}" for verdict, places in found.items())
    who = f"L-VDAE with {code(estimator)}" if estimator in ESTIMATORS else escape(estimator)
    together = f", 95% for all {family} rows together" if family > 1 else ""
    return f"{who}, after as many operations as the VAE took{together}: {said}."


def _total(course: Course, axis: int) -> float:
    return float(np.mean([costs[-1] for costs in course.costs[axis].values()]))


def _contests(subject: Subject) -> list[Contest] | None:
    return contests_of(subject.selection, siblings(subject.selection, subject.under_all)) or None


def _text(subject: Subject, contests: Sequence[Contest]) -> Iterator[str]:
    name = f"{subject.name}-cost"
    yield picture("Validation -ELBO against training operations and seconds, VAE and L-VDAE", f"{name}.svg")
    yield f"{CAPTION} {as_pixels(name)}."
    yield from findings(contests)


def _files(subject: Subject, contests: Sequence[Contest]) -> dict[str, bytes]:
    return drawn("cost", lambda: _figure(contests))


COMPUTE = Section("Cost beside quality", _contests, _text, _files)
