"""The columns of the results table, each declared once for every output that shows it.

A page, the terminal, LaTeX, CSV and the story of the long runs all lay their tables out from `COLUMNS`: a column is
added by one line there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from vdae_bench.paper.published import PrintedValue
from vdae_bench.report.numbers.cost import total_flops, total_seconds
from vdae_bench.report.numbers.rows import SCORES, Row, Sheet
from vdae_bench.report.numbers.statistics import Summary
from vdae_bench.report.numbers.verdict import Finding, judge_cell, judge_row
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
    def interval(self) -> tuple[float | None, float | None]:
        """The ends of the interval of our number less the paper's."""
        estimate = self.finding.estimate if self.finding else None
        return (estimate.interval() if estimate else None) or (None, None)


@dataclass(frozen=True)
class Column:
    """One column: its heading, the text or number in a row, and the outputs that show it.

    `headings` and `cells` say where an output has another heading or another text; `left` are the outputs that align
    the column to the left. In a heading, `{score}` is the name of the score and `{flop}` the unit of operations.
    """

    heading: str
    cell: Callable[[Place], Any]
    only: Collection[Output] = EVERYWHERE
    left: Collection[Output] = ()
    headings: Mapping[Output, str] = field(default_factory=dict)
    cells: Mapping[Output, Callable[[Place], Any]] = field(default_factory=dict)
    of_score: bool = False
    """Whether there is one for each score. CSV has a row for each score instead."""
    beside_paper: bool = False
    """Whether it needs the paper's numbers, and goes where a table has none of them."""
    alone: str = ""
    """The heading where the columns that need the paper's numbers are gone."""
    leads_to_records: bool = False
    """Whether a page links the text to the records behind the row."""


def ours(at: Place) -> str:
    """Our number for a row, or why there is none."""
    if at.row.quoted:
        return "quoted"
    if at.row.ran is None:
        return "not run"
    if not at.row.ran.completed:
        return "diverged"
    return our_number(at)


def our_number(at: Place) -> str:
    """Our number for a row, mean ± standard deviation, where there is one."""
    return at.summary.show(at.sheet.unit) if at.summary else ABSENT


def difference(at: Place) -> str:
    """Our number less the paper's."""
    return at.sheet.unit.show_difference(at.summary.mean - at.printed.value) if at.summary and at.printed else ""


def completed(at: Place) -> int:
    """How many seeds came to a result."""
    return len(at.row.ran.completed) if at.row.ran else 0


def seeds(at: Place) -> str:
    """How many seeds the numbers are from, of how many, and how many diverged."""
    if at.row.quoted:
        return ""
    diverged = at.row.ran.diverged if at.row.ran else 0
    return f"{completed(at)} of {at.row.wanted}{f', {diverged} diverged' if diverged else ''}"


def train_flops(row: Row) -> float | None:
    """Mean training FLOPs of a completed seed."""
    summary = row.ran.cost(lambda run: run.record.cost.train_flops) if row.ran else None
    return summary.mean if summary else None


def _operations(at: Place) -> str:
    flops = train_flops(at.row)
    return "" if flops is None else f"{flops / _flop_unit(at.sheet)[0]:.3g}"


def _flop_unit(sheet: Sheet) -> tuple[float, str]:
    return words.flop_unit(max((train_flops(row) or 0 for row in sheet.rows), default=0))


def _seconds(of: str) -> Callable[[Place], str]:
    """Mean seconds of a completed seed."""

    def shown(at: Place) -> str:
        summary = at.row.ran.cost(lambda run: float(getattr(run.record.cost, of))) if at.row.ran else None
        return words.seconds(summary.mean) if summary else ""

    return shown


def _papers_number(at: Place) -> str:
    if not at.row.ran:
        return "missing"
    judged = judge_cell(at.row.ran, "nll")
    return str(judged.verdict) if judged else ABSENT


