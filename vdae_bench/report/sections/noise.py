"""Figure 1: test -ELBO against the fixed noise level log sigma, for coupled and decoupled decoders (section 5.1)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import get_method
from vdae_bench.report.numbers.runs import Selection
from vdae_bench.report.numbers.statistics import CellRuns, Summary
from vdae_bench.report.numbers.units import BITS_PER_DIM
from vdae_bench.report.style.figure import STYLES, saved
from vdae_bench.report.style.markdown import bullets, table

COUPLED = "coupled, learned variance"
LABELS = {
    ("vdae-coupled", "tied", None): "coupled, tied variance",
    ("vdae-coupled", "learned", None): COUPLED,
    ("vdae-nice", "learned", "linear"): "NICE decoder of its own",
    ("vdae-nice", "learned", "sigmoid"): "NICE decoder, sigmoid",
    ("vdae-resnet", "learned", "linear"): "ResNet decoder",
    ("vdae-resnet", "learned", "sigmoid"): "ResNet decoder, sigmoid",
}
CONTAINS_COUPLED = "NICE decoder of its own"
"""With h = f it is the coupled model: where it is worse, optimisation failed, not the model class."""


HEADROOM = 3.0
"""Bits/dim above the coupled model's floor at the largest noise that the figure shows."""


@dataclass(frozen=True)
class NoiseCurve:
    """One decoder: -ELBO in bits/dim over the noise levels that have records."""

    label: str
    points: dict[float, Summary]


def coupled_floor(log_sigma: float) -> float:
    """What no coupled model's -ELBO can be below, on average over the data's distribution, in bits/dim.

    It reconstructs x + eps whatever its weights, so at its best variance -ELBO is the cross-entropy of x + eps under
    the flow: at least the entropy of x + eps, which is at least that of eps, `n (log sigma + 1/2 log(2 pi e))` nats.

    >>> [round(coupled_floor(log_sigma), 2) for log_sigma in (0, -1, -2, -3, -4)]
    [10.05, 8.6, 7.16, 5.72, 4.28]
    """
    return 8 + (log_sigma + 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)


def curves_of(cells: list[CellRuns]) -> list[NoiseCurve]:
    """The curves that cells with a fixed log sigma make, in the order of `LABELS`; one alone compares no decoders."""
    found: dict[str, dict[float, Summary]] = {}
    for each in cells:
        options = dict(each.cell.options)
        log_sigma = options.get("log_sigma")
        score = each.score("neg_elbo", BITS_PER_DIM)
        if log_sigma is None or score is None:
            continue
        output = None if each.cell.method == "vdae-coupled" else options.get("decoder_output", "sigmoid")
        label = LABELS.get((each.cell.method, options.get("decoder_variance", "learned"), output))
        if label:
            found.setdefault(label, {})[float(log_sigma)] = score
    if len(found) < 2:
        return []
    order = list(LABELS.values())
    return [NoiseCurve(label, dict(sorted(found[label].items()))) for label in sorted(found, key=order.index)]


def reference_nll(cells: list[CellRuns]) -> float | None:
    """NICE's own test NLL in bits/dim, where the sweep has it."""
    scores = [each.score("nll", BITS_PER_DIM) for each in cells if each.cell.method == "nice" and not each.cell.options]
    return scores[0].mean if scores and scores[0] else None


def note(selection: Selection) -> str:
    """One line for the figure: protocol, epochs, seeds, and how large the networks are beside the paper's."""
    flows = (run for run in selection.runs if "coupling_hidden_size" in run.record.hyperparameters)
    run = next(run for run in flows if "log_sigma" in dict(run.cell.options))
    protocol, hyper = selection.protocol, run.record.hyperparameters
    paper = defaults(get_method(run.cell.method).hyperparameters)
    size, printed = hyper["coupling_hidden_size"], paper["coupling_hidden_size"]
    networks = f"couplings of {size} units" + (f" (paper: {printed})" if size != printed else "")
    return f"{protocol.name}: {protocol.epochs} epochs (paper: 1000), {networks}"


def values_table(curves: list[NoiseCurve]) -> pd.DataFrame:
    """What the figure shows: a row for each decoder and noise level."""
    return pd.DataFrame(
        [
            {
                "decoder": curve.label,
                "log_sigma": log_sigma,
                "neg_elbo_bits_per_dim": score.mean,
                "standard_deviation": score.standard_deviation,
                "lowest": score.lowest,
                "highest": score.highest,
                "seeds": score.count,
                "coupled_floor_bits_per_dim": coupled_floor(log_sigma),
            }
            for curve in curves
            for log_sigma, score in curve.points.items()
        ]
    )


