"""Verdicts: one vocabulary, and how the difference of a number, an order or a claim comes by one of them.

Which records may decide at all is in `numbers.comparable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from vdae_bench.paper.published import PublishedTable, find_published, load_table, table_names
from vdae_bench.report.numbers.comparable import remarks, why_not_comparable, why_unequal
from vdae_bench.report.numbers.rows import Row
from vdae_bench.report.numbers.settings import declared_by
from vdae_bench.report.numbers.statistics import LEVEL, CellRuns, Estimate, difference_to_printed, mean_of
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.system.words import counted


class Verdict(StrEnum):
    """The answer of records to a claim, or to a number of the paper."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    TOO_CLOSE = "too close to call"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


PRECEDENCE = (
    Verdict.NOT_REPRODUCED,
    Verdict.NOT_RUN,
    Verdict.NOT_COMPARABLE,
    Verdict.TOO_CLOSE,
    Verdict.REPRODUCED,
)
"""Verdicts on several parts together: the first of these that one of them has."""


@dataclass(frozen=True)
class Finding:
    """A verdict, the difference it rests on, and in a few words why, where the numbers do not say it."""

    verdict: Verdict
    unit: Unit | None = None
    estimate: Estimate | None = None
    reason: str = ""
    source: str = ""
    """The sweep and protocol whose records were judged, where that is not plain from the place."""
    bound: float = 0.0
    """The value that the difference is below if it is evidence for the statement."""

    @property
    def evidence(self) -> str:
        """The difference with its interval and seeds, the reason, and where the records are from."""
        parts = []
        if self.estimate and self.unit:
            shown = self.unit.show_interval(self.estimate.mean, self.estimate.interval())
            parts.append(f"{shown} {self.unit.name}, {counted(self.estimate.count, 'seed')}")
        said = "; ".join([*parts, *([self.reason] if self.reason else [])])
        return f"{said} ({self.source})" if self.source else said


def below(estimate: Estimate, bound: float = 0.0, alternatives: int = 1, choices: int = 1) -> Verdict:
    """The verdict on a difference being below a bound: decided when its interval lies on one side.

    A claim of several parts needs all of them, so that no part is corrected for; one part against it overturns the
    claim, so that there the level is shared among the `alternatives` (Bonferroni). Where the best of several cells was
    taken, being below is corrected for the `choices`.
    """
    chosen, strict = (estimate.interval(1 - (1 - LEVEL) / shared) for shared in (choices, alternatives))
    if chosen is None or strict is None:
        return Verdict.TOO_CLOSE
    if chosen[1] < bound:
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if strict[0] > bound else Verdict.TOO_CLOSE


def within(estimate: Estimate, margin: float) -> Verdict:
    """The verdict on a difference being within a margin of zero (two one-sided tests on its interval)."""
    interval = estimate.interval()
    if interval is None:
        return Verdict.TOO_CLOSE
    low, high = interval
    if -margin < low and high < margin:
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if low > margin or high < -margin else Verdict.TOO_CLOSE


def judge_row(row: Row, score: str) -> Finding | None:
    """Our number for a row of a table beside the paper's; None where the paper measured none."""
    if row.ran:
        return judge_cell(row.ran, score)
    wanted = row.published is not None and not row.quoted and getattr(row.published, score) is not None
    return Finding(Verdict.NOT_RUN, reason="no run in this table") if wanted else None


def judge_cell(cell: CellRuns, score: str) -> Finding | None:
    """Our number for a cell that ran beside the paper's; None where the paper prints none."""
    published = find_published(cell.cell)
    printed = getattr(published, score) if published else None
    if printed is None:
        return None
    unit = unit_of(cell.cell.dataset)
    summary = cell.score(score, unit)
    if summary is None:
        return Finding(Verdict.NOT_RUN, reason="diverged")
    table = _table_of(cell)
    estimate = difference_to_printed(summary, printed, table.runs)
    gap = max(abs(estimate.mean), table.margin)
    reason = _most_diverged(cell) or _other_network(cell) or why_not_comparable([cell], score, gap)
    if reason:
        return Finding(Verdict.NOT_COMPARABLE, unit, estimate, reason)
    reasons = ["one seed has no interval"] if estimate.interval() is None else []
    reasons += [f"{cell.diverged} more diverged"] if cell.diverged else []
    return Finding(within(estimate, table.margin), unit, estimate, "; ".join([*reasons, *remarks([cell])]))


def _most_diverged(cell: CellRuns) -> str:
    """Numbers of the few seeds that stayed finite are those of a chosen few."""
    few = 2 * cell.diverged >= len(cell.runs)
    return f"{cell.diverged} of {counted(len(cell.runs), 'seed')} diverged" if few else ""


