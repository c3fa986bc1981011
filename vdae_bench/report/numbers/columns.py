"""The columns of the results table, each declared once for every output that shows it.

A page, the terminal, LaTeX, CSV and the story of the long runs all lay their tables out from `COLUMNS`: a column is
added by one line there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from vdae_bench.paper.published import PrintedValue
from vdae_bench.report.numbers.rows import Row, Sheet
from vdae_bench.report.numbers.runs import total_flops, total_seconds
from vdae_bench.report.numbers.statistics import Estimate, Summary
from vdae_bench.report.numbers.verdict import Finding, judge_cell, judge_order, judge_row
from vdae_bench.system import words

ABSENT = "-"


class Output(Enum):
    """Where a results table is shown."""

    PAGE = auto()
    TERMINAL = auto()
    LATEX = auto()
    CSV = auto()
    STORY = auto()
    EXPERIMENTS = auto()


EVERYWHERE = frozenset(Output)
PAGE, TERMINAL, LATEX, CSV, STORY, EXPERIMENTS = Output


@dataclass(frozen=True)
class Place:
    """A cell of a results table: its table, its row, and the score in a column of a score (`nll`, `neg_elbo`)."""

    sheet: Sheet
    row: Row
    score: str

    @property
    def printed(self) -> PrintedValue | None:
        """The paper's number."""
        return getattr(self.row.published, self.score) if self.row.published else None

    @property
    def summary(self) -> Summary | None:
        """Our number."""
        return self.row.ran.score(self.score, self.sheet.unit) if self.row.ran else None

    @property
    def finding(self) -> Finding | None:
        """Our number judged beside the paper's."""
        return judge_row(self.row, self.score)

    @property
    def order(self) -> Finding | None:
        """Our order of the row and the others with as many latents, judged beside the paper's."""
        return judge_order(self.row, self.sheet.rows, self.score)

    @property
    def estimate(self) -> Estimate | None:
        """Our number less the paper's."""
        return self.finding.estimate if self.finding else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The ends of the interval of our number less the paper's."""
        return (self.estimate.interval() if self.estimate else None) or (None, None)


@dataclass(frozen=True)
class Column:
    """One column: its heading, the text or number in a row, and the outputs that show it.

    `headings` and `cells` say where an output has another heading or another text; `left` are the outputs that align
    the column to the left. In a heading, `{score}` is the name of the score and `{flop}` the unit of operations.
    A column of a score comes once for each score; one beside the paper goes where a table has none of its numbers, and
    `alone` is the heading that a column then has. One that is `timed` goes where the rows ran on several machines, for
    the column `otherwise`, if any. `to_records` makes a page link the text to the records of the row. A column that
    `is_score` has our numbers, the best of which is in bold.
    """

    heading: str
    cell: Callable[[Place], Any]
    only: Collection[Output] = EVERYWHERE
    left: Collection[Output] = ()
    headings: Mapping[Output, str] = field(default_factory=dict)
    cells: Mapping[Output, Callable[[Place], Any]] = field(default_factory=dict)
    of_score: bool = False
    beside_paper: bool = False
    alone: str = ""
    timed: bool = False
    otherwise: Column | None = None
    to_records: bool = False
    is_score: bool = False


def _ours(at: Place) -> str:
    """Our number for a row, or why there is none."""
    if at.row.ran is None:
        return "quoted" if at.row.of_others else "not run"
    return _our_number(at) if at.row.ran.completed else "diverged"


def _our_number(at: Place) -> str:
    return at.summary.show(at.sheet.unit) if at.summary else ABSENT


def _difference(at: Place) -> str:
    if at.row.quoted:  # another network, and perhaps other units: no difference
        caveat = at.row.published.caveat if at.row.published else ""
        return caveat if at.printed and (at.row.ran or caveat != "quoted") else ""
    return at.sheet.unit.show_difference(at.summary.mean - at.printed.value) if at.summary and at.printed else ""


def _completed(at: Place) -> int:
    return len(at.row.ran.completed) if at.row.ran else 0


def _seeds(at: Place) -> str:
    """How many seeds the numbers are from, of how many, and how many diverged."""
    diverged = at.row.ran.diverged if at.row.ran else 0
    of = f"{_completed(at)} of {at.row.wanted}{f', {diverged} diverged' if diverged else ''}"
    return "" if at.row.of_others else of


def _seconds(at: Place, name: str) -> str:
    mean = at.row.mean_cost(name)
    return "" if mean is None else words.seconds(mean)


def _operations(at: Place) -> str:
    mean = at.row.mean_cost("train_flops")
    return "" if mean is None else f"{mean / at.sheet.flop_unit[0]:.3g}"


