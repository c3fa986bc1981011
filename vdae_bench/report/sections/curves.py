"""Learning curves: training and validation -ELBO by epoch, a panel for each data set and number of latents.

Methods differ in colour, dashes and marker, so that a grey print tells them apart; validation is heavy,
training light. Variants of one method lie near each other: their differences stand under their panel.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vdae_bench.report.numbers.compute import point_errors
from vdae_bench.report.numbers.rows import METHODS, title_of
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.units import curve_unit, in_curve_unit
from vdae_bench.report.style.figure import (
    GREY,
    MORE_STYLES,
    NAMED,
    STYLES,
    Style,
    band,
    canvas,
    drawn,
    fit,
    marks,
    name_ends,
    own_styles,
)
from vdae_bench.report.style.markdown import as_pixels, escape, picture
from vdae_bench.report.style.section import Section
from vdae_bench.spec.sweep import Cell

WEIGHTS: Any = {True: {"linewidth": 1.6}, False: {"linewidth": 0.7, "alpha": 0.8}}
"""The look of a line: heavy for validation, light for training."""
SETTLED_AFTER = 0.1
"""Part of the epochs that may run out of a panel at its top: the KL term is still being warmed up."""


@dataclass(frozen=True)
class Line:
    """One cell's curves, (seeds, epochs), in the panel's unit."""

    label: str
    style: Style
    seeds: tuple[int, ...]
    epochs: NDArray[np.int64]
    train: NDArray[np.float64]
    validation: NDArray[np.float64]
    error: NDArray[np.float64]
    """Standard error of a validation point from the images without a Jacobian: a mean over seeds, which share them."""

    def less(self, other: Line) -> NDArray[np.float64]:
        """(seeds, epochs) validation less another line's, for the seeds and epochs that both have."""
        both = [seed for seed in self.seeds if seed in other.seeds]
        length = min(len(self.epochs), len(other.epochs))
        own, theirs = (
            np.array([each.validation[each.seeds.index(seed), :length] for seed in both]).reshape(-1, length)
            for each in (self, other)
        )
        less: NDArray[np.float64] = own - theirs
        return less


@dataclass(frozen=True)
class Panel:
    """One set of axes: its title, unit and lines."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    method: str = ""
    """The title of the only method, of which the lines are variants; "" where they are of several methods."""

    def name(self, line: Line) -> str:
        """A line's name beside it, without the method that the title names and the option that all lines have."""
        own, *names = (each.label.removeprefix(f"{self.method} (").removesuffix(")") for each in (line, *self.lines))
        option = own.partition(" ")[0] + " "
        shared = self.method and all(name.startswith(option) for name in names)
        return (own.removeprefix(option) if shared else own) if self.method else line.label

    @property
    def differences(self) -> list[tuple[Line, NDArray[np.float64]]]:
        """Each variant of the method but the first, and its validation -ELBO less that of the first."""
        first, *others = self.lines
        found = [(line, line.less(first)) for line in others] if self.method else []
        return [(line, less) for line, less in found if less.size]


def panels_of(cells: list[CellRuns]) -> list[Panel]:
    """A panel for each data set and number of latents; cells with options have one for each method."""
    groups: dict[tuple[str, int, str], list[CellRuns]] = {}
    for each in cells:
        if each.trained and each.completed:
            method = each.cell.method if each.cell.options else ""
            groups.setdefault((each.cell.dataset, each.cell.latents, method), []).append(each)
    looks = _looks([each.cell for members in groups.values() for each in members])
    several = len({dataset for dataset, _, _ in groups}) > 1
    panels = []
    for (dataset, latents, method), members in sorted(groups.items(), key=lambda item: _panel_place(*item[0])):
        title = title_of(members[0].cell).partition(" (")[0] if method else ""
        parts = [*([dataset] if several else []), f"m = {latents}", *([title] if title else [])]
        unit = curve_unit(dataset)
        ordered = sorted(members, key=lambda each: _place(each.cell))
        lines = tuple(_line(each, *looks[_kind(each.cell)]) for each in ordered)
        panels.append(Panel(", ".join(parts), unit.name, lines, title))
    return panels


def _panel_place(dataset: str, latents: int, method: str) -> tuple[Any, ...]:
    return dataset, latents, bool(method), METHODS.index(method) if method in METHODS else len(METHODS), method


def _place(cell: Cell) -> tuple[int, str]:
    return METHODS.index(cell.method) if cell.method in METHODS else len(METHODS), cell.slug


Kind = tuple[str, tuple[tuple[str, Any], ...]]


