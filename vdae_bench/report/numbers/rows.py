"""Rows: the paper's in its order, beside the cells that reproduce them; other cells as they would stand there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.models.registry import OWN_METHODS, get_method, plain_title
from vdae_bench.paper.published import PublishedRow, find_published, load_table, table_names
from vdae_bench.report.numbers.runs import Run, Selection, order_of
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.spec.sweep import Cell
from vdae_bench.system.words import flop_unit, number

NO_LATENTS = "-"


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
        return self.method if self.latents == NO_LATENTS else f"{self.method} {self.latents}"

    @property
    def quoted(self) -> bool:
        """True for a number that the paper quotes from elsewhere; what ran here stands beside it, and is another."""
        return self.published is not None and self.published.origin == "quoted"

    @property
    def of_others(self) -> bool:
        """True for a quoted number beside which nothing is run here."""
        return self.quoted and not (self.ran or self.wanted)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs, diverged ones too."""
        return self.ran.runs if self.ran else ()

    def mean_cost(self, name: str) -> float | None:
        """Seconds or operations of a completed seed."""
        summary = self.ran.cost(lambda run: getattr(run.record.cost, name)) if self.ran else None
        return summary.mean if summary else None

    @property
    def finished(self) -> int:
        """How many seeds have a record, diverged or not."""
        return len(self.runs) if self.done is None else self.done

    @property
    def missing(self) -> int:
        """How many runs are yet to come."""
        return max(0, self.wanted - self.finished)


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

    @cached_property
    def flop_unit(self) -> tuple[float, str]:
        """(operations in it, name) of the unit that suits the rows."""
        return flop_unit(max((row.mean_cost("train_flops") or 0 for row in self.rows), default=0))

    @property
    def everything(self) -> tuple[Row, ...]:
        """The rows and the baselines under them."""
        return (*self.rows, *self.baselines)


def title_of(cell: Cell) -> str:
    """The method's title, by the record where it says it, and the options of the cell that are not the default."""
    title = cell.method_title
    if not title:
        try:
            title = get_method(cell.method).title
        except UserError:  # a plugin's method in an older record, and the plugin is not loaded here
            title = cell.method
    own = sorted(OWN_METHODS)  # of a loaded plug-in too, a page would change with it
    if any(plain_title(title) == plain_title(get_method(known).title) for known in own if known != cell.method):
        title += f" [{cell.method}]"  # a plugin's, begun as a copy
    options = ", ".join(
        f"{name} {number(value)}" if isinstance(value, float) else f"{name} {value}" for name, value in cell.options
    )
    return f"{title} ({options})" if options else title


def sheets_of(selection: Selection) -> list[Sheet]:
    """The tables of a sweep, one a data set."""
    ran, wanted = {each.cell: each for each in cells_of(selection)}, selection.wanted
    table = load_table(selection.sweep) if selection.sweep in table_names() else None
    # Where nothing says which cells were asked for, the sweep of a table asks for all of its rows.
    default = 0 if selection.asked else selection.protocol.seeds
    datasets = {cell.dataset for cell in wanted} | ({table.dataset} if table else set())
    sheets = []
    for dataset in sorted(datasets):
        printed = table.rows if table and table.dataset == dataset else ()
        papers = [(row, table.cell_of(row) or table.cell_beside(row)) for row in printed] if table else []
        rows = [
            Row(row.latents, row.method, row, ran.get(cell), wanted.get(cell, default if row.cell else 0))
            if cell
            else Row(row.latents, row.method, row, None, 0)
            for row, cell in papers
        ]
        shown = [cell for _, cell in papers]
        others = [cell for cell in wanted if cell.dataset == dataset and cell not in shown]
        baselines = [cell for cell in others if (not ran[cell].trained if cell in ran else not cell.latents)]
        own = {cell: _own_row(cell, ran.get(cell), wanted[cell]) for cell in sorted(others, key=place_of)}
        rows += [row for cell, row in own.items() if cell not in baselines]
        below = [row for cell, row in own.items() if cell in baselines]
        sheets.append(Sheet(dataset, unit_of(dataset), tuple(rows), tuple(below)))
    return sheets


def _own_row(cell: Cell, ran: CellRuns | None, wanted: int) -> Row:
    latents = str(cell.latents) if cell.latents else NO_LATENTS
    published, title = find_published(cell), title_of(ran.cell if ran else cell)
    if published is None and not cell.options and _in_paper(cell):
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
"""The order of methods in tables and figures; each has its style on every page, and other methods have their own."""
