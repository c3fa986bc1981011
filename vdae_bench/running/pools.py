"""Pools of workers that run tasks beside each other: processes here, Dask on a cluster, or any executor of your own.

The scheduler knows `concurrent.futures.Executor` alone; what a task needs in another process is in `Worker`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vdae_bench.data.registry import ImageFiles, own_datasets, register_dataset
from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.models.registry import load_plugin, loaded_plugins
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import Price, known_prices, learn_prices
from vdae_bench.running.options import RunOptions
from vdae_bench.running.stop import StopFile
from vdae_bench.running.task import Busy, Result, Task, run_leased
from vdae_bench.running.workers import Load, LocalWorkers
from vdae_bench.system import atomic, devices
from vdae_bench.system.untrusted import LARGEST_CERTIFICATES, Unfit, content_of
from vdae_bench.system.words import counted

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_CONNECT = 30
SECONDS_BETWEEN_BEATS = 2.0
"""Time between two notes of a worker on its progress."""
SCHEDULER_GONE = "the scheduler is gone, or has lost the work; start the scheduler again and repeat the command"
HOW_TO_INSTALL = "pip install -c constraints.txt '.[cluster]'"


@dataclass(frozen=True)
class WorkerPool:
    """An executor whose calls run in other processes, and how many tasks it takes at a time."""

    executor: Executor
    slots: Callable[[], int]
    context: RunContext
    """The context of each worker: its device, its share of this machine's threads."""


_at_work = threading.Lock()
"""Held while a worker runs a task in this process."""


@dataclass(frozen=True)
class Worker:
    """Runs tasks in another process as this one would: same folders, threads, plugins and command in records."""

    context: RunContext
    stop_file: Path
    plugins: Mapping[Path, str]
    """Plug-in files with the digests of the code that the command had planned with."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    datasets: tuple[ImageFiles, ...] = ()
    """Those of the user's own images."""

    @classmethod
    def of(cls, context: RunContext, stop_file: Path) -> Worker:
        """Make a worker for processes that may stand in another folder."""
        return cls(context.absolute(), stop_file.resolve(), loaded_plugins(), known_prices(), own_datasets())

    def __call__(self, task: Task[Result]) -> Result | Busy:
        """Set this process up, then run a task; it stops when the stop file appears.

        One at a time, where an executor calls it in several threads of a process: registries, torch's generator and its
        forward mode are the process's own.
        """
        with _at_work:
            return self._run(task)

    def _run(self, task: Task[Result]) -> Result | Busy:
        devices.prepare(self.context.threads)
        devices.keep_freed_memory()
        for plugin, sha256 in self.plugins.items():
            _load_the_same(plugin, sha256)
        for dataset in self.datasets:
            register_dataset(dataset)
        learn_prices(self.prices)
        stop = StopFile(self.stop_file)
        with atomic.held(self.context.store.root):
            return run_leased(task, self.context, lambda phase, fraction: None, stop, SECONDS_BETWEEN_BEATS)


def _load_the_same(plugin: Path, sha256: str) -> None:
    """Have the code of a plug-in that the command has: a worker may outlive an edit of the file, or start after one."""
    place = plugin.resolve()  # as it is on this machine
    if loaded_plugins().get(place) != sha256:
        load_plugin(plugin)
        if loaded_plugins()[place] != sha256:
            raise EnvironmentFault(f"{plugin} has changed since the command started; give the command again")


def stop_workers(running: Collection[Future[Any]], stop_path: Path) -> None:
    """Ask the workers to write their checkpoints and stop, and wait for that where they can be asked."""
    for future in running:
        future.cancel()
    if running:
        with suppress(EnvironmentFault, CancelledError):
            atomic.write(stop_path, b"")
            wait(running)


def choose_pool(
    options: RunOptions, context: RunContext, load: Load, say: Callable[[str], None]
) -> AbstractContextManager[WorkerPool | None]:
    """The pool that the options ask for, else one that pays; None runs tasks in this process, one after the other.

    Raises:
        UserError: both are asked for, or workers on a GPU, or a part of TLS.
        EnvironmentFault: Dask is not installed, or no scheduler answers.
    """
    if options.workers and options.scheduler:
        raise UserError(
            "--workers starts workers on this machine and --scheduler uses those of a cluster; give one of the two"
        )
    tls = (options.tls_ca, options.tls_cert, options.tls_key)
    if any(tls) and not (all(tls) and options.scheduler):
        raise UserError("TLS needs all of --scheduler tls://HOST:PORT, --tls-ca, --tls-cert and --tls-key")
    if options.scheduler:
        return _cluster(options.scheduler, tls, context, say)
    wanted = options.workers
    if context.device.type != "cpu":
        if wanted and wanted > 1:
            raise UserError(
                "workers share processors, not a GPU; use 1 worker, "
                "or start `dask worker ADDRESS --nthreads 1 --resources GPU=1` for each GPU, "
                "with its CUDA_VISIBLE_DEVICES, and give --scheduler ADDRESS"
            )
        return nullcontext(None)
    workers = load.workers_that_fit(wanted) if wanted else load.workers_that_pay(context.threads)
    if wanted and workers < min(wanted, load.tasks):
        say(f"{workers} of {wanted} workers: memory does not hold more")
    return local_pool(workers, context, say) if workers > 1 else nullcontext(None)


@contextmanager
def local_pool(workers: int, context: RunContext, say: Callable[[str], None]) -> Iterator[WorkerPool]:
    """Processes of this machine, which divide its threads."""
    threads = max(1, context.threads // workers)
    say(f"{workers} workers of {counted(threads, 'thread')} each")
    executor = LocalWorkers(workers, threads, say)
    try:
        yield WorkerPool(executor, lambda: workers, replace(context, threads=threads))
    except BaseException:
        executor.kill()  # what stopped has its checkpoint; what runs still was asked to end at once
        raise
    finally:
        executor.shutdown()


@contextmanager
def _cluster(
    address: str, tls: tuple[Path | None, ...], context: RunContext, say: Callable[[str], None]
) -> Iterator[WorkerPool]:
    _import_distributed()
    from distributed import Client
    from distributed.security import Security

    for path in filter(None, tls):
        try:
            content_of(path, LARGEST_CERTIFICATES)
        except (OSError, Unfit) as error:
            raise UserError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    try:
        ca, cert, key = (str(path) if path else None for path in tls)
        security = Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True)
        client = Client(address, timeout=SECONDS_TO_CONNECT, security=security if ca else None)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        remedy = (
            "check that it runs, and that --tls-ca, --tls-cert and --tls-key belong to the CA that it trusts"
            if address.startswith("tls")
            else "start one with `dask scheduler`, and workers with "
            "`dask worker ADDRESS --nthreads 1 --resources CPU=1`"
        )
        raise EnvironmentFault(f"no Dask scheduler answers at {address} ({type(error).__name__}); {remedy}") from error
    with client:
        resource = "GPU" if context.device.type == "cuda" or _places(client, "GPU") else "CPU"
        if not address.startswith("tls"):
            say("without TLS anyone who reaches its port runs code as its workers' user; see docs/cluster.md")
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
        raise EnvironmentFault(f"--scheduler needs Dask, which is not installed: {HOW_TO_INSTALL}") from error
