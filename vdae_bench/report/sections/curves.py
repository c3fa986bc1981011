"""Learning curves: training and validation -ELBO by epoch, a panel for each data set and number of latents.

Methods differ in colour, dashes and marker, so that a grey print tells them apart; validation is heavy,
training light. Drawn on figure objects, without pyplot's state, and with nothing of the day, the machine or the user's
settings in the file, but for a digest of the values and matplotlib's version (`report.plotted`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vdae_bench.evaluation.units import bits_per_dim
from vdae_bench.report.numbers.rows import METHODS, title_of
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.numbers.units import NATS, dims_of, unit_of
from vdae_bench.report.style.figure import GREY, STYLES, Style, saved
from vdae_bench.spec.sweep import Cell

WEIGHTS: Any = {True: {"linewidth": 1.6}, False: {"linewidth": 0.7, "alpha": 0.8}}
"""Of a line: heavy for validation, light for training."""
SETTLED_AFTER = 0.1
"""Part of the epochs that may run out of a panel at its top: the KL term is still being warmed up."""


@dataclass(frozen=True)
class Line:
    """One cell's curves, (seeds, epochs), in the panel's unit."""

    label: str
    style: Style
    epochs: NDArray[np.int64]
    train: NDArray[np.float64]
    validation: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One set of axes: its title, unit and lines."""

    title: str
    unit: str
    lines: tuple[Line, ...]


def panels_of(cells: list[CellRuns]) -> list[Panel]:
    """A panel for each data set and number of latents; cells with options have one for each method."""
    groups: dict[tuple[str, int, str], list[CellRuns]] = {}
    for each in cells:
        if each.trained and each.completed:
            method = each.cell.method if each.cell.options else ""
            groups.setdefault((each.cell.dataset, each.cell.latents, method), []).append(each)
    styles = _styles([each.cell for members in groups.values() for each in members])
    several = len({dataset for dataset, _, _ in groups}) > 1
    panels = []
    for (dataset, latents, method), members in sorted(groups.items(), key=lambda item: item[0]):
        parts = [dataset] if several else []
        parts += [f"m = {latents}", *([title_of(members[0].cell).partition(" (")[0]] if method else [])]
        unit = unit_of(dataset) if dims_of(dataset) else NATS
        ordered = sorted(members, key=lambda each: _place(each.cell))
        lines = tuple(_line(each, styles[title_of(each.cell)]) for each in ordered)
        panels.append(Panel(", ".join(parts), unit.name, lines))
    return panels


def _place(cell: Cell) -> tuple[int, str]:
    return METHODS.index(cell.method) if cell.method in METHODS else len(METHODS), cell.slug


def _styles(cells: list[Cell]) -> dict[str, Style]:
    """The style of each label: one for the figure, so that one legend serves all panels."""
    labels = {title_of(cell): cell for cell in sorted(cells, key=_place)}
    of_method = {
        label: STYLES[METHODS.index(cell.method)]
        for label, cell in labels.items()
        if cell.method in METHODS and not cell.options
    }
    others = [label for label in labels if label not in of_method]
    return of_method | {label: STYLES[index % len(STYLES)] for index, label in enumerate(others)}


def _line(cell: CellRuns, style: Style) -> Line:
    curves = [run.record.curve for run in cell.completed]
    length = min(len(curve.epoch) for curve in curves)
    train, validation = (
        np.array([_in_unit(getattr(curve, name)[:length], cell.cell.dataset) for curve in curves])
        for name in ("train_neg_elbo_nats", "validation_neg_elbo_nats")
    )
    return Line(title_of(cell.cell), style, np.array(curves[0].epoch[:length]), train, validation)


def _in_unit(nats: list[float | None], dataset: str) -> list[float]:
    dims = dims_of(dataset)
    values = [math.nan if value is None else value for value in nats]
    if dims is None or unit_of(dataset) is NATS:
        return values
    return [bits_per_dim(value, dims) for value in values]


def learning_curves(cells: list[CellRuns]) -> Figure | None:
    """The figure of all completed runs; None when none of them was trained."""
    panels = panels_of(cells)
    if not panels:
        return None
    columns = _columns(len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(2.5 * columns, 4.4), 2.3 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for index, (place, panel) in enumerate(zip(places, panels, strict=False)):
        _draw(place, panel)
        if index % columns == 0 or panel.unit != panels[index - 1].unit:
            place.set_ylabel(f"-ELBO ({panel.unit})")
        if index + columns >= len(panels):
            place.set_xlabel("epoch")
    free = places[len(panels) :]
    for place in free:
        place.set_axis_off()
    datasets = sorted({each.cell.dataset for each in cells})
    _legend(figure, free[0] if free else None, panels, ", ".join(datasets))
    return figure


def _columns(panels: int) -> int:
    """Three or four, whichever leaves fewer places empty."""
    return panels if panels <= 4 else min((4, 3), key=lambda columns: -panels % columns)


def _draw(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        common: Any = {"color": line.style.colour, "linestyle": line.style.dashes}
        # A marker at every epoch of a long run would be a smear.
        every = max(1, len(line.epochs) // 8)
        axes.plot(line.epochs, _mean(line.train), **WEIGHTS[False], **common)
        marked: Any = {"marker": line.style.marker, "markersize": 4, "markevery": every}
        axes.plot(line.epochs, _mean(line.validation), **WEIGHTS[True], **marked, **common)
        if len(line.validation) > 1:
            low, high = np.fmin.reduce(line.validation), np.fmax.reduce(line.validation)
            axes.fill_between(line.epochs, low, high, color=line.style.colour, alpha=0.15, linewidth=0)
    axes.set_title(panel.title, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    _limit(axes, panel)


def _mean(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over seeds; not drawn at an epoch where a seed was not finite."""
    return np.asarray(curves.mean(axis=0))


def _limit(axes: Axes, panel: Panel) -> None:
    """Keep the first epochs, which are far above the rest, from flattening a long curve."""
    settled = [
        curves[:, int(SETTLED_AFTER * curves.shape[1]) :]
        for line in panel.lines
        for curves in (line.train, line.validation)
    ]
    values = np.concatenate([curves.ravel() for curves in settled])
    values = values[np.isfinite(values)]
    if len(values) and values.max() > values.min():
        margin = 0.06 * (values.max() - values.min())
        axes.set_ylim(values.min() - margin, values.max() + margin)


def _legend(figure: Figure, place: Axes | None, panels: list[Panel], title: str) -> None:
    """In a place that no panel needs, or above all panels."""
    lines = {line.label: line.style for panel in panels for line in panel.lines}
    handles = [_handle(label, style.colour, style.dashes, style.marker) for label, style in lines.items()]
    handles += [
        _handle("validation (mean, range)", GREY, "-", "", heavy=True),
        _handle("training (mean)", GREY, "-", "", heavy=False),
    ]
    if place is not None:
        legend = place.legend(handles=handles, loc="center left", handlelength=3.4, title=title)
    else:
        columns = 2 if len(panels) <= 2 else 4
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=3.4, title=title)
    legend.set_alignment("left")


def _handle(label: str, colour: str, dashes: Any, marker: str, heavy: bool = True) -> Line2D:
    return Line2D([], [], color=colour, linestyle=dashes, marker=marker, markersize=4, label=label, **WEIGHTS[heavy])


def draw(cells: list[CellRuns]) -> dict[str, bytes]:
    """The learning curves as contents of files by their ending, `svg` and `png`; empty without any curve."""
    return saved(lambda: learning_curves(cells))