def _kind(cell: Cell) -> Kind:
    return cell.method, cell.options


def _looks(cells: list[Cell]) -> dict[Kind, tuple[str, Style]]:
    """(label, style) of each method with its options: one for the figure, so that one legend serves all panels.

    The same options have the same style in every method's panel.
    """
    kinds = {_kind(cell): cell for cell in sorted(cells, key=_place)}
    methods = own_styles(METHODS, [method for method, options in kinds if not options])
    every = (*STYLES, *MORE_STYLES)
    others = itertools.cycle([style for style in every if style not in methods.values()] or every)
    of_options = {
        options: next(others) for options in dict.fromkeys(cell.options for cell in kinds.values()) if options
    }
    titles = Counter(title_of(cell) for cell in kinds.values())
    return {
        kind: (
            title_of(cell) + ("" if titles[title_of(cell)] == 1 else f" [{cell.method}]"),
            of_options[cell.options] if cell.options else methods[cell.method],
        )
        for kind, cell in kinds.items()
    }


def _line(cell: CellRuns, label: str, style: Style) -> Line:
    curves = [run.record.curve for run in cell.completed]
    length = min(len(curve.epoch) for curve in curves)
    train, validation = (
        np.array([_in_unit(getattr(curve, name)[:length], cell.cell.dataset) for curve in curves])
        for name in ("train_neg_elbo_nats", "validation_neg_elbo_nats")
    )
    seeds = tuple(run.record.seed for run in cell.completed)
    return Line(label, style, seeds, np.array(curves[0].epoch[:length]), train, validation, point_errors(cell))


def _in_unit(nats: list[float | None], dataset: str) -> NDArray[np.float64]:
    return in_curve_unit(np.array(nats, dtype=np.float64), dataset)  # null is nan


def learning_curves(cells: list[CellRuns]) -> Figure:
    """The figure of all completed runs, some of which were trained."""
    panels = panels_of(cells)
    named = all(len(panel.lines) <= NAMED for panel in panels)
    columns = _columns(len(panels), 3 if named else 4)
    rows = math.ceil(len(panels) / columns)
    below = any(panel.differences for panel in panels)
    width = 2.5 + (0.7 if named else 0)
    figure = canvas(max(width * columns, 4.6), (2.3 + (1.1 if below else 0)) * rows + 0.5)
    heights = [2.0, 1.0] if below else [1.0]
    grid = figure.add_gridspec(rows * len(heights), columns, height_ratios=heights * rows)
    for index, panel in enumerate(panels):
        row, column = index // columns * len(heights), index % columns
        end = row + len(heights) - bool(panel.differences)
        place = lowest = figure.add_subplot(grid[row:end, column])
        _draw(place, panel, named)
        if column == 0 or panel.unit != panels[index - 1].unit:
            place.set_ylabel(f"-ELBO ({panel.unit})")
        if panel.differences:
            lowest = figure.add_subplot(grid[end, column])
            _draw_differences(lowest, panel)
        if index + columns >= len(panels):
            lowest.set_xlabel("epoch")
    free = None
    if len(panels) % columns:
        free = figure.add_subplot(grid[-len(heights) :, -1])
        free.set_axis_off()
    datasets = sorted({each.cell.dataset for each in cells})
    lines = {} if named else {line.label: line.style for panel in panels for line in panel.lines}
    _legend(figure, free, panels, lines, datasets[0] if len(datasets) == 1 else "")
    return figure


def _columns(panels: int, most: int) -> int:
    """So many that fewest places stay empty, and of those the most."""
    return panels if panels <= most else min((most, most - 1), key=lambda columns: -panels % columns)


