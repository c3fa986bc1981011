"""Pictures of a search: history, slices and importance of each hyper-parameter, and samplers against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from vdae_bench.report.numbers.searches import Frozen, Progression, importances
from vdae_bench.report.style.figure import GREY, STYLES, band, canvas
from vdae_bench.spec.file import Choices
from vdae_bench.system.words import counted

HIDDEN_ABOVE = 85
"""Percentile of the values above which points are drawn at the top edge: a bad rate is hundreds of nats away."""
SAMPLER_STYLES = {"gp": STYLES[0], "tpe": STYLES[1], "random": STYLES[2]}


def study_figure(frozen: Frozen) -> Figure:
    """History, a slice for each hyper-parameter that varies, and importances, in one row or two."""
    names = [name for name in frozen.winner.space if len({str(t.parameters[name]) for t in frozen.winner.trials}) > 1]
    importance = importances(frozen)
    panels = 1 + len(names) + bool(importance)
    columns = panels if panels <= 4 else min(4, math.ceil(panels / 2))
    rows = math.ceil(panels / columns)
    figure = canvas(2.6 * columns, 2.3 * rows)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    limits = _limits(frozen)
    _history(places[0], frozen, limits)
    for place, (axes, name) in enumerate(zip(places[1:], names, strict=False), 1):
        _slice(axes, frozen, name, limits)
        if place % columns == 0:
            axes.set_ylabel(places[0].get_ylabel())
    if importance:
        _importance(places[1 + len(names)], importance)
    for axes in places[panels:]:
        axes.set_axis_off()
    return figure


def _limits(frozen: Frozen) -> tuple[float, float]:
    values = np.array([frozen.shown(trial.score) for trial in frozen.winner.complete])
    low, high = float(values.min()), float(np.percentile(values, HIDDEN_ABOVE))
    margin = 0.08 * (high - low) or 0.01 * abs(low) or 1.0
    return low - margin, high + margin


def _points(axes: Axes, frozen: Frozen, at: dict[int, float], limits: tuple[float, float]) -> None:
    """A mark for each trial at x = at[number]: filled, hollow, or a cross at the top edge."""
    style: Any = {"linestyle": "", "color": STYLES[0].colour, "markersize": 4, "clip_on": False}
    kinds: dict[str, list[tuple[float, float]]] = {"o": [], "o hollow": [], "x": []}
    for trial in frozen.winner.trials:
        value = math.inf if trial.value is None else frozen.shown(trial.value)
        kind = "x" if value > limits[1] else "o" if trial.state == "complete" else "o hollow"
        kinds[kind].append((at[trial.number], min(value, limits[1])))
    for kind, points in kinds.items():
        if points:
            face = "none" if kind == "o hollow" else STYLES[0].colour
            axes.plot(*zip(*points, strict=True), marker=kind[0], markerfacecolor=face, **style)
    winner = next(trial for trial in frozen.winner.trials if trial.number == frozen.winner.winner)
    axes.plot(
        at[winner.number], frozen.shown(winner.score), marker="*", markersize=10, color=STYLES[1].colour, clip_on=False
    )
    axes.set_ylim(limits)


def _history(axes: Axes, frozen: Frozen, limits: tuple[float, float]) -> None:
    trials = frozen.winner.trials
    _points(axes, frozen, {trial.number: float(trial.number) for trial in trials}, limits)
    best = np.minimum.accumulate(
        [
            frozen.shown(trial.value) if trial.state == "complete" and trial.value is not None else math.inf
            for trial in trials
        ]
    )
    seen = np.isfinite(best)
    axes.step(np.arange(len(best))[seen], best[seen], where="post", color=GREY, linewidth=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("trial")
    axes.set_ylabel(f"validation -ELBO ({frozen.unit.name})")
    axes.set_title("history", loc="left")


def _slice(axes: Axes, frozen: Frozen, name: str, limits: tuple[float, float]) -> None:
    space = frozen.winner.searched[name]
    trials = frozen.winner.trials
    if isinstance(space, Choices):
        places = {str(value): place for place, value in enumerate(space.values)}
        # Side by side, in order, so that equal values do not hide each other.
        width = 0.5 / max(1, len(trials) - 1)
        at = {t.number: places[str(t.parameters[name])] - 0.25 + width * t.number for t in trials}
        axes.set_xticks(range(len(places)), list(places))
        axes.set_xlim(-0.5, len(places) - 0.5)
    else:
        at = {trial.number: float(trial.parameters[name]) for trial in trials}
        if space.distribution == "log_uniform_values":
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())  # they would lie over each other
    _points(axes, frozen, at, limits)
    axes.set_title(name, loc="left")


def _importance(axes: Axes, shares: dict[str, float]) -> None:
    names = sorted(shares, key=lambda name: shares[name])
    axes.barh(range(len(names)), [shares[name] for name in names], color=STYLES[0].colour, height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.set_title("importance (PED-ANOVA)", loc="left")


def comparison_figure(group: Sequence[Frozen]) -> Figure:
    """Best value against cost: mean over search seeds, bands from the lowest to the highest."""
    figure = canvas(4.6, 3.0)
    axes = figure.subplots()
    runs: dict[str, list[Progression]] = {}
    for each in group:
        runs.setdefault(each.winner.sampler, []).append(Progression.of(each))
    cost = min(run.costs[-1] for several in runs.values() for run in several)
    grid = np.arange(1, math.floor(cost) + 1)
    means = []
    for sampler in sorted(runs):
        style = SAMPLER_STYLES[sampler]
        curves: NDArray[np.float64] = np.array([[run.at(float(at)) for at in grid] for run in runs[sampler]])
        shown = np.isfinite(curves).all(0)
        curves = curves[:, shown]
        label = f"{sampler} ({counted(len(curves), 'seed')})"
        axes.step(grid[shown], curves.mean(0), where="post", label=label, linewidth=1.6, **style.line)
        band(axes, grid[shown], curves.min(0), curves.max(0), style, step="post")
        means.append(curves.mean(0))
    settled = np.concatenate([curve[len(curve) // 5 :] for curve in means])
    margin = 0.15 * (settled.max() - settled.min()) or 1.0
    axes.set_ylim(settled.min() - margin, settled.max() + margin)
    axes.set_xlabel("cost (full trials)")
    axes.set_ylabel(f"best validation -ELBO ({group[0].unit.name})")
    axes.legend()
    return figure