def _hours(at: Place) -> str:
    return f"{total_seconds(at.row.runs) / 3600:.2f}" if at.row.ran else ABSENT


def _papers_number(at: Place) -> str:
    judged = judge_cell(at.row.ran, "nll") if at.row.ran else None
    diverged = f", {at.row.ran.diverged} diverged" if at.row.ran and at.row.ran.diverged else ""
    return f"{judged.verdict}{diverged}" if judged else ABSENT if at.row.ran else "missing"


def _papers_order(at: Place) -> str:
    judged = judge_order(at.row, at.sheet.rows, "nll") if at.row.ran else None
    return str(judged.verdict) if judged else ABSENT if at.row.ran else "missing"


COLUMNS: tuple[Column, ...] = (
    Column("dataset", lambda at: at.sheet.dataset, {CSV}),
    Column("latents", lambda at: at.row.latents, headings={LATEX: "Latents"}),
    Column("method", lambda at: at.row.method, left=EVERYWHERE, headings={LATEX: "Method"}),
    Column("cell", lambda at: at.row.ran.cell.slug if at.row.ran else None, {CSV}),
    Column("score", lambda at: at.score, {CSV}),
    Column("unit", lambda at: at.sheet.unit.name, {CSV}),
    Column(
        "{score} paper",
        lambda at: str(at.printed or ABSENT),
        EVERYWHERE - {EXPERIMENTS},
        headings={LATEX: "{score} (paper)", CSV: "paper"},
        cells={
            TERMINAL: lambda at: f"{at.printed.value:.{at.printed.decimals}f}" if at.printed else ABSENT,
            CSV: lambda at: at.printed and at.printed.value,
        },
        of_score=True,
        beside_paper=True,
    ),
    Column("paper_plus_minus", lambda at: at.printed and at.printed.plus_minus, {CSV}),
    Column(
        "{score} ours",
        _ours,
        headings={TERMINAL: "ours", LATEX: "{score} (ours)", CSV: "ours"},
        cells={
            LATEX: lambda at: ABSENT if at.row.of_others else _ours(at),
            CSV: lambda at: at.summary and at.summary.mean,
            STORY: _our_number,
            EXPERIMENTS: _our_number,
        },
        of_score=True,
        alone="{score}",
        is_score=True,
    ),
    Column("standard_deviation", lambda at: at.summary and at.summary.standard_deviation, {CSV}),
    Column("difference", _difference, {PAGE}, of_score=True, beside_paper=True),
    Column("difference", lambda at: at.estimate and at.estimate.mean, {CSV}),
    Column("difference_low", lambda at: at.interval[0], {CSV}),
    Column("difference_high", lambda at: at.interval[1], {CSV}),
    Column("verdict", lambda at: str(at.finding.verdict) if at.finding else None, {CSV}),
    Column("order_verdict", lambda at: str(at.order.verdict) if at.order else None, {CSV}),
    Column("the paper's NLL?", _papers_number, {STORY}, left={STORY}),
    Column("the paper's order in NLL?", _papers_order, {STORY}, left={STORY}),
    Column("unit", lambda at: at.sheet.unit.name, {EXPERIMENTS}, left={EXPERIMENTS}),
    Column("epochs", lambda at: str(at.row.ran.runs[0].record.protocol["epochs"]) if at.row.ran else "", {EXPERIMENTS}),
    Column(
        "seeds",
        _seeds,
        left=EVERYWHERE - {TERMINAL},
        headings={LATEX: "Seeds"},
        cells={
            TERMINAL: lambda at: "" if at.row.of_others else f"{_completed(at)}/{at.row.wanted}",
            CSV: _completed,
            STORY: lambda at: f"{at.row.finished} of {at.row.wanted}",
            EXPERIMENTS: lambda at: str(_completed(at)),
        },
        to_records=True,
    ),
    Column("seeds_wanted", lambda at: None if at.row.of_others else at.row.wanted, {CSV}),
    Column("training s", lambda at: _seconds(at, "train_seconds"), {PAGE}, timed=True),
    Column(
        "train s",
        lambda at: _seconds(at, "train_seconds"),
        {TERMINAL},
        timed=True,
        otherwise=Column("train {flop}", _operations),
    ),
    Column("evaluation s", lambda at: _seconds(at, "evaluation_seconds"), {PAGE}, timed=True),
    Column("training {flop}", _operations, {PAGE}),
    Column("hours", _hours, {STORY, EXPERIMENTS}),
    Column("TFLOP", lambda at: f"{total_flops(at.row.runs) / 1e12:.0f}" if at.row.ran else ABSENT, {STORY}),
)
