"""A sweep's groups, one after the other here or beside each other on an engine, until each has its records.

What has a record is not run again, what fails does not take the sweep with it, and what another process works on is
waited for.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from vdae_bench.errors import EnvironmentFault, VdaeBenchError
from vdae_bench.running.cost import group_work
from vdae_bench.running.engines import GONE, Attendant, Engine, end
from vdae_bench.running.group import CannotWrite, attend, lease_of
from vdae_bench.running.job import Group
from vdae_bench.running.plan import Plan
from vdae_bench.running.progress import Progress
from vdae_bench.running.stop import StopRequest, stop_file
from vdae_bench.running.workbench import OUT_OF_MEMORY, Surroundings
from vdae_bench.store.records import Record, Store
from vdae_bench.system import atomic
from vdae_bench.system.devices import is_out_of_memory, release_memory
from vdae_bench.system.lease import Held, Lease
from vdae_bench.training.checkpoint import Unusable, read_state
from vdae_bench.training.trainer import Interrupted

SECONDS_BETWEEN_QUESTIONS = 1.0
Attended = Future[list[Record] | str]


class SerialExecutor(Executor):
    """Runs each call at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call and return a finished future; `Interrupted` and Ctrl-C pass through."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Outcome:
    """What came of a sweep."""

    records: list[Record] = field(default_factory=list)
    failures: list[tuple[Group, Exception]] = field(default_factory=list)

    @property
    def diverged(self) -> list[Record]:
        """Runs that did not stay finite."""
        return [record for record in self.records if record.status == "diverged"]


class _Board:
    """What the display shows of the groups that run."""

    def __init__(self, progress: Progress, groups: int) -> None:
        self.progress, self.groups = progress, groups
        self.shown: set[str] = set()

    def start(self, group: Group) -> None:
        """A group has started: a line of its own, once."""
        if group.identity not in self.shown:
            self.shown.add(group.identity)
            self.progress.group_started(group.label, len(self.shown), self.groups)

    def update(self, group: Group, work: Callable[[], float], phase: str, fraction: float | None) -> None:
        """A group is at some point."""
        self.start(group)
        if phase:
            self.progress.update(group.label, phase, work(), fraction)


def run_plan(
    planned: Plan, around: Surroundings, progress: Progress, stop: StopRequest, engine: Engine | None = None
) -> Outcome:
    """Run all groups of a plan; what fails is kept and reported, what follows still runs.

    A group that another process works on comes last, and is waited for. One that does not fit the memory runs as two.
    An engine runs as many groups at a time as it has places, those with the most work first.

    Raises:
        Interrupted: `stop` said so; all that ran has a checkpoint.
        EnvironmentFault: the engine is gone.
    """
    if not planned.groups:
        return Outcome()
    folder = planned.groups[0].checkpoint_path(around.store).parent
    with stop_file(folder, secrets.token_hex(4)) as stop_path:
        crew = _Crew(around, stop, engine, Attendant.of(engine.around, stop_path) if engine else None)
        try:
            return _run_all(planned, crew, progress, stop)
        except BaseException:
            end(crew.running, stop_path)
            raise


def _run_all(planned: Plan, crew: _Crew, progress: Progress, stop: StopRequest) -> Outcome:
    outcome, board = Outcome(), _Board(progress, len(planned.groups))
    waiting, in_vain = deque(crew.order(planned.groups)), 0
    while waiting or crew.running:
        while waiting and len(crew.running) < crew.slots():
            crew.submit(waiting.popleft(), board)
        for group, future in crew.ended(board):
            work = functools.partial(group_work, group)
            error = future.exception()
            if error is None:
                result = future.result()
                if isinstance(result, str):  # another process has it
                    waiting.append(group)
                    in_vain += 1
                    if in_vain == len(waiting):
                        progress.say(f"waiting for {group.label}: {result}")
                    continue
                outcome.records += result
                if crew.engine:  # where it may be over before anybody looked
                    board.start(group)
                if group.identity in board.shown:
                    progress.group_ended(group.label, _outcome_line(result), work())
            elif isinstance(error, Interrupted | KeyboardInterrupt | CannotWrite):
                raise error
            elif is_out_of_memory(error) and len(group.runs) > 1:
                del future, error  # and with them what the failed run held
                release_memory()
                progress.group_ended(group.label, "memory is full: it goes on as two groups of half the replicas", 0)
                waiting.extendleft(reversed(group.halves()))
            elif crew.is_expected(error):
                if is_out_of_memory(error):
                    error = EnvironmentFault(OUT_OF_MEMORY)
                assert isinstance(error, Exception)
                outcome.failures.append((group, error))
                progress.group_ended(group.label, f"failed: {error}", work())
            else:
                raise error
            in_vain = 0
        if stop() and (waiting or crew.running):
            raise Interrupted
        if waiting and in_vain >= len(waiting):
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
    return outcome


