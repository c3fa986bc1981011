"""The searches of a sweep: its studies run where the command line says, their winners taken, and both in words."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from tabulate import tabulate

from vdae_bench.errors import Failed, UserError, VdaeBenchError
from vdae_bench.running.context import RunContext
from vdae_bench.running.job import RunGroup
from vdae_bench.running.options import RunOptions
from vdae_bench.running.pools import choose_pool
from vdae_bench.running.progress import choose_progress
from vdae_bench.running.schedule import SerialExecutor
from vdae_bench.running.stop import StopToken
from vdae_bench.running.workers import Load, rough_seconds
from vdae_bench.search.studies import Study, studies_of, studies_to_run
from vdae_bench.search.winner import frozen, trials_frozen, with_winners
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted, reason

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


NO_SEARCH = "no search chooses hyper-parameters for these cells"


def search_sweep(
    spec: SweepSpec, cells: Sequence[Cell], context: RunContext, options: RunOptions, stop: StopToken
) -> None:
    """Bring the studies that final runs of the cells need to their trials; what is frozen of others is not used."""
    studies = studies_to_run(spec, cells, compare=False)
    for study in studies:
        frozen(study, context.store)
    if studies:
        run_studies(studies, context, options, stop)
    else:
        click.echo(f"{spec.name}: {NO_SEARCH}", err=True)


def run_studies(studies: Sequence[Study], context: RunContext, options: RunOptions, stop: StopToken) -> None:
    """Run studies where and on what the command line says; one that fails spares the rest.

    They run one after the other in this process, and beside each other on several workers: a study's batches follow
    each other, and one batch may not keep all workers busy.
    """
    from vdae_bench.search.ledger import only_search_in, open_storage
    from vdae_bench.search.run import run_study, work_of

    folder = context.store.searches(studies[0].sweep, studies[0].protocol.name)
    failures = []

    def work() -> float:
        return sum(work_of(study, context.store) for study in studies)

    @functools.cache
    def storage() -> BaseStorage:
        return open_storage(folder, options.storage)

    opening = threading.Lock()  # a journal is mended as it is opened, by one of the studies

    def opened() -> BaseStorage:
        with opening:
            return storage()

    def run(study: Study) -> None:
        found = run_study(study, context, opened, progress, stop, pool)
        if not options.quiet:
            progress.say(found.as_text())

    with (
        only_search_in(folder, lambda line: click.echo(line, err=True)),
        stop.listening(context.command),
        choose_progress(work, options.quiet) as progress,
        choose_pool(options, context, load_of(studies, context), progress.say) as pool,
        ThreadPoolExecutor(len(studies)) if pool else SerialExecutor() as executor,
    ):
        for study, future in [(study, executor.submit(run, study)) for study in studies]:
            try:
                future.result()
            except UserError:
                raise
            except (VdaeBenchError, RuntimeError, MemoryError, OSError) as error:
                failures.append(f"{study.slug}: {reason(error)}")
    if failures:
        raise Failed("not all searches finished with a result:\n  " + "\n  ".join(failures))


def load_of(studies: Sequence[Study], context: RunContext) -> Load:
    """The load of studies, as if every batch were of the largest network: at a time each has one."""
    batches: list[RunGroup] = []
    left = []
    for study in studies:
        if (trials := study.trials - trials_frozen(study, context.store)) > 0:
            runs = tuple((study.largest_job, number) for number in range(trials))
            left.append(RunGroup(runs))
            batches.append(RunGroup(runs[: study.batch]))
    return replace(Load.of(batches), seconds=map(rough_seconds, left))


def take_winners(spec: SweepSpec, store: Store, asked: bool | None, quiet: bool) -> SweepSpec:
    """The spec with the hyper-parameters that searches chose, unless `asked` is False; says so where nobody asked."""
    if spec.search is None or asked is False:
        return spec
    found = with_winners(spec, store)
    if asked is None and not quiet:
        cells = len({slug for study in studies_of(spec) for slug in study.serves})
        if found.searched:
            place = store.searches(spec.name, spec.protocol.name)
            of = f"{len(found.searched)} of {counted(cells, 'cell')}"
            said = f"searched hyper-parameters for {of}, from {place} (or --no-search)"
        else:
            said = "its hyper-parameter search does not run; give --search to run it"
        click.echo(f"{spec.name}: {said}", err=True)
    return found


def search_text(spec: SweepSpec, studies: Sequence[Study], store: Store) -> str:
    """Table of what a search would run and cost."""
    rows, total = [], 0
    for study in studies:
        have = trials_frozen(study, store)
        flops = study.train_flops
        total += flops * max(0, study.trials - have)
        others = [slug for slug in study.serves if slug != study.cell.slug]
        rows.append([study.slug, len(others), study.sampler, have, study.trials, study.epochs, f"{flops / 1e12:.3g}"])
    headers = ["study", "other cells", "sampler", "frozen", "trials", "epochs", "TFLOP a trial"]
    return "\n".join(
        [
            f"{spec.name}: hyper-parameter search under protocol {spec.protocol.name}",
            "",
            tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1))),
            "",
            f"to search: {total / 1e12:.3g} TFLOP, the mean over the space's networks, before pruning",
            "",
        ]
    )
