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
from vdae_bench.report.style.figure import GREY, STYLES, band, canvas, name_ends
from vdae_bench.spec.file import Choices
from vdae_bench.system.words import counted

HIDDEN_ABOVE = 85
"""Percentile of the values above which points are drawn at the top edge: a bad rate is hundreds of nats away."""
KINDS = {"o": "trial", "o hollow": "stopped early", "x": "off the top, or without a value"}
"""Marks of trials in words."""
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
    lines = {str(line.get_label()): line for line in places[0].lines}
    figure.legend(lines.values(), lines.keys(), loc="outside upper left", ncols=len(lines))
    return figure


def _limits(frozen: Frozen) -> tuple[float, float]:
    values = np.array([frozen.shown(trial.score) for trial in frozen.winner.complete])
    low, high = float(values.min()), float(np.percentile(values, HIDDEN_ABOVE))
    margin = 0.08 * (high - low) or 0.01 * abs(low) or 1.0
    return low - margin, high + margin


def _points(axes: Axes, frozen: Frozen, at: dict[int, float], limits: tuple[float, float]) -> None:
    """A mark for each trial at x = at[number]: filled, hollow, or a cross at the top edge."""
    style: Any = {"linestyle": "", "color": STYLES[0].colour, "markersize": 4, "clip_on": False}
    kinds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for trial in frozen.winner.trials:
        value = math.inf if trial.value is None else frozen.shown(trial.value)
        kind = "x" if value > limits[1] else "o" if trial.state == "complete" else "o hollow"
        kinds[kind].append((at[trial.number], min(value, limits[1])))
    for kind, points in kinds.items():
        if points:
            face = "none" if kind == "o hollow" else STYLES[0].colour
            axes.plot(*zip(*points, strict=True), marker=kind[0], markerfacecolor=face, label=KINDS[kind], **style)
    winner = next(trial for trial in frozen.winner.trials if trial.number == frozen.winner.winner)
    star: Any = {"linestyle": "", "marker": "*", "markersize": 10, "color": STYLES[1].colour, "clip_on": False}
    axes.plot(at[winner.number], frozen.shown(winner.score), label="chosen", **star)
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
    line: Any = {"where": "post", "color": GREY, "linewidth": 1.2}
    axes.step(np.arange(len(best))[seen], best[seen], label="best so far", **line)
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
    axes.barh(range(len(names)), [shares[name] for name in names], color=STYLES[0].colour, height=0.3)
    axes.set_yticks([])
    for place, name in enumerate(names):  # above its bar: beside the axes it would make the panel narrow
        axes.annotate(name, (0.0, place + 0.2), (2, 0), textcoords="offset points", va="bottom", fontsize=7.5)
    axes.set_ylim(-0.5, len(names) - 0.2)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share")
    axes.grid(visible=False, axis="y")
    axes.set_title("importance (PED-ANOVA)", loc="left")


def comparison_figure(group: Sequence[Frozen]) -> Figure:
    """Best value against cost, a panel a sampler: mean over search seeds, a band from the lowest to the highest.

    The means of the other samplers are thin in each panel.
    """
    runs: dict[str, list[Progression]] = {}
    for each in group:
        runs.setdefault(each.winner.sampler, []).append(Progression.of(each))
    cost = min(run.costs[-1] for several in runs.values() for run in several)
    grid = np.arange(1, math.floor(cost) + 1)
    curves: dict[str, NDArray[np.float64]] = {
        sampler: np.array([[run.at(float(at)) for at in grid] for run in runs[sampler]]) for sampler in sorted(runs)
    }
    figure = canvas(max(2.5 * len(runs), 4.0), 2.6)
    places = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axes, sampler in zip(places, curves, strict=True):
        for other, values in sorted(curves.items(), key=lambda item: item[0] == sampler):
            style, own, seen = SAMPLER_STYLES[other], other == sampler, np.isfinite(values).all(0)
            values = values[:, seen]
            width = 1.6 if own else 0.7
            axes.step(grid[seen], values.mean(0), where="post", linewidth=width, label=other, **style.line)
            if own:
                band(axes, grid[seen], values.min(0), values.max(0), style, step="post")
        axes.set_title(f"{sampler} ({counted(len(curves[sampler]), 'seed')})", loc="left")
        axes.set_xlabel("cost (full trials)")
    means = {sampler: values[:, np.isfinite(values).all(0)].mean(0) for sampler, values in curves.items()}
    means = {sampler: curve for sampler, curve in means.items() if len(curve)}  # else no trial is complete by then
    settled = np.concatenate([curve[len(curve) // 5 :] for curve in means.values()])
    margin = 0.15 * (settled.max() - settled.min()) or 1.0
    places[0].set_ylim(settled.min() - margin, settled.max() + margin)
    places[0].set_ylabel(f"best validation -ELBO ({group[0].unit.name})")
    name_ends(
        places[-1],
        [(sampler, SAMPLER_STYLES[sampler], float(mean[-1])) for sampler, mean in means.items()],
    )
    return figure
