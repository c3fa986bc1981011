"""The verbs that run: `reproduce`, `sweep` and `search`, from a command to records and reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vdae_bench.cli.plan import plan_text
from vdae_bench.cli.resolve import changed_spec, one_of_several, stop_token, within_budget
from vdae_bench.cli.streams import forgive
from vdae_bench.errors import Failed, UserError
from vdae_bench.report.style.terminal import short, wrap
from vdae_bench.running.again import price_of, train_again, without_weights
from vdae_bench.running.context import RunContext, create_context
from vdae_bench.running.execute import Outcome, run_groups
from vdae_bench.running.options import Command, RunOptions, SpecOptions
from vdae_bench.running.plan import Plan, is_named_by, named_cells, note_asked, plan, replaced
from vdae_bench.running.shards import Shard, parse_shard
from vdae_bench.running.stop import StopToken
from vdae_bench.search.searches import NO_SEARCH, run_studies, search_sweep, search_text, take_winners
from vdae_bench.search.studies import studies_to_run
from vdae_bench.search.winner import all_winners
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.words import quoted

if TYPE_CHECKING:
    from vdae_bench.report.build import WrittenReport

FIGURE_OF_PART = {"figure1": "noise", "figure2": "samples", "figure3": "samples", "figure4": "samples"}
"""The end of the name of the figure that shows a figure of the paper."""


def run_sweeps(names: Sequence[str], command: Command) -> None:
    """Run sweeps one after the other, then draw and print their reports."""
    with _undisturbed(command):
        _run_sweeps(names, command)


def _undisturbed(command: Command) -> AbstractContextManager[None]:
    """Not ended by output that nobody takes, and by a results folder that is moved away only with a sentence."""
    forgive("stdout")
    return nullcontext() if command.run.dry_run else atomic.held(command.machine.results)


def _run_sweeps(names: Sequence[str], command: Command) -> None:
    stop, shard = stop_token(command.run), parse_shard(command.run.shard) if command.run.shard else None
    # All are read first: a word that is wrong for the last ends it before the first runs.
    several = len(names) > 1 and command.spec.search
    read = [
        one_of_several(name, command.spec) if several else (changed_spec(name, command.spec), command.spec)
        for name in names
    ]
    context = create_context(command.machine, str(command))
    context = replace(context, keep_models=context.keep_models or command.run.train_again)
    failures = []
    for spec, options in _with_named_cells(read, command.spec.only):
        try:
            _run_sweep(spec, options, context, command, stop, shard)
        except Failed as failed:
            failures.append(f"{spec.name}: {failed}" if len(names) > 1 else str(failed))
    if failures:
        raise Failed("\n".join(failures))


def _with_named_cells(
    read: Sequence[tuple[SweepSpec, SpecOptions]], only: Sequence[str]
) -> list[tuple[SweepSpec, SpecOptions]]:
    """The sweeps that have such cells, each with the patterns that name one of its own; all where there is no pattern.

    Raises:
        UserError: a pattern is the name of no cell of any sweep.
    """
    named_cells([cell for spec, _ in read for cell in spec.cells], only)
    if not only:
        return list(read)
    own = [tuple(pattern for pattern in only if is_named_by(pattern, spec.cells)) for spec, _ in read]
    return [(spec, replace(options, only=names)) for (spec, options), names in zip(read, own, strict=True) if names]


def _run_sweep(
    spec: SweepSpec, options: SpecOptions, context: RunContext, command: Command, stop: StopToken, shard: Shard | None
) -> None:
    run = command.run
    spec = within_budget(spec, options, context, may_calibrate=not run.dry_run)
    cells = named_cells(spec.cells, options.only)
    if options.search and run.dry_run:
        click.echo(search_text(spec, studies_to_run(spec, cells, compare=False), context.store))
    elif options.search:
        search_sweep(spec, cells, context, run, stop)
    spec = take_winners(spec, context.store, options.search, run.quiet)
    planned = plan(spec, context.store, context.limit, options.only)
    if not run.dry_run:
        note_asked(spec, planned, context.store)
    if shard:
        planned = shard.part_of(planned, context.store)
    if run.dry_run:
        click.echo(plan_text(spec, planned))
        return
    without = _keep_weights_of_finished_runs(planned, context, run, stop) if context.keep_models else []
    outcome = run_groups(planned, context, run, stop)
    atomic.check_held(context.store.root)
    report_sweep(spec, context.store, command)
    raise_if_failed(outcome, planned, [*without, *replaced(planned, context.store)])


def _keep_weights_of_finished_runs(planned: Plan, context: RunContext, run: RunOptions, stop: StopToken) -> list[str]:
    """Train finished runs without weights once more where that was asked for, else say what it would take.

    Returns a line for each run that should have weights now and has none.
    """
    bare = without_weights(planned, context.store)
    if bare and not run.train_again:
        click.echo(price_of(bare), err=True)
    if not bare or not run.train_again:
        return []
    said = train_again(bare, planned, context, run, stop)
    for line in said.remarks:
        click.echo(line, err=True)
    return said.without


def run_search(word: str, command: Command) -> None:
    """Run the studies of a spec, those of its comparison too, and draw them."""
    with _undisturbed(command):
        _run_search(word, command)


def _run_search(word: str, command: Command) -> None:
    context = create_context(command.machine, str(command))
    spec = within_budget(changed_spec(word, command.spec), command.spec, context)
    studies = studies_to_run(spec, named_cells(spec.cells, command.spec.only), compare=True)
    if not studies:
        raise UserError(f"{spec.name}: {NO_SEARCH}")
    if command.run.dry_run:
        click.echo(search_text(spec, studies, context.store))
        return
    run_studies(studies, context, command.run, stop_token(command.run))
    report_sweep(spec, context.store, command)


def raise_if_failed(outcome: Outcome, planned: Plan, without_weights: Sequence[str] = ()) -> None:
    """Exit code 1 with a list when runs failed or diverged, now or before, or their weights were not to be had."""
    lines = [*without_weights, *outcome.failed_lines]
    lines += [
        f"{record.cell.as_cell().slug} seed {record.seed}: {'; '.join(record.flags)}" for record in outcome.diverged
    ]
    lines += [
        f"{each.job.cell.slug} seed {seed}: diverged (recorded before)"
        for each in planned.cells
        for seed in each.diverged
    ]
    if lines:
        raise Failed("not all runs finished with a result:\n  " + "\n  ".join(lines))


def report_sweep(spec: SweepSpec, store: Store, command: Command) -> None:
    """Draw the reports that a sweep's records are part of; print its own, its figures and what to type next."""
    from vdae_bench.report.build import FORMATS, build_reports
    from vdae_bench.report.numbers.claims import claims_protocol

    place = (spec.protocol.name, spec.name)
    if any(True for _ in store.records(*place)) or any(True for _ in all_winners(store, spec.name, spec.protocol.name)):
        name = spec.protocol.name
        # The claims that a sweep is evidence for stand on the pages of the paper's other sweeps too.
        others = {claims_protocol(spec.name, name)} - {name, None}
        for protocol in (name, *others):
            if protocol == name or any(True for _ in store.records(protocol)):
                for written in build_reports(store, command.machine.reports, protocol=protocol, formats=FORMATS):
                    if (written.sweep, written.protocol, written.path.suffix) == (spec.name, name, ".md"):
                        click.echo(written.console)
                        for line in _closing_lines(written, spec, store, command):
                            click.echo(line)


