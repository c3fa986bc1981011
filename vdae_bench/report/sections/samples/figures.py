"""Figures drawn from the evidence of samples: grids of images, and what is plotted beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from vdae_bench.evaluation.pictures import NOISE_LEVELS
from vdae_bench.report.numbers.rows import METHODS, title_of
from vdae_bench.report.numbers.runs import Selection
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.sections.samples.evidence import Family, SampledCell
from vdae_bench.report.style.figure import GREY, STYLES, saved
from vdae_bench.store.evidence import Evidence

MEANS, DRAWN = 12, 8
"""Columns of the two halves of the figure of samples."""
WHITE = 255
IMAGE, LABELS, MARGIN, TITLE = 0.33, 1.75, 0.12, 0.34
"""Inches: an image, the labels of rows, the space between halves, the space above a block."""
LABEL_WIDTH = 26

Row = tuple[str, list[NDArray[np.uint8]]]
"""A label, and the (n,) pixels of each image of a row, which may have fewer than the others."""


def leveled(families: Sequence[Family]) -> list[Family]:
    """Families of noise levels whose samples' quality was measured."""
    return [
        family for family in families if family.levels and any(member.qualities("drawn") for member in family.members)
    ]


def by_latents(families: Sequence[Family]) -> list[SampledCell]:
    """VAE and L-VDAE as they are, which are compared at several numbers of latents."""
    members = [member for family in families for member in family.members]
    found = [each for each in members if each.cell.cell.method in ("vae", "lvdae") and not each.cell.cell.options]
    return found if len({each.cell.cell.latents for each in found}) > 1 else []


def samples(families: Sequence[Family]) -> dict[str, bytes]:
    """Figure 2, 3 or 4: a row a model or noise level, data on top; mean images left, drawn pixels right."""
    return saved(lambda: _grids(families, (MEANS, DRAWN), ("mean images", "drawn pixels"), _sample_rows))


def decoded(families: Sequence[Family]) -> dict[str, bytes]:
    """Interpolations left, reconstructions right."""
    have = [
        Family(family.title, family.dataset, members)
        for family in families
        if (members := tuple(each for each in family.members if "interpolations" in each.evidence.arrays))
    ]
    if not have:
        return {}
    arrays = have[0].members[0].evidence.arrays
    steps = arrays["interpolations"].shape[1]
    levels = ", ".join(f"{level:g}" for level in NOISE_LEVELS)
    return saved(
        lambda: _grids(have, (steps + 2, 10), ("interpolation", f"reconstructions, noise × {levels}"), _decoded_rows)
    )


def _sample_rows(family: Family) -> tuple[list[Row], list[Row]]:
    data = list(family.members[0].evidence.arrays["data"])
    left: list[Row] = [("data", [*data[:MEANS]])]
    right: list[Row] = [("", [*data[MEANS : MEANS + DRAWN]])]
    for member in family.members:
        arrays = member.evidence.arrays
        left.append((family.label(member), [*arrays.get("means", ())][:MEANS]))
        right.append(("", [*arrays["drawn"]][:DRAWN]))
    return left, right


def _decoded_rows(family: Family) -> tuple[list[Row], list[Row]]:
    left: list[Row] = []
    right: list[Row] = []
    for member in family.members:
        arrays = member.evidence.arrays
        ends = arrays["data"]
        left.append((family.label(member), [ends[0], *arrays["interpolations"][0], ends[1]]))
        rebuilt = arrays.get("reconstructions", ())
        right.append(("", [image for x, images in zip(ends, rebuilt, strict=False) for image in (x, *images)][:10]))
    return left, right


def _grids(
    families: Sequence[Family],
    columns: tuple[int, int],
    headings: tuple[str, str],
    rows_of: Callable[[Family], tuple[list[Row], list[Row]]],
) -> Figure:
    blocks = [rows_of(family) for family in families]
    width = LABELS + IMAGE * sum(columns) + 2 * MARGIN
    height = sum(IMAGE * len(left) + TITLE for left, _ in blocks) + MARGIN
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    top = height
    for family, block in zip(families, blocks, strict=True):
        tall = IMAGE * len(block[0])
        top -= TITLE + tall
        start = LABELS
        for rows, count, heading in zip(block, columns, headings, strict=True):
            wide = IMAGE * count
            axes = figure.add_axes((start / width, top / height, wide / width, tall / height))
            _images(axes, rows, count, family.members[0].evidence.numbers.image_shape)
            axes.set_title(heading, loc="right", color=GREY)
            start += wide + MARGIN
        figure.text(MARGIN / width, (top + tall + MARGIN / 2) / height, family.title or family.dataset, weight="bold")
    return figure


