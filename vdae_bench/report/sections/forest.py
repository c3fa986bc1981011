"""The headline: ours less the paper's for every number of a table, and L-VDAE less VAE, ours beside the paper's."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdae_bench.paper.published import load_table, table_names
from vdae_bench.report.numbers.comparable import few_samples, why_unequal
from vdae_bench.report.numbers.pairs import Paired, paired, vae_beside
from vdae_bench.report.numbers.rows import SCORES, Sheet
from vdae_bench.report.numbers.settings import name_in_figures
from vdae_bench.report.numbers.statistics import Estimate
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.verdict import Finding, Verdict, judge_order, judge_row
from vdae_bench.report.style.figure import GREY, canvas, drawn
from vdae_bench.report.style.markdown import as_pixels, escape, picture
from vdae_bench.report.style.section import Section
from vdae_bench.spec.protocol import PAPER_EPOCHS
from vdae_bench.system.words import counted


class Look(NamedTuple):
    """The look of a verdict: colour, marker, and whether the marker is filled."""

    colour: str
    marker: str
    filled: bool


LOOKS = {
    Verdict.REPRODUCED: Look("#009E73", "o", True),
    Verdict.NOT_REPRODUCED: Look("#D55E00", "X", True),
    Verdict.TOO_CLOSE: Look("#0072B2", "D", False),
    Verdict.NOT_COMPARABLE: Look("0.45", "s", False),
}
"""Told apart by shape and filling where there is no colour."""
OURS, PAPER = Look("#0072B2", "o", True), Look("0.15", "d", False)
ROW = 0.19
"""Height of a line of the figure, in inches."""


@dataclass(frozen=True)
class Forest:
    """The lines of the figure: the numbers of the paper's table that have one of ours, and the pairs of L-VDAE and VAE.

    `printed` are all numbers of the table that anybody here can run.
    """

    sheet: Sheet
    margin: float
    printed: int
    rows: Sequence[tuple[str, Finding, Estimate]]
    orders: Sequence[Finding | None]
    """The verdict on the order of each row and the others with as many latents."""
    leads: Sequence[tuple[str, Paired, Estimate]]
    apart: Sequence[str]
    """Why each of the leads is no fair pair, or one of bounds; "" where it is neither."""


def forest_of(subject: Subject) -> Forest | None:
    """Return the figure's lines; None where nothing of a table ran, or in another sweep no L-VDAE beside its VAE.

    They are of the first data set that has any.
    """
    return next((found for sheet in _printed(subject) if (found := _forest_on(sheet, subject))), None)


def _printed(subject: Subject) -> list[Sheet]:
    """The sheets of a sweep that have numbers of the paper's."""
    tables = {load_table(name).dataset for name in table_names()}
    return [each for each in subject.sheets if each.dataset in tables and each.compared]


def _forest_on(sheet: Sheet, subject: Subject) -> Forest | None:
    table = next(each for each in map(load_table, table_names()) if each.dataset == sheet.dataset)
    judged = [(row, name, score, judge_row(row, score)) for row in sheet.rows for name, score in SCORES]
    shown = [each for each in judged if each[3] and each[3].estimate]
    if not shown:
        return None
    rows = [(f"{row.name}  {name}", found, found.estimate) for row, name, _, found in shown if found and found.estimate]
    orders = [judge_order(row, sheet.rows, score) for row, _, score, _ in shown]
    ran = {row.ran.cell: row.ran for row in sheet.rows if row.ran}
    leads, apart = [], []
    for cell in ran:
        vae = vae_beside(cell)
        for each in paired(ran, cell, vae) if vae else []:
            if each.difference and vae:
                leads.append((f"m = {cell.latents}  {each.score}", each, each.difference))
                pair = [ran[cell], ran[vae]]
                apart.append(why_unequal(pair) or (few_samples(pair) if each.score == SCORES[0][0] else ""))
    if subject.name not in table_names() and not leads:
        return None
    wanted = sum(finding is not None for *_, finding in judged)
    return Forest(sheet, table.margin, wanted, rows, orders, leads, apart)


def _figure(forest: Forest, said: str) -> Figure:
    lines = [len(forest.rows), *([len(forest.leads)] if forest.leads else [])]
    figure = canvas(7.2, ROW * sum(lines) + 0.7 * len(lines) + 0.6)
    panels = figure.subplots(len(lines), 1, squeeze=False, height_ratios=[each + 1.5 for each in lines])[:, 0]
    _rows(panels[0], forest)
    panels[0].set_title(f"Ours minus the paper's, {said}", loc="left")
    if forest.leads:
        _leads(panels[1], forest)
        panels[1].set_title("L-VDAE minus VAE", loc="left")
    verdicts = {finding.verdict for _, finding, _ in forest.rows}
    verdicts |= {Verdict.NOT_COMPARABLE} if any(forest.apart) else set()
    handles = [_handle(str(verdict), look) for verdict, look in LOOKS.items() if verdict in verdicts]
    handles += [_handle("ours", OURS), _handle("paper", PAPER)] if forest.leads else []
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=7.5, handletextpad=0.2)
    return figure


