"""Training a batch of trials: those of one architecture are a task, as replicas of one model.

They train on training images and are judged on validation images. Each replica has its own seed, learning rate, beta2,
epsilon and schedule. The test images are not there: a search loads a data set without them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.images import load_images
from vdae_bench.data.registry import ImageFiles, find_dataset
from vdae_bench.data.views import PixelStatistics, Split, ViewedImages
from vdae_bench.models.registry import get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import GroupLimit, price
from vdae_bench.running.job import Job
from vdae_bench.running.pools import WorkerPool
from vdae_bench.running.progress import Progress
from vdae_bench.running.schedule import Display, run_tasks
from vdae_bench.running.stop import StopToken
from vdae_bench.running.task import Report, Task
from vdae_bench.search.space import architecture_of
from vdae_bench.search.studies import Study
from vdae_bench.search.winner import Trial
from vdae_bench.store.records import Store
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import counted
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Interrupted, Trainer, keep_replicas

RUNGS = 100
"""Epochs whose validation -ELBO is kept and may decide of pruning: all of a shorter trial, evenly spaced ones else."""

TrialCurve = Sequence[tuple[int, float]]
Prunes = Callable[[TrialCurve], bool]
Parameters = dict[str, Any]


class SearchImages(ViewedImages):
    """Training and validation images alone; what is computed of them once serves all groups of a study."""

    def held_out(self, split: Split, dtype: torch.dtype = torch.float32, draw: int = 0) -> Float[Tensor, "N n"]:
        """The fixed draw of the validation images."""
        if split != "validation":
            raise AssertionError("a search never sees the test set")
        return super().held_out(split, dtype, draw)

    @functools.cached_property
    def _known(self) -> dict[Callable[[Tensor], Tensor] | None, PixelStatistics]:
        return {}

    def statistics(self, space: Callable[[Tensor], Tensor] | None = None) -> PixelStatistics:
        """Pixel statistics, computed once for all groups of a study."""
        if space not in self._known:
            self._known[space] = super().statistics(space)
        return self._known[space]


def search_images(
    dataset: str, folder: Path | None, view: Any, device: torch.device, train_images: int | None
) -> SearchImages:
    """A data set without its test images, loaded once for all groups of a process that use it."""
    return _search_images(find_dataset(dataset), folder, view, device, train_images)


@functools.lru_cache(maxsize=1)
def _search_images(
    dataset: ImageFiles, folder: Path | None, view: Any, device: torch.device, train_images: int | None
) -> SearchImages:
    images = load_images(dataset.name, folder)
    images = dataclasses.replace(images, test=images.train[:0])
    return SearchImages(images, view, device, train_images)


def rungs(epochs: int) -> set[int]:
    """The epochs at which a trial's -ELBO is kept, the last among them.

    >>> sorted(rungs(4)), len(rungs(1000)), max(rungs(1001))
    ([1, 2, 3, 4], 100, 1001)
    """
    return {*range(epochs, 0, -math.ceil(epochs / RUNGS))}


@dataclass(frozen=True)
class TrialGroup:
    """Trials of one architecture as a task of the scheduler: its result is how each of them ended."""

    study: Study
    members: Mapping[int, Parameters]
    """The parameters of each trial by its number."""
    prunes: Prunes
    """Says of a trial's curve so far that it is not worth finishing."""

    @functools.cached_property
    def identity(self) -> str:
        """Identity of the group's checkpoint: the study and its trials."""
        members = [[number, self.study.trial_seed(number), parameters] for number, parameters in self.members.items()]
        return digest([self.study.spec_digest, members])

    @property
    def label(self) -> str:
        """The study and the numbers of the trials."""
        return f"search {self.study.slug}, trials {', '.join(map(str, self.members))}"

    @functools.cached_property
    def work(self) -> float:
        """FLOPs of all its trials, none pruned."""
        return float(price(self.job).train_flops * len(self.members))

    @property
    def job(self) -> Job:
        """Job that says the architecture, protocol and data of all trials of the group."""
        (first, *_) = self.members.values()
        return self.study.job(architecture_of(first))

    def checkpoint_path(self, store: Store) -> Path:
        """The file in which the group is kept until its batch is told."""
        folder = store.checkpoints(self.study.sweep, self.study.protocol.name)
        batch = self.study.batch_name(min(self.members) // self.study.batch)
        return folder / f"{batch}-{self.identity[:16]}.pt"

    def run(self, context: RunContext, report: Report, stop: Callable[[], bool]) -> list[Trial]:
        """Train to the end, from the checkpoint where there is one; raises `Interrupted` after another."""
        report("", 0.0)
        return _Training(self, context).run(report, stop)

    def halves(self) -> tuple[TrialGroup, ...]:
        """Two groups of half the trials, from their start: their numbers are the same."""
        numbers, middle = list(self.members), (len(self.members) + 1) // 2
        parts = (numbers[:middle], numbers[middle:]) if len(numbers) > 1 else ()
        return tuple(
            TrialGroup(self.study, {number: self.members[number] for number in part}, self.prunes) for part in parts
        )


class _Training:
    """The trials of a group while they train; `alive` are the numbers of the replicas left."""

    def __init__(self, group: TrialGroup, context: RunContext) -> None:
        self.group, self.study, self.context = group, group.study, context
        path = group.checkpoint_path(context.store)
        self.checkpoint = Checkpoint(path, group.identity, context.seconds_between_checkpoints)
        self.alive = list(group.members)
        self.ended: dict[int, Trial] = {}
        self.seconds = dict.fromkeys(group.members, 0.0)
        self.counted = 0.0
        """Seconds of the trainer that are shared out to the trials already."""

    def trainer(self) -> Trainer:
        """A trainer of the replicas that are alive, at their start."""
        job, context = self.group.job, self.context
        options = (dict(job.cell.options),) * len(self.alive)
        model = get_method(job.cell.method).model(job.problem(len(self.alive), options))
        data = search_images(job.dataset, context.data_folder, job.view, context.device, job.protocol.train_images)
        seeds = [self.study.trial_seed(number) for number in self.alive]
        optimisers = [self.study.job(self.group.members[number]).adam_settings for number in self.alive]
        return Trainer(model, data, seeds, optimisers, job.training_settings())

    def run(self, report: Report, stop: Callable[[], bool]) -> list[Trial]:
        """Train until no trial is left, and keep how they ended until the batch is told."""
        checkpoint = self.checkpoint
        with checkpoint.restoring():
            kept = checkpoint.load()
            state = self._restore(kept) if kept else None
        if not self.alive:
            return list(self.ended.values())

        def save(trainer_state: dict[str, Any] | None) -> None:
            checkpoint.save({"trainer": trainer_state, **self._progress()})

        def after_step(trainer: Trainer) -> None:
            if trainer.step % trainer.steps_per_epoch == 0:
                self._share_seconds(trainer)
                self._end_some(trainer)
            epoch = min(trainer.step // trainer.steps_per_epoch + 1, self.study.epochs)
            report(
                f"epoch {epoch}/{self.study.epochs}, {counted(len(self.alive), 'trial')}", trainer.step / trainer.steps
            )

        while self.alive:
            trainer = self.trainer()
            if state:
                with checkpoint.restoring():
                    trainer.load_state(state)
            before = list(self.alive)
            try:
                trainer.run(save, lambda: checkpoint.due, stop, after_step)
            except _Thinned:
                state = keep_replicas(trainer.state(), [before.index(number) for number in self.alive])
        save(None)
        return list(self.ended.values())

    def _end_some(self, trainer: Trainer) -> None:
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
            elif epoch in rungs(self.study.epochs) and self.group.prunes(curve):
                self._end(number, "pruned", epoch, curve)
        if not through and len(self.alive) < len(trainer.noise.seeds):
            raise _Thinned

    def _end(self, number: int, state: Any, epoch: int, curve: TrialCurve, diverged_at: int | None = None) -> None:
        self.alive.remove(number)
        self.ended[number] = Trial(
            number=number,
            state=state,
            parameters=self.group.members[number],
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
        """Take over a checkpoint's content, and return the trainer's part of it."""
        self.alive, self.seconds, self.counted = kept["alive"], kept["seconds"], kept["counted"]
        self.ended = {number: Trial.model_validate(trial) for number, trial in kept["ended"].items()}
        trainer: dict[str, Any] | None = kept["trainer"]
        return trainer


class _Thinned(Exception):
    """Some replicas of a group have ended; the others go on without them."""


def groups_of(
    study: Study, members: Mapping[int, Parameters], prunes: Prunes, limit: GroupLimit | None = None
) -> list[TrialGroup]:
    """Trials of a batch by their architecture, as many together as `limit` allows."""
    by_architecture: dict[str, list[int]] = {}
    for number, parameters in members.items():
        by_architecture.setdefault(digest(architecture_of(parameters)), []).append(number)
    groups = []
    for numbers in by_architecture.values():
        size = (limit or GroupLimit()).fitting(study.job(architecture_of(members[numbers[0]])))
        for start in range(0, len(numbers), size):
            part = {number: members[number] for number in numbers[start : start + size]}
            groups.append(TrialGroup(study, part, prunes))
    return groups


class BatchDisplay(Display[list[Trial]]):
    """Shows the groups of a batch as one bar; the search itself says when the batch starts and what failed."""

    def __init__(self, groups: Sequence[Task[list[Trial]]], progress: Progress, label: str) -> None:
        super().__init__(progress)
        self.label, self.groups = label, len(groups)
        self.work = sum(group.work for group in groups)
        self.done: dict[str, float] = {}
        """FLOPs that are done of each group that has started."""

    def update(self, task: Task[list[Trial]], phase: str, fraction: float | None) -> None:
        """Move the batch's bar."""
        self.done[task.identity] = task.work * (fraction or 0.0)
        if phase:
            phase = f"group {len(self.done)}/{self.groups}, {phase}"
            self.progress.update(self.label, phase, self.work, sum(self.done.values()) / (self.work or 1))

    def split(self, task: Task[list[Trial]]) -> None:
        """Begin the group's work anew, in halves."""
        self.done.pop(task.identity, None)
        self.groups += 1

    def end(self, task: Task[list[Trial]], result: list[Trial]) -> None:
        """Count the group's work as done, pruned trials too."""
        self.update(task, f"{counted(len(result), 'trial')} ended", 1.0)


def train(
    groups: Sequence[Task[list[Trial]]],
    context: RunContext,
    display: Display[list[Trial]],
    stop: StopToken,
    pool: WorkerPool | None = None,
) -> dict[int, Trial]:
    """Train what is not trained yet of a batch; its trials by their numbers.

    Raises the error of the first group that failed, once the others are trained and in their checkpoints.

    Raises:
        Interrupted: `stop` said so; what trained has a checkpoint.
    """
    finished = run_tasks(groups, context, display, stop, pool)
    for _, error in finished.failures:
        raise error
    if stop():
        raise Interrupted
    return {trial.number: trial for ended in finished.results for trial in ended}
