"""The digest of what a figure shows: it stands in the figure's file, so that another matplotlib draws the same figure.

A figure's file says `values <digest>, matplotlib <version>`. Two files are the same figure if they are the same bytes;
drawn by different versions of matplotlib, if their digests are the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vdae_bench.system.untrusted import Unfit, content_of

DIGITS = 9
"""Significant digits of a value that count: the last ones of a mean differ between machines."""
MARK = re.compile(rb"values ([0-9a-f]{16}), matplotlib ([0-9][\w.+-]*)")

SVG = re.compile(rb"<svg.*?</svg>", re.DOTALL)


def description(figure: Figure) -> str:
    """The words that the file of a figure says of itself."""
    parts = [part for axes in figure.axes for part in _of_axes(axes)]
    found = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"values {found[:16]}, matplotlib {matplotlib.__version__}"


def _of_axes(axes: Axes) -> Iterator[str]:
    """Text, scale, and the data of lines, areas, bars, points and images."""
    yield repr([axes.get_title(loc=place) for place in ("left", "center", "right")])
    yield repr([axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale(), axes.get_yscale()])
    yield repr([text.get_text() for text in axes.texts])
    for line in axes.lines:
        yield f"line {line.get_label()} {_numbers(line.get_xydata())}"
    for collection in axes.collections:
        vertices = [path.vertices for path in collection.get_paths()]
        yield f"collection {[_numbers(each) for each in vertices]} {_numbers(collection.get_offsets())}"
    for patch in axes.patches:
        yield f"patch {_numbers(patch.get_patch_transform().transform_path(patch.get_path()).vertices)}"
    for image in axes.images:
        yield f"image {_numbers(image.get_array())}"


def _numbers(values: Any) -> str:
    array: NDArray[np.float64] = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    return " ".join(f"{value:.{DIGITS}g}" for value in array.ravel() + 0.0)


def same_file(path: Path, content: bytes) -> bool:
    """True when a file on disk is what was rendered: the same bytes, or the same figure by another matplotlib.

    The ends of lines in a text do not count: git may write them as Windows has them.
    """
    try:
        there = content_of(path)
    except (OSError, Unfit):
        return False
    if path.suffix != ".png":
        there, content = there.replace(b"\r\n", b"\n"), content.replace(b"\r\n", b"\n")
    if there == content:
        return True
    marks, own = MARK.findall(there), MARK.findall(content)
    if not own or {version for _, version in marks} == {version for _, version in own}:
        return False
    same_text = content.startswith(b"\x89PNG") or SVG.sub(b"", there) == SVG.sub(b"", content)
    return same_text and [digest for digest, _ in marks] == [digest for digest, _ in own]
