"""Groups beside each other in real processes: any executor, Dask's workers; killed, late, without a scheduler."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.support.runs import Heard, numbers, wait_for, without_time, working
from tests.support.shell import ROOT, Forked, run_module
from tests.support.specs import LONG, PAIR
from vdae_bench.running.execute import run_plan
from vdae_bench.running.plan import plan
from vdae_bench.running.pools import WorkerPool
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.training.trainer import Interrupted


@pytest.mark.slow
def test_any_executor_will_do(sweep, context, whole):
    alone, expected = whole
    heard = Heard()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outcome = run_plan(
            plan(sweep, context.store), context, heard, StopToken(), WorkerPool(pool, lambda: 2, context)
        )
    assert not outcome.failures and len(outcome.records) == len(expected.records)
    assert dict(found(context.store)) == dict(found(alone))
    assert sorted(context.store.root.rglob("checkpoints/*")) == []


def found(store: Store):
    for path, record in store.records():
        yield str(path.relative_to(store.root)), without_time(record)


@pytest.mark.slow
def test_a_stop_reaches_other_processes_which_write_checkpoints(context, tiny_data, tmp_path):
    planned, stop = (
        plan(load_spec(LONG.but(seeds=1, protocol={"epochs": 100_000}).write(tmp_path)), context.store),
        StopToken(),
    )
    long = replace(context, seconds_between_checkpoints=1e9)

    def stop_at_work() -> None:
        wait_for(lambda: working(context.store.root))
        stop.signal = signal.SIGTERM

    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool, ThreadPoolExecutor(1) as thread:
        watching = thread.submit(stop_at_work)
        with pytest.raises(Interrupted):
            run_plan(planned, long, Heard(), stop, WorkerPool(pool, lambda: 1, long))
        watching.result()
    (group,) = planned.groups
    left = [path.name for path in context.store.root.rglob("checkpoints/*")]
    assert left == [group.checkpoint_path(context.store).name]


def make_certificates(folder: Path) -> None:
    """A CA and a certificate of it, by the lines of docs/cluster.md."""
    page = (ROOT / "docs" / "cluster.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("openssl ")]
    assert len(lines) == 3
    subprocess.run("\n".join(["set -e", *lines]), shell=True, cwd=folder, check=True, capture_output=True)


class Cluster:
    """A scheduler and workers of its own, as a user starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
        make_certificates(folder)
        with socket.socket() as free:  # at the last moment: others may take it
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tls://127.0.0.1:{self.port}"
        self.processes: list[Forked] = []

    def _start(self, module: str, *words: str) -> Forked:
        work = partial(run_module, f"distributed.cli.{module}", *words, *self.tls("-file"))
        process = Forked(work, self.folder, {})
        self.processes.append(process)
        return process

    def start_scheduler(self) -> Forked:
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--protocol", "tls"]
        process = self._start("dask_scheduler", *words)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.1)
        raise AssertionError("the scheduler did not start")

    def start_worker(self) -> Forked:
        words = ["--nthreads", "1", "--resources", "CPU=1", "--no-nanny", "--no-dashboard", "--death-timeout", "30"]
        return self._start("dask_worker", self.address, *words, "--local-directory", str(self.folder))

    def tls(self, of_ca: str = "") -> list[str]:
        """The words that name the certificates, to Dask or to us."""
        ca, cert, key = map(str, self.certificates.values())
        return [f"--tls-ca{of_ca}", ca, "--tls-cert", cert, "--tls-key", key]

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("distributed", reason="needs pip install '.[cluster]'")
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificates")
    found = Cluster(tmp_path)
    yield found
    found.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages", "no_counts")
def test_workers_of_a_cluster_one_killed_one_late_and_the_scheduler_lost(shell, cluster):
    PAIR.but(protocol={"epochs": 40}).write(shell.folder)
    assert shell.run("sweep", "tiny.yaml", "--results", "whole", "-q", "--threads", "1").returncode == 0
    words = [
        "sweep",
        "tiny.yaml",
        "--scheduler",
        cluster.address,
        *cluster.tls(),
        "--threads",
        "1",
        "--checkpoint-every",
        "0.1s",
    ]
    results = shell.folder / "results"

    scheduler = cluster.start_scheduler()
    first = cluster.start_worker()
    process = shell.start(*words)
    assert wait_for(lambda: working(results)) == {first.pid}
    first.kill()  # in mid-run; the lease of a process that is gone is taken over
    first.wait()
    late = cluster.start_worker()
    wait_for(lambda: working(results) == {late.pid})
    scheduler.kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "scheduler" in err, err
    late.kill()
    late.wait()

    cluster.start_scheduler()
    cluster.start_worker()
    done = shell.run(*words)
    assert done.returncode == 0, done.stderr
    assert numbers(results) == numbers(shell.folder / "whole")
    left = [path.name for path in results.rglob("*") if path.suffix in (".pt", ".lease") or "superseded" in path.name]
    assert left == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:9"], 2, "give one of the two"),
        (["--scheduler", "nonsense://x"], 1, "no Dask scheduler answers"),
        (["--scheduler", "tls://127.0.0.1:9", "--tls-ca", "none.pem"], 2, "TLS needs all of"),
        (["--shard", "3/2"], 2, "--shard takes I/N"),
        (["--time-limit", "soon"], 2, "a time is written"),
    ],
)
def test_bad_words_for_a_cluster_are_one_sentence(shell, words, code, said):
    PAIR.but(protocol={"epochs": 40}).write(shell.folder)
    done = shell.run("sweep", "tiny.yaml", *words, "-q")
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert not numbers(shell.folder)


def test_the_example_for_slurm_makes_a_job_script():
    pytest.importorskip("dask_jobqueue", reason="needs pip install '.[cluster]'")
    page = (ROOT / "docs" / "cluster.md").read_text()
    code = page.split("### Slurm through dask-jobqueue")[1].split("```python\n")[1].split("```")[0]
    construction = code[: code.index("cluster.adapt")]
    found: dict[str, str] = {}
    exec(construction + "script = cluster.job_script()\ncluster.close()\n", found)
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "--resources GPU=1", "distributed.cli.dask_worker"):
        assert line in found["script"], found["script"]
