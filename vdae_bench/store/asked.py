"""The runs asked for: what the last command wanted of a sweep under a protocol, beside their records in `asked.json`.

Records alone cannot say which cells have none yet, nor which of two experiments in one place is the present one. A
results folder without such a file works too: there the latest experiment under a cell is the one asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from vdae_bench.spec.file import MAX_SEEDS
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.layout import Layout
from vdae_bench.store.records import RecordedCell
from vdae_bench.system import atomic, strict_json

ASKED_SCHEMA = 1


class AskedCell(BaseModel):
    """A cell of the spec: how many of its seeds were asked for, from seed 0, and the identity that each has."""

    model_config = ConfigDict(extra="allow")

    cell: RecordedCell
    method_title: str
    seeds: int = Field(ge=1, le=MAX_SEEDS)
    run_digests: list[str] = Field(min_length=1)
    """From seed 0 up, of the spec's other seeds and of those that have a record too."""

    @property
    def key(self) -> Cell:
        """The cell as it stands in tables."""
        return self.cell.as_cell(self.method_title)


class Asked(BaseModel):
    """The runs asked for of a sweep under a protocol, its cells in the spec's order."""

    model_config = ConfigDict(extra="allow")

    schema_: int = Field(ASKED_SCHEMA, alias="schema", ge=ASKED_SCHEMA, le=ASKED_SCHEMA)
    spec_seeds: int = Field(ge=1, le=MAX_SEEDS)
    """Seeds that the spec or its protocol has, whatever the command line said."""
    cells: list[AskedCell]

    @property
    def wanted(self) -> dict[Cell, int]:
        """How many seeds were asked for of each cell."""
        return {each.key: each.seeds for each in self.cells}

    def has(self, cell: Cell, seed: int, run_digest: str) -> bool:
        """True for a run of a cell asked for, under the identity asked for where that of its seed is known."""
        found = next((each.run_digests for each in self.cells if each.key == cell), None)
        return found is not None and (seed >= len(found) or found[seed] == run_digest)


def read_asked(store: Layout, sweep: str, protocol: str) -> Asked | None:
    """The runs asked for last; None where nothing says so, or what does is damaged (`damaged_asked`).

    Raises:
        EnvironmentFault: what says so cannot be read; without it other runs would count.
    """
    try:
        content = atomic.read(store.asked(sweep, protocol))
        if content is None:
            return None
        return Asked.model_validate(strict_json.unsealed(content))
    except ValueError:
        return None


def damaged_asked(store: Layout, sweep: str, protocol: str) -> Iterator[str]:
    """A sentence about a file of runs asked for that cannot be read."""
    if atomic.is_there(store.asked(sweep, protocol)) and read_asked(store, sweep, protocol) is None:
        yield "it does not say which runs were asked for; give the sweep's command again, or delete the file"


def write_asked(store: Layout, sweep: str, protocol: str, asked: Asked) -> None:
    """Keep the runs asked for, unless the same stand there already.

    Raises:
        EnvironmentFault: it cannot be written, or what stands there cannot be read.
    """
    if asked != read_asked(store, sweep, protocol):
        content = json.dumps(strict_json.sealed(asked.model_dump(by_alias=True)), indent=1) + "\n"
        atomic.write(store.asked(sweep, protocol), content.encode())
