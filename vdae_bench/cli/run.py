"""What the verbs do: from parsed words to runs and printed text. The verbs themselves are in `cli.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vdae_bench.cli.plan import plan_text
from vdae_bench.cli.words import SURROUNDINGS, resolve, stop_request
from vdae_bench.errors import Failed, UserError
from vdae_bench.running.cost import group_work
from vdae_bench.running.engines import choose_engine
from vdae_bench.running.plan import Plan, plan
from vdae_bench.running.progress import choose_progress
from vdae_bench.running.schedule import Outcome, clear_leftovers, run_plan
from vdae_bench.running.shards import parse_shard
from vdae_bench.running.stop import StopRequest
from vdae_bench.running.workbench import Surroundings, surroundings
from vdae_bench.search.searches import run_studies, search_sweep, search_text, take_winners
from vdae_bench.search.studies import studies_of, studies_to_run
from vdae_bench.search.winner import all_winners
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Store


def run_sweeps(names: Sequence[str], *, reports: Path, dry_run: bool, quiet: bool, **words: Any) -> None:
    """Run sweeps one after the other, then draw and print their reports."""
    stop = stop_request(words)
    shard = parse_shard(words["shard"]) if words["shard"] else None
    if shard and words["search"]:
        raise UserError("--shard takes a part of the final runs; search first: vdae-bench search SPEC")
    around = surroundings(**{name: words[name] for name in SURROUNDINGS})
    for name in names:
        if len(names) > 1 and load_spec(find_spec(name)).search is None:
            spec = resolve(name, around, {**words, "search": None, "trials": None}, may_calibrate=not dry_run)
        else:
            spec = resolve(name, around, words, may_calibrate=not dry_run)
            if words["search"] and dry_run:
                click.echo(search_text(spec, studies_of(spec), around.store))
            elif words["search"]:
                search_sweep(spec, around, words, quiet, stop)
            spec = take_winners(spec, around.store, words["search"], quiet)
        planned = plan(spec, around.store, around.limit, words["only"])
        if shard:
            planned = shard.of(planned, around.store)
        if dry_run:
            click.echo(plan_text(spec, planned))
            continue
        outcome = run_spec(planned, around, quiet, stop, words["workers"], words["scheduler"])
        report_sweep(spec, around.store, reports)
        raise_if_failed(outcome, planned)


def run_spec(
    planned: Plan, around: Surroundings, quiet: bool, stop: StopRequest, workers: int | None, scheduler: str | None
) -> Outcome:
    """Run what has no record; a signal ends it after a checkpoint."""
    clear_leftovers(planned, around.store)
    if not planned.groups:
        return Outcome()
    with (
        stop.listening(),
        choose_progress(lambda: sum(map(group_work, planned.groups)), quiet) as progress,
        choose_engine(workers, scheduler, around, progress.say) as engine,
    ):
        return run_plan(planned, around, progress, stop, engine)


def run_search(word: str, *, reports: Path, dry_run: bool, quiet: bool, **words: Any) -> None:
    """Run the studies of a spec, those of its comparison too, and draw them."""
    around = surroundings(**{name: words[name] for name in SURROUNDINGS})
    spec = resolve(word, around, {**words, "search": True})
    studies = studies_to_run(spec, compare=True)
    if dry_run:
        click.echo(search_text(spec, studies, around.store))
        return
    stop = stop_request(words)
    run_studies(studies, around, words, quiet, stop)
    report_sweep(spec, around.store, reports)


def raise_if_failed(outcome: Outcome, planned: Plan) -> None:
    """Exit code 1 with a list when runs failed or diverged, now or before."""
    lines = [f"{group.label}: {error}" for group, error in outcome.failures]
    lines += [
        f"{record.cell.dataset}_{record.cell.method}_{record.cell.latents} seed {record.seed}: "
        f"{'; '.join(record.flags)}"
        for record in outcome.diverged
    ]
    lines += [
        f"{each.job.cell.slug} seed {seed}: diverged (recorded before)"
        for each in planned.cells
        for seed in each.diverged
    ]
    if lines:
        raise Failed("not all runs came to a result:\n  " + "\n  ".join(lines))


def report_sweep(spec: SweepSpec, store: Store, reports: Path) -> None:
    """Draw the reports that a sweep's records are part of, and print its own."""
    from vdae_bench.report.build import FORMATS, build_reports
    from vdae_bench.report.numbers.claims import claims_protocol

    place = (spec.protocol.name, spec.name)
    if any(True for _ in store.records(*place)) or any(True for _ in all_winners(store, spec.name, spec.protocol.name)):
        name = spec.protocol.name
        # The claims that a sweep is evidence for stand on the pages of the paper's other sweeps too.
        others = {claims_protocol(spec.name, name)} - {name, None}
        for protocol in (name, *others):
            if protocol == name or any(True for _ in store.records(protocol)):
                for written in build_reports(store, reports, protocol=protocol, formats=FORMATS):
                    if (written.sweep, written.protocol, written.path.suffix) == (spec.name, name, ".md"):
                        click.echo(written.console)
