"""Verdicts: one vocabulary, and the rule that says which records decide anything.

Records decide a question only if what they leave open is well below the gap in question:

- `smoke`, and training on a part of the training images, decide nothing;
- runs as long as the paper's, or runs whose validation curve has flattened: it leaves less than `WELL_BELOW` of the gap
  open;
- for the NLL, the paper's K on all test images, or bias and standard error of the estimate below the same share;
- a comparison of cells needs one protocol for all of them; a comparison with the paper its network sizes too.

A schedule that falls to zero flattens any curve in the end, so flatness is measured in learning rate spent u, not in
epochs: over the last tenth of it, which with the `linear` schedule is the last third of the epochs. That a curve moves
little there does not say how far it would still go: of an excess that falls as 1 / u, the last tenth takes a ninth of
what is left. So nine times the range over that stretch is taken as left open; a curve slower than 1 / u leaves more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vdae_bench.paper.published import PublishedTable, find_published, load_table, table_names
from vdae_bench.report.numbers.rows import Row
from vdae_bench.report.numbers.runs import Run, protocol_of
from vdae_bench.report.numbers.settings import declared_by
from vdae_bench.report.numbers.statistics import LEVEL, CellRuns, Estimate, difference_to_printed
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.spec.protocol import PAPER_EPOCHS, load_protocol
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import counted

LAST = 0.1
"""Part of the learning rate spent over which a curve has to be flat."""
WELL_BELOW = 0.25
"""The share of the gap in question that the curve, or the estimate of the NLL, may leave open."""


class Verdict(StrEnum):
    """The answer of records to a claim, or to a number of the paper."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    TOO_CLOSE = "too close to call"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """A verdict, the difference it rests on, and in a few words why, where the numbers do not say it."""

    verdict: Verdict
    unit: Unit | None = None
    estimate: Estimate | None = None
    reason: str = ""

    @property
    def evidence(self) -> str:
        """The difference with its interval and seeds, and the reason."""
        parts = []
        if self.estimate and self.unit:
            shown = self.unit.show_interval(self.estimate.mean, self.estimate.interval())
            parts.append(f"{shown} {self.unit.name}, {self.estimate.count} seed{'s'[: self.estimate.count != 1]}")
        return "; ".join([*parts, *([self.reason] if self.reason else [])])


def why_not_comparable(cells: Sequence[CellRuns], score: str, gap: float) -> str:
    """Why records of these cells decide no question about a gap (in their unit); "" if they do."""
    runs = [run for each in cells for run in each.completed]
    protocols = [protocol for run in runs if (protocol := protocol_of(run))]
    if len({digest(protocol.content()) for protocol in protocols}) > 1:
        return "the cells ran under different protocols"
    protocol, paper = protocols[0], load_protocol("paper")
    if protocol.base == "smoke":
        return "smoke tests the machinery alone"
    if protocol.train_images is not None:
        return f"trained on {protocol.train_images} of the training images"
    if protocol.elbo_images < paper.elbo_images:
        return f"{protocol.elbo_images} of {paper.elbo_images} test images"
    unit = unit_of(cells[0].cell.dataset)
    bar = WELL_BELOW * abs(gap)
    if overfitted := [run for run in runs if run.overfits and not run.record.metrics.test_at_best_epoch]:
        best = overfitted[0].record.metrics.validation
        return f"it overfits: validation was lowest after epoch {best.best_epoch if best else '?'}"
    if protocol.epochs < PAPER_EPOCHS:
        open_ = max(_left_open_by_curve(each) for each in cells)
        if not open_ < bar:
            state = f"leaves {unit.show(open_)} {unit.name} open" if math.isfinite(open_) else "is too short to say"
            return f"{counted(protocol.epochs, 'epoch')}, and the validation curve {state}"
    as_paper = protocol.importance_samples >= paper.importance_samples and protocol.nll_images >= paper.nll_images
    if score == "nll" and not as_paper:
        open_ = max(_left_open_by_estimate(each) for each in cells)
        if not open_ < bar:
            return f"the NLL with K = {protocol.importance_samples} is only known to {unit.show(open_)} {unit.name}"
    return ""


def _left_open_by_curve(cell: CellRuns) -> float:
    """How much further validation would fall, mean over seeds; infinite if it cannot be told."""
    if not cell.trained:
        return 0.0
    nats = statistics.fmean(_range_at_the_end(run) for run in cell.completed) * (1 - LAST) / LAST
    return unit_of(cell.cell.dataset).of_nats(nats, cell.cell.dataset)


def _range_at_the_end(run: Run) -> float:
    """The range of the validation curve, in nats, over the last part of the learning rate spent."""
    curve = run.record.curve.validation_neg_elbo_nats
    linear = run.record.hyperparameters.get("schedule") == "linear"
    # The rate of `linear` at time t of 1 is 1 - t: the stretch that spends LAST of it all is sqrt(LAST) long.
    stretch = max(1, round(len(curve) * (math.sqrt(LAST) if linear else LAST)))
    if len(curve) <= stretch:
        return math.inf
    last = [math.inf if value is None else value for value in curve[-1 - stretch :]]
    return max(last) - min(last) if all(map(math.isfinite, last)) else math.inf


def _left_open_by_estimate(cell: CellRuns) -> float:
    if cell.exact:
        return 0.0
    error, bias = cell.metric("nll_standard_error_nats"), cell.metric("nll_bias_nats")
    nats = (error.mean if error else math.inf) + (bias.mean if bias else math.inf)
    return unit_of(cell.cell.dataset).of_nats(nats, cell.cell.dataset)


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
    reason = _other_network(cell) or why_not_comparable([cell], score, gap)
    if reason:
        return Finding(Verdict.NOT_COMPARABLE, unit, estimate, reason)
    reasons = ["one seed has no interval"] if estimate.interval() is None else []
    reasons += [f"{cell.diverged} more diverged"] if cell.diverged else []
    return Finding(within(estimate, table.margin), unit, estimate, "; ".join(reasons))


def _table_of(cell: CellRuns) -> PublishedTable:
    return next(table for table in map(load_table, table_names()) if table.row_of(cell.cell))


def _other_network(cell: CellRuns) -> str:
    used = cell.completed[0].record.hyperparameters
    for each in declared_by(cell.cell.method, dict(cell.cell.options)):
        name, value = each.name, each.default
        if name not in PAPER_SEARCHED and used.get(name, value) != value:
            return f"{name} {used[name]}, {value} in the paper"
    return ""


PAPER_SEARCHED = {"hidden_size": "searched: 32 to 1024", "residual_blocks": "searched: 1 to 3"}
"""Sizes without one value in the paper (Appendix D); a method's default is one of the values it tried."""
