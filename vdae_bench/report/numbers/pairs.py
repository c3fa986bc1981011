"""Pairs of cells with the same data and latents: their scores less each other by seed, beside what the paper prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from vdae_bench.paper.published import find_published
from vdae_bench.report.numbers.comparable import doubts, few_images, few_samples, meaningless, shorter, why_unequal
from vdae_bench.report.numbers.rows import SCORES, title_of
from vdae_bench.report.numbers.runs import grouped, protocol_of
from vdae_bench.report.numbers.statistics import LEVEL, CellRuns, Estimate, Summary, in_common, mean_of, summarise
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.spec.protocol import EPOCHS_TO_ORDER
from vdae_bench.spec.sweep import Cell
from vdae_bench.system.words import counted


@dataclass(frozen=True)
class Paired:
    """A score of a cell less another one's, paired by seed, and what the paper prints of the same."""

    score: str
    difference: Estimate | None
    """None until both ran with the same seed."""
    printed: float | None
    deviation: float | None
    """Standard deviation of the paper's difference between two single runs, where it prints those of both."""


def paired(ran: Mapping[Cell, CellRuns], cell: Cell, other: Cell) -> list[Paired]:
    """Each score of a cell less that of another one on the same data."""
    unit = unit_of(cell.dataset)
    found = []
    for name, score in SCORES:
        ours, theirs = (ran[each].by_seed(score, unit) if each in ran else {} for each in (cell, other))
        values = [one - another for one, another in in_common(ours, theirs)]
        found.append(Paired(name, mean_of(values) if values else None, *_printed_difference(cell, other, score)))
    return found


def vae_beside(cell: Cell) -> Cell | None:
    """The VAE with as many latents as an L-VDAE; None of every other method."""
    return Cell(cell.dataset, "vae", cell.latents) if cell.method == "lvdae" and not cell.options else None


def _printed_difference(cell: Cell, other: Cell, score: str) -> tuple[float | None, float | None]:
    """The difference that the paper prints, and its deviation between single runs."""
    numbers = [getattr(found, score) for found in map(find_published, (cell, other)) if found]
    if len(numbers) < 2 or not all(numbers):
        return None, None
    deviations = [number.plus_minus for number in numbers if number.plus_minus]
    return numbers[0].value - numbers[1].value, math.hypot(*deviations) if len(deviations) == 2 else None


@dataclass(frozen=True)
class Pair:
    """Two cells of a sweep with the same data and latents in one score: the first less the second, by seed.

    All of its numbers are of the seeds that both have.
    """

    score: str
    metric: str
    first: CellRuns
    second: CellRuns
    scores: tuple[Summary | None, Summary | None]
    """Those of the first and of the second."""
    estimate: Estimate
    family: int
    """How many such differences on the same data have an interval: they share the level (Bonferroni)."""
    apart: str
    """Why neither may be called better, whatever the difference is; "" where one may."""
    length: str
    """"better after 50 epochs" of runs shorter than the paper's; "ahead" of those that are too short for an order."""
    doubts: tuple[str, ...]
    """Remarks on the records that the answer is from."""

    @property
    def unit(self) -> Unit:
        """The unit of the score."""
        return unit_of(self.first.cell.dataset)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the difference, with the level shared among all pairs; None of one seed."""
        return self.estimate.interval(1 - (1 - LEVEL) / max(1, self.family))

    @property
    def better(self) -> CellRuns | None:
        """The cell with the lower score, where the interval says so."""
        if self.apart or self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return self.first if self.estimate.mean < 0 else self.second

    @property
    def answer(self) -> str:
        """The answer in words: which is better, or why that is not known."""
        if self.apart:
            return f"no fair pair: {self.apart}"
        if self.interval is None:
            return "one seed has no interval"
        found = f"{title_of(self.better.cell)} is {self.length or 'better'}" if self.better else "too close to call"
        return "; ".join([found, *self.doubts])

    @property
    def most(self) -> int:
        """Completed seeds of the one that has more."""
        return max(len(each.completed) for each in (self.first, self.second))


def pairs_of(cells: Sequence[CellRuns]) -> list[Pair]:
    """Every two of these cells with the same data and latents and a seed in common, in each score that both have.

    Points of a grid of noise levels have their own figure, and what is not trained has no seeds.
    """
    found = []
    for members in grouped(_standing(cells), lambda each: (each.cell.dataset, each.cell.latents)).values():
        for second, first in combinations(members, 2):
            for (name, score), each in zip(SCORES, _both(first, second), strict=True):
                if each.difference:
                    found.append(_pair(name, score, first, second, each.difference))
    sharing = Counter(each.first.cell.dataset for each in found if each.estimate.count > 1)
    return [replace(each, family=sharing[each.first.cell.dataset]) for each in found]


def best_of(cells: Sequence[CellRuns], pairs: Iterable[Pair]) -> set[tuple[Cell, str]]:
    """(cell, score) of each of these that the pairs of all call better than every other with its data and latents."""
    won = Counter((pair.better.cell, pair.metric) for pair in pairs if pair.better)
    there = Counter(
        (each.cell.dataset, each.cell.latents, score)
        for each in _standing(cells)
        for _, score in SCORES
        if each.score(score, unit_of(each.cell.dataset))
    )
    return {
        (cell, score) for (cell, score), wins in won.items() if wins == there[cell.dataset, cell.latents, score] - 1
    }


def has_pairs(cells: Sequence[CellRuns]) -> bool:
    """True where `pairs_of` finds one; each cell is looked at once."""
    seen: set[tuple[str, int, str, int]] = set()
    for each in _standing(cells):
        dataset, latents, unit = each.cell.dataset, each.cell.latents, unit_of(each.cell.dataset)
        own = {(dataset, latents, score, seed) for _, score in SCORES for seed in each.by_seed(score, unit)}
        if own & seen:
            return True
        seen |= own
    return False


def _standing(cells: Iterable[CellRuns]) -> list[CellRuns]:
    return [each for each in cells if each.trained and "log_sigma" not in dict(each.cell.options)]


def _both(first: CellRuns, second: CellRuns) -> list[Paired]:
    return paired({each.cell: each for each in (first, second)}, first.cell, second.cell)


def _pair(name: str, score: str, first: CellRuns, second: CellRuns, difference: Estimate) -> Pair:
    cells, unit = [first, second], unit_of(first.cell.dataset)
    ours, theirs = map(summarise, zip(*in_common(*(each.by_seed(score, unit) for each in cells)), strict=True))
    apart = (
        meaningless(protocol_of(first.completed[0]))
        or why_unequal(cells)
        or (few_samples(cells) if score == "nll" else "")
        or few_images(cells, score)
    )
    epochs = first.completed[0].record.protocol["epochs"]
    verb = "ahead" if epochs < EPOCHS_TO_ORDER else "better"
    length = f"{verb} after {counted(epochs, 'epoch')}" if shorter(cells) else ""
    return Pair(name, score, first, second, (ours, theirs), difference, 0, apart, length, tuple(doubts(cells)))
