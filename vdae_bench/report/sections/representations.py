"""Two representations of the data: each method on pixels and on logits of pixels, both in bits/dim of pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdae_bench.paper.published import PublishedRow, load_table, outside_numbers, table_names
from vdae_bench.report.numbers.comparable import FEW_SAMPLES, few_samples, why_unequal
from vdae_bench.report.numbers.rows import place_of, title_of
from vdae_bench.report.numbers.statistics import CellRuns, Estimate, Summary, in_common, mean_of, summarise
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.units import BITS_PER_DIM
from vdae_bench.report.style.figure import GREY, MORE_STYLES, STYLES, canvas, drawn
from vdae_bench.report.style.markdown import as_pixels, escape, picture, table
from vdae_bench.report.style.section import Section
from vdae_bench.spec.sweep import Cell

SPACES = ("pixels", "logit")
DATA = {"pixels": "pixels", "logit": "logits of pixels", "unknown": "data that are not known"}
TITLE = "Pixels and logits of pixels"
CEILING = 9.0
"""Bits/dim up to which the figure shows; a uniform density has 8."""


@dataclass(frozen=True)
class TwoSpaces:
    """A method on pixels and on logits, all else equal."""

    label: str
    pixels: CellRuns
    logits: CellRuns

    @property
    def both(self) -> tuple[CellRuns, CellRuns]:
        """The two cells, in the order of `SPACES`."""
        return self.pixels, self.logits

    @property
    def unfair(self) -> str:
        """Why the two may not be compared; "" where they may."""
        return why_unequal(self.both)

    def by_seed(self) -> list[tuple[float, float]]:
        """Test NLL in bits/dim of both, for each seed that both have."""
        return in_common(*(each.by_seed("nll", BITS_PER_DIM) for each in self.both))

    def nll(self) -> tuple[Summary, Summary]:
        """Test NLL in bits/dim of both, over those seeds."""
        pixels, logits = map(summarise, zip(*self.by_seed(), strict=True))
        assert pixels and logits
        return pixels, logits

    def difference(self) -> Estimate:
        """NLL on logits less that on pixels, paired by seed."""
        return mean_of([logits - pixels for pixels, logits in self.by_seed()])


@dataclass(frozen=True)
class TwoSpacesOf:
    """The pairs on one data set, and what the paper quotes on it."""

    dataset: str
    pairs: tuple[TwoSpaces, ...]

    @property
    def quoted(self) -> tuple[PublishedRow, ...]:
        """Numbers that the paper quotes on such data."""
        tables = [table for table in map(load_table, table_names()) if table.dataset == self.dataset]
        return tuple(row for table in tables for row in table.rows if row.origin == "quoted")


def pairs_of(cells: Sequence[CellRuns]) -> list[TwoSpacesOf]:
    """Every cell on logits that has a twin on pixels, by data set."""
    ran = {each.cell: each for each in sorted(cells, key=lambda each: place_of(each.cell)) if each.completed}
    found: dict[str, list[TwoSpaces]] = {}
    for cell, logits in ran.items():
        options = tuple((name, value) for name, value in cell.options if name not in ("space", "alpha"))
        twin = ran.get(Cell(cell.dataset, cell.method, cell.latents, options))
        if dict(cell.options).get("space") == "logit" and twin:
            latents = f", m = {cell.latents}" if cell.latents not in (0, 784) else ""
            alpha = "".join(f", alpha = {value}" for name, value in cell.options if name == "alpha")
            label = f"{title_of(replace(twin.cell, options=options))}{latents}{alpha}"
            if (pair := TwoSpaces(label, twin, logits)).by_seed():
                found.setdefault(cell.dataset, []).append(pair)
    return [TwoSpacesOf(dataset, tuple(pairs)) for dataset, pairs in found.items()]


def _figure(found: Sequence[TwoSpacesOf]) -> Figure:
    figure = canvas(6.4 * len(found), 5.2)
    for axes, each in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        for pair, style in zip(each.pairs, itertools.cycle((*STYLES, *MORE_STYLES)), strict=False):
            means = [summary.mean for summary in pair.nll()]
            look = style.marked(5)
            axes.plot(SPACES, means, label=pair.label, **look)
            for space, mean, cell in zip(SPACES, means, pair.both, strict=True):
                if few_samples([cell]):
                    axes.plot([space], [mean], **{**look, "markerfacecolor": "white", "zorder": 3})
        _mark_quoted(axes, each.quoted)
        axes.set_xlim(-0.3, 1.75)
        axes.set_ylim(0, min(CEILING, axes.get_ylim()[1]))
        axes.set_xticks([0, 1], [DATA[space] for space in SPACES])
        axes.set_ylabel("test NLL (bits/dim of pixels)")
        axes.set_title(each.dataset, loc="left")
        axes.legend(loc="lower left", fontsize=7.5)
    return figure


def _mark_quoted(axes: Axes, quoted: Sequence[PublishedRow]) -> None:
    """A line for each quoted number: over its data where it has their unit, else between the two."""
    places: dict[float, list[PublishedRow]] = {}
    for row in quoted:
        places.setdefault(float(SPACES.index(row.space)) if row.comparable else 0.5, []).append(row)
    for place, rows in places.items():
        names: dict[float, list[str]] = {}
        for row in rows:
            names.setdefault(row.nll.value, []).append(row.method)
        for value in names:
            axes.plot([place - 0.1, place + 0.1], [value, value], color=GREY, linestyle=(0, (1, 1)), linewidth=1.2)
        # One column of names for the lines that lie too near each other to be named apart.
        said = "\n".join(f"{', '.join(who)} {value:g}" for value, who in sorted(names.items()))
        if place in (0.0, 1.0):
            axes.annotate(f"quoted:\n{said}", (place + 0.12, min(names)), fontsize=7, color=GREY, va="center")
        else:
            what = "quoted, units or data\ndiffer or are not known"
            axes.annotate(f"{what}:\n{said}", (place - 0.1, min(names) - 0.1), fontsize=7, color=GREY, va="top")


def pairs_table(found: Sequence[TwoSpacesOf]) -> str:
    """NLL of each method on pixels and on logits, upper bounds marked, and the difference paired by seed."""
    rows = [
        [
            each.dataset,
            escape(pair.label),
            *(
                f"{'≤ ' if few_samples([cell]) else ''}{summary.show(BITS_PER_DIM)}"
                for cell, summary in zip(pair.both, pair.nll(), strict=True)
            ),
            "-" if pair.unfair else BITS_PER_DIM.show_interval(pair.difference().mean, pair.difference().interval()),
        ]
        for each in found
        for pair in each.pairs
    ]
    headers = ["data", "method", "NLL, pixels", "NLL, logits", "logits - pixels"]
    return table(headers, rows, right=headers[2:])


def described(found: Sequence[TwoSpacesOf], picture_path: str) -> Iterator[str]:
    """The picture at a path without its ending, the table, what is to be known of its numbers, and those of others."""
    highest = max(summary.mean for each in found for pair in each.pairs for summary in pair.nll())
    above = f"Scores above {CEILING:g} bits/dim are off the top. " if highest > CEILING else ""
    yield picture("Test NLL of each method on pixels and on logits of pixels", f"{picture_path}.svg")
    yield (
        "Both columns are densities of pixels, in bits/dim, for runs of equal length; on logits the volume of "
        f"logit(alpha + (1 - 2 alpha) x) is included. {above}{as_pixels(picture_path)}."
    )
    yield pairs_table(found)
    pairs = [(f"{each.dataset}, {pair.label}", pair) for each in found for pair in each.pairs]
    if any(few_samples([cell]) for _, pair in pairs for cell in pair.both):
        yield (
            f"NLLs with {FEW_SAMPLES:.0f} effective samples or fewer are upper bounds (≤, hollow in the figure), and "
            "their differences are those of bounds."
        )
    apart = [f"{label}: {pair.unfair}" for label, pair in pairs if pair.unfair]
    yield from [f"These are not fair pairs: {escape('; '.join(apart))}."] if apart else []
    for each in found:
        if each.quoted:
            said = (f"{escape(row.method)} {row.nll} ({row.caveat}, on {DATA[row.space]})" for row in each.quoted)
            yield f"Quoted by the paper beside models of pixels: {'; '.join(said)}."
        others = [f"{escape(one.model)} {one.nll}" for one in outside_numbers(each.dataset) if one.space == "logit"]
        if others:
            yield f"Published on logits, in bits per 784 dimensions: {'; '.join(others)}."


def _text(subject: Subject, found: Sequence[TwoSpacesOf]) -> Iterator[str]:
    yield from described(found, f"{subject.name}-representations")


def _files(subject: Subject, found: Sequence[TwoSpacesOf]) -> dict[str, bytes]:
    return drawn("representations", lambda: _figure(found))


REPRESENTATIONS = Section(TITLE, lambda subject: pairs_of(subject.cells) or None, _text, _files)
