"""What a reviewer finds at once in a figure: words cut off, too small to read, or lying on each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

SMALLEST = 6.5
"""Points of a letter that is still read in print."""


def faults_of(figure: Figure) -> list[str]:
    """Words of a figure that are cut off, too small, or on each other."""
    figure.draw_without_rendering()
    shown = [(text, text.get_window_extent()) for text in figure.findobj(Text) if _is_shown(text, figure)]
    edges = figure.bbox.padded(1)
    faults = [
        f"cut off: {text.get_text()!r}"
        for text, box in shown
        if box.x0 < edges.x0 or box.y0 < edges.y0 or box.x1 > edges.x1 or box.y1 > edges.y1
    ]
    faults += [f"small: {text.get_text()!r}" for text, _ in shown if text.get_fontsize() < SMALLEST]
    for (one, first), (two, second) in itertools.combinations(shown, 2):
        if first.padded(-1).overlaps(second.padded(-1)):
            faults.append(f"on each other: {one.get_text()!r}, {two.get_text()!r}")
    return faults


def _is_shown(text: Text, figure: Figure) -> bool:
    axes = text.axes
    if not text.get_text().strip() or not text.get_visible() or (axes and not axes.axison):
        return False
    return not any(text is label for each in figure.axes for label in _unseen(each))


def _unseen(axes: Axes) -> Iterator[Text]:
    """Labels of ticks that matplotlib keeps beyond the limits, or does not draw."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        slack = 1e-9 * (high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            for label in (tick.label1, tick.label2):
                if not (low - slack <= tick.get_loc() <= high + slack) or not label.get_visible():
                    yield label