def _images(axes: Axes, rows: Sequence[Row], columns: int, shape: tuple[int, int]) -> None:
    """Rows of images, white on black as MNIST is, with a pixel of white between them."""
    height, width = shape[0] + 1, shape[1] + 1
    canvas = np.full((len(rows) * height - 1, columns * width - 1), WHITE, np.uint8)
    for row, (_, images) in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * height, column * width
            canvas[top : top + shape[0], left : left + shape[1]] = image.reshape(shape)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    middles = [row * height + shape[0] / 2 for row in range(len(rows))]
    axes.set_yticks(middles, [textwrap.fill(label, LABEL_WIDTH) for label, _ in rows], fontsize=7.5)
    axes.tick_params(length=0)


def quality_by_level(families: Sequence[Family]) -> dict[str, bytes]:
    """Frechet distance of means and drawn pixels against log sigma, with the floors; empty without noise levels."""
    shown = leveled(families)
    return saved(lambda: _quality_figure(shown)) if shown else {}


def _quality_figure(families: Sequence[Family]) -> Figure:
    figure = Figure(figsize=(2.9 * len(families) + 0.9, 3.1), layout="constrained")
    FigureCanvasAgg(figure)
    for family, axes in zip(families, figure.subplots(1, len(families), squeeze=False, sharey=True)[0], strict=True):
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
                color=style.colour,
                marker=style.marker,
                linestyle="none",
                markersize=4,
                label=f"{'mean images' if kind == 'means' else 'drawn pixels'}",
            )
            floor = float(np.mean([each.frechet_floor for each in measured]))
            axes.axhline(floor, color=style.colour, linestyle=style.dashes, linewidth=0.9)
        axes.set_ylim(bottom=0)
        axes.set_title(family.title, loc="left")
        axes.set_xlabel("log sigma")
    figure.axes[0].set_ylabel("Frechet distance (lines: floor)")
    figure.axes[0].legend(loc="best")
    return figure


def latents(selection: Selection, families: Sequence[Family]) -> dict[str, bytes]:
    """-ELBO less NLL and active units against m, and the mean correlation matrices of L-VDAE."""
    members = by_latents(families)
    return saved(lambda: _latents_figure(selection, members)) if members else {}


def _latents_figure(selection: Selection, members: Sequence[SampledCell]) -> Figure:
    datasets = list(dict.fromkeys(each.cell.cell.dataset for each in members))
    matrices = [each for each in members if "correlation" in each.evidence.arrays]
    figure = Figure(figsize=(7.4, 2.6 * len(datasets) + (2.1 if matrices else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(  # type: ignore[misc]
        2, 1, height_ratios=(2.6 * len(datasets), 2.1 if matrices else 1e-3)
    )
    for dataset, (gap, units) in zip(datasets, above.subplots(len(datasets), 2, squeeze=False), strict=True):
        _gaps(gap, selection, dataset)
        _active_units(units, [each for each in members if each.cell.cell.dataset == dataset])
        gap.set_title(dataset if len(datasets) > 1 else "", loc="left")
    if matrices:
        shown = matrices[:6]
        for axes, each in zip(below.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            picture = _correlation(axes, each)
        below.colorbar(picture, ax=below.axes, shrink=0.7, label="correlation", extend="both")
    return figure


def _gaps(axes: Axes, selection: Selection, dataset: str) -> None:
    for method in ("vae", "lvdae"):
        points = []
        for cell in cells_of(selection):
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
    look: Any = {"color": style.colour, "linestyle": style.dashes, "marker": style.marker, "markersize": 4}
    bars = np.abs(ends - means)
    axes.errorbar([m for m, _ in points], means, bars, label={"vae": "VAE", "lvdae": "L-VDAE"}[method], **look)


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
