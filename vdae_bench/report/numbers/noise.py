"""Figure 1's numbers: test -ELBO against the fixed noise level, for coupled and decoupled decoders (section 5.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vdae_bench.report.numbers.statistics import CellRuns, Summary
from vdae_bench.report.numbers.units import BITS_PER_DIM
from vdae_bench.spec.sweep import Cell

COUPLED = "coupled, learned variance"
LABELS = {
    ("vdae-coupled", "tied", None): "coupled, tied variance",
    ("vdae-coupled", "learned", None): COUPLED,
    ("vdae-nice", "learned", "linear"): "NICE decoder of its own",
    ("vdae-nice", "learned", "sigmoid"): "NICE decoder, sigmoid",
    ("vdae-resnet", "learned", "linear"): "ResNet decoder",
    ("vdae-resnet", "learned", "sigmoid"): "ResNet decoder, sigmoid",
}


@dataclass(frozen=True)
class NoiseCurve:
    """One decoder: -ELBO in bits/dim over the noise levels that have records."""

    label: str
    points: dict[float, Summary]
    cells: tuple[CellRuns, ...] = ()
    """All that ran at a level, with points or without."""


def coupled_floor(log_sigma: float) -> float:
    """The bound below any coupled model's -ELBO, on average over the data's distribution, in bits/dim.

    It reconstructs x + eps whatever its weights, so at its best variance -ELBO is the cross-entropy of x + eps under
    the flow: at least the entropy of x + eps, which is at least that of eps, `n (log sigma + 1/2 log(2 pi e))` nats.

    >>> [round(coupled_floor(log_sigma), 2) for log_sigma in (0, -1, -2, -3, -4)]
    [10.05, 8.6, 7.16, 5.72, 4.28]
    """
    return 8 + (log_sigma + 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)


OPTIONS = frozenset({"log_sigma", "decoder_variance", "decoder_output"})
"""The options that the cells of the figure may have: with others they are other models, or of other data."""


def curves_by_dataset(cells: Sequence[CellRuns]) -> dict[str, list[NoiseCurve]]:
    """The curves of each data set of which there are two or more, in the order of `LABELS`; one compares nothing."""
    found = {name: _curves_on(name, cells) for name in dict.fromkeys(each.cell.dataset for each in cells)}
    return {name: curves for name, curves in found.items() if curves}


def curves_of(cells: Sequence[CellRuns]) -> list[NoiseCurve]:
    """The curves of the first of those data sets."""
    return next(iter(curves_by_dataset(cells).values()), [])


def _curves_on(dataset: str, cells: Sequence[CellRuns]) -> list[NoiseCurve]:
    found: dict[str, dict[float, CellRuns]] = {}
    for each in cells:
        options = dict(each.cell.options)
        log_sigma = options.get("log_sigma")
        if each.cell.dataset != dataset or log_sigma is None or not options.keys() <= OPTIONS:
            continue
        output = None if each.cell.method == "vdae-coupled" else options.get("decoder_output", "sigmoid")
        label = LABELS.get((each.cell.method, options.get("decoder_variance", "learned"), output))
        if label:
            found.setdefault(label, {})[float(log_sigma)] = each
    curves = []
    for label in sorted(found, key=list(LABELS.values()).index):
        scores = {level: each.score("neg_elbo", BITS_PER_DIM) for level, each in sorted(found[label].items())}
        points = {level: score for level, score in scores.items() if score}
        curves += [NoiseCurve(label, points, tuple(found[label].values()))] if points else []
    return curves if len(curves) > 1 else []


def reference_nll(cells: Sequence[CellRuns], dataset: str) -> float | None:
    """NICE's own test NLL in bits/dim on a data set, where the sweep has it."""
    nice = (each for each in cells if each.cell == Cell(dataset, "nice", each.cell.latents))
    scores = [each.score("nll", BITS_PER_DIM) for each in nice]
    return scores[0].mean if scores and scores[0] else None


def values_table(curves: list[NoiseCurve]) -> pd.DataFrame:
    """The values of the figure: a row for each decoder and noise level."""
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
