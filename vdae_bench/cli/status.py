"""The verb `status`: what of the runs asked for is finished, running or missing, and what else lies beside them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from typing import Any

import click
from tabulate import tabulate

from vdae_bench.cli.resolve import changed_spec, within_budget
from vdae_bench.errors import UserError
from vdae_bench.report.numbers.rows import place_of
from vdae_bench.report.numbers.runs import is_asked_for, load_runs, not_read, select
from vdae_bench.running.at_work import at_work
from vdae_bench.running.context import create_context
from vdae_bench.running.options import MachineOptions, SpecOptions, words_of
from vdae_bench.running.plan import asked_of, named_cells
from vdae_bench.search.searches import take_winners
from vdae_bench.search.winner import all_winners
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.asked import Asked, read_asked
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted, visible
from vdae_bench.training.checkpoint import Unusable, read_state

PAPERS_TABLES = ("table1", "table2")


def show_status(word: str | None, options: SpecOptions, machine: MachineOptions) -> None:
    """Print what a spec asks for, with the options of `sweep`; without one everything that is in the results folder."""
    store = Store(machine.results)
    if word not in (None, "all"):
        _show(store, asked_spec(word, options, machine), options)
        return
    refuse_without_spec(options, but="protocol")
    places = [place for place in store.places() if options.protocol in (None, place[1])]
    for sweep, protocol in places:
        click.echo(status_text(store, sweep, protocol, read_asked(store, sweep, protocol)))
    for name in () if places else PAPERS_TABLES:
        _show(store, asked_spec(name, options, machine), options)


def refuse_without_spec(options: SpecOptions, but: str = "") -> None:
    """Refuse options that change a spec where none is given.

    Raises:
        UserError: one is given.
    """
    for each in fields(options):
        if each.name != but and (given := words_of(each, getattr(options, each.name))):
            raise UserError(f"{given[0]} needs a spec; give the spec too")


def asked_spec(word: str, options: SpecOptions, machine: MachineOptions) -> SweepSpec:
    """The spec that the words of a sweep ask for, with its budget and its winners; nothing runs."""
    spec, store = changed_spec(word, options), Store(machine.results)
    if options.budget:
        spec = within_budget(spec, options, create_context(machine), may_calibrate=False)
    with contextlib.suppress(UserError):  # a winner of another search says nothing of what is missing
        spec = take_winners(spec, store, options.search, quiet=True)
    return spec


def _show(store: Store, spec: SweepSpec, options: SpecOptions) -> None:
    named = {cell.slug for cell in named_cells(spec.cells, options.only)} if options.only else None
    click.echo(status_text(store, spec.name, spec.protocol.name, asked_of(spec, store), named))


def status_text(
    store: Store, sweep: str, protocol: str, asked: Asked | None, named: Collection[str] | None = None
) -> str:
    """A table with a row for each cell, or those of such names, and lines on what runs and on what is left over."""
    runs = [replace(run, asked=asked) for run in load_runs(store, protocol, sweep)]
    ours, wanted = [run for run in runs if is_asked_for(run)], asked.wanted if asked else {}
    if asked is None and runs:
        with contextlib.suppress(UserError):  # all are of another version, and none counts
            selection = select(runs)
            ours, wanted = list(selection.runs), dict(selection.wanted)
    begun, notes = _begun(store, sweep, protocol, asked)
    begun -= {(run.cell, run.seed) for run in ours}
    left = Counter(run.cell.slug for run in runs if run not in ours)
    left.update(path.parent.name for path in store.superseded_paths(sweep, protocol))
    slugs = {cell.slug: cell for cell in sorted({*wanted, *(run.cell for run in runs)}, key=place_of)}
    rows: list[list[Any]] = []
    for slug in (each for each in dict.fromkeys((*slugs, *sorted(left))) if named is None or each in named):
        cell = slugs.get(slug)
        here = [run for run in ours if run.cell == cell]
        rows.append(
            [
                slug,
                sum(run.completed for run in here),
                sum(each == cell and seed < wanted.get(each, 0) for each, seed in begun),
                sum(not run.completed for run in here),
                max(0, wanted.get(cell, 0) - len(here)) if cell else 0,
                left[slug],
            ]
        )
    there, missing = (sum(row[place] for row in rows for place in places) for places in ((1, 3), (4,)))
    head = f"{sweep}, protocol {protocol}: {there} of {counted(there + missing, 'run')} there"
    if searches := sum(1 for _ in all_winners(store, sweep, protocol)):
        notes.append(f"searched: {counted(searches, 'winner')}")
    notes += [f"{path} is not read: {reason}" for path, reason in not_read(store, protocol, sweep)]
    headers = ["cell", "finished", "checkpoint", "diverged", "missing", "left over"]
    table = [tabulate(rows, headers)] if rows else []
    return "\n".join([head, *table, *notes, *_leases(store, sweep, protocol), ""])


def _begun(store: Store, sweep: str, protocol: str, asked: Asked | None) -> tuple[set[tuple[Cell, int]], list[str]]:
    """(cell, seed) of the runs asked for that a checkpoint has, and a line on each checkpoint that has none of them."""
    cells = asked.cells if asked else []
    known = {digest: (each.key, seed) for each in cells for seed, digest in enumerate(each.run_digests)}
    begun: set[tuple[Cell, int]] = set()
    lines = []
    for path in store.checkpoint_paths(sweep, protocol):
        try:
            # A process that saves its next state moves the last one just before.
            state = read_state(path) or read_state(path.with_suffix(".previous.pt"))
            inside = [str(each) for each in state["runs"]] if state else []
        except (Unusable, KeyError, TypeError):
            lines.append(f"{path} is left over: it is not a checkpoint of this version")
            continue
        begun |= {known[each] for each in inside if each in known}
        if state and not known.keys() & set(inside):
            lines.append(f"{path} is left over: nobody asks for its {counted(len(inside), 'run')} now")
    return begun, lines


def _leases(store: Store, sweep: str, protocol: str) -> Iterator[str]:
    for each in at_work(store, sweep, protocol):
        yield visible(f"{each.name}: {each.label}: {each.at}")
