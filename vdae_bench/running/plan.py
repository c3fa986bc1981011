"""The plan of a sweep: which runs have a record, and the replica groups that would run.

The unit of work is a replica group: the seeds of one cell, trained together, checkpointed and published together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from vdae_bench.errors import UserError
from vdae_bench.models.registry import get_method
from vdae_bench.running.cost import GroupLimit, group_work
from vdae_bench.running.job import GROUP_BYTES, Job, RunGroup
from vdae_bench.running.task import lease_of
from vdae_bench.spec.file import MAX_SEEDS
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.asked import ASKED_SCHEMA, Asked, AskedCell, read_asked, write_asked
from vdae_bench.store.layout import seed_of
from vdae_bench.store.records import RecordedCell, Store
from vdae_bench.system.lease import Lease
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import nearest
from vdae_bench.training.checkpoint import Unusable, peek_state

Runs: TypeAlias = Sequence[tuple[Job, int]]
Key: TypeAlias = tuple[Cell, int]
"""Cell and seed of a run."""


@dataclass(frozen=True)
class CellPlan:
    """A cell of a sweep: its job, the seeds that have a record, those that diverged, those that would run."""

    job: Job
    done: tuple[int, ...]
    diverged: tuple[int, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """All cells of a sweep, and the groups that would run."""

    cells: tuple[CellPlan, ...]
    groups: tuple[RunGroup, ...]
    limit: GroupLimit = field(default_factory=GroupLimit)
    own: frozenset[Key] | None = None
    """The runs of a share of the sweep, recorded or not; None: all are."""

    @property
    def work(self) -> float:
        """FLOPs of all runs, recorded or not: what decides how large groups are divided is the same at any time."""
        runs = [run for group in self.all_groups for run in group.runs if self.own is None or _key(run) in self.own]
        return sum(group_work(RunGroup((run,))) for run in runs)

    @property
    def all_groups(self) -> list[RunGroup]:
        """The groups of the sweep without any record and on any machine, from which shares are cut."""
        limit, alike = replace(self.limit, memory=GROUP_BYTES), _alike(self.cells)
        return [group for each in alike for group in _of_size(limit.fitting(each[0].job), _runs(each))]


def plan(spec: SweepSpec, store: Store, limit: GroupLimit | None = None, only: Sequence[str] = ()) -> Plan:
    """Plan a sweep in groups of at most `limit`: all its cells, or those that `only` names.

    Raises:
        UserError: a pattern is the name of no cell.
    """
    spec = replace(spec, cells=named_cells(spec.cells, only))
    limit, cells = limit or GroupLimit(), cell_plans(spec, store)
    return Plan(tuple(cells), tuple(_groups(cells, store, limit)), limit)


def plan_part(planned: Plan, runs: Collection[Key], store: Store) -> Plan:
    """The plan with the groups of some of its runs alone; a begun group is whole in the part that has its first run."""
    own = {*runs}
    for group in planned.groups:
        if group.begun(store):
            own = own.union(_keys(group.runs)) if _key(group.runs[0]) in runs else own.difference(_keys(group.runs))
    cells = [
        replace(each, done=_within(each.done, each.job.cell, own), missing=_within(each.missing, each.job.cell, own))
        for each in planned.cells
    ]
    return replace(planned, groups=tuple(_groups(cells, store, planned.limit)), own=frozenset(own))


def plan_again(planned: Plan, runs: Collection[Key], store: Store) -> Plan:
    """Plan to do finished runs of a plan once more, with another results folder for what comes of it."""
    cells = []
    for each in planned.cells:
        if seeds := _within(each.done, each.job.cell, runs):
            cells.append(CellPlan(each.job, done=(), diverged=(), missing=seeds))
    return Plan(tuple(cells), tuple(_groups(cells, store, planned.limit)), planned.limit)


def _within(seeds: Sequence[int], cell: Cell, runs: Collection[Key]) -> tuple[int, ...]:
    return tuple(seed for seed in seeds if (cell, seed) in runs)


def note_asked(spec: SweepSpec, planned: Plan, store: Store) -> None:
    """Keep beside the records which runs are asked for: all of the spec's.

    A cell that is not in the plan keeps the number of seeds that it was asked for before, under the same identity.

    Raises:
        EnvironmentFault: the results folder cannot be written.
    """
    place = (spec.name, spec.protocol.name)
    before, named = read_asked(store, *place), {each.job.cell for each in planned.cells}
    others = [each for each in before.cells if each.key not in named] if before else []
    write_asked(store, *place, asked_of(spec, store, others))


def asked_of(spec: SweepSpec, store: Store, before: Sequence[AskedCell] = ()) -> Asked:
    """The runs that a spec asks for; of cells asked for before under the same identity as many seeds as then."""
    there: dict[str, int] = {}
    for path in store.record_paths(spec.protocol.name, spec.name):
        there[path.parent.name] = max(there.get(path.parent.name, 0), min(seed_of(path) + 1, MAX_SEEDS))
    kept = {(each.key, each.run_digests[0]): each.seeds for each in before}
    cells = []
    for cell in spec.cells:
        job, method = Job.of(spec, cell), get_method(cell.method)
        seeds, own = (spec.seeds, spec.spec_seeds) if method.trains else (1, 1)
        seeds = kept.get((cell, job.run_digest(0)), seeds)
        digests = [job.run_digest(seed) for seed in range(max(seeds, own, there.get(cell.slug, 0)))]
        recorded = RecordedCell(**cell.as_record())
        cells.append(AskedCell(cell=recorded, method_title=method.title, seeds=seeds, run_digests=digests))
    return Asked(schema=ASKED_SCHEMA, spec_seeds=spec.spec_seeds, cells=cells)


def replaced(planned: Plan, store: Store) -> list[str]:
    """A line for each run of a plan whose place has the record of another one: of a command that came after this."""
    lines = []
    for each in planned.cells:
        for seed in each.missing:
            found = store.read(store.path(each.job.sweep, each.job.protocol.name, each.job.cell.slug, seed))
            if found and found.run_digest != each.job.run_digest(seed):
                lines.append(
                    f"{each.job.cell.slug} seed {seed}: another command has put its own run in its place; give one of "
                    f"the two sweeps that are called {each.job.sweep} another name"
                )
    return lines


def named_cells(cells: Sequence[Cell], patterns: Sequence[str]) -> tuple[Cell, ...]:
    """The cells whose names match one of the patterns, as in `*_vae_16`; all where there is no pattern.

    Raises:
        UserError: a pattern is the name of no cell.
    """
    if not patterns:
        return tuple(cells)
    for pattern in patterns:
        if not is_named_by(pattern, cells):
            hint = nearest(pattern, [cell.slug for cell in cells])
            raise UserError(f"{pattern!r} names no cell{hint}; the cells are {', '.join(c.slug for c in cells)}")
    return tuple(cell for cell in cells if any(is_named_by(pattern, [cell]) for pattern in patterns))


def is_named_by(pattern: str, cells: Iterable[Cell]) -> bool:
    """True where a pattern matches the name of one of the cells."""
    return any(fnmatchcase(cell.slug, pattern) for cell in cells)


def cell_plans(spec: SweepSpec, store: Store) -> list[CellPlan]:
    """For each cell of a sweep, the seeds that have a record, diverged, or are missing."""
    cells = []
    for cell in spec.cells:
        job = Job.of(spec, cell)
        wanted = range(spec.seeds if get_method(cell.method).trains else 1)
        records = {
            seed: store.find(spec.name, spec.protocol.name, cell.slug, seed, job.run_digest(seed)) for seed in wanted
        }
        cells.append(
            CellPlan(
                job=job,
                done=tuple(seed for seed, record in records.items() if record),
                diverged=tuple(seed for seed, record in records.items() if record and record.status == "diverged"),
                missing=tuple(seed for seed, record in records.items() if record is None),
            )
        )
    return cells


def _groups(cells: list[CellPlan], store: Store, limit: GroupLimit) -> Iterator[RunGroup]:
    """The missing runs, those of one architecture together, as many as `limit` allows.

    What was begun goes on as it was. What is left of a group of which a part was begun is cut where the group is halved
    (`RunGroup.halved`), as another process that works on it now has cut it too.
    """
    missing = {(each.job.cell, seed) for each in cells for seed in each.missing}
    begun, leases = (_compositions(cells, store), _leases(cells, store)) if missing else ([], set())
    for alike in _alike(cells):
        runs, size = _runs(alike), limit.fitting(alike[0].job)
        wholes, known = list(_of_size(size, runs)), _by_digest(runs) if begun else {}
        at_work = [part for whole in wholes for part in _parts_of(whole)] if leases else []
        candidates = [part for part in at_work if lease_of(part, store).path in leases]
        # A group of more runs than fit now starts again as smaller ones.
        fitting = (each for each in begun if len(each) <= size and known.keys() >= set(each))
        candidates += [RunGroup(tuple(known[each] for each in digests)) for digests in fitting]
        groups = _apart(candidates, missing)
        yield from groups
        there = {key for group in groups for key in _keys(group.runs)}
        new: list[tuple[Job, int]] = []
        for whole in wholes:
            if there.isdisjoint(_keys(whole.runs)):
                new += [run for run in whole.runs if _key(run) in missing]
            else:
                yield from _parts_within(whole, missing - there)
        yield from _of_size(size, new)


def _compositions(cells: Sequence[CellPlan], store: Store) -> list[list[str]]:
    """The run digests of each group of a sweep that has a checkpoint, those that are furthest first.

    A stopped sweep can have many: the runs that trained together then, or the parts into which they were divided.
    """
    found: list[tuple[int, list[str]]] = []
    for newest in store.checkpoint_paths(cells[0].job.sweep, cells[0].job.protocol.name):
        for path in (newest, newest.with_suffix(".previous.pt")):
            with suppress(Unusable, KeyError, TypeError, OSError):  # whoever needs it says what is wrong with it
                state = peek_state(path) or {}
                found.append((int(state.get("trainer", {}).get("step", 0)), [str(each) for each in state["runs"]]))
                break
    return [digests for _, digests in sorted(found, key=lambda each: -each[0])]


def _leases(cells: Sequence[CellPlan], store: Store) -> set[Path]:
    """The leases on groups of a sweep that a process holds."""
    paths = store.lease_paths(cells[0].job.sweep, cells[0].job.protocol.name)
    return {path for path in paths if Lease(path).read_note() and not Lease(path).is_dead()}


def _apart(candidates: Iterable[RunGroup], missing: Collection[Key]) -> list[RunGroup]:
    """Those of begun groups that lack a record, each run in one alone: the first that has it.

    One that a kill stopped while it published has some of its records already, and goes on with all its runs.
    """
    groups, left = [], {*missing}
    for group in candidates:
        wanted = _keys(group.runs).intersection(missing)
        if wanted and wanted <= left:
            groups.append(group)
            left -= wanted
    return groups


def _parts_of(group: RunGroup) -> Iterator[RunGroup]:
    """A group and all parts into which it can be halved."""
    yield group
    for half in group.halved():
        yield from _parts_of(RunGroup(half))


def _parts_within(group: RunGroup, keys: Collection[Key]) -> Iterator[RunGroup]:
    """The largest parts of a group that consist of such runs alone."""
    if all(_key(run) in keys for run in group.runs):
        yield group
    else:
        for half in group.halved():
            yield from _parts_within(RunGroup(half), keys)


def _by_digest(runs: Runs) -> dict[str, tuple[Job, int]]:
    return {job.run_digest(seed): (job, seed) for job, seed in runs}


def _key(run: tuple[Job, int]) -> Key:
    return run[0].cell, run[1]


def _keys(runs: Runs) -> set[Key]:
    return set(map(_key, runs))


def _alike(cells: Sequence[CellPlan]) -> Iterable[list[CellPlan]]:
    """Cells whose runs may train together, as they are of one architecture."""
    by_architecture: dict[str, list[CellPlan]] = {}
    for each in cells:
        key = digest([each.job.architecture.cell.slug, each.job.hyperparameters])
        by_architecture.setdefault(key, []).append(each)
    return by_architecture.values()


def _runs(alike: Sequence[CellPlan]) -> Runs:
    """All runs of such cells, whether they have a record or not."""
    return [(each.job, seed) for each in alike for seed in sorted((*each.done, *each.missing))]


def _of_size(size: int, runs: Runs) -> Iterator[RunGroup]:
    for start in range(0, len(runs), size):
        yield RunGroup(tuple(runs[start : start + size]))
