"""Training a batch of trials: those of one architecture as replicas of one model, on training and validation images.

Each replica has its own seed, learning rate, beta2, epsilon and schedule. The test images are not there: a search
loads a data set without them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.images import load_images
from vdae_bench.data.views import PixelStatistics, Split, ViewedImages
from vdae_bench.errors import EnvironmentFault
from vdae_bench.models.registry import get_method
from vdae_bench.running.cost import GroupLimit, price
from vdae_bench.running.engines import GONE, Attendant, Engine, end
from vdae_bench.running.stop import SECONDS_BETWEEN_LOOKS, StopRequest, stop_file
from vdae_bench.running.workbench import OUT_OF_MEMORY, Surroundings
from vdae_bench.search.space import architecture_of
from vdae_bench.search.studies import Study
from vdae_bench.search.winner import Trial
from vdae_bench.system.devices import is_out_of_memory, release_memory
from vdae_bench.system.strict_json import digest
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Interrupted, Trainer, keep_replicas

RUNGS = 100
"""Epochs whose validation -ELBO is kept and may decide of pruning: all of a shorter trial, evenly spaced ones else."""

Curve = Sequence[tuple[int, float]]


class SearchImages(ViewedImages):
    """Training and validation images alone; what is computed of them once serves all groups of a study."""

    def held_out(self, split: Split, dtype: torch.dtype = torch.float32, draw: int = 0) -> Float[Tensor, "N n"]:
        """The fixed draw of the validation images."""
        if split != "validation":
            raise AssertionError("a search never sees the test set")
        return super().held_out(split, dtype, draw)

    @functools.cached_property
    def _statistics(self) -> PixelStatistics:
        return super().statistics()

    def statistics(self) -> PixelStatistics:
        """As of the whole set."""
        return self._statistics


@functools.lru_cache(maxsize=1)
def search_images(
    dataset: str, folder: Path | None, view: Any, device: torch.device, train_images: int | None
) -> SearchImages:
    """A data set without its test images."""
    images = load_images(dataset, folder)
    images = dataclasses.replace(images, test=images.train[:0])
    return SearchImages(images, view, device, train_images)


def rungs(epochs: int) -> set[int]:
    """The epochs at which a trial's -ELBO is kept, the last among them.

    >>> sorted(rungs(4)), len(rungs(1000)), max(rungs(1001))
    ([1, 2, 3, 4], 100, 1001)
    """
    every = math.ceil(epochs / RUNGS)
    return {epoch for epoch in range(1, epochs + 1) if (epochs - epoch) % every == 0}


@dataclass
class Group:
    """Trials of one architecture while they train; `alive` are the numbers of the replicas left."""

    study: Study
    members: dict[int, dict[str, Any]]
    alive: list[int] = field(default_factory=list)
    ended: dict[int, Trial] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    counted: float = 0.0
    """Of the trainer's seconds, how many are shared out already."""

    def __post_init__(self) -> None:
        self.alive = self.alive or list(self.members)
        self.seconds = self.seconds or dict.fromkeys(self.members, 0.0)

    @property
    def flops(self) -> int:
        """Of all its trials, none pruned."""
        (first, *_) = self.members.values()
        return price(self.study.job(architecture_of(first))).train_flops * len(self.members)

    def checkpoint(self, around: Surroundings) -> Checkpoint:
        """Where the group is kept while its batch runs."""
        members = [[number, self.study.trial_seed(number), parameters] for number, parameters in self.members.items()]
        identity = digest([self.study.spec_digest, members])
        folder = around.store.folder(self.study.sweep, self.study.protocol.name, "checkpoints")
        batch = self.study.batch_name(min(self.members) // self.study.batch)
        return Checkpoint(folder / f"{batch}-{identity[:16]}.pt", identity, around.seconds_between_checkpoints)

    def trainer(self, around: Surroundings) -> Trainer:
        """A trainer of the replicas that are alive, at their start."""
        (first, *_) = self.members.values()
        job = self.study.job(architecture_of(first))
        options = (dict(job.cell.options),) * len(self.alive)
        model = get_method(job.cell.method).build(job.problem(len(self.alive), options))
        data = search_images(job.dataset, around.data_folder, job.view, around.device, job.protocol.train_images)
        seeds = [self.study.trial_seed(number) for number in self.alive]
        optimisers = [self.study.job(self.members[number]).adam_settings for number in self.alive]
        return Trainer(model, data, seeds, optimisers, job.training_settings())

    def run(
        self,
        prunes: Callable[[Curve], bool],
        around: Surroundings,
        report: Callable[[str, float], None],
        stop: Callable[[], bool],
    ) -> dict[int, Trial]:
        """Train to the end from the group's checkpoint where there is one; raises `Interrupted` after another.

        Where memory does not suffice for all, half the trials train at a time, from their start: the same numbers.

        Raises:
            EnvironmentFault: memory does not suffice for one.
        """
        try:
            return self._run(prunes, around, report, stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(self.alive) == 1:
                raise EnvironmentFault(OUT_OF_MEMORY) from error
        release_memory()
        middle = len(self.alive) // 2
        for half, numbers in enumerate((self.alive[:middle], self.alive[middle:])):

            def report_half(phase: str, fraction: float, half: int = half) -> None:
                report(f"{phase}, half of them at a time for want of memory", (half + fraction) / 2)

            members = {number: self.members[number] for number in numbers}
            self.ended |= Group(self.study, members).run(prunes, around, report_half, stop)
        return self.ended

    def _run(
        self,
        prunes: Callable[[Curve], bool],
        around: Surroundings,
        report: Callable[[str, float], None],
        stop: Callable[[], bool],
    ) -> dict[int, Trial]:
        checkpoint = self.checkpoint(around)
        with checkpoint.restoring():
            kept = checkpoint.load()
            state = self._restore(kept) if kept else None
        if not self.alive:
            return self.ended

        def save(trainer_state: dict[str, Any] | None) -> None:
            checkpoint.save({"trainer": trainer_state, **self._progress()})

        def after_step(trainer: Trainer) -> None:
            if trainer.step % trainer.steps_per_epoch == 0:
                self._share_seconds(trainer)
                self._end_some(trainer, prunes)
            epoch = min(trainer.step // trainer.steps_per_epoch + 1, self.study.epochs)
            report(f"epoch {epoch}/{self.study.epochs}", trainer.step / trainer.steps)

        while self.alive:
            trainer = self.trainer(around)
            if state:
                with checkpoint.restoring():
                    trainer.load_state(state)
            before = list(self.alive)
            try:
                trainer.run(save, lambda: checkpoint.due, stop, after_step)
            except _Thinned:
                state = keep_replicas(trainer.state(), [before.index(number) for number in self.alive])
        save(None)  # until the batch is told
        return self.ended

    def _end_some(self, trainer: Trainer, prunes: Callable[[Curve], bool]) -> None:
        """At the end of an epoch, end the trials that diverged, are pruned or are through; `_Thinned` if some go on."""
        epoch = trainer.step // trainer.steps_per_epoch
        through = trainer.step == trainer.steps
        for replica, (number, diverged) in enumerate(zip(list(self.alive), trainer.diverged_at(), strict=True)):
            values = [row[replica] for row in trainer.curve["validation"]]
            curve = [(at, values[at - 1]) for at in sorted(rungs(self.study.epochs)) if at <= epoch]
            curve = [(at, value) for at, value in curve if math.isfinite(value)]
            if diverged is not None or not math.isfinite(values[-1]):
                self._end(number, "diverged", epoch, curve, diverged if diverged is not None else trainer.step)
            elif through:
                self._end(number, "complete", epoch, curve)
            elif epoch in rungs(self.study.epochs) and prunes(curve):
                self._end(number, "pruned", epoch, curve)
        if not through and len(self.alive) < len(trainer.noise.seeds):
            raise _Thinned

    def _end(self, number: int, state: Any, epoch: int, curve: Curve, diverged_at: int | None = None) -> None:
        self.alive.remove(number)
        self.ended[number] = Trial(
            number=number,
            state=state,
            parameters=self.members[number],
            value=curve[-1][1] if state != "diverged" else None,
            epochs=epoch,
            seconds=self.seconds[number],
            seed=self.study.trial_seed(number),
            curve=list(curve),
            diverged_at=diverged_at,
        )

    def _share_seconds(self, trainer: Trainer) -> None:
        total = sum(trainer.seconds.values())
        for number in self.alive:
            self.seconds[number] += (total - self.counted) / len(self.alive)
        self.counted = total

    def _progress(self) -> dict[str, Any]:
        return {
            "alive": list(self.alive),
            "ended": {number: trial.model_dump(mode="json") for number, trial in self.ended.items()},
            "seconds": dict(self.seconds),
            "counted": self.counted,
        }

    def _restore(self, kept: dict[str, Any]) -> dict[str, Any] | None:
        """Take over what was saved; the trainer's part of it."""
        self.alive, self.seconds, self.counted = kept["alive"], kept["seconds"], kept["counted"]
        self.ended = {number: Trial.model_validate(trial) for number, trial in kept["ended"].items()}
        trainer: dict[str, Any] | None = kept["trainer"]
        return trainer


class _Thinned(Exception):
    """Some replicas of a group have ended; the others go on without them."""


def groups_of(study: Study, members: Mapping[int, dict[str, Any]], limit: GroupLimit | None = None) -> Iterator[Group]:
    """Trials of a batch by their architecture, as many together as `limit` allows."""
    by_architecture: dict[str, dict[int, dict[str, Any]]] = {}
    for number, parameters in members.items():
        by_architecture.setdefault(digest(architecture_of(parameters)), {})[number] = parameters
    for alike in by_architecture.values():
        numbers = list(alike)
        size = (limit or GroupLimit()).of(study.job(architecture_of(alike[numbers[0]])))
        for start in range(0, len(numbers), size):
            yield Group(study, {number: alike[number] for number in numbers[start : start + size]})


def train(
    groups: list[Group],
    prunes: Callable[[Curve], bool],
    around: Surroundings,
    report: Callable[[str, float], None],
    stop: StopRequest,
    engine: Engine | None = None,
) -> dict[int, Trial]:
    """Train what is not trained yet of a batch; its trials by their numbers. `report(phase, fraction)` as it goes.

    Groups train one after the other here, or beside each other on an engine; `groups` then are those that it returned.
    """
    works = [group.flops for group in groups]
    total = sum(works) or 1
    if engine:
        return _train_elsewhere(groups, works, prunes, around, report, stop, engine)
    trials: dict[int, Trial] = {}
    for place, group in enumerate(groups):

        def report_group(phase: str, fraction: float, place: int = place, group: Group = group) -> None:
            phase = f"group {place + 1}/{len(groups)}, {phase}, {len(group.alive)} trials"
            report(phase, (sum(works[:place]) + fraction * works[place]) / total)

        trials |= group.run(prunes, around, report_group, stop)
    return trials


def _train_elsewhere(
    groups: list[Group],
    works: Sequence[int],
    prunes: Callable[[Curve], bool],
    around: Surroundings,
    report: Callable[[str, float], None],
    stop: StopRequest,
    engine: Engine,
) -> dict[int, Trial]:
    """On an engine's workers; one that dies is replaced by another, which goes on from the checkpoint.

    Raises:
        Interrupted: `stop` said so; what trained has a checkpoint.
        EnvironmentFault: the engine is gone.
    """
    first = groups[0].checkpoint(around).path
    with stop_file(first.parent, first.stem) as stop_path:
        attendant = Attendant.of(engine.around, stop_path)
        order = sorted(range(len(groups)), key=lambda place: -works[place])
        places = {engine.executor.submit(attendant.train, groups[place], prunes): place for place in order}
        waiting, done = set(places), 0
        while waiting:
            over, waiting = wait(waiting, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
            if any(future.cancelled() for future in over):
                raise EnvironmentFault(GONE)
            for future in over:
                if isinstance(future.exception(), Interrupted):
                    continue
                groups[places[future]] = future.result()
                done += works[places[future]]
            report(f"{len(places) - len(waiting)} of {len(groups)} groups trained", done / (sum(works) or 1))
            if stop() and waiting:
                end(waiting, stop_path)
                raise Interrupted
    if stop():
        raise Interrupted
    return {number: trial for group in groups for number, trial in group.ended.items()}
