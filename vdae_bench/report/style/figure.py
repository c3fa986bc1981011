"""Everything that figures share: colours, line styles, fonts, and how their files are written."""

from __future__ import annotations

import io
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, DrawingArea, HPacker, TextArea
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from vdae_bench.report.style.digest import description

GREY = "0.35"
MARKS = 8
"""Markers of a line, about: one at every epoch of a long run would be a smear."""
NAMED = 4
"""Lines of a panel whose names stand at their ends; more have a legend."""
NAME_WIDTH, NAME_HEIGHT, NAME_SIZE = 18, 0.15, 7.5
"""Characters of a line of a name, its height in inches, and that of its letters in points."""


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

    def marked(self, size: float = 4) -> dict[str, Any]:
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

MORE_STYLES = (
    Style("#882255", (0, (4, 1.2)), "<"),
    Style("#117733", (0, (2, 1)), "*"),
    Style("#332288", (0, (7, 1.2, 1.2, 1.2, 1.2, 1.2)), ">"),
    Style("#999933", (0, (3, 2)), "h"),
    Style("#AA4499", (0, (1, 0.8)), "X"),
    Style("#44AA99", (0, (6, 1, 2, 1)), "p"),
    Style("#661100", (0, (9, 1.5)), "d"),
    Style("#6699CC", (0, (4, 1, 1, 1)), "8"),
)
"""Styles for methods from outside, in Paul Tol's colours: no colour, dashes or marker is one of `STYLES`."""


def own_styles(first: Sequence[str], names: Iterable[str]) -> dict[str, Style]:
    """The style of each name: of the first ones `STYLES` in their order, of any other one of its own by its name.

    Of two that would get the same the later in the alphabet takes the next that is free.
    """
    known, wanted = dict(zip(first, STYLES, strict=True)), set(names)
    styles = {name: style for name, style in known.items() if name in wanted}
    for name in sorted(wanted - known.keys()):
        start = zlib.crc32(name.encode()) % len(MORE_STYLES)
        turn = (*MORE_STYLES[start:], *MORE_STYLES[:start])
        styles[name] = next((style for style in turn if style not in styles.values()), turn[0])
    return styles


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


def marks(points: int, turn: int = 0, turns: int = 1) -> tuple[int, int]:
    """First and distance of a line's markers; lines that lie on each other have theirs at other points, by turns."""
    every = max(1, points // MARKS, min(turns, points // 2))
    return turn * every // turns, every


def name_ends(axes: Axes, ends: Sequence[tuple[str, Style, float]]) -> None:
    """Name lines right of the axes, each with its look at the height of its last value, apart from each other.

    Limits and scale of the axes are to be set before.
    """
    ordered = sorted((end for end in ends if np.isfinite(end[2])), key=lambda end: end[2])
    low, high = axes.get_ylim()
    heights = np.array([(value - low) / (high - low) for _, _, value in ordered])
    names = [textwrap.wrap(name, NAME_WIDTH) for name, _, _ in ordered]
    inches = axes.get_window_extent().height / axes.figure.dpi
    where: Any = {"xycoords": "axes fraction", "box_alignment": (0, 0.5), "annotation_clip": False}
    for (_, style, _), name, height in zip(ordered, names, _apart(heights, names, inches), strict=True):
        look = DrawingArea(16, 6)
        look.add_artist(Line2D([0, 16], [3, 3], linewidth=1.4, **style.line))
        look.add_artist(Line2D([8], [3], linestyle="", color=style.colour, marker=style.marker, markersize=4))
        text = TextArea("\n".join(name), textprops={"size": NAME_SIZE})
        packed = HPacker(children=[look, text], pad=0, sep=3, align="center")
        axes.add_artist(AnnotationBbox(packed, (1.02, height), frameon=False, pad=0, **where))


def _apart(heights: NDArray[np.float64], names: Sequence[Sequence[str]], inches: float) -> Iterator[float]:
    """The nearest places to some heights, in order, at which names do not lie on each other."""
    if not names:
        return
    half = np.array([len(name) / 2 for name in names]) * NAME_HEIGHT / inches
    offsets = np.concatenate([[0.0], np.cumsum(half[:-1] + half[1:])])
    yield from isotonic_regression(np.clip(heights, 0, 1) - offsets).x + offsets


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
        with matplotlib.rc_context({"text.parse_math": False}):  # an odd `$` in a record's text would stop all reports
            figure = make()
        said = description(figure)
        for ending, metadata in (
            ("svg", {"Date": None, "Creator": None, "Description": said}),
            ("png", {"Software": None, "Description": said}),
        ):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=160, metadata=metadata)
            files[ending] = buffer.getvalue()
    return files
