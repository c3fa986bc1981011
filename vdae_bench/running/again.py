"""Finished runs without weights, trained once more for their weights alone: their records stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from vdae_bench.running.context import RunContext
from vdae_bench.running.execute import run_groups
from vdae_bench.running.job import Job
from vdae_bench.running.options import RunOptions
from vdae_bench.running.plan import Plan, plan_again
from vdae_bench.running.stop import StopToken
from vdae_bench.store.layout import weights_path
from vdae_bench.store.records import Record, Store
from vdae_bench.store.weights import has_weights_of
from vdae_bench.system.words import counted, duration, flops


@dataclass(frozen=True)
class Bare:
    """A completed run without weights that the API could load."""

    job: Job
    seed: int
    record: Record

    @property
    def name(self) -> str:
        """Its cell and seed."""
        return f"{self.job.cell.slug} seed {self.seed}"

    def found(self, store: Store) -> Record | None:
        """The record of the same run in a results folder."""
        job = self.job
        return store.find(job.sweep, job.protocol.name, job.cell.slug, self.seed, self.record.run_digest)


@dataclass
class TrainedAgain:
    """Remarks on runs that were trained once more."""

    remarks: list[str] = field(default_factory=list)
    """Runs whose weights came with other numbers than their records have."""
    without: list[str] = field(default_factory=list)
    """Runs that are still without weights, and why."""


def without_weights(planned: Plan, store: Store) -> list[Bare]:
    """The completed runs of a plan that have no weights, or none that could be loaded."""
    found = []
    for each in planned.cells:
        for seed in sorted({*each.done} - {*each.diverged}):
            path = store.path(each.job.sweep, each.job.protocol.name, each.job.cell.slug, seed)
            if (record := store.read(path)) and not has_weights_of(path, record.run_digest):
                found.append(Bare(each.job, seed, record))
    return found


def price_of(bare: Sequence[Bare]) -> str:
    """Sentence that says what weights of finished runs would take, by what their records say that they took."""
    costs = [each.record.cost for each in bare]
    work, seconds = sum(cost.flops for cost in costs), sum(cost.seconds for cost in costs)
    count = counted(len(bare), "finished run")
    return (
        f"{count} without weights, which only training can keep; --train-again trains once more only for the "
        f"weights, at {flops(work)}, which took {duration(seconds)} the first time"
    )


def train_again(
    bare: Sequence[Bare], planned: Plan, context: RunContext, options: RunOptions, stop: StopToken
) -> TrainedAgain:
    """Train finished runs once more, put their weights beside their records, and say where numbers differ.

    They run in a results folder within, so that no record is ever without its place; a stop goes on there.
    """
    store, again = context.store, Store(context.store.again)
    lacking = {(each.job.cell, each.seed) for each in bare if not each.found(again)}
    elsewhere = replace(context, store=again, keep_models=True)
    said = TrainedAgain()
    if lacking:  # else a kill came between the last record and its weights' place
        said.without += run_groups(plan_again(planned, lacking, again), elsewhere, options, stop).failed_lines
    for each in bare:
        _take_over(each, store, again, said)
    place = (bare[0].job.sweep, bare[0].job.protocol.name)
    if not [*again.checkpoint_paths(*place), *again.lease_paths(*place)]:  # of another process, or of what failed
        shutil.rmtree(again.checkpoints(*place).parent, ignore_errors=True)
        with suppress(OSError):  # other sweeps are there
            (again.root / place[0]).rmdir()
            again.root.rmdir()
    return said


def _take_over(run: Bare, store: Store, again: Store, said: TrainedAgain) -> None:
    """Move a run's weights beside its record."""
    new = run.found(again)
    place = (run.job.sweep, run.job.protocol.name, run.job.cell.slug, run.seed)
    weights, target = (weights_path(each.path(*place)) for each in (again, store))
    if new is None:  # it failed, which is said already
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        weights.replace(target)
    except FileNotFoundError:
        if not has_weights_of(store.path(*place), run.record.run_digest):  # else another process has moved them
            said.without.append(f"{run.name}: it diverged this time; its record stays, without weights")
        return
    old, now = run.record.metrics.test, new.metrics.test
    assert old and now
    differing = [
        f"{what} of {after:.4f} nats, but its record has {before:.4f}"
        for what, after, before in (
            ("a -ELBO", now.neg_elbo_nats, old.neg_elbo_nats),
            ("an NLL", now.nll_nats, old.nll_nats),
        )
        if before is not None and after is not None and before != after
    ]
    if differing:
        said.remarks.append(
            f"{run.name}: the weights come from a run with {' and '.join(differing)} (other code, libraries or machine)"
        )
