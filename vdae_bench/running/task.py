"""A task: a piece of work with a checkpoint that one process does at a time, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from vdae_bench.errors import EnvironmentFault
from vdae_bench.running.context import RunContext
from vdae_bench.store.records import Store
from vdae_bench.system.lease import SECONDS_BETWEEN_BEATS, Held, Lease

Result = TypeVar("Result", covariant=True)
Report = Callable[[str, float | None], None]
"""Called with the phase of a task, such as its epoch, and the fraction of its work that is done; None in work that is
part of no task, such as training the classifier."""


@dataclass(frozen=True)
class Busy:
    """Result of a task that another process works on."""

    holder: str


class Checkpointed(Protocol):
    """A piece of work with a checkpoint, and so a lease beside it."""

    def checkpoint_path(self, store: Store) -> Path:
        """The file that the work goes on from after a stop or a kill."""


class Task(Checkpointed, Protocol[Result]):
    """A piece of work as the scheduler sees it; it must pickle, and its result too."""

    @property
    def identity(self) -> str:
        """Digest of the work, the same whoever does it."""

    @property
    def label(self) -> str:
        """Short name of the task for people."""

    @property
    def work(self) -> float:
        """FLOPs of the task, to weigh tasks against each other."""

    def run(self, context: RunContext, report: Report, stop: Callable[[], bool]) -> Result | Busy:
        """Do the work from its checkpoint where there is one; raises `Interrupted` after another when `stop` says so.

        What `report` hears first is ("", 0), unless the result is there already.
        """

    def halves(self) -> Sequence[Task[Result]]:
        """Two tasks of half the memory with the same result between them; none where the task cannot be divided."""


class CannotWrite(EnvironmentFault):
    """The results folder cannot be written, which no other task would survive either."""


def lease_of(task: Checkpointed, store: Store) -> Lease:
    """The lease beside a task's checkpoint: one process at a time works on the task."""
    return Lease(task.checkpoint_path(store).with_suffix(".lease"))


def run_leased(
    task: Task[Result],
    context: RunContext,
    report: Report,
    stop: Callable[[], bool],
    seconds_between_beats: float = SECONDS_BETWEEN_BEATS,
) -> Result | Busy:
    """Run a task under its lease, in which its progress stands for other processes too.

    Raises:
        CannotWrite: not even the lease.
    """
    lease = lease_of(task, context.store)

    def note(phase: str, fraction: float | None) -> None:
        lease.note = {"label": task.label, "phase": phase, "fraction": fraction}
        report(phase, fraction)

    lease.note = {"label": task.label, "phase": "", "fraction": 0.0}
    # The lease only saves work: two processes that break it both come to the same numbers, and the later of two equal
    # records yields. So a missed beat or a slow file system costs time, never a result.
    try:
        lease.take()
    except Held as held:
        return Busy(str(held))
    except EnvironmentFault as error:
        raise CannotWrite(str(error)) from error
    with lease.kept(seconds_between_beats):
        return task.run(context, note, stop)
