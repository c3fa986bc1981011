"""Where a table cell's number comes from, and what would make it run again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vdae_bench.data.registry import find_dataset
from vdae_bench.errors import UserError
from vdae_bench.models.registry import get_method
from vdae_bench.report.numbers.rows import SCORES, sheets_of
from vdae_bench.report.numbers.runs import (
    Run,
    grouped,
    left_out_of,
    load_runs,
    name_what_is_not_read,
    protocol_of,
    select,
)
from vdae_bench.report.numbers.searches import load_searches
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.numbers.units import unit_of
from vdae_bench.report.numbers.verdict import Finding, judge_cell, judge_order
from vdae_bench.report.sections.origin import PROPERTIES
from vdae_bench.report.style.terminal import short
from vdae_bench.running.job import Job
from vdae_bench.search.space import parameters_text
from vdae_bench.search.winner import with_winners
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.protocol import Protocol
from vdae_bench.spec.shipped import PROTOCOLS, shipped_names, shipped_sweeps
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted, nearest, visible

ABSENT = object()


def explain(store: Store, word: str, protocol: str | None = None, spec: str | None = None) -> str:
    """Say where a cell's numbers come from, in every sweep and protocol that has it.

    `word` is its name, `<dataset>_<method>_<latents>...`, or the end of a path to it (`table1/quick/<cell>`). `spec` is
    the file of a sweep that is not shipped.

    Raises:
        UserError: there are no records of such a cell.
    """
    name_what_is_not_read(store, protocol)
    runs = load_runs(store, protocol)
    parts = Path(word.rstrip("/")).parts or ("",)
    found = [run for run in runs if run.path.parent.parts[-len(parts) :] == parts]
    if not found:
        known = sorted({run.cell.slug for run in runs})
        under = f" under protocol {protocol}" if protocol else ""
        there = f"; there are {', '.join(known[:4])}{', ...' if len(known) > 4 else ''}" if known else ""
        raise UserError(
            f"there are no records of a cell {word!r}{under} in {store.root}{nearest(parts[-1], known) or there}"
        )
    groups = grouped(found, lambda run: (run.sweep, run.protocol)).values()
    return "\n\n".join("\n".join(map(visible, _about(store, group, runs, spec))) for group in groups)


def _about(store: Store, runs: Sequence[Run], every: Sequence[Run], spec: str | None) -> Iterator[str]:
    first = runs[0]
    yield f"{first.sweep}/{first.protocol}/{first.cell.slug}"
    reasons = left_out_of(each for each in every if (each.sweep, each.protocol) == (first.sweep, first.protocol))
    drawn = CellRuns(first.cell, tuple(run for run in runs if run.path not in reasons))
    unit = unit_of(first.cell.dataset)
    for name, score in SCORES:
        summary = drawn.score(score, unit)
        if summary:
            finding = judge_cell(drawn, score)
            order = _order(first, every, score)
            beside = f"; the paper's: {finding.verdict}, {finding.evidence}" if finding else ""
            beside += f"; the paper's order: {order.verdict}, {order.evidence}" if order else ""
            yield f"  {name}: {summary.show(unit)} {unit.name} over {counted(summary.count, 'seed')}{beside}"
    yield "  records:"
    for run in runs:
        state = reasons.get(run.path) or ("" if run.completed else "diverged")
        started = run.record.provenance.get("started_at", "at an unknown time")
        yield f"    seed {run.seed}: {short(run.path)}, started {started}{f', left out: {state}' if state else ''}"
    said = {**PROPERTIES, "hyper-parameters": _hyperparameters, "from": lambda run: _source(store, run)}
    for name, value in said.items():
        for shown, members in grouped(runs, value).items():
            whose = f" (seeds {', '.join(str(run.seed) for run in members)})" if len(members) < len(runs) else ""
            yield f"  {name}: {shown}{whose}"
    yield from _again(store, runs, spec)


def _order(run: Run, every: Sequence[Run], score: str) -> Finding | None:
    """The verdict on the order of a run's cell and the others of its table."""
    with contextlib.suppress(UserError):
        sheets = sheets_of(select([each for each in every if (each.sweep, each.protocol) == (run.sweep, run.protocol)]))
        for sheet in sheets:
            for row in sheet.rows:
                if row.ran and row.ran.cell == run.cell:
                    return judge_order(row, sheet.rows, score)
    return None


