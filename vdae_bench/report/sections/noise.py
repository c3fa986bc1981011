"""Figure 1: test -ELBO against the fixed noise level log sigma, for coupled and decoupled decoders (section 5.1)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import get_method
from vdae_bench.paper.claims import DECOUPLED, LOG_SIGMAS
from vdae_bench.report.numbers.comparable import why_unequal
from vdae_bench.report.numbers.noise import (
    COUPLED,
    LABELS,
    NoiseCurve,
    coupled_floor,
    curves_by_dataset,
    curves_of,
    reference_nll,
    values_table,
)
from vdae_bench.report.numbers.runs import Selection
from vdae_bench.report.numbers.settings import name_in_figures
from vdae_bench.report.numbers.statistics import Summary
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style import terminal
from vdae_bench.report.style.csv import csv
from vdae_bench.report.style.figure import GREY, STYLES, Style, band, canvas, drawn, name_ends
from vdae_bench.report.style.markdown import as_pixels, beside, bullets, escape, picture, table
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import counted, number

Points = Mapping[float, Summary]
CONTAINS_COUPLED = "NICE decoder of its own"
"""With h = f it is the coupled model: where it is worse, optimisation failed, not the model class."""

HEADROOM = 3.0
"""Bits/dim above the coupled model's floor at the largest noise that the figure shows."""
RING = 2.0
"""Points by which a marker is larger than that of the line above it, so that its ring shows where both lie together."""


def note(selection: Selection, curves: Sequence[NoiseCurve]) -> str:
    """One line for the figure: protocol, epochs, seeds, and how large the networks are beside the paper's."""
    run = next(run for curve in curves for cell in curve.cells for run in cell.completed)
    protocol, hyper = selection.protocol, run.record.hyperparameters
    paper = defaults(get_method(run.cell.method).hyperparameters)
    size, printed = hyper["coupling_hidden_size"], paper["coupling_hidden_size"]
    networks = f"couplings of {size} units" + (f" (paper: {printed})" if size != printed else "")
    return f"{name_in_figures(protocol)}: {counted(protocol.epochs, 'epoch')} (paper: 1000), {networks}"