def pivot(curves: list[NoiseCurve], separator: str = "<br>") -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the same as a table: means, a row a noise level, a column a decoder."""
    levels = sorted({level for curve in curves for level in curve.points})
    headers = ["log sigma", *(separator.join(textwrap.wrap(curve.label, 12)) for curve in curves), "floor"]
    rows = [
        [
            f"{level:g}",
            *(f"{curve.points[level].mean:.3f}" if level in curve.points else "" for curve in curves),
            f"{coupled_floor(level):.3f}",
        ]
        for level in levels
    ]
    return headers, rows


def draw(curves: list[NoiseCurve], nice: float | None, note: str) -> dict[str, bytes]:
    """The figure as contents of files by their ending, `svg` and `png`; the same bytes for the same records."""
    return saved(lambda: _figure(curves, nice, note)) if curves else {}


def _figure(curves: list[NoiseCurve], nice: float | None, note: str) -> Figure:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    styles = dict(zip(LABELS.values(), STYLES, strict=False))
    for curve in curves:
        style, levels = styles[curve.label], np.array(list(curve.points))
        scores = list(curve.points.values())
        means = np.array([score.mean for score in scores])
        axes.plot(
            levels,
            means,
            color=style.colour,
            linestyle=style.dashes,
            marker=style.marker,
            markersize=4,
            label=curve.label,
        )
        low, high = [score.lowest for score in scores], [score.highest for score in scores]
        axes.fill_between(levels, low, high, color=style.colour, alpha=0.15, linewidth=0)
    every = sorted({level for curve in curves for level in curve.points})
    ends = np.array([every[0], every[-1]])
    floors = [coupled_floor(level) for level in ends]
    axes.plot(ends, floors, color="0.35", linestyle=(0, (1, 1)), linewidth=1, label="coupled model's floor")
    if nice is not None:
        axes.axhline(nice, color="0.35", linestyle=(0, (4, 3)), linewidth=1, label="NICE's own NLL")
    # What is far above the coupled model's floor at the largest noise runs off the top; the table has it.
    ceiling = coupled_floor(every[-1]) + HEADROOM
    drawn = [score.mean for curve in curves for score in curve.points.values()]
    values = [mean for mean in drawn if mean <= ceiling] or drawn
    margin = 0.05 * (max(values) - min(values) or 1)
    axes.set_ylim(min([*values, *([nice] if nice else [])]) - margin, max(values) + margin)
    axes.set_xlabel("log sigma")
    axes.set_ylabel("test -ELBO (bits/dim)")
    axes.set_title(note, loc="left", fontsize=7.5, color="0.35")
    figure.legend(loc="outside lower left", ncols=3, handlelength=2.8, fontsize=8)
    return figure


def values_and_findings(curves: list[NoiseCurve]) -> Iterator[str]:
    """What stands under the figure on a page: the values, and what they say."""
    headers, rows = pivot(curves)
    yield table(headers, rows, right=headers)
    yield from findings(curves)


def findings(curves: list[NoiseCurve]) -> Iterator[str]:
    """In words, from the numbers: which reading of "any decoupling improves" they support, and where."""
    by_label = {curve.label: curve.points for curve in curves}
    coupled = by_label.get(COUPLED)
    others = {label: points for label, points in by_label.items() if not label.startswith("coupled")}
    if not coupled or not others:
        yield "Nothing can be said yet about decoupling: the coupled model or every decoupled one is missing."
        return
    lines = []
    for label, points in others.items():
        better = [level for level in points if level in coupled and points[level].mean < coupled[level].mean]
        worse = [level for level in points if level in coupled and level not in better]
        lines.append(f"{label}: below the coupled model at {_levels(better)}, not below it at {_levels(worse)}")
    yield bullets(lines)
    shared = [level for level in coupled if all(level in points for points in others.values())]
    all_better = [
        level for level in shared if all(points[level].mean < coupled[level].mean for points in others.values())
    ]
    rest = [level for level in shared if level not in all_better]
    missing = [level for level in coupled if level not in shared]
    if missing:
        yield (
            f"Every decoupled decoder is below the coupled one at {_levels(all_better)}, not at {_levels(rest)}; at "
            f"{_levels(missing)} one has no record, so that 7a and 7b stay open."
        )
    elif all_better and not rest:
        yield 'These means support "any decoupling improves" (7a) at every sigma of the grid.'
    elif all_better and min(all_better) > max(rest):
        yield (
            "These means support the form of section 2 (7b), that decoupling helps at large noise: every decoupled "
            f"decoder is below the coupled one from log sigma = {min(all_better):g} up, but not at {_levels(rest)}. "
            "They do not support 7a, that it helps at every sigma."
        )
    else:
        yield f"Every decoupled decoder is below the coupled one at {_levels(all_better)}: neither 7a nor 7b holds."
    own = others.get(CONTAINS_COUPLED, {})
    lost = [level for level in own if level in coupled and own[level].mean > coupled[level].mean]
    if lost:
        yield (
            "The NICE decoder with its own weights contains the coupled model, and is still above it at "
            f"{_levels(lost)}: there the difference is one of optimisation (length, rate), not of the model."
        )
    below = [level for level, score in coupled.items() if score.mean < coupled_floor(level) - 0.01]
    if below:
        yield f"**The coupled model is below its analytic floor at {_levels(below)}: that is an error, not a result.**"


def _levels(levels: list[float]) -> str:
    return "log sigma = " + ", ".join(f"{level:g}" for level in sorted(levels)) if levels else "no sigma"