def _rows(axes: Axes, forest: Forest) -> None:
    """Each number of ours less the paper's, with the margin as a band."""
    unit = forest.sheet.unit
    axes.axvspan(-forest.margin, forest.margin, color="#009E73", alpha=0.13, linewidth=0)
    for place, (_, finding, estimate) in enumerate(forest.rows):
        _line(axes, place, estimate, LOOKS[finding.verdict])
        order = forest.orders[place] if finding.verdict is Verdict.REPRODUCED else None
        beside = f", order {order.verdict}" if order else ""
        _say(axes, place, unit.show_interval(estimate.mean, estimate.interval()) + beside)
    what = f"ours - paper ({unit.name}; band: the margin ±{forest.margin:g})"
    _frame(axes, [label for label, *_ in forest.rows], what)


def _leads(axes: Axes, forest: Forest) -> None:
    """Each difference of L-VDAE and VAE, the paper's under it; one that is no fair pair looks like no verdict."""
    unit = forest.sheet.unit
    for place, (_, lead, ours) in enumerate(forest.leads):
        _line(axes, place - 0.15, ours, LOOKS[Verdict.NOT_COMPARABLE] if forest.apart[place] else OURS)
        said = unit.show_interval(ours.mean, ours.interval())
        if lead.printed is not None:
            half = lead.deviation or 0.0
            axes.plot([lead.printed - half, lead.printed + half], [place + 0.15] * 2, color=PAPER.colour, linewidth=1)
            _mark(axes, lead.printed, place + 0.15, PAPER)
            said += f", paper {unit.show_difference(lead.printed)}"
        _say(axes, place, said)
    what = f"L-VDAE - VAE ({unit.name}; left of 0: L-VDAE is better)"
    _frame(axes, [label for label, *_ in forest.leads], what)


def _say(axes: Axes, place: float, text: str) -> None:
    """Write a line's numbers beside it, right of the axes."""
    where: Any = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}
    axes.annotate(text, (1.01, place), va="center", fontsize=7, color=GREY, **where)


def _frame(axes: Axes, labels: Sequence[str], what: str) -> None:
    """A line for each label from the top down, zero marked."""
    axes.axvline(0, color="0.2", linewidth=0.8)
    axes.set_yticks(range(len(labels)), ["\n".join(textwrap.wrap(label, 40)) for label in labels], fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(what, fontsize=7.5)


def _line(axes: Axes, place: float, estimate: Estimate, look: Look) -> None:
    """A difference with its interval, where it has one."""
    if interval := estimate.interval():
        axes.plot(interval, [place] * 2, color=look.colour, linewidth=1.4)
    _mark(axes, estimate.mean, place, look)


def _mark(axes: Axes, x: float, y: float, look: Look) -> None:
    face = look.colour if look.filled else "white"
    axes.plot([x], [y], look.marker, markersize=5, color=look.colour, markerfacecolor=face, zorder=3)


def _handle(label: str, look: Look) -> Line2D:
    face = look.colour if look.filled else "white"
    return Line2D(
        [], [], label=label, marker=look.marker, color=look.colour, markerfacecolor=face, linestyle="", markersize=5
    )


PICTURE = "Ours minus the paper's for every number of the table, and L-VDAE minus VAE beside the paper's"


def _text(subject: Subject, forest: Forest) -> Iterator[str]:
    name = f"{subject.name}-forest"
    yield picture(PICTURE, f"{name}.svg")
    yield (
        f"The figure has {len(forest.rows)} of {counted(forest.printed, 'number')} that the paper prints for the cells "
        f"of this sweep{f' on {forest.sheet.dataset}' if len(_printed(subject)) > 1 else ''}. "
        "Lines are 95% intervals over seeds, if there are two seeds or more. In the lower part the paper's line is one "
        "standard deviation between single runs, if the paper prints one for both methods. The rules of the verdicts "
        f"follow below. {as_pixels(name)}."
    )
    leads = [" ".join(label.split()) for label, *_ in forest.leads]
    apart = [f"{label}: {why}" for label, why in zip(leads, forest.apart, strict=True) if why]
    yield from [f"L-VDAE minus VAE is not comparable in {escape('; '.join(apart))}."] if apart else []


def _files(subject: Subject, forest: Forest) -> dict[str, bytes]:
    protocol = subject.selection.protocol
    seeds = sorted({row.count for *_, row in forest.rows})
    several = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    said = f"{name_in_figures(protocol)}: {counted(protocol.epochs, 'epoch')} (paper: {PAPER_EPOCHS})"
    said += f", {several} seed{'s'[: seeds[-1] != 1]}"
    return drawn("forest", lambda: _figure(forest, said))


FOREST = Section("", forest_of, _text, _files)