COLUMNS: tuple[Column, ...] = (
    Column("dataset", lambda at: at.sheet.dataset, only={CSV}),
    Column("latents", lambda at: at.row.latents, only=EVERYWHERE - {EXPERIMENTS}, headings={LATEX: "Latents"}),
    Column("method", lambda at: at.row.method, left=EVERYWHERE, headings={LATEX: "Method"}),
    Column("cell", lambda at: at.row.ran.cell.slug if at.row.ran else None, only={CSV}),
    Column("score", lambda at: at.score, only={CSV}),
    Column("unit", lambda at: at.sheet.unit.name, only={CSV}),
    Column(
        "{score} paper",
        lambda at: str(at.printed or ABSENT),
        only=EVERYWHERE - {EXPERIMENTS},
        headings={LATEX: "{score} (paper)", CSV: "paper"},
        cells={
            TERMINAL: lambda at: f"{at.printed.value:.{at.printed.decimals}f}" if at.printed else ABSENT,
            CSV: lambda at: at.printed.value if at.printed else None,
        },
        of_score=True,
        beside_paper=True,
    ),
    Column("paper_plus_minus", lambda at: at.printed.plus_minus if at.printed else None, only={CSV}, of_score=True),
    Column(
        "{score} ours",
        ours,
        headings={TERMINAL: "ours", LATEX: "{score} (ours)", CSV: "ours"},
        cells={
            LATEX: lambda at: ABSENT if at.row.quoted else ours(at),
            CSV: lambda at: at.summary.mean if at.summary else None,
            STORY: our_number,
            EXPERIMENTS: our_number,
        },
        of_score=True,
        alone="{score}",
    ),
    Column(
        "standard_deviation",
        lambda at: at.summary.standard_deviation if at.summary else None,
        only={CSV},
        of_score=True,
    ),
    Column(
        "difference",
        difference,
        only={PAGE, CSV},
        cells={CSV: lambda at: at.finding.estimate.mean if at.finding and at.finding.estimate else None},
        of_score=True,
        beside_paper=True,
    ),
    Column("difference_low", lambda at: at.interval[0], only={CSV}, of_score=True),
    Column("difference_high", lambda at: at.interval[1], only={CSV}, of_score=True),
    Column("verdict", lambda at: str(at.finding.verdict) if at.finding else None, only={CSV}, of_score=True),
    Column("the paper's number?", _papers_number, only={STORY}, left={STORY}),
    Column("unit", lambda at: at.sheet.unit.name, only={EXPERIMENTS}, left={EXPERIMENTS}),
    Column(
        "epochs", lambda at: str(at.row.ran.runs[0].record.protocol["epochs"]) if at.row.ran else "", only={EXPERIMENTS}
    ),
    Column(
        "seeds",
        seeds,
        left=EVERYWHERE - {TERMINAL},
        headings={LATEX: "Seeds"},
        cells={
            TERMINAL: lambda at: "" if at.row.quoted else f"{completed(at)}/{at.row.wanted}",
            CSV: completed,
            STORY: lambda at: f"{at.row.finished} of {at.row.wanted}",
            EXPERIMENTS: lambda at: str(completed(at)),
        },
        leads_to_records=True,
    ),
    Column("seeds_wanted", lambda at: None if at.row.quoted else at.row.wanted, only={CSV}),
    Column("training s", _seconds("train_seconds"), only={PAGE, TERMINAL}, headings={TERMINAL: "train s"}),
    Column("evaluation s", _seconds("evaluation_seconds"), only={PAGE}),
    Column("training {flop}", _operations, only={PAGE}),
    Column(
        "hours",
        lambda at: f"{total_seconds(at.row.ran.runs) / 3600:.2f}" if at.row.ran else ABSENT,
        only={STORY, EXPERIMENTS},
    ),
    Column("TFLOP", lambda at: f"{total_flops(at.row.ran.runs) / 1e12:.0f}" if at.row.ran else ABSENT, only={STORY}),
)


@dataclass(frozen=True)
class Grid:
    """A results table laid out for one output: its columns and their headings, and the cells of each row."""

    columns: list[Column]
    headings: list[str]
    left: list[str]
    """The headings of the columns that are aligned to the left."""
    rows: list[list[Any]]

    @property
    def right(self) -> list[str]:
        """The headings of all other columns."""
        return [heading for heading in self.headings if heading not in self.left]


def lay_out(sheet: Sheet, rows: Sequence[Row], output: Output, *, compared: bool) -> Grid:
    """The results table of some rows as an output shows it, with or without the columns that need the paper's numbers.

    CSV has a row for each score, of which it leaves out those that neither the paper nor we have.
    """
    apart = output is CSV
    columns = list(_expanded(output, compared or apart, (("", ""),) if apart else SCORES))
    flop = _flop_unit(sheet)[1]
    headings = [
        (column.alone if column.alone and not (compared or apart) else column.headings.get(output, column.heading))
        .format(score=name, flop=flop)
        .strip()
        for column, name, _ in columns
    ]
    cells = [(column.cells.get(output, column.cell), score) for column, _, score in columns]
    body = [
        [cell(Place(sheet, row, score or own)) for cell, own in cells]
        for row in rows
        for score in ([score for _, score in SCORES] if apart else [""])
        if not apart or Place(sheet, row, score).printed or Place(sheet, row, score).summary
    ]
    left = [heading for (column, *_), heading in zip(columns, headings, strict=True) if output in column.left]
    return Grid([column for column, *_ in columns], headings, left, body)


def _expanded(output: Output, compared: bool, scores: Sequence[tuple[str, str]]) -> Iterator[tuple[Column, str, str]]:
    """(column, name of its score, its score): neighbours that are of a score come once for each score."""
    shown = [each for each in COLUMNS if output in each.only and (compared or not each.beside_paper)]
    for of_score, group in itertools.groupby(shown, key=lambda each: each.of_score):
        together = list(group)
        for name, score in scores if of_score else [("", "")]:
            for column in together:
                yield column, name, score
