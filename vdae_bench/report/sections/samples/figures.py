"""Figures drawn from the evidence of samples: grids of images, and what is plotted beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from vdae_bench.evaluation.pictures import NOISE_MULTIPLES
from vdae_bench.report.numbers.rows import METHODS, title_of
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.sections.samples.evidence import Family, SampledCell, by_latents, leveled
from vdae_bench.report.style.figure import GREY, STYLES, canvas, drawn, own_styles

MEANS, DRAWN = 12, 8
"""Columns of the two halves of the figure of samples."""
WHITE = 255
IMAGE, LABELS, MARGIN, TITLE = 0.33, 1.75, 0.12, 0.34
"""Inches: an image, the labels of rows, the space between halves, the space above a block."""
LABEL_WIDTH = 26

Row = tuple[str, list[NDArray[np.uint8]]]
"""A label, and the (n,) pixels of each image of a row, which may have fewer than the others."""


def samples(families: Sequence[Family]) -> dict[str, bytes]:
    """Figure 2, 3 or 4: a row a model or noise level, data on top; mean images left, drawn pixels right."""
    return drawn("samples", lambda: _grids(families, (MEANS, DRAWN), ("mean images", "drawn pixels"), _sample_rows))


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
    levels = ", ".join(f"{level:g}" for level in NOISE_MULTIPLES)
    return drawn(
        "decoded",
        lambda: _grids(have, (steps + 2, 10), ("interpolation", f"reconstructions, noise × {levels}"), _decoded_rows),
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
    figure = canvas(width, height, layout=None)
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
        _gaps(gap, [each for each in cells if each.cell.dataset == dataset])
        _active_units(units, [each for each in members if each.cell.cell.dataset == dataset])
        gap.set_title(dataset if len(datasets) > 1 else "", loc="left")
    if matrices:
        shown = matrices[:6]
        places = list(below.subplots(1, max(3, len(shown)), squeeze=False)[0])
        for axes, each in zip(places, shown, strict=False):
            picture = _correlation(axes, each)
        for axes in places[len(shown) :]:
            axes.set_axis_off()
        beside = places[: len(shown)]
        below.colorbar(picture, ax=beside, shrink=0.7, label="correlation", extend="both")
    return figure


def _gaps(axes: Axes, cells: Sequence[CellRuns]) -> None:
    points: Points = {"vae": [], "lvdae": []}
    for cell in cells:
        tests = [run.record.metrics.test for run in cell.completed]
        gaps = [t.neg_elbo_nats - t.nll_nats for t in tests if t and t.neg_elbo_nats is not None]
        if cell.cell.method in points and not cell.cell.options and gaps:
            points[cell.cell.method].append((cell.cell.latents, gaps))
    _lines(axes, points, "-ELBO less NLL (nats)")
    axes.legend(loc="best")


def _active_units(axes: Axes, members: Sequence[SampledCell]) -> None:
    points: Points = {"vae": [], "lvdae": []}
    for each in members:
        active = [float(numbers.active_units) for numbers in each.numbers if numbers.active_units is not None]
        points[each.cell.cell.method].append((each.cell.cell.latents, active))
    every = sorted({each.cell.cell.latents for each in members})
    _lines(axes, points, "active units")
    axes.plot(every, every, color=GREY, linewidth=0.8, linestyle=(0, (1, 1.5)))
    axes.annotate("all", (every[-1], every[-1]), (-30, 0), textcoords="offset points", color=GREY, ha="right", va="top")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(ScalarFormatter())


Points = dict[str, list[tuple[int, list[float]]]]
"""For each method its numbers of latents, and the values of the seeds there."""


def _lines(axes: Axes, points: Points, label: str) -> None:
    """A line for each method over m: the mean over seeds, and a bar from the lowest to the highest."""
    for method, title in (("vae", "VAE"), ("lvdae", "L-VDAE")):
        own = sorted(points[method])
        if own:
            means = np.array([np.mean(values) for _, values in own])
            ends = np.array([(min(values), max(values)) for _, values in own]).T
            style = own_styles(METHODS, [method])[method]
            # The VAE's markers are larger: a ring shows where L-VDAE's lie on them.
            look = style.marked(6.5 if method == "vae" else 4)
            axes.errorbar([m for m, _ in own], means, np.abs(ends - means), label=title, **look)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([16, 32, 64, 128]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("m")
    axes.set_ylabel(label)


def _correlation(axes: Axes, member: SampledCell) -> Any:
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{title_of(member.cell.cell)}{member.size}", fontsize=8)
    return axes.imshow(
        member.evidence.arrays["correlation"] / 127, cmap="RdBu_r", vmin=-0.5, vmax=0.5, interpolation="nearest"
    )
