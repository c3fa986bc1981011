"""Grids of images: samples, interpolations and reconstructions."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vdae_bench.evaluation.pictures import NOISE_LEVELS
from vdae_bench.report.sections.samples.evidence import Family
from vdae_bench.report.style.figure import GREY, canvas, drawn

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
    levels = ", ".join(f"{level:g}" for level in NOISE_LEVELS)
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