def _draw(axes: Axes, panel: Panel, named: bool) -> None:
    for place, line in enumerate(panel.lines):
        mean = _mean(line.validation)
        look = {**WEIGHTS[True], **line.style.marked(), "markevery": marks(len(line.epochs), place, len(panel.lines))}
        axes.plot(line.epochs, _mean(line.train), **WEIGHTS[False], **line.style.line)
        axes.plot(line.epochs, mean, label=line.label, **look)
        if len(line.validation) > 1:
            band(axes, line.epochs, np.fmin.reduce(line.validation), np.fmax.reduce(line.validation), line.style)
        if line.error.any():
            band(axes, line.epochs, mean - line.error, mean + line.error, line.style)
    axes.set_title(panel.title, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    _limit(axes, panel)
    if named:
        name_ends(axes, [(panel.name(line), line.style, _mean(line.validation)[-1]) for line in panel.lines])


def _draw_differences(axes: Axes, panel: Panel) -> None:
    """Draw how far variants of a method are apart, which their curves above do not show."""
    axes.axhline(0, color=GREY, linewidth=0.8)
    for place, (line, less) in enumerate(panel.differences):
        epochs = line.epochs[: less.shape[1]]
        look = {**line.style.marked(3), "markevery": marks(len(epochs), place, len(panel.differences))}
        axes.plot(epochs, _mean(less), linewidth=1.2, label=line.label, **look)
        if len(less) > 1:
            band(axes, epochs, np.fmin.reduce(less), np.fmax.reduce(less), line.style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_ylabel(f"minus {panel.name(panel.lines[0])}\n({panel.unit})", fontsize=7)
    fit(
        axes,
        np.concatenate(
            [[0.0], *(less[:, int(SETTLED_AFTER * less.shape[1]) :].ravel() for _, less in panel.differences)]
        ),
    )


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
    fit(axes, np.concatenate([curves.ravel() for curves in settled]))


def _legend(figure: Figure, place: Axes | None, panels: list[Panel], lines: dict[str, Style], title: str) -> None:
    """Put the legend in a place that no panel needs, or above all panels."""
    handles = [_handle(label, style) for label, style in lines.items()]
    handles += [
        _handle(f"validation (mean, range{_ERROR if _has_errors(panels) else ''})", Style(GREY, "-", "")),
        _handle("training (mean)", Style(GREY, "-", ""), heavy=False),
    ]
    if place is not None:
        legend = place.legend(handles=handles, loc="center left", handlelength=3.4, title=title)
    else:
        columns = {1: 1, 2: 2}.get(len(panels), 4)  # each as wide as a panel
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=3.4, title=title)
    legend.set_alignment("left")


_ERROR = ", ± standard error"


def _has_errors(panels: list[Panel]) -> bool:
    return any(line.error.any() for panel in panels for line in panel.lines)


def _handle(label: str, style: Style, heavy: bool = True) -> Line2D:
    return Line2D([], [], label=label, **style.marked(), **WEIGHTS[heavy])


def _shown(subject: Subject) -> list[CellRuns]:
    """All cells but those of a grid of noise levels, which has its own figure: a hundred lines in one panel."""
    return [each for each in subject.cells if "log_sigma" not in dict(each.cell.options)]


def _text(subject: Subject, cells: list[CellRuns]) -> Iterator[str]:
    if not panels_of(cells):
        yield "There are no curves, because no run was trained to the end."
        return
    name = f"{subject.name}-curves"
    yield picture("Learning curves of every cell", f"{name}.svg")
    yield (
        "The curves show the -ELBO at beta = 1 after each epoch (for NICE, the NLL); each panel has its own scale. "
        "Validation is measured after the epoch. Training is the mean over the epoch's batches, while the weights "
        f"change. Diverged seeds are not drawn. {as_pixels(name)}."
    )
    if _has_errors(panels_of(cells)):
        yield (
            "Inner bands are ± the standard error of a validation point, which comes from the images whose Jacobian "
            "was left out. After the last epoch it is 0."
        )
    if any(panel.differences for panel in panels_of(cells)):
        yield (
            "A panel with variants of one method has a second panel below it: the validation curve of each variant "
            "minus that of the first, paired by seed, as mean and range."
        )
    yield from old_kind(cells)


def old_kind(cells: Sequence[CellRuns]) -> Iterator[str]:
    """A sentence on the validation curves of older records, where L-VDAE's have an error that their seeds share."""
    old = _of_a_fixed_part(cells)
    if old:
        yield (
            f"**{'; '.join(old)}**: log det C and tr C of these validation points come from the same part of the "
            "images in every epoch and for every seed. This single draw can shift a whole curve by a few tenths of a "
            "nat, and the range over seeds does not show it. Test scores use all images."
        )


def _of_a_fixed_part(cells: Sequence[CellRuns]) -> list[str]:
    """L-VDAE's rows whose validation points are of the older kind, with Jacobians of one part of the images."""
    return [
        escape(f"{title_of(each.cell)}, m = {each.cell.latents}")
        for each in cells
        if each.cell.method == "lvdae"
        and any(
            run.record.curve.epoch
            and run.record.curve.validation_part == "fixed"
            and run.record.cell.options.get("log_det", run.record.protocol.get("log_det")) != "exact"
            for run in each.completed
        )
    ]


def _files(subject: Subject, cells: list[CellRuns]) -> dict[str, bytes]:
    return drawn("curves", lambda: learning_curves(cells)) if panels_of(cells) else {}


CURVES = Section("Learning curves", _shown, _text, _files)