def _hyperparameters(run: Run) -> str:
    return parameters_text({name: value for name, value in run.record.hyperparameters.items() if name != "source"})


def _source(store: Store, run: Run) -> str:
    source = str(run.record.hyperparameters.get("source", "spec"))
    if not run.searched:
        return "the spec and its protocol"
    for each in load_searches(store, run.sweep, run.protocol):
        if each.winner.source == source:
            winner = each.winner
            return (
                f"{source}: trial {winner.winner} of {len(winner.trials)} on {winner.cell} ({winner.sampler}), "
                f"validation -ELBO {each.text(winner.value)} {each.unit.name}; {short(each.path)}"
            )
    return f"{source}, whose file is not in the results folder"


def _again(store: Store, runs: Sequence[Run], word: str | None) -> Iterator[str]:
    """Say which seeds the present spec would run again, and which ingredient of their identity changed."""
    first = runs[0]
    try:
        job = present_job(store, first, word)
    except UserError as error:
        yield f"  would it run again? {error}"
        return
    differing = [run for run in runs if job.run_digest(run.seed) != run.record.provenance.get("run_digest")]
    if not differing:
        foreign = get_method(first.cell.method).plugin_sha256 is not None
        code = "bytes of its plug-in" if foreign else "version of the method"
        yield f"  would it run again? no: its run digest agrees with the present spec, data and {code}"
        return
    for run in differing:
        yield f"  would it run again? yes, seed {run.seed}:"
        yield from (f"    {line}" for line in changed_ingredients(run, job))


def present_job(store: Store, run: Run, word: str | None = None) -> Job:
    """The job that the present spec has for the cell of a record.

    Raises:
        UserError: the sweep is not shipped and no spec is given, or the spec has no such cell.
    """
    if word is None and run.sweep not in {*shipped_sweeps(), *shipped_names()}:
        raise UserError(f"sweep {run.sweep} is not shipped; give its file with --spec")
    path = find_spec(word or run.sweep)
    recorded = protocol_of(run)
    spec = _under(load_spec(path, recorded.base if recorded and recorded.base in PROTOCOLS else None), run, recorded)
    cell = next((each for each in spec.cells if each.slug == run.cell.slug), None)
    if cell is None:
        raise UserError(f"{path.name} no longer has the cell {run.cell.slug}, so nothing would run")
    with contextlib.suppress(UserError):  # a winner of another search is not used
        spec = with_winners(spec, store)
    return Job.of(spec, cell)


def _under(spec: SweepSpec, run: Run, recorded: Protocol | None) -> SweepSpec:
    """The spec under the record's protocol: an override's name has its content in it, so that it is what it was."""
    if recorded and run.protocol != spec.protocol.name and run.protocol not in PROTOCOLS:
        return replace(spec, protocol=recorded)
    return spec


def changed_ingredients(run: Run, job: Job) -> list[str]:
    """The ingredients of a run's digest that differ between its record and what would run now."""
    recorded = protocol_of(run)
    if recorded is None:
        return ["another version of vdae-bench wrote the protocol"]
    used = {name: value for name, value in run.record.hyperparameters.items() if name != "source"}
    lines = [
        *_differences("protocol", recorded.content(), job.protocol.content()),
        *_differences("hyper-parameter", used, job.hyperparameters),
    ]
    there, here = str(run.record.provenance.get("dataset_sha256")), find_dataset(job.dataset).identity
    if there != here:
        lines.append(f"data: {there[:12]} recorded, {here[:12]} now")
    method, then = get_method(job.cell.method), run.record.provenance.get("plugin_sha256")
    if then != method.plugin_sha256:
        was, now = (f"plug-in {each[:12]}" if each else "no plug-in" for each in (then, method.plugin_sha256))
        lines.append(f"the method's code: {was} recorded, {now} now")
    if lines:
        return lines
    return [f"the method's version, now {method.version}, or the record's schema: all that is recorded is the same"]


def _differences(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in {**then, **now}:
        before, after = then.get(name, ABSENT), now.get(name, ABSENT)
        if before != after:
            shown = ["absent" if value is ABSENT else repr(value) for value in (before, after)]
            yield f"{what} {name}: {shown[0]} recorded, {shown[1]} now"
