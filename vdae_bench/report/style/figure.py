"""Everything that figures share: colours, line styles, fonts, and how their files are written."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from numpy.typing import ArrayLike

from vdae_bench.report.style.digest import description

GREY = "0.35"


@dataclass(frozen=True)
class Style:
    """How a line looks: colour (Okabe and Ito's set, safe for the colour-blind), dashes, marker."""

    colour: str
    dashes: Any
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Colour and dashes, for `axes.plot`."""
        return {"color": self.colour, "linestyle": self.dashes}

    def marked(self, size: int = 4) -> dict[str, Any]:
        """Colour, dashes and marker, for `axes.plot`."""
        return {**self.line, "marker": self.marker, "markersize": size}


STYLES = (
    Style("#0072B2", "-", "o"),
    Style("#D55E00", (0, (5, 1.5)), "s"),
    Style("#009E73", (0, (1.2, 1.2)), "^"),
    Style("#CC79A7", (0, (6, 1.5, 1.2, 1.5)), "D"),
    Style("#56B4E9", (0, (3, 1, 1, 1, 1, 1)), "v"),
    Style("#E69F00", (0, (8, 2)), "P"),
    Style("#000000", "-", "x"),
)

SETTINGS: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "vdae-bench",
    "savefig.facecolor": "white",
}


def canvas(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of so many inches, without pyplot's state."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def band(axes: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: Style, **how: Any) -> None:
    """Shade what lies between the lowest and the highest of several seeds."""
    axes.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0, **how)


def fit(axes: Axes, values: ArrayLike) -> None:
    """Let an axis show these values with a margin, and nothing else; what is not finite does not count."""
    finite = np.asarray(values)[np.isfinite(values)]
    if len(finite) and finite.max() > finite.min():
        margin = 0.06 * (finite.max() - finite.min())
        axes.set_ylim(finite.min() - margin, finite.max() + margin)


def drawn(name: str, make: Callable[[], Figure]) -> dict[str, bytes]:
    """Make a figure and return the contents of its files by their names."""
    return {f"{name}.{ending}": content for ending, content in saved(make).items()}


def saved(make: Callable[[], Figure]) -> dict[str, bytes]:
    """Make a figure under this project's settings and return the contents of its files by their ending."""
    files = {}
    # The defaults first: a user's matplotlibrc must not change a committed figure.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = make()
        for text in _texts(figure):
            text.set_parse_math(False)
        said = description(figure)
        for ending, metadata in (
            ("svg", {"Date": None, "Creator": None, "Description": said}),
            ("png", {"Software": None, "Description": said}),
        ):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=160, metadata=metadata)
            files[ending] = buffer.getvalue()
    return files


def _texts(artist: Artist) -> Iterator[Text]:
    """All text of a figure but numbers on axes: it may be a record's, in which an odd `$` would stop the drawing."""
    for child in artist.get_children():
        if isinstance(child, Axis):
            yield child.label
            yield from child.get_ticklabels() if isinstance(child.get_major_locator(), FixedLocator) else ()
        elif isinstance(child, Text):
            yield child
        else:
            yield from _texts(child)
