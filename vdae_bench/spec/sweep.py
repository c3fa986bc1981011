"""A sweep after its checks: cells, the protocol they run under, and what each of them trains with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import get_method
from vdae_bench.spec.file import Choices, Range, SearchSpec
from vdae_bench.spec.hyperparameters import hyperparameters_of
from vdae_bench.spec.protocol import Protocol
from vdae_bench.system.words import number

CELL_AXES = ("dataset", "method", "latents")


@dataclass(frozen=True)
class Cell:
    """One configuration: a data set, a method, its latents and the options that are not the default."""

    dataset: str
    method: str
    latents: int
    options: tuple[tuple[str, Any], ...] = ()
    hyperparameters: tuple[tuple[str, Any], ...] = field(default=(), compare=False)
    """Set for this cell alone by the spec; part of what it trains with, not of its name."""
    method_title: str = field(default="", compare=False)
    """The title of its method where a record says it: a plug-in that made the record need not be loaded here."""

    @property
    def slug(self) -> str:
        """Name of a cell's folder: `<dataset>_<method>_<latents>` and each option that is not the default."""
        options = "".join(f"_{name}-{_word(value)}" for name, value in self.options)
        return f"{self.dataset}_{self.method}_{self.latents}{options}"

    def as_record(self) -> dict[str, Any]:
        """The `cell` entry of a record."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "latents": self.latents,
            "options": dict(self.options),
        }


def _word(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Searched:
    """Hyper-parameters that a search chose for a cell, and what records call their source."""

    chosen: Mapping[str, Any]
    source: str


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep: its cells and their protocol, which has the number of seeds."""

    name: str
    description: str
    cells: tuple[Cell, ...]
    protocol: Protocol
    hyperparameters: dict[str, Any]
    search: SearchSpec | None
    spec_seeds: int
    """Seeds that the file asks for, whatever the command line says."""
    searched: Mapping[str, Searched] = field(default_factory=dict)
    """By the slug of a cell, what a search chose for it (`search.winner`)."""

    @property
    def seeds(self) -> int:
        """How many seeds of each cell are asked for: the protocol's, for records to say the same."""
        return self.protocol.seeds

    def resolved_hyperparameters(self, cell: Cell) -> dict[str, Any]:
        """Hyper-parameters of a cell, later layers winning: defaults, protocol, spec, cell, search, command line."""
        declared = hyperparameters_of(get_method(cell.method), dict(cell.options))
        layers = (
            self.protocol.hyperparameters,
            self.hyperparameters,
            dict(cell.hyperparameters),
            self.searched[cell.slug].chosen if cell.slug in self.searched else {},
            self.protocol.overrides,
        )
        values = defaults(declared.values())
        for name in declared.keys() & self.protocol.flow_sizes.keys() - {name for layer in layers for name in layer}:
            size = self.protocol.flow_sizes[name]
            try:
                values[name] = declared[name].read(size)
            except UserError as error:  # nobody wrote it in the spec: a flow from outside has a protocol's word
                place = f"the flow_sizes of protocol {self.protocol.name} set {name} to {size!r}"
                remedy = f"set {name} under hyperparameters, or rename it in the flow"
                raise UserError(f"{place}, but {error}; {remedy}") from None
        for layer in layers:
            values |= {name: declared[name].read(value) for name, value in layer.items() if name in declared}
        return values

    def source(self, cell: Cell) -> str:
        """Source of a cell's hyper-parameters: `spec`, or `search <digest>`."""
        return self.searched[cell.slug].source if cell.slug in self.searched else "spec"

    def searched_parameters(self, cell: Cell) -> dict[str, Range | Choices]:
        """The part of the search's space that a cell has; empty without a search, or for what does not train."""
        if self.search is None or not get_method(cell.method).trains:
            return {}
        known = self.resolved_hyperparameters(cell)
        return {name: space for name, space in self.search.parameters.items() if name in known}

    def search_cell(self, cell: Cell) -> Cell | None:
        """The cell whose study serves a cell: its own, the first of those that share it, or the one that is named."""
        if self.search is None or not self.searched_parameters(cell):
            return None
        if self.search.cell is not None:
            return next(each for each in self.cells if each.slug == self.search.cell)
        shared = self.search.share
        family = (each for each in self.cells if _unshared(each, shared) == _unshared(cell, shared))
        return next(each for each in family if self.searched_parameters(each))


def _unshared(cell: Cell, shared: list[str]) -> dict[str, Any]:
    axes = {"dataset": cell.dataset, "method": cell.method, "latents": cell.latents, **dict(cell.options)}
    return {name: value for name, value in axes.items() if name not in shared}
