"""Tables 1 and 2 as the paper prints them, and numbers of others: `load_table("table1")`, `outside_numbers(dataset)`.

The numbers are in `published.yaml` and `outside.yaml`.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from vdae_bench.errors import UserError
from vdae_bench.spec.sweep import Cell
from vdae_bench.system.words import nearest
from vdae_bench.system.yaml_file import YamlFile

PrintedScore = Literal["nll", "neg_elbo"]


class PrintedValue(BaseModel):
    """A number with the precision in which it is printed, and the +- beside it if there is one.

    >>> PrintedValue.parse("83.46 ± 0.18")
    PrintedValue(value=83.46, plus_minus=0.18, decimals=2)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    plus_minus: float | None
    decimals: int

    @classmethod
    def parse(cls, text: str) -> PrintedValue:
        """Read the printed text; `ValueError` when it is not a decimal number, or two with ± between them."""
        match = re.fullmatch(r"(\d+\.(\d+))(?: ± (\d+\.\d+))?", text)
        if not match:
            raise ValueError(f"{text!r} is no printed value such as '83.46 ± 0.18'")
        value, fraction, plus_minus = match.groups()
        return cls(value=float(value), plus_minus=float(plus_minus) if plus_minus else None, decimals=len(fraction))

    def __str__(self) -> str:
        text = f"{self.value:.{self.decimals}f}"
        return text if self.plus_minus is None else f"{text} ± {self.plus_minus:.{self.decimals}f}"


def _parse(text: object) -> object:
    return text if text is None else PrintedValue.parse(str(text))


Printed = Annotated[PrintedValue, BeforeValidator(_parse)]


class CellName(BaseModel):
    """The cell behind a row, by method id, number of latents and options; the data set is the table's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    latents: int
    options: dict[str, str] = {}


class PublishedRow(BaseModel):
    """A row of a table; `nll` and `neg_elbo` are in the table's unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latents: str
    method: str
    cell: CellName | None
    nll: Printed
    neg_elbo: Printed | None
    bold: tuple[PrintedScore, ...] = ()
    origin: Literal["measured", "quoted"] = "measured"
    convolutional: bool = False
    space: Literal["pixels", "logit", "unknown"] = "pixels"
    """The data that a quoted model is a density of."""
    units: Literal["same", "differ", "very likely differ", "unknown"] = "same"
    """How the unit of a quoted number stands to the table's, bits per 784 dimensions."""
    beside: CellName | None = None
    """The cell that is run here beside a quoted number."""

    @property
    def caveat(self) -> str:
        """How a quoted number is to be taken."""
        units = {"same": "", "unknown": ", in units that are not known"}
        return f"quoted{units.get(self.units, f', in units that {self.units}')}"

    @property
    def comparable(self) -> bool:
        """True where a quoted number has the table's unit, and its data are known."""
        return self.units == "same" and self.space != "unknown"

    @property
    def footnote(self) -> str | None:
        """The footnote mark at the end of the method's printed name, if any."""
        _, _, mark = self.method.rpartition(" ")
        return mark if mark in ("*", "**") else None


class PublishedTable(BaseModel):
    """A table: its rows in the paper's order, and what is said of all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    dataset: str
    unit: Literal["bits/dim", "nats"]
    rows: tuple[PublishedRow, ...]
    plus_minus: str
    """The meaning of +-, where it is printed."""
    runs: int
    """Number of runs behind each measured number; unknown for the quoted ones."""
    margin: float
    """Distance between faithful implementations of one model, in the unit: nearer counts as the same number."""
    quoted_from: str
    importance_samples: int
    footnotes: dict[str, str]

    def cell_of(self, row: PublishedRow) -> Cell | None:
        """Return the cell that reproduces a row; None for a quoted one."""
        return self._cell(row.cell)

    def cell_beside(self, row: PublishedRow) -> Cell | None:
        """Return the cell that is run here beside a quoted row; None where there is none."""
        return self._cell(row.beside)

    def _cell(self, name: CellName | None) -> Cell | None:
        return Cell(self.dataset, name.method, name.latents, tuple(sorted(name.options.items()))) if name else None

    def row_of(self, cell: Cell) -> PublishedRow | None:
        """Return the row that a cell reproduces, if there is one."""
        return next((row for row in self.rows if self.cell_of(row) == cell), None)


@functools.cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = YamlFile.read(Path(__file__).with_name("published.yaml")).content
    return content


def table_names() -> tuple[str, ...]:
    """Names of the paper's tables, which are also those of the sweeps that reproduce them."""
    return tuple(_content()["tables"])


@functools.cache
def load_table(name: str) -> PublishedTable:
    """A table of the paper by the name of the sweep that reproduces it.

    Raises:
        UserError: there is no such table.

    >>> str(load_table("table2").rows[0].nll)
    '83.46 ± 0.18'
    """
    if name not in table_names():
        raise UserError(
            f"the paper has no table {name!r}{nearest(name, table_names())}; use {' or '.join(table_names())}"
        )
    said_of_all = {key: value for key, value in _content().items() if key not in ("paper", "tables")}
    return PublishedTable.model_validate({"name": name, **said_of_all, **_content()["tables"][name]})


def find_published(cell: Cell) -> PublishedRow | None:
    """The row that the paper prints for a cell, in whichever table; None if in none."""
    return next((row for name in table_names() if (row := load_table(name).row_of(cell))), None)


class OutsideNumber(BaseModel):
    """A number of others on such data, in the unit of the data; `binarisation` is None for continuous data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    dataset: str
    binarisation: Literal["dynamic", "static"] | None
    nll: Printed | None
    neg_elbo: Printed | None
    source: str
    space: Literal["pixels", "logit"] = "pixels"


@functools.cache
def outside_numbers(dataset: str) -> tuple[OutsideNumber, ...]:
    """Numbers of others on a data set, by its id; empty for most."""
    content = YamlFile.read(Path(__file__).with_name("outside.yaml")).content
    every = (OutsideNumber.model_validate(each) for each in content["numbers"])
    return tuple(each for each in every if each.dataset == dataset)
