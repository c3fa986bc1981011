"""Pools of workers that run tasks beside each other: Dask on this machine or on a cluster, or any executor of your own.

The scheduler knows `concurrent.futures.Executor` alone; what a task needs in another process is in `Worker`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.models.registry import load_plugin, loaded_plugins
from vdae_bench.running.context import RunContext
from vdae_bench.running.options import RunOptions
from vdae_bench.running.stop import StopFile
from vdae_bench.running.task import Busy, Result, Task, run_leased
from vdae_bench.system import atomic, devices

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_CONNECT = 30
SCHEDULER_GONE = "the scheduler is gone, or has dropped the work; start it again and repeat the command"
HOW_TO_INSTALL = "pip install -c constraints.txt '.[cluster]'"


@dataclass(frozen=True)
class WorkerPool:
    """An executor whose calls run in other processes, and how many tasks it takes at a time."""

    executor: Executor
    slots: Callable[[], int]
    context: RunContext
    """The context of each worker: its device, its share of this machine's threads."""


@dataclass(frozen=True)
class Worker:
    """Runs tasks in another process as this one would: same folders, threads, plugins and command in records."""

    context: RunContext
    stop_file: Path
    plugins: tuple[Path, ...]

    @classmethod
    def of(cls, context: RunContext, stop_file: Path) -> Worker:
        """Make a worker for processes that may stand in another folder."""
        return cls(context.absolute(), stop_file.resolve(), loaded_plugins())

    def __call__(self, task: Task[Result]) -> Result | Busy:
        """Set this process up, then run a task; it stops when the stop file appears."""
        devices.prepare(self.context.threads)
        devices.keep_freed_memory()
        for plugin in self.plugins:
            _load_once(plugin)
        with atomic.held(self.context.store.root):
            return run_leased(task, self.context, lambda phase, fraction: None, StopFile(self.stop_file))


@functools.cache
def _load_once(plugin: Path) -> None:
    if plugin not in loaded_plugins():
        load_plugin(plugin)


def stop_workers(running: Collection[Future[Any]], stop_path: Path) -> None:
    """Ask the workers to write their checkpoints and stop, and wait for that."""
    if running:
        with suppress(EnvironmentFault):
            atomic.write(stop_path, b"")
        for future in running:
            future.cancel()
        with suppress(CancelledError):
            wait(running)


def choose_pool(
    options: RunOptions, context: RunContext, say: Callable[[str], None]
) -> AbstractContextManager[WorkerPool | None]:
    """The pool that the options ask for; None runs tasks in this process, one after the other.

    Raises:
        UserError: both are asked for, or workers on a GPU.
        EnvironmentFault: Dask is not installed, or no scheduler answers.
    """
    if options.workers and options.scheduler:
        raise UserError("--workers starts workers here, --scheduler uses those of a cluster; give one of them")
    if options.scheduler:
        return _cluster(options.scheduler, context, say)
    if options.workers and options.workers > 1:
        if context.device.type == "cuda":
            raise UserError(
                "--workers shares processors, not a GPU; start `dask worker ADDRESS --nthreads 1 --resources GPU=1` "
                "for each GPU, with its CUDA_VISIBLE_DEVICES, and give --scheduler ADDRESS"
            )
        return local_pool(options.workers, context, say)
    return nullcontext(None)


@contextmanager
def local_pool(workers: int, context: RunContext, say: Callable[[str], None]) -> Iterator[WorkerPool]:
    """Dask's workers on this machine, which divide its threads.

    Raises:
        EnvironmentFault: Dask is not installed.
    """
    _import_distributed()
    from distributed import Client, LocalCluster

    threads = max(1, context.threads // workers)
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            resources={"CPU": 1},
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        say(f"{workers} workers of {threads} thread{'s'[: threads - 1]} each; dashboard: {client.dashboard_link}")
        executor = client.get_executor(pure=False, resources={"CPU": 1})
        yield WorkerPool(executor, lambda: workers, replace(context, threads=threads))


@contextmanager
def _cluster(address: str, context: RunContext, say: Callable[[str], None]) -> Iterator[WorkerPool]:
    _import_distributed()
    from distributed import Client

    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT)
    except (OSError, ValueError, TypeError) as error:
        raise EnvironmentFault(
            f"no Dask scheduler answers at {address} ({type(error).__name__}); start one with `dask scheduler`, and "
            "workers with `dask worker ADDRESS --nthreads 1 --resources CPU=1`"
        ) from error
    with client:
        resource = "GPU" if context.device.type == "cuda" or _places(client, "GPU") else "CPU"
        say(f"scheduler {address}, groups on its {resource} resources; dashboard: {client.dashboard_link}")
        if not _places(client, resource):
            say(f"no worker has that resource yet; `dask worker {address} --nthreads 1 --resources {resource}=1` has")
        executor = client.get_executor(pure=False, resources={resource: 1})
        device = torch.device("cuda" if resource == "GPU" else "cpu")
        yield WorkerPool(executor, lambda: max(1, _places(client, resource)), replace(context, device=device))


def _places(client: Client, resource: str) -> int:
    """How many tasks the workers that are there now take at a time."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(int(worker["resources"].get(resource, 0)) for worker in workers)


def _import_distributed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise EnvironmentFault(f"several workers need Dask, which is not installed: {HOW_TO_INSTALL}") from error
