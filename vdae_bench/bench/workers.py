"""Throughput of several workers and cost of their scheduler: the same sweep on one, on two, and on none."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import torch

from vdae_bench.bench.entries import Entry, Environment
from vdae_bench.bench.ours import Setting
from vdae_bench.bench.timing import Contestant, Measured, interleave, ratio
from vdae_bench.errors import VdaeBenchError
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import GroupLimit
from vdae_bench.running.execute import run_plan
from vdae_bench.running.plan import Plan, plan
from vdae_bench.running.pools import WorkerPool, local_pool
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system.words import reason

SPEC = """version: 1
name: workers
grid: {{dataset: [binary-{data}], method: [vae, lvdae], latents: [16, 24, 32, 64]}}
protocol: {{base: quick, epochs: 1, train_images: {train}, importance_samples: 50, nll_images: 10, elbo_images: 20,
  validation_images: 20, quality_samples: 0}}
seeds: 1
"""
"""Eight groups of two to five seconds, for a scheduler's overhead to be seen beside them."""
EQUAL = """version: 1
name: equal
grid: {{dataset: [binary-{data}], method: [vae], latents: [32]}}
protocol: {{base: quick, epochs: 1, train_images: {train}, importance_samples: 50, nll_images: 10, elbo_images: 20,
  validation_images: 20, quality_samples: 0}}
seeds: 16
"""
"""Sixteen equal groups of one seed each."""
WORKER_ROUNDS = 3
HERE, ONE, TWO, ALONE = "this process", "one worker", "two workers", "this process on one thread"
Row = tuple[str, str, str, float | None]
"""Name of the entry, contestant that is ours, contestant beside it, the least ratio to reach."""
ROWS: tuple[Row, ...] = (
    ("A group of a sweep on two workers, beside one of twice the threads", TWO, ONE, None),
    ("A group of a sweep on one worker, beside no scheduler", ONE, HERE, None),
    ("A group that has its records, on one worker", f"{ONE}, nothing to do", f"{HERE}, nothing to do", None),
    ("One of 16 equal groups on two workers, beside one process of one thread", f"{TWO}, equal", ALONE, 1.7),
)


@dataclass(frozen=True)
class Workers:
    """Groups on workers; the last row is what the scheduler adds to a group."""

    name: str
    per: ClassVar[str] = "group"
    on_gpu: ClassVar[bool] = False

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Run the sweep on each in turn, every time into a folder of its own."""
        with TemporaryDirectory() as folder, ExitStack() as open_pools:
            measured = interleave(_contestants(setting, Path(folder), open_pools), rounds or WORKER_ROUNDS, 0.0)
        return [self._measured(row, measured, run) for row in ROWS]

    def _measured(self, row: Row, measured: dict[str, Measured], run: Environment) -> Entry:
        name, mine, theirs = (row[0], measured[row[1]], measured[row[2]])
        found = ratio(theirs.rounds, mine.rounds)
        return self._entry(
            name,
            row[2].partition(",")[0],
            run,
            ours_seconds=mine.seconds,
            peer_seconds=theirs.seconds,
            ratio=found.value,
            spread=(found.low, found.high),
            ours_rounds=mine.rounds,
            peer_rounds=theirs.rounds,
            target=row[3],
        )

    def _entry(self, name: str, peer: str, run: Environment, **found: object) -> Entry:
        return Entry.model_validate(
            {"name": name, "peer": peer, "case": self.name, "subject": "workers", "per": self.per, "run": run, **found}
        )


def _contestants(setting: Setting, folder: Path, open_pools: ExitStack) -> dict[str, Contestant]:
    spec, equal = (_spec(text, folder, setting) for text in (SPEC, EQUAL))
    context = setting.context
    places: dict[str, WorkerPool | None] = {HERE: None}
    for name, count in ((ONE, 1), (TWO, 2)):
        places[name] = open_pools.enter_context(local_pool(count, context, lambda _: None))
    store = Store(folder / "done")
    done = plan(spec, store)
    _run(done, replace(context, store=store), None)
    groups, numbers = len(done.groups), itertools.count()

    def sweep(spec: SweepSpec, context: RunContext, pool: WorkerPool | None) -> Callable[[], None]:
        return lambda: _sweep(spec, context, pool, folder / str(next(numbers)))

    def nothing(pool: WorkerPool | None) -> Callable[[], None]:
        return lambda: _run(done, replace(context, store=store), pool)

    contestants = {name: Contestant(sweep(spec, context, pool), units=groups) for name, pool in places.items()}
    for name in (HERE, ONE):
        contestants[f"{name}, nothing to do"] = Contestant(nothing(places[name]), units=groups)
    single = replace(context, limit=GroupLimit(replicas=1))
    contestants[ALONE] = Contestant(_on_one_thread(sweep(equal, single, None)), units=equal.seeds)
    contestants[f"{TWO}, equal"] = Contestant(sweep(equal, single, places[TWO]), units=equal.seeds)
    return contestants


def _spec(text: str, folder: Path, setting: Setting) -> SweepSpec:
    path = folder / "spec.yaml"
    path.write_text(text.format(data=setting.data.name, train=setting.sizes.train_images // 5))
    return load_spec(path)


def _on_one_thread(call: Callable[[], None]) -> Callable[[], None]:
    def alone() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            call()
        finally:
            torch.set_num_threads(threads)

    return alone


def _sweep(spec: SweepSpec, context: RunContext, pool: WorkerPool | None, folder: Path) -> None:
    store = Store(folder)
    _run(plan(spec, store, context.limit), replace(context, store=store), pool)


def _run(planned: Plan, context: RunContext, pool: WorkerPool | None) -> None:
    if pool:
        pool = replace(pool, context=replace(pool.context, store=context.store))
    outcome = run_plan(planned, context, QuietProgress(lambda: 1.0), StopToken(), pool)
    if outcome.failures:
        raise VdaeBenchError(f"the run that was to be timed failed: {reason(outcome.failures[0][1])}")
