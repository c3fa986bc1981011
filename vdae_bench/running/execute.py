"""A plan to its records: the run groups of a sweep as tasks, what is shown of them, what kills left of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from vdae_bench.errors import EnvironmentFault
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import group_work
from vdae_bench.running.group import GroupTask
from vdae_bench.running.options import RunOptions
from vdae_bench.running.plan import Plan
from vdae_bench.running.pools import WorkerPool, choose_pool
from vdae_bench.running.progress import Progress, choose_progress, scores_text
from vdae_bench.running.schedule import Display, run_tasks, shared_out
from vdae_bench.running.stop import StopToken
from vdae_bench.running.task import Task
from vdae_bench.running.workers import Load
from vdae_bench.store.records import Record, Store
from vdae_bench.system import atomic
from vdae_bench.system.lease import Held, Lease
from vdae_bench.system.words import reason
from vdae_bench.training.checkpoint import Unusable, read_state

Records = list[Record]


@dataclass
class Outcome:
    """Records and failures of the groups that ran."""

    records: list[Record] = field(default_factory=list)
    failures: list[tuple[Task[Records], Exception]] = field(default_factory=list)

    @property
    def failed_lines(self) -> list[str]:
        """A line for each group that failed: which one, and why."""
        return [f"{task.label}: {reason(error)}" for task, error in self.failures]

    @property
    def diverged(self) -> list[Record]:
        """Records of the runs that did not stay finite."""
        return [record for record in self.records if record.status == "diverged"]


class GroupDisplay(Display[Records]):
    """Shows each group on its own: a line or bar when it starts, as it goes, and when it ends."""

    def __init__(self, progress: Progress, groups: int) -> None:
        super().__init__(progress)
        self.groups = groups
        self.shown: set[str] = set()

    def start(self, task: Task[Records]) -> None:
        """Count a group as started, once."""
        if task.identity not in self.shown:
            self.shown.add(task.identity)
            self.progress.group_started(task.label, len(self.shown), self.groups)

    def update(self, task: Task[Records], phase: str, fraction: float | None) -> None:
        """Move the group's bar; its FLOPs are not counted before there is something to show."""
        self.start(task)
        if phase:
            self.progress.update(task.label, phase, task.work, fraction)

    def split(self, task: Task[Records]) -> None:
        """Print that memory is full and the group goes on in halves."""
        self.progress.group_ended(
            task.label, "memory is full: the group continues as two groups of half the replicas", 0
        )

    def end(self, task: Task[Records], result: Records) -> None:
        """Print what the group came to, unless its records were there before it started."""
        if task.identity in self.shown:
            self.progress.group_ended(task.label, _outcome_line(result), task.work)

    def fail(self, task: Task[Records], error: Exception) -> None:
        """Print why a group failed."""
        self.progress.group_ended(task.label, f"failed: {reason(error)}", task.work)


def run_plan(
    planned: Plan, context: RunContext, progress: Progress, stop: StopToken, pool: WorkerPool | None = None
) -> Outcome:
    """Run all groups of a plan; what fails is kept and reported, what follows still runs.

    Raises:
        Interrupted: `stop` said so; all that ran has a checkpoint.
        EnvironmentFault: the pool is gone, or the results folder cannot be written.
    """
    tasks = shared_out([GroupTask(group.runs) for group in planned.groups], context, pool, lambda: planned.work)
    finished = run_tasks(tasks, context, GroupDisplay(progress, len(tasks)), stop, pool)
    records = [record for result in finished.results for record in result]
    return Outcome(records, finished.failures)


def run_groups(planned: Plan, context: RunContext, options: RunOptions, stop: StopToken) -> Outcome:
    """Run what has no record; a signal ends it after a checkpoint."""
    clear_leftovers(planned, context.store)
    if not planned.groups:
        return Outcome()
    with (
        stop.listening(context.command),
        choose_progress(lambda: sum(map(group_work, planned.groups)), options.quiet) as progress,
        choose_pool(options, context, Load.of(planned.groups), progress.say) as pool,
    ):
        return run_plan(planned, context, progress, stop, pool)


def clear_leftovers(planned: Plan, store: Store) -> None:
    """Remove what kills left of a sweep: temporary files and leases of dead processes, checkpoints of recorded runs."""
    job = planned.cells[0].job
    place = (job.sweep, job.protocol.name)
    folder = store.checkpoints(*place)
    for each in store.folders(*place):
        atomic.clear(each)
        for path in each.glob("*.lease"):
            Lease(path).clear()
    waiting = {group.checkpoint_path(store).stem for group in planned.groups}
    left = [path for path in folder.glob("*.pt") if path.stem.removesuffix(".previous") not in waiting]
    left = [path for path in left if not path.name.startswith("search-")]
    recorded = {record.run_digest for _, record in store.records(job.protocol.name, job.sweep)} if left else set()
    for path in left:
        lease = Lease(folder / f"{path.stem.removesuffix('.previous')}.lease")
        # Under the lease, as its owner may be between publishing records and removing the checkpoint. One with a run
        # that has no record stays: its group may be composed otherwise now (another --replicas), and come back.
        with suppress(Held, EnvironmentFault, Unusable, OSError):  # another process is at it, or it is none of ours
            runs = (read_state(path) or {}).get("runs")
            if isinstance(runs, list) and runs and recorded.issuperset(map(str, runs)):
                lease.take()
                with lease.kept():
                    path.unlink()


def _outcome_line(records: list[Record]) -> str:
    done = [record for record in records if record.metrics.test]
    lost = len(records) - len(done)
    parts = [f"{lost} diverged"] if lost else []
    if done:
        tests = [(record.cell.as_cell(), record.metrics.test) for record in done if record.metrics.test]
        if any(test.neg_elbo_nats is not None for _, test in tests):
            parts.append(f"-ELBO {scores_text((cell, test.neg_elbo_nats) for cell, test in tests)}")
        parts.append(f"NLL {scores_text((cell, test.nll_nats) for cell, test in tests)}")
        seconds = sum(record.cost.train_seconds + record.cost.evaluation_seconds for record in records)
        parts.append(f"{seconds:.0f} s")
    return ", ".join(parts)
