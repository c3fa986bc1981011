"""Rows: the paper's in its order, beside the cells that reproduce them; other cells in the order of slugs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.models.registry import get_method
from vdae_bench.paper.published import PublishedRow, find_published, load_table, table_names
from vdae_bench.report.numbers.runs import Run, Selection, order_of
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.spec.sweep import Cell
from vdae_bench.system.words import number


@dataclass(frozen=True)
class Row:
    """A row of a table: what the paper prints, what ran here, or both; `wanted` seeds were asked for.

    `done` is how many of these have a record, where not all the runs in `ran` are among them.
    """

    latents: str
    method: str
    published: PublishedRow | None
    ran: CellRuns | None
    wanted: int
    done: int | None = None

    @property
    def name(self) -> str:
        """The row in a sentence."""
        return f"{self.method} {self.latents}"

    @property
    def quoted(self) -> bool:
        """True for a number that the paper quotes from elsewhere, and nobody here runs."""
        return self.published is not None and self.published.origin == "quoted"

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs, diverged ones too."""
        return self.ran.runs if self.ran else ()

    @property
    def finished(self) -> int:
        """How many seeds have a record, diverged or not."""
        return len(self.runs) if self.done is None else self.done

    @property
    def missing(self) -> int:
        """How many runs are yet to come."""
        return 0 if self.quoted else max(0, self.wanted - self.finished)


@dataclass(frozen=True)
class Sheet:
    """The rows on one data set, all in one unit, and the trivial baselines under them."""

    dataset: str
    unit: Unit
    rows: tuple[Row, ...]
    baselines: tuple[Row, ...]

    @property
    def compared(self) -> bool:
        """True when the paper has a number for any of the rows."""
        return any(row.published for row in self.rows)

    @property
    def everything(self) -> tuple[Row, ...]:
        """The rows and the baselines under them."""
        return (*self.rows, *self.baselines)


def title_of(cell: Cell) -> str:
    """The method's title and the options of the cell that are not the default."""
    try:
        title = get_method(cell.method).title
    except UserError:  # a plugin's method, and the plugin is not loaded here
        title = cell.method
    options = ", ".join(
        f"{name} {number(value)}" if isinstance(value, float) else f"{name} {value}" for name, value in cell.options
    )
    return f"{title} ({options})" if options else title


def sheets_of(selection: Selection) -> list[Sheet]:
    """The tables of a sweep, one a data set."""
    cells = cells_of(selection)
    table = load_table(selection.sweep) if selection.sweep in table_names() else None
    datasets = {each.cell.dataset for each in cells} | ({table.dataset} if table else set())
    sheets = []
    for dataset in sorted(datasets):
        here = [each for each in cells if each.cell.dataset == dataset]
        rows: list[Row] = []
        if table and table.dataset == dataset:
            for published in table.rows:
                ran = next((each for each in here if each.cell == table.cell_of(published)), None)
                rows.append(Row(published.latents, published.method, published, ran, selection.protocol.seeds))
        listed = {row.ran.cell for row in rows if row.ran}
        others = [each for each in here if each.trained and each.cell not in listed]
        rows += [_own_row(each, selection.protocol.seeds) for each in others]
        baselines = [_own_row(each, 1) for each in here if not each.trained]
        sheets.append(Sheet(dataset, unit_of(dataset), tuple(rows), tuple(baselines)))
    return sheets


def _own_row(ran: CellRuns, wanted: int) -> Row:
    latents = str(ran.cell.latents) if ran.cell.latents else "-"
    published, title = find_published(ran.cell), title_of(ran.cell)
    if published is None and not ran.cell.options and _in_paper(ran.cell):
        title += " (ours: not in the paper)"
    return Row(latents, title, published, ran, wanted)


def _in_paper(cell: Cell) -> bool:
    """True when a table has the method on this data, with whatever latents."""
    tables = [table for table in map(load_table, table_names()) if table.dataset == cell.dataset]
    return any(row.cell and row.cell.method == cell.method for table in tables for row in table.rows)


def place_of(cell: Cell) -> tuple[Any, ...]:
    """Small latents first and methods in their order, as in the tables; what has no latents last."""
    method = METHODS.index(cell.method) if cell.method in METHODS else len(METHODS)
    return cell.latents or 10**9, method, order_of(cell)


SCORES = (("NLL", "nll"), ("-ELBO", "neg_elbo"))

METHODS = ("vae", "lvdae", "lvdae-nice", "vdae-resnet", "vdae-nice", "vdae-coupled", "nice")
"""Each has its style on every page; other methods and options take the styles in turn."""
