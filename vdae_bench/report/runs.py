"""Runs: records with the place where they lie, and which of them may stand in one table.

A table is drawn from records of one resolved protocol, one state of the data and, within a cell, one set of
hyper-parameters. Where a folder has others too, the largest agreeing set is drawn (of equal ones the most recent), and
each record left out is named with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vdae_bench.errors import UserError
from vdae_bench.protocol import Protocol, digest
from vdae_bench.spec import Cell
from vdae_bench.store import Record, Store


@dataclass(frozen=True)
class Run:
    """A record, its file, and the sweep and protocol whose folder it lies in."""

    path: Path
    sweep: str
    protocol: str
    record: Record

    @property
    def cell(self) -> Cell:
        """The configuration that ran."""
        cell = self.record.cell
        return Cell(cell.dataset, cell.method, cell.latents, tuple(sorted(cell.options.items())))

    @property
    def seed(self) -> int:
        """Which of the cell's runs it is."""
        return self.record.seed

    @property
    def completed(self) -> bool:
        """Whether it has test metrics; a run that diverged has none."""
        return self.record.status == "completed" and self.record.metrics.test is not None

    @property
    def started_at(self) -> str:
        """ISO time in UTC, so that text order is time order."""
        return str(self.record.provenance.get("started_at", ""))


@dataclass(frozen=True)
class LeftOut:
    """A run that no table shows, and why."""

    run: Run
    reason: str


@dataclass(frozen=True)
class Selection:
    """The runs of one sweep and protocol: those that stand together, in order of cell and seed, and the others."""

    sweep: str
    protocol: Protocol
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def cannot_show(self) -> tuple[str, ...]:
        """What the protocol says of itself; in the words of the most recent run, as they count for no number."""
        return self.protocol.cannot_show


def load_runs(store: Store, protocol: str | None = None, sweep: str | None = None) -> list[Run]:
    """All runs of a results folder, or of one protocol or sweep, in order of sweep, protocol, cell and seed."""
    runs = []
    for path, record in store.records(protocol, sweep):
        sweep_folder, protocol_folder, *_ = path.relative_to(store.root).parts
        runs.append(Run(path, sweep_folder, protocol_folder, record))
    return sorted(runs, key=lambda run: (run.sweep, run.protocol, order_of(run.cell), run.seed))


def by_folder(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each (protocol, sweep): what one page shows."""
    folders: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        folders.setdefault((run.protocol, run.sweep), []).append(run)
    return dict(sorted(folders.items()))


def order_of(cell: Cell) -> tuple[str, str, int, str]:
    """The order of slugs, with numbers of latents as numbers."""
    return cell.dataset, cell.method, cell.latents, cell.slug


def select(runs: list[Run]) -> Selection:
    """Of the runs in one protocol's folder of a sweep, those that may stand in one table.

    Raises:
        UserError: no record has a protocol that this version of the package understands.
    """
    resolved = {run.path: _protocol_of(run) for run in runs}
    understood, foreign = _partition(runs, lambda run: resolved[run.path] is not None)
    if not understood:
        raise UserError(
            f"no record in {runs[0].path.parents[1]} has a protocol of this version of vdae-bench; "
            "move that folder away and run the sweep again"
        )
    left_out = [LeftOut(run, "its protocol is of another version of vdae-bench") for run in foreign]

    def content(run: Run) -> str:
        protocol = resolved[run.path]
        return digest(protocol.content()) if protocol else ""

    kept, others = _majority(understood, content)
    left_out += [LeftOut(run, "another content of the protocol under the same name") for run in others]
    for of_dataset in _grouped(kept, lambda run: run.record.cell.dataset):
        _, others = _majority(of_dataset, lambda run: str(run.record.provenance.get("dataset_sha256")))
        left_out += [LeftOut(run, "other data under the same name") for run in others]
    kept = _without(kept, left_out)
    for of_cell in _grouped(kept, lambda run: run.cell):
        _, others = _majority(of_cell, _trained_with)
        left_out += [LeftOut(run, "other hyper-parameters than the cell's other seeds") for run in others]
    kept = _without(kept, left_out)
    latest = max(kept, key=lambda run: run.started_at)
    protocol = resolved[latest.path]
    assert protocol is not None
    seeds = max(each.seeds for run in kept if (each := resolved[run.path]))
    return Selection(
        runs[0].sweep,
        protocol.model_copy(update={"name": runs[0].protocol, "seeds": seeds}),
        tuple(kept),
        tuple(sorted(left_out, key=lambda each: runs.index(each.run))),
    )


def _protocol_of(run: Run) -> Protocol | None:
    try:
        return Protocol.model_validate(run.record.protocol)
    except ValidationError:
        return None


def _trained_with(run: Run) -> str:
    return digest({name: value for name, value in run.record.hyperparameters.items() if name != "source"})


def _grouped(runs: Iterable[Run], key: Callable[[Run], Hashable]) -> list[list[Run]]:
    groups: dict[Hashable, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return list(groups.values())


def _majority(runs: list[Run], key: Callable[[Run], Hashable]) -> tuple[list[Run], list[Run]]:
    """The largest group that agrees on `key` (of equal ones the most recent), and the rest."""
    largest = max(_grouped(runs, key), key=lambda group: (len(group), max(run.started_at for run in group)))
    return _partition(runs, lambda run: run in largest)


def _partition(runs: list[Run], holds: Callable[[Run], bool]) -> tuple[list[Run], list[Run]]:
    return [run for run in runs if holds(run)], [run for run in runs if not holds(run)]


def _without(runs: list[Run], left_out: Iterable[LeftOut]) -> list[Run]:
    gone = {each.run.path for each in left_out}
    return list(itertools.filterfalse(lambda run: run.path in gone, runs))
