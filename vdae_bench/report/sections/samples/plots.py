"""What is plotted of samples and latents: quality by noise level; gap, active units and correlations by m."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from vdae_bench.report.numbers.rows import METHODS, title_of
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.sections.samples.evidence import Family, SampledCell, by_latents, leveled
from vdae_bench.report.style.figure import GREY, STYLES, canvas, drawn
from vdae_bench.store.evidence import Evidence


def quality_by_level(families: Sequence[Family]) -> dict[str, bytes]:
    """Frechet distance of means and drawn pixels against log sigma, with the floors; empty without noise levels."""
    shown = leveled(families)
    return drawn("quality", lambda: _quality_figure(shown)) if shown else {}


def _quality_figure(families: Sequence[Family]) -> Figure:
    figure = canvas(2.9 * len(families) + 0.9, 3.1)
    places = figure.subplots(1, len(families), squeeze=False, sharey=True)[0]
    for family, axes in zip(families, places, strict=True):
        for kind, style in zip(("means", "drawn"), STYLES, strict=False):
            points = [
                (numbers.scales["log_sigma"], numbers.quality[kind])
                for member in family.members
                for numbers in member.numbers
                if kind in numbers.quality and "log_sigma" in numbers.scales
            ]
            if not points:
                continue
            levels, measured = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            axes.errorbar(
                levels,
                [each.frechet for each in measured],
                [each.frechet_error for each in measured],
                label="mean images" if kind == "means" else "drawn pixels",
                **{**style.marked(), "linestyle": "none"},
            )
            floor = float(np.mean([each.frechet_floor for each in measured]))
            axes.axhline(floor, color=style.colour, linestyle=style.dashes, linewidth=0.9)
        axes.set_ylim(bottom=0)
        axes.set_title(family.title, loc="left")
        axes.set_xlabel("log sigma")
    figure.axes[0].set_ylabel("Frechet distance (lines: floor)")
    figure.axes[0].legend(loc="best")
    return figure


def latents(cells: Sequence[CellRuns], families: Sequence[Family]) -> dict[str, bytes]:
    """-ELBO less NLL and active units against m, and the mean correlation matrices of L-VDAE."""
    members = by_latents(families)
    return drawn("latents", lambda: _latents_figure(cells, members)) if members else {}


def _latents_figure(cells: Sequence[CellRuns], members: Sequence[SampledCell]) -> Figure:
    datasets = list(dict.fromkeys(each.cell.cell.dataset for each in members))
    matrices = [each for each in members if "correlation" in each.evidence.arrays]
    figure = canvas(7.4, 2.6 * len(datasets) + (2.1 if matrices else 0))
    above, below = figure.subfigures(  # type: ignore[misc]
        2, 1, height_ratios=(2.6 * len(datasets), 2.1 if matrices else 1e-3)
    )
    for dataset, (gap, units) in zip(datasets, above.subplots(len(datasets), 2, squeeze=False), strict=True):
        _gaps(gap, cells, dataset)
        _active_units(units, [each for each in members if each.cell.cell.dataset == dataset])
        gap.set_title(dataset if len(datasets) > 1 else "", loc="left")
    if matrices:
        shown = matrices[:6]
        for axes, each in zip(below.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            picture = _correlation(axes, each)
        below.colorbar(picture, ax=below.axes, shrink=0.7, label="correlation", extend="both")
    return figure


def _gaps(axes: Axes, cells: Sequence[CellRuns], dataset: str) -> None:
    for method in ("vae", "lvdae"):
        points = []
        for cell in cells:
            if (cell.cell.dataset, cell.cell.method, cell.cell.options) == (dataset, method, ()):
                tests = [run.record.metrics.test for run in cell.completed]
                gaps = [t.neg_elbo_nats - t.nll_nats for t in tests if t and t.neg_elbo_nats is not None]
                points += [(cell.cell.latents, gaps)] if gaps else []
        if points:
            _line(axes, method, sorted(points))
    _over_latents(axes, "-ELBO less NLL (nats)")
    axes.legend(loc="best")


def _active_units(axes: Axes, members: Sequence[SampledCell]) -> None:
    for method in ("vae", "lvdae"):
        own = [each for each in members if each.cell.cell.method == method]
        points = [
            (each.cell.cell.latents, [float(n.active_units) for n in each.numbers if n.active_units is not None])
            for each in own
        ]
        if points:
            _line(axes, method, sorted(points))
    every = sorted({each.cell.cell.latents for each in members})
    axes.plot(every, every, color=GREY, linewidth=0.8, linestyle=(0, (1, 1.5)))
    axes.annotate("all", (every[-1], every[-1]), (-18, -3), textcoords="offset points", color=GREY, ha="right")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    _over_latents(axes, "active units")


def _line(axes: Axes, method: str, points: Sequence[tuple[int, list[float]]]) -> None:
    """Mean over seeds, and a bar from the lowest to the highest."""
    style = STYLES[METHODS.index(method)]
    means = np.array([np.mean(values) for _, values in points])
    ends = np.array([(min(values), max(values)) for _, values in points]).T
    label = {"vae": "VAE", "lvdae": "L-VDAE"}[method]
    axes.errorbar([m for m, _ in points], means, np.abs(ends - means), label=label, **style.marked())


def _over_latents(axes: Axes, label: str) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([16, 32, 64, 128]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("m")
    axes.set_ylabel(label)


def _correlation(axes: Axes, member: SampledCell) -> Any:
    evidence: Evidence = member.evidence
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{title_of(member.cell.cell)}{member.size}", fontsize=8)
    return axes.imshow(
        evidence.arrays["correlation"] / 127, cmap="RdBu_r", vmin=-0.5, vmax=0.5, interpolation="nearest"
    )
