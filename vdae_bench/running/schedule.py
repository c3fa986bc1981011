"""The scheduler: tasks one after the other here or beside each other on a pool, until each has its result or failed.

What is there already is not done again, what fails does not take the rest with it, what another process works on is
waited for, and what does not fit the memory runs as two.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from vdae_bench.errors import EnvironmentFault, VdaeBenchError
from vdae_bench.running.context import RunContext
from vdae_bench.running.pools import SCHEDULER_GONE, Worker, WorkerPool, stop_workers
from vdae_bench.running.progress import Progress
from vdae_bench.running.stop import StopToken, stop_file
from vdae_bench.running.task import Busy, CannotWrite, Task, lease_of, run_leased
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.devices import is_out_of_memory, release_memory
from vdae_bench.training.trainer import Interrupted

SECONDS_BETWEEN_QUESTIONS = 1.0
OUT_OF_MEMORY = (
    "memory is full with a single run; lower batch_size or hidden_size with --set, or use a machine with more memory"
)
PARTS = 16
"""Parts into which a CPU's work is divided, where it can be and they are worth it."""
WORTH_DIVIDING = 3e11
"""FLOPs above which a task is worth dividing: ten seconds of one thread; tiny networks gain from standing together."""
Result = TypeVar("Result")


class Display(Generic[Result]):
    """Listener of the scheduler: shows tasks as they start, go on and end; what it does not override shows nothing."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def say(self, line: str) -> None:
        """Print something that a user must know."""
        self.progress.say(line)

    def start(self, task: Task[Result]) -> None:
        """Note that a task has started; may be called more than once."""

    def update(self, task: Task[Result], phase: str, fraction: float | None) -> None:
        """Note how far a task is; see `task.Report`."""

    def split(self, task: Task[Result]) -> None:
        """Note that a task does not fit the memory, and goes on as two."""

    def end(self, task: Task[Result], result: Result) -> None:
        """Note that a task has its result."""

    def fail(self, task: Task[Result], error: Exception) -> None:
        """Note that a task has failed; the others go on."""


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
class Finished(Generic[Result]):
    """Results in the order in which they came, and the tasks that failed with the reason."""

    results: list[Result] = field(default_factory=list)
    failures: list[tuple[Task[Result], Exception]] = field(default_factory=list)


def run_tasks(
    tasks: Sequence[Task[Result]],
    context: RunContext,
    display: Display[Result],
    stop: StopToken,
    pool: WorkerPool | None = None,
) -> Finished[Result]:
    """Run tasks to their results; what fails is kept, what follows still runs.

    A task that another process works on comes last, and is waited for. One that does not fit the memory runs as two.
    A pool runs as many tasks at a time as it has places, those with the most work first.

    Raises:
        Interrupted: `stop` said so; all that ran has a checkpoint.
        EnvironmentFault: the pool is gone, or the results folder cannot be written.
    """
    if not tasks:
        return Finished()
    folder = tasks[0].checkpoint_path(context.store).parent
    with stop_file(folder, secrets.token_hex(4)) as stop_path:
        running = _Running(context, display, stop, pool, stop_path)
        try:
            return _run_all(tasks, running, display, stop)
        except KeyboardInterrupt:  # the second Ctrl-C: it waits for nobody
            raise
        except BaseException:
            stop_workers(running.futures, stop_path)
            raise


def shared_out(
    tasks: Sequence[Task[Result]],
    context: RunContext,
    pool: WorkerPool | None,
    whole_work: Callable[[], float] | None = None,
) -> list[Task[Result]]:
    """The tasks, the largest of them divided.

    `whole_work` is the FLOPs of all that they are the rest of, so that what comes later is divided as it was before.

    On a CPU, where runs gain little from one another, no task has more than a sixteenth of the whole work: then no
    worker waits long for another. This does not depend on how many workers there are, so that their numbers are those
    of one process to the bit. What is still fewer than the places of a pool is divided until each place has one.

    What has a checkpoint goes on as it is; where one of its parts has, in the parts into which it was divided before.
    """
    shared = [part for task in tasks for part in _as_begun(task, context.store)]

    def divisible(task: Task[Result]) -> bool:
        return bool(task.halves()) and not _begun(task, context.store)

    if context.device.type == "cpu" and any(map(divisible, shared)):
        work = whole_work() if whole_work else sum(task.work for task in shared)
        most = max(WORTH_DIVIDING, work / PARTS)
        shared = [part for task in shared for part in (_parts(task, most) if divisible(task) else [task])]
    while len(shared) < (pool.slots() if pool else 1) and (large := [task for task in shared if divisible(task)]):
        largest = max(large, key=lambda task: task.work)
        place = shared.index(largest)
        shared[place : place + 1] = largest.halves()
    return shared


def _parts(task: Task[Result], most: float) -> list[Task[Result]]:
    halves = task.halves() if task.work > most else ()
    return [part for half in halves for part in _parts(half, most)] or [task]


def _as_begun(task: Task[Result], store: Store) -> list[Task[Result]]:
    if _begun(task, store):
        return [task]
    parts = [part for half in task.halves() for part in _as_begun(half, store)]
    return parts if any(_begun(part, store) for part in parts) else [task]


def _begun(task: Task[Result], store: Store) -> bool:
    path = task.checkpoint_path(store)
    return atomic.is_there(path) or atomic.is_there(path.with_suffix(f".previous{path.suffix}"))


def _run_all(
    tasks: Sequence[Task[Result]], running: _Running[Result], display: Display[Result], stop: StopToken
) -> Finished[Result]:
    finished = Finished[Result]()
    waiting, busy_in_a_row = deque(running.order(tasks)), 0
    said: set[str] = set()
    while waiting or running.futures:
        while waiting and len(running.futures) < running.slots():
            running.submit(waiting.popleft())
        for task, future in running.ended():
            error = future.exception()
            if error is None:
                result = future.result()
                if isinstance(result, Busy):
                    waiting.append(task)  # last: what is free runs first, and by then its records may be there
                    busy_in_a_row += 1
                    line = f"waiting for {task.label}: {result.holder}"
                    if busy_in_a_row >= len(waiting) and line not in said:  # again once its holder is stopped
                        said.add(line)
                        display.say(line)
                    continue
                finished.results.append(result)
                if running.pool:  # where it may be over before anybody looked
                    display.start(task)
                display.end(task, result)
            elif isinstance(error, Interrupted | KeyboardInterrupt | CannotWrite):
                raise error
            elif is_out_of_memory(error) and (halves := task.halves()):
                # Halves, not one replica less: R replicas fit after log2 R tries at most, and no number changes beyond
                # rounding, as a replica's noise and updates are its own.
                del future, error  # its traceback holds the tensors of the failed run
                release_memory()
                display.split(task)
                waiting.extendleft(reversed(halves))
            elif running.is_expected(error):
                if is_out_of_memory(error):
                    error = EnvironmentFault(OUT_OF_MEMORY)
                assert isinstance(error, Exception)
                finished.failures.append((task, error))
                display.fail(task, error)
            else:
                raise error
            busy_in_a_row = 0
        if (waiting or running.futures) and stop() and (running.moved or stop.told):
            raise Interrupted
        if waiting and busy_in_a_row >= len(waiting):
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
    return finished


class _Running(Generic[Result]):
    """The tasks that run now: in this process, or in those of a pool."""

    def __init__(
        self,
        context: RunContext,
        display: Display[Result],
        stop: StopToken,
        pool: WorkerPool | None,
        stop_path: Path,
    ) -> None:
        self.context, self.display, self.stop, self.pool, self.stop_path = context, display, stop, pool, stop_path
        self.futures: dict[Future[Result | Busy], Task[Result]] = {}
        self.moved = pool is None
        """True once a task has come further, after a pool's processes have started. A time limit waits for that."""

    def order(self, tasks: Sequence[Task[Result]]) -> list[Task[Result]]:
        """Those with the most work first, where some run beside each other; else as they came."""
        return sorted(tasks, key=lambda task: task.work, reverse=True) if self.pool else list(tasks)

    @functools.cached_property
    def worker(self) -> Worker:
        """The worker of the pool; made after the first look at the work, it knows its prices."""
        assert self.pool
        return Worker.of(self.pool.context, self.stop_path)

    def slots(self) -> int:
        """How many tasks run at a time."""
        return self.pool.slots() if self.pool else 1

    def submit(self, task: Task[Result]) -> None:
        """Begin a task; in this process it is over when this returns."""
        if self.pool:
            future = self.pool.executor.submit(self.worker, task)
        else:
            report = functools.partial(self.display.update, task)
            future = SerialExecutor().submit(run_leased, task, self.context, report, self.stop)
        self.futures[future] = task

    def ended(self) -> list[tuple[Task[Result], Future[Result | Busy]]]:
        """Tasks that are over, after a moment's wait.

        Raises:
            EnvironmentFault: the pool has given them up.
        """
        atomic.check_held(self.context.store.root)  # its workers would begin the next tasks in a second one
        over = wait(self.futures, SECONDS_BETWEEN_QUESTIONS, FIRST_COMPLETED).done
        if any(future.cancelled() for future in over):
            raise EnvironmentFault(SCHEDULER_GONE)
        found = [(task, future) for future, task in self.futures.items() if future in over]
        self.futures = {future: task for future, task in self.futures.items() if future not in over}
        self.moved |= bool(found)
        for task in self.futures.values():
            note = lease_of(task, self.context.store).read_note()
            if note:
                self.moved |= bool(note["phase"])
                self.display.update(task, note["phase"], note["fraction"])
        return found

    def is_expected(self, error: BaseException) -> bool:
        """True for an error of the task itself, which the others survive; in another process any error is."""
        known = isinstance(error, VdaeBenchError | RuntimeError | OSError | MemoryError)
        return known or (self.pool is not None and isinstance(error, Exception))