def _closing_lines(written: WrittenReport, spec: SweepSpec, store: Store, command: Command) -> Iterator[str]:
    """The page for a browser, the figures, and the command that a reader may want next."""
    folder = [] if command.machine.results == Path("results") else ["--results", str(command.machine.results)]
    yield f"For a browser: {short(written.path.with_name('index.html'))}"
    reports = [] if command.machine.reports == Path("reports") else ["--reports", str(command.machine.reports)]
    yield f"All runs on one page: vdae-bench {' '.join(map(quoted, ['report', '--home', *folder, *reports]))}"
    if written.figures:
        names = ", ".join(figure.name for figure in written.figures)
        yield from wrap(f"Figures in {short(written.path.parent)}: {names}")
    (target,) = command.target
    for figure in written.figures:
        if command.verb == "reproduce" and figure.name == f"{written.sweep}-{FIGURE_OF_PART.get(target)}.png":
            yield f"{target[:-1].capitalize()} {target[-1]} of the paper: {short(figure)}"
    plugins = [word for plugin in command.plugins for word in ("--plugin", str(plugin))]
    there = {path.parent.name for path in store.record_paths(written.protocol, written.sweep)}
    cell = next((each.slug for each in spec.cells if each.slug in there), None)
    if command.verb == "search" or cell is None:
        # With all its words, as another protocol has other winners, but for the one that only a search knows.
        yield f"Next: {replace(command, verb='sweep', spec=replace(command.spec, trials=None))}"
        return
    own = ["--spec", target] if target.endswith((".yaml", ".yml")) else []
    words = [*plugins, "explain", cell, "--protocol", written.protocol, *own, *folder]
    yield f"Next: vdae-bench {' '.join(map(quoted, words))}"
