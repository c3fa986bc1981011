"""Worker processes of this machine: how many of them pay, and an executor that replaces one that dies.

They are started anew and not forked, as torch's threads do not survive a fork, and talk to this process through pipes
alone. One that is killed costs its task the time since the last checkpoint; when this process dies, they end.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from vdae_bench.errors import EnvironmentFault
from vdae_bench.running.cost import price, train_bytes
from vdae_bench.running.job import RunGroup
from vdae_bench.running.orphan import begin, working
from vdae_bench.system import devices

FLOPS_A_SECOND, SECONDS_A_STEP = 3e10, 2e-3
"""Rough speed of one thread at small networks, and the least that a step takes, for `Load.seconds` alone."""
SECONDS_WORTH_A_START = 20.0
"""Work of one thread from which on workers pay: each first imports torch, 4 s of a processor."""
WORKER_BYTES = 400 * 2**20
"""Memory of a worker beside that of its group: torch and its counters, MNIST, a chunk of the evaluation."""
MEMORY_SHARE = 0.8
LIVES = 3
"""How many workers a task may cost before it fails."""


@dataclass(frozen=True)
class Load:
    """Work that several workers could share, as far as is known before it starts."""

    tasks: int
    """How many pieces it can be divided into."""
    task_bytes: Sequence[int]
    """Memory of each piece as it is planned."""
    seconds: Iterable[float]
    """Rough seconds of each on one thread, counted as they are asked for, which takes a moment."""

    @classmethod
    def of(cls, groups: Sequence[RunGroup]) -> Load:
        """The load of run groups, each of which may be divided to its single runs."""
        sizes = [train_bytes(group.job) * len(group.runs) for group in groups]
        return cls(sum(len(group.runs) for group in groups), sizes, map(rough_seconds, groups))

    def workers_that_fit(self, wanted: int) -> int:
        """As many of the wanted workers as there is work and memory for, at least one."""
        memory = min(MEMORY_SHARE * devices.total_memory(), devices.available_memory()) - WORKER_BYTES
        sizes = sorted(self.task_bytes, reverse=True)
        fitting = (n for n in range(1, min(wanted, self.tasks) + 1) if sum(sizes[:n]) + n * WORKER_BYTES <= memory)
        return max(1, min(self.tasks, max(fitting, default=1)))

    def workers_that_pay(self, threads: int) -> int:
        """How many workers share so many threads where nobody says it: none but this process for a short run."""
        fitting = self.workers_that_fit(threads)
        if fitting == 1:
            return 1
        return fitting if any(total >= SECONDS_WORTH_A_START for total in itertools.accumulate(self.seconds)) else 1


def rough_seconds(group: RunGroup) -> float:
    """Seconds of a group on one thread, for nothing but to tell short work from long."""
    cost, job, runs = price(group.job), group.job, len(group.runs)
    steps = job.training_settings().epochs * job.train_images / job.protocol.batch_size
    return cost.flops * runs / FLOPS_A_SECOND + steps * SECONDS_A_STEP


class LocalWorkers(Executor):
    """Processes that are started once and then take call after call; one that dies is replaced."""

    def __init__(self, count: int, threads: int, say: Callable[[str], None] = lambda line: None) -> None:
        """`threads` are each worker's; `say` hears of a worker that was replaced."""
        self._threads, self._say, self._ended = threads, say, False
        self._pools: dict[ProcessPoolExecutor, Future[int]] = {}
        """Each with its first call, which says nothing but that its process has started."""
        self._free: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
        # Pools of one process each: a pool of several ends them all when one dies.
        self._calls = ThreadPoolExecutor(count, "worker")
        for _ in range(count):
            self._free.put(self._start())

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in the next worker that is free."""
        return self._calls.submit(self._call, fn, *args, **kwargs)

    def _call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        pool, any_begun = self._free.get(), False
        try:
            for _ in range(LIVES):
                try:
                    return pool.submit(_work, fn, *args, **kwargs).result()
                except BrokenProcessPool:
                    if self._ended:
                        raise
                    any_begun |= self._pools[pool].exception() is None
                    if any_begun:
                        self._say("a worker process was killed; another continues from its checkpoint")
                    pool.shutdown(wait=False)
                    pool = self._start()
                    if self._ended:  # meanwhile
                        self.kill()
            if not any_begun:
                raise EnvironmentFault(
                    "worker processes end as they start. Each imports the main program again, so a script has to be a "
                    'file, and its calls below `if __name__ == "__main__":`; or use 1 worker'
                )
            raise EnvironmentFault(
                f"{LIVES} worker processes were killed at it; memory may be full: use 1 worker, or --replicas 1"
            )
        finally:
            self._free.put(pool)

    def _start(self) -> ProcessPoolExecutor:
        """Start a worker, which imports what it needs while this process goes on."""
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin, (self._threads,))
        with _signals_blocked():
            self._pools[pool] = pool.submit(os.getpid)
        return pool

    def kill(self) -> None:
        """End the workers at once, whatever they do."""
        self._ended = True
        for pool in list(self._pools):
            for process in list((pool._processes or {}).values()):
                process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers once their calls are over."""
        self._calls.shutdown(wait, cancel_futures=cancel_futures)
        for pool in list(self._pools):
            pool.shutdown(wait)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start processes that hear no Ctrl-C and no SIGTERM, which a terminal or a batch system sends to all of them.

    This process hears them, and asks the workers to stop. A mask is handed down and, unlike a handler, holds while
    Python starts.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with working:
        return fn(*args, **kwargs)
