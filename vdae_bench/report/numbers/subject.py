"""The subject of a page: everything that its sections may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vdae_bench.paper.published import load_table, table_names
from vdae_bench.report.numbers.claims import Judgement
from vdae_bench.report.numbers.pairs import Pair, best_of, pairs_of
from vdae_bench.report.numbers.rows import Sheet, place_of, sheets_of
from vdae_bench.report.numbers.runs import Run, Selection
from vdae_bench.report.numbers.searches import Frozen
from vdae_bench.report.numbers.settings import title_of_folder
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.spec.sweep import Cell


@dataclass(frozen=True)
class SearchSubject:
    """A sweep under a protocol, the winners of its searches, and where the page about it is to lie."""

    path: Path
    searches: Sequence[Frozen]

    @property
    def name(self) -> str:
        """The sweep: the name of the page, and the start of the names of the files beside it."""
        return self.path.stem

    @property
    def title(self) -> str:
        """The title of the page."""
        return f"Sweep {self.name}, {title_of_folder(self.path.parent.name)}"


@dataclass(frozen=True)
class Subject(SearchSubject):
    """A sweep that ran, too: its runs, the same sweep under all protocols, and the claims that it is evidence for."""

    selection: Selection
    under_all: Sequence[Run]
    judged: Sequence[Judgement]
    claims: Path
    """The page of all claims."""

    @property
    def title(self) -> str:
        """The title of the page; a table of the paper has its own."""
        if self.name not in table_names():
            return super().title
        table = load_table(self.name)
        return f"{table.title} ({table.unit}), {title_of_folder(self.path.parent.name)}"

    @cached_property
    def cells(self) -> list[CellRuns]:
        """The cells that ran, in the order of the tables."""
        return sorted(cells_of(self.selection), key=lambda each: (each.cell.dataset, place_of(each.cell)))

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every two of its cells beside each other."""
        return pairs_of(self.cells)

    @cached_property
    def best(self) -> set[tuple[Cell, str]]:
        """(cell, score) of the best, where the intervals of pairs say so."""
        return best_of(self.cells, self.pairs)

    @cached_property
    def sheets(self) -> list[Sheet]:
        """The tables of the sweep, one for each data set."""
        return sheets_of(self.selection)