@dataclass(frozen=True)
class Summand:
    """A cell in a difference: its weight, its runs and the score of each seed."""

    weight: float
    cell: CellRuns
    by_seed: Mapping[int, float]


def judge_sum(
    summands: Sequence[Summand],
    score: str,
    unit: Unit,
    *,
    bound: float = 0.0,
    gap: float | None = None,
    alternatives: int = 1,
    choices: int = 1,
    alike: Sequence[str] = (),
    true_nll: bool = False,
) -> Finding:
    """The verdict on a weighted sum of scores being below a bound, within each seed that all its cells have.

    `gap` is what the records have to tell apart, where it is not the sum's distance from its bound; `alike` and
    `true_nll` are an inequality's (`paper.claims`).
    """
    seeds = sorted(set.intersection(*(set(each.by_seed) for each in summands)))
    if not seeds:
        return Finding(Verdict.NOT_RUN, reason="no seed that all cells have")
    cells = [each.cell for each in summands]
    estimate = mean_of([sum(each.weight * each.by_seed[seed] for each in summands) for seed in seeds])
    distance = estimate.mean - bound if gap is None else gap
    if reason := why_unequal(cells, alike) or why_not_comparable(cells, score, distance, true_nll):
        return Finding(Verdict.NOT_COMPARABLE, unit, estimate, reason, bound=bound)
    most = max(len(each.cell.completed) for each in summands)
    reasons = [f"of {most}, those that all cells have"] if len(seeds) < most else []
    reasons += ["one seed has no interval"] if len(seeds) == 1 else []
    verdict = below(estimate, bound, alternatives, choices)
    return Finding(verdict, unit, estimate, "; ".join([*reasons, *remarks(cells)]), bound=bound)


def judge_difference(first: CellRuns, second: CellRuns, score: str) -> Finding:
    """The verdict on a cell's score being below that of another one on the same data, paired by seed."""
    unit = unit_of(first.cell.dataset)
    pair = ((1.0, first), (-1.0, second))
    return judge_sum([Summand(weight, each, each.by_seed(score, unit)) for weight, each in pair], score, unit)


def judge_order(row: Row, rows: Sequence[Row], score: str) -> Finding | None:
    """Our order of a row and the table's others with as many latents, beside that of the paper's printed numbers.

    None where the paper prints no other number, or the same one. A margin that is wider than the paper's gap lets both
    numbers be "the paper's" with their order turned.
    """
    found = [(other, _order(row, other, score)) for other in rows if _are_ordered(row, other, score)]
    if len(found) < 2:
        return found[0][1] if found else None
    counts = Counter(finding.verdict for _, finding in found)
    reason = "; ".join(f"beside {other.method}: {finding.verdict}" for other, finding in found)
    return Finding(next(each for each in PRECEDENCE if counts[each]), reason=reason)


def _are_ordered(row: Row, other: Row, score: str) -> bool:
    if row is other or row.quoted or other.quoted or not (row.published and other.published):
        return False
    numbers = [getattr(each.published, score) for each in (row, other)]
    return row.published.latents == other.published.latents and all(numbers) and numbers[0].value != numbers[1].value


def _order(row: Row, other: Row, score: str) -> Finding:
    better, worse = sorted((row, other), key=lambda each: float(getattr(each.published, score).value))
    if absent := [each for each in (better, worse) if not (each.ran and each.ran.completed)]:
        return Finding(Verdict.NOT_RUN, reason=f"no run of {absent[0].name}")
    assert better.ran and worse.ran
    finding = judge_difference(better.ran, worse.ran, score)
    return replace(finding, reason="; ".join(filter(None, [f"{better.method} minus {worse.method}", finding.reason])))


def _table_of(cell: CellRuns) -> PublishedTable:
    return next(table for table in map(load_table, table_names()) if table.row_of(cell.cell))


def _other_network(cell: CellRuns) -> str:
    used = cell.completed[0].record.hyperparameters
    for each in declared_by(cell.cell.method, dict(cell.cell.options)):
        name, value = each.name, each.default
        tried = PAPER_SEARCHED.get(name)
        if used.get(name, value) not in (range(tried[0], tried[1] + 1) if tried else (value,)):
            return f"{name} {used[name]}, {f'{tried[0]} to {tried[1]}' if tried else value} in the paper"
    return ""


PAPER_SEARCHED = {"hidden_size": (32, 1024), "residual_blocks": (1, 3)}
"""Sizes without one value in the paper, and between what it searched for each (Appendix D)."""
