"""Workers of this machine: how many there are, killed one by one and all together, and the same bits as one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from tests.support.runs import numbers, say_and_sleep, wait_for, working
from tests.support.specs import PAIR, SEARCHED, TINY
from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.running.context import RunContext
from vdae_bench.running.options import RunOptions
from vdae_bench.running.plan import plan
from vdae_bench.running.pools import choose_pool
from vdae_bench.running.workers import WORKER_BYTES, Load, LocalWorkers
from vdae_bench.search.searches import load_of
from vdae_bench.search.studies import studies_of
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.system import devices, processes

GIB = 2**30


@pytest.fixture
def memory(monkeypatch):
    """Set the memory of the machine, all of it free."""

    def set_to(size: int) -> None:
        monkeypatch.setattr(devices, "total_memory", lambda: size)
        monkeypatch.setattr(devices, "available_memory", lambda: size)

    set_to(64 * GIB)
    return set_to


def test_long_work_is_shared_by_all_threads_and_short_work_stays_here(memory):
    long, short = (Load(23, [GIB // 10] * 12, [seconds / 4] * 4) for seconds in (600.0, 6.0))
    assert [long.workers_that_pay(threads) for threads in (1, 2, 8, 16, 64)] == [1, 2, 8, 16, 23]
    assert short.workers_that_pay(8) == 1 and short.workers_that_fit(8) == 8


def test_no_more_is_counted_than_it_takes_to_know(memory):
    def counted():
        yield 50.0
        raise AssertionError("counting loads torch's compiler, and takes a moment for each")

    assert Load(12, [GIB], counted()).workers_that_pay(1) == Load(1, [GIB], counted()).workers_that_pay(8) == 1
    assert Load(12, [GIB], counted()).workers_that_pay(8) == 8  # the first says enough


def test_all_workers_together_stay_within_the_memory(memory):
    load = Load(16, [8 * GIB, 2 * GIB, GIB, *[GIB // 2] * 13], [600.0])
    found = {}
    for size in (1, 2, 4, 16, 32, 64):
        memory(size * GIB)
        found[size] = load.workers_that_pay(16)
        most = sum(sorted(load.task_bytes)[-found[size] :]) + (found[size] + 1) * WORKER_BYTES
        assert found[size] == 1 or most <= 0.8 * size * GIB
    assert found == {1: 1, 2: 1, 4: 1, 16: 3, 32: 16, 64: 16}
    memory(2 * GIB)
    assert Load(23, [100 * 2**20] * 12, [600.0]).workers_that_fit(2) == 2


def test_the_load_of_a_sweep_and_of_a_search(make_spec, context, memory):
    groups = plan(make_spec(TINY.but(seeds=3)), context.store).groups
    load = Load.of(groups)
    assert load.tasks == 3 * 5 + 2 and len(load.task_bytes) == 7
    studies = studies_of(make_spec())
    found = load_of(studies, context)
    assert found.tasks == 2 * 3 and len(found.task_bytes) == 2 and sum(found.seconds) > 0
    assert {study.largest_job.hyperparameters["hidden_size"] for study in studies} == {6}


@pytest.fixture
def make_spec(tiny_data, tmp_path):
    """Load a spec, by default the tiny one with a search."""
    return lambda spec=SEARCHED: load_spec(spec.write(tmp_path))


@pytest.mark.parametrize(
    ("options", "device", "said"),
    [
        ({"workers": 2}, "cuda", "share processors, not a GPU"),
        ({"workers": 2, "scheduler": "tls://x"}, "cpu", "give one of the two"),
        ({"tls_ca": Path("ca.pem")}, "cpu", "TLS needs all of"),
        ({"scheduler": "tls://x", "tls_ca": Path("ca.pem"), "tls_cert": Path("c.pem")}, "cpu", "TLS needs all of"),
    ],
)
def test_what_makes_no_sense_is_refused(options, device, said):
    context = RunContext(Store(Path()), torch.device(device), 2)
    with pytest.raises(UserError, match=said):
        choose_pool(RunOptions(**options), context, Load(4, [1] * 4, [600.0]), print)


def test_a_gpu_is_one_place(memory):
    context = RunContext(Store(Path()), torch.device("cuda"), 8)
    with choose_pool(RunOptions(), context, Load(4, [1] * 4, [600.0]), print) as pool:
        assert pool is None


@pytest.mark.parametrize(("word", "threads"), [("3", 3), ("4,2", 4), ("", 8), ("0", 8), ("all", 8)])
def test_omp_num_threads_is_the_default_of_threads(monkeypatch, word, threads):
    monkeypatch.setattr(devices, "usable_processors", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    assert devices.default_threads() == threads


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_call_made_again(tmp_path):
    heard: list[str] = []
    with LocalWorkers(1, 1, heard.append) as executor:
        future = executor.submit(say_and_sleep, tmp_path / "life")
        first = int(wait_for(lambda: (tmp_path / "life").exists() and (tmp_path / "life").read_text()))
        os.kill(first, signal.SIGTERM)  # a batch system sends it to all; this process decides what it means
        os.kill(first, signal.SIGINT)
        assert psutil.pid_exists(first) and not future.done()
        os.kill(first, signal.SIGKILL)
        second = future.result(timeout=120)
        assert second != first and executor.submit(os.getpid).result() == second
        assert heard == ["a worker process was killed; another continues from its checkpoint"]
    assert not psutil.pid_exists(second)


@pytest.mark.usefixtures("forked_workers")
def test_a_call_that_kills_every_worker_fails():
    with LocalWorkers(1, 1) as executor:
        with pytest.raises(EnvironmentFault, match="3 worker processes were killed at it"):
            executor.submit(os._exit, 9).result(timeout=120)
        assert executor.submit(os.getpid).result(timeout=120) != os.getpid()


def test_a_worker_watches_its_parent_before_it_imports_anything_heavy():
    code = "import sys, vdae_bench.running.orphan; assert not {'torch', 'numpy', 'pydantic'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def left(results: Path) -> set[str]:
    """Kinds of files that are there beside records."""
    return {path.suffix or path.name.partition("-")[0] for path in results.rglob("checkpoints/*")}


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages", "no_counts", "forked_workers")
def test_workers_lose_nothing_however_they_end_and_come_to_the_same_bits(shell):
    PAIR.but(protocol={"epochs": 200}).write(shell.folder)
    results = shell.folder / "results"
    alone = shell.start("sweep", "tiny.yaml", "--results", "alone", "--threads", "1", "-q")
    words = ["sweep", "tiny.yaml", "--workers", "2", "--threads", "2", "--checkpoint-every", "0.1s"]

    stopped = shell.start(*words)
    first = wait_for(lambda: len(working(results)) == 2 and working(results))
    victim = min(first)
    wait_for(lambda: ".pt" in left(results))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(working(results) - {victim}) == 2)  # another has taken it up
    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does, to all of them
    _, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 130 and "a worker process was killed" in err, err
    assert "2 workers of 1 thread each" in err and "Traceback" not in err
    assert left(results) == {".pt"} and not working(results)

    killed = shell.start(*words)
    pids = wait_for(lambda: len(working(results)) == 2 and working(results))
    killed.kill()
    killed.wait()
    wait_for(lambda: all(processes.lives(pid, None) is False for pid in pids))
    assert left(results) == {".pt"}  # they have written checkpoints and given their leases back

    done = shell.run(*words)
    assert done.returncode == 0, done.stderr
    alone.communicate(timeout=120)
    assert alone.returncode == 0
    assert numbers(results) == numbers(shell.folder / "alone") and len(numbers(results)) == 4
    assert {json.loads(path.read_text())["cost"]["threads"] for path in results.rglob("seed-*.json")} == {1}
    assert not left(results)
    for cell in ("vae", "lvdae"):
        assert f"] binary-tiny_{cell}_4" in done.stderr


def end_at_once(threads: int) -> None:
    os._exit(1)


def test_workers_that_end_as_they_start_are_told_from_killed_ones(monkeypatch):
    """As where the main program is a script without a guard, which each worker imports again."""
    monkeypatch.setattr("vdae_bench.running.workers.begin", end_at_once)
    heard = []
    executor = LocalWorkers(1, 1, heard.append)
    try:
        with pytest.raises(EnvironmentFault, match=r"end as they start.*__name__"):
            executor.submit(os.getpid).result(timeout=60)
    finally:
        executor.kill()
        executor.shutdown()
    assert heard == []