def pivot(curves: list[NoiseCurve], separator: str = "<br>") -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the same as a table: means, a row a noise level, a column a decoder."""
    levels = sorted({level for curve in curves for level in curve.points})
    headers = ["log sigma", *(separator.join(textwrap.wrap(curve.label, 12)) for curve in curves), "floor"]
    rows = [
        [
            number(level),
            *(f"{curve.points[level].mean:.3f}" if level in curve.points else "" for curve in curves),
            f"{coupled_floor(level):.3f}",
        ]
        for level in levels
    ]
    return headers, rows


def _figure(curves: list[NoiseCurve], nice: float | None, note: str) -> Figure:
    figure = canvas(6.4, 4.8)
    axes = figure.subplots()
    styles = dict(zip(LABELS.values(), STYLES, strict=False))
    for place, curve in enumerate(curves, 1):
        _curve(axes, curve, styles[curve.label], 4 + RING * (len(curves) - place))
    every = sorted({level for curve in curves for level in curve.points})
    ends = np.array([every[0], every[-1]])
    floors = [coupled_floor(level) for level in ends]
    floor, flow = Style(GREY, (0, (1, 1)), ""), Style(GREY, (0, (4, 3)), "")
    axes.plot(ends, floors, **floor.line, linewidth=1, label="coupled model's floor")
    if nice is not None:
        axes.axhline(nice, **flow.line, linewidth=1, label="NICE's own NLL")
    # What is far above the coupled model's floor at the largest noise runs off the top; the table has it.
    ceiling = coupled_floor(every[-1]) + HEADROOM
    means = [score.mean for curve in curves for score in curve.points.values()]
    values = [mean for mean in means if mean <= ceiling] or means
    margin = 0.05 * (max(values) - min(values) or 1)
    axes.set_ylim(min([*values, *([nice] if nice else [])]) - margin, max(values) + margin)
    axes.set_xlabel("log sigma")
    axes.set_ylabel("test -ELBO (bits/dim)")
    axes.set_title(note, loc="left", fontsize=7.5, color=GREY)
    last = [(curve.label, styles[curve.label], curve.points[max(curve.points)].mean) for curve in curves]
    last += [("coupled model's floor", floor, floors[-1]), *([("NICE's own NLL", flow, nice)] if nice else [])]
    name_ends(axes, last)
    return figure


def _curve(axes: Axes, curve: NoiseCurve, style: Style, size: float) -> None:
    levels, scores = np.array(list(curve.points)), list(curve.points.values())
    means = np.array([score.mean for score in scores])
    axes.plot(levels, means, label=curve.label, markerfacecolor="white", **style.marked(size))
    band(axes, levels, [score.lowest for score in scores], [score.highest for score in scores], style)


def values_and_findings(curves: list[NoiseCurve]) -> Iterator[str]:
    """The values of the figure as a table, and what they say."""
    headers, rows = pivot(curves)
    yield table(headers, rows, right=headers)
    yield from findings(curves)


def findings(curves: list[NoiseCurve]) -> Iterator[str]:
    """Sentences that follow from the numbers: which reading of "any decoupling improves" they support, and where."""
    by_label = {curve.label: curve.points for curve in curves}
    coupled = by_label.get(COUPLED)
    others = {label: points for label, points in by_label.items() if not label.startswith("coupled")}
    if not coupled or not others:
        yield "Nothing can be said yet about decoupling: the coupled model or every decoupled one is missing."
        return
    yield bullets([_beside_coupled(label, points, coupled) for label, points in others.items()])
    unequal = why_unequal([cell for curve in curves for cell in curve.cells])
    yield f"{escape(unequal)}, so that 7a and 7b stay open." if unequal else _reading(coupled, others)
    own = others.get(CONTAINS_COUPLED, {})
    lost = [level for level in own if level in coupled and own[level].mean > coupled[level].mean]
    if lost:
        yield (
            "The NICE decoder with its own weights contains the coupled model, but is above it at "
            f"{_levels(lost)}. There the difference comes from optimisation (length, rate) and not from the model."
        )
    below = [level for level, score in coupled.items() if score.mean < coupled_floor(level) - 0.01]
    if below:
        yield f"**The coupled model is below its analytic floor at {_levels(below)}: that is an error, not a result.**"


def _beside_coupled(label: str, points: Points, coupled: Points) -> str:
    better = [level for level in points if level in coupled and points[level].mean < coupled[level].mean]
    worse = [level for level in points if level in coupled and level not in better]
    return f"{label}: below the coupled model at {_levels(better)}, not below it at {_levels(worse)}"


def _reading(coupled: Points, others: Mapping[str, Points]) -> str:
    """Which of claims 7a and 7b the means support; neither before every decoder has run at every level of the grid."""
    decoders = [label for label, *_ in DECOUPLED]
    if missing := [label for label in decoders if label not in others]:
        return (
            f"Only {len(decoders) - len(missing)} of the {len(decoders)} decoupled decoders ran "
            f"(not: {'; '.join(missing)}), so that 7a and 7b stay open."
        )
    incomplete = [level for level in LOG_SIGMAS if not all(level in points for points in (coupled, *others.values()))]
    if incomplete:
        return f"At {_levels(incomplete)} a decoder has no record, so that 7a and 7b stay open."
    all_better = [
        level for level in LOG_SIGMAS if all(points[level].mean < coupled[level].mean for points in others.values())
    ]
    rest = [level for level in LOG_SIGMAS if level not in all_better]
    if all_better and not rest:
        return 'These means support "any decoupling improves" (7a) at every sigma of the grid.'
    if all_better and min(all_better) > max(rest):
        return (
            "These means support the form of section 2 (7b), that decoupling helps at large noise: every decoupled "
            f"decoder is below the coupled one from log sigma = {min(all_better):g} up, but not at {_levels(rest)}. "
            "They do not support 7a, that it helps at every sigma."
        )
    return f"Every decoupled decoder is below the coupled one at {_levels(all_better)}: neither 7a nor 7b holds."


def _levels(levels: list[float]) -> str:
    return "log sigma = " + ", ".join(number(level) for level in sorted(levels)) if levels else "no sigma"


PICTURE = "Test -ELBO against the fixed noise level"


def _text(subject: Subject, curves: list[NoiseCurve]) -> Iterator[str]:
    name = f"{subject.name}-noise"
    yield picture(PICTURE, f"{name}.svg")
    yield (
        "The curves show the test -ELBO in bits/dim (lower is better), as a mean over seeds, with bands from the "
        f"lowest to the highest. Far higher values are off the top. {as_pixels(name)}; "
        f"the values: {beside(f'{name}.csv')}."
    )
    shown, *others = curves_by_dataset(subject.cells)
    if others:
        yield f"Figure and table are of {shown} alone, and not of {escape(', '.join(others))}."
    yield from values_and_findings(curves)


def _files(subject: Subject, curves: list[NoiseCurve]) -> dict[str, bytes]:
    nice = reference_nll(subject.cells, curves[0].cells[0].cell.dataset)
    figure = drawn("noise", lambda: _figure(curves, nice, note(subject.selection, curves)))
    return {**figure, "noise.csv": csv(values_table(curves)).encode()}


def _terminal(subject: Subject, curves: list[NoiseCurve]) -> Iterator[str]:
    yield ""
    yield "-ELBO in bits/dim against the fixed noise level, coupled and decoupled decoders:"
    headers, rows = pivot(curves, separator="\n")
    yield terminal.table(headers, rows)
    for paragraph in findings(curves):
        for line in paragraph.split("\n"):
            yield from terminal.wrap(terminal.plain(line))


NOISE = Section("", lambda subject: curves_of(subject.cells) or None, _text, _files, _terminal)
