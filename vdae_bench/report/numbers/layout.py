"""A results table laid out from `columns.COLUMNS` for one output."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vdae_bench.report.numbers import columns
from vdae_bench.report.numbers.columns import Column, Output, Place
from vdae_bench.report.numbers.rows import SCORES, Row, Sheet
from vdae_bench.report.numbers.runs import alike
from vdae_bench.spec.sweep import Cell


@dataclass(frozen=True)
class Grid:
    """The columns of a table, their headings, those of them that are aligned to the left, and the cells of each row."""

    columns: list[Column]
    headings: list[str]
    left: list[str]
    rows: list[list[Any]]
    bold: set[tuple[int, int]]
    """(row, column) of the best numbers."""


def lay_out(
    sheet: Sheet,
    rows: Iterable[Row],
    output: Output,
    *,
    compared: bool = True,
    scores: Sequence[tuple[str, str]] = SCORES,
    best: Collection[tuple[Cell, str]] = (),
) -> Grid:
    """Some rows of a results table as an output shows it, with or without the columns that need the paper's numbers.

    `scores` are the names and scores that a column of a score comes for; all other columns are about the first.
    `best` are (cell, score) that stand in bold.
    """
    timed = alike(run for row in sheet.everything for run in row.runs)
    shown = [
        (suitable, name, score)
        for column, name, score in _expanded(output, compared, scores)
        if (suitable := column if timed or not column.timed else column.otherwise)
    ]
    flop = sheet.flop_unit[1]
    headings = [
        (column.alone if column.alone and not compared else column.headings.get(output, column.heading))
        .format(score=name, flop=flop)
        .strip()
        for column, name, _ in shown
    ]
    left = [heading for (column, *_), heading in zip(shown, headings, strict=True) if output in column.left]
    cells = [(column.cells.get(output, column.cell), score) for column, _, score in shown]
    rows = list(rows)
    body = [[cell(Place(sheet, row, score)) for cell, score in cells] for row in rows]
    bold = {
        (number, place)
        for number, row in enumerate(rows)
        for place, (column, _, score) in enumerate(shown)
        if column.is_score and row.ran and (row.ran.cell, score) in best
    }
    return Grid([column for column, *_ in shown], headings, left, body, bold)


def _expanded(output: Output, compared: bool, scores: Sequence[tuple[str, str]]) -> Iterator[tuple[Column, str, str]]:
    """(column, name of its score, its score): neighbours that are of a score come together, once for each score."""
    shown = [each for each in columns.COLUMNS if output in each.only and (compared or not each.beside_paper)]
    for of_score, group in itertools.groupby(shown, key=lambda each: each.of_score):
        together = list(group)
        for name, score in scores if of_score else scores[:1]:
            yield from ((column, name, score) for column in together)