class _Crew:
    """The groups that run now: in this process, or in those of an engine."""

    def __init__(
        self, around: Surroundings, stop: StopRequest, engine: Engine | None, attendant: Attendant | None
    ) -> None:
        self.around, self.stop, self.engine, self.attendant = around, stop, engine, attendant
        self.running: dict[Attended, Group] = {}

    def order(self, groups: Sequence[Group]) -> list[Group]:
        """Those with the most work first, where some run beside each other; else as the sweep has them."""
        return sorted(groups, key=group_work, reverse=True) if self.engine else list(groups)

    def slots(self) -> int:
        """How many groups run at a time."""
        return self.engine.slots() if self.engine else 1

    def submit(self, group: Group, board: _Board) -> None:
        """Begin a group; in this process it is over when this returns."""
        if self.engine and self.attendant:
            future = self.engine.executor.submit(self.attendant, group)
        else:
            report = functools.partial(board.update, group, functools.cache(functools.partial(group_work, group)))
            future = SerialExecutor().submit(attend, group, self.around, self.stop, report)
        self.running[future] = group

    def ended(self, board: _Board) -> list[tuple[Group, Attended]]:
        """Groups that are over, after a moment's wait.

        Raises:
            EnvironmentFault: the engine has given them up.
        """
        over = wait(self.running, SECONDS_BETWEEN_QUESTIONS, FIRST_COMPLETED).done
        if any(future.cancelled() for future in over):
            raise EnvironmentFault(GONE)
        found = [(group, future) for future, group in self.running.items() if future in over]
        self.running = {future: group for future, group in self.running.items() if future not in over}
        for group in self.running.values():
            note = lease_of(group, self.around.store).read_note()
            if note:
                board.update(group, functools.partial(group_work, group), note["phase"], note["fraction"])
        return found

    def is_expected(self, error: BaseException) -> bool:
        """Whether an error is one of the group, which the others survive; any is, in another process."""
        known = isinstance(error, VdaeBenchError | RuntimeError | OSError | MemoryError)
        return known or (self.engine is not None and isinstance(error, Exception))


def clear_leftovers(planned: Plan, store: Store) -> None:
    """Remove what kills left of a sweep: temporary files and leases of dead processes, checkpoints of recorded runs."""
    job = planned.cells[0].job
    folder = store.folder(job.sweep, job.protocol.name, "checkpoints")
    for each in folder.parent.glob("*/"):
        atomic.clear(each)
        for path in each.glob("*.lease"):
            Lease(path).clear()
    waiting = {group.checkpoint_path(store).stem for group in planned.groups}
    left = [path for path in folder.glob("*.pt") if path.stem.removesuffix(".previous") not in waiting]
    left = [path for path in left if not path.name.startswith("search-")]
    recorded = {record.run_digest for _, record in store.records(job.protocol.name, job.sweep)} if left else set()
    for path in left:
        lease = Lease(folder / f"{path.stem.removesuffix('.previous')}.lease")
        with suppress(Held, EnvironmentFault, Unusable, OSError):  # another process is at it, or it is none of ours
            runs = read_state(path).get("runs")
            if isinstance(runs, list) and runs and recorded.issuperset(map(str, runs)):
                lease.take()
                with lease.kept():
                    path.unlink()


def _outcome_line(records: list[Record]) -> str:
    done = [record for record in records if record.metrics.test]
    lost = len(records) - len(done)
    parts = [f"{lost} diverged"] if lost else []
    if done:
        tests = [record.metrics.test for record in done if record.metrics.test]
        nll = sum(test.nll_nats for test in tests) / len(tests)
        elbos = [test.neg_elbo_nats for test in tests if test.neg_elbo_nats is not None]
        parts += [f"-ELBO {sum(elbos) / len(elbos):.2f}"] if elbos else []
        parts.append(f"NLL {nll:.2f} nats")
        seconds = sum(record.cost.train_seconds + record.cost.evaluation_seconds for record in records)
        parts.append(f"{seconds:.0f} s")
    return ", ".join(parts)
