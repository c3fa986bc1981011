"""Several processes on one results folder: no record lost, none doubled, whether leases hold or not."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import small_record
from tests.support.runs import numbers
from tests.support.specs import PAIR
from vdae_bench.cli import main as cli
from vdae_bench.cli import run as commands
from vdae_bench.running import schedule
from vdae_bench.running.plan import plan
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.system import atomic, processes
from vdae_bench.system import lease as lease_module
from vdae_bench.system.lease import Held, Lease


def work(name: str, words: list[str], leases: bool, ready: Any, start: Any) -> None:
    """A process of its own: `vdae-bench` with these words, from the moment at which all are ready."""
    with Path(f"said-{name}").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if not leases:  # as on a file system on which nothing excludes anybody
        Lease._create = lambda self: True
        Lease._is_own = lambda self: False
    schedule.SECONDS_BETWEEN_QUESTIONS = 0.05
    commands.report_sweep = lambda *_: None  # drawing takes longer than all the rest
    sys.argv = ["vdae-bench", *words]
    ready.release()
    start.wait()
    cli.main()


@pytest.mark.parametrize("leases", [True, False])
def test_processes_on_one_folder_end_with_one_set_of_records(leases, tmp_path, tiny_data, monkeypatch):
    PAIR.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    plan(load_spec(tmp_path / "tiny.yaml"), Store(tmp_path / "results"))  # what is slow to import, once for both
    forks = multiprocessing.get_context("fork")
    ready, start = forks.Semaphore(0), forks.Event()
    words = ["sweep", "tiny.yaml", "--checkpoint-every", "0.05s", "--threads", "1"]
    workers = [forks.Process(target=work, args=(name, words, leases, ready, start)) for name in "ab"]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert ready.acquire(timeout=60)
    start.set()
    for worker in workers:
        worker.join(120)
    said = [Path(f"said-{name}").read_text() for name in "ab"]
    assert [worker.exitcode for worker in workers] == [0, 0], said
    results = tmp_path / "results"
    assert len(numbers(results)) == 4
    left = {path.name for path in results.rglob("*") if path.is_file()}
    assert not [name for name in left if "superseded" in name or "tmp" in name or name.endswith((".pt", ".lease"))]
    trained = [line for each in said for line in each.splitlines() if line.startswith("[")]
    assert len(trained) == 2 if leases else 2 <= len(trained) <= 4, said


def test_of_equal_runs_the_later_yields_and_an_older_one_is_never_lost(tmp_path):
    store = Store(tmp_path)
    path = store.path("s", "quick", "c", 0)
    old, first, second = small_record(0, "a" * 64), small_record(0, "b" * 64), small_record(0, "b" * 64)
    second.cost.train_seconds = 99.0
    for record in (old, first, second):
        store.publish([(path, record)])
    assert store.read(path) == first
    (aside,) = path.parent.glob("*superseded*")
    assert store.read(aside) == old
    store.publish([(path, old)])  # and back: nothing that was kept is overwritten
    store.publish([(path, first)])
    assert {store.read(each).run_digest for each in path.parent.glob("*superseded*")} == {"a" * 64, "b" * 64}


def without_links(monkeypatch, number: int = errno.ENOTSUP) -> None:
    """As on exFAT, or some network mounts."""
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(number, os.strerror(number))))


@pytest.mark.parametrize("links", [True, False])
def test_many_that_publish_the_same_run_at_once_leave_one_record(links, tmp_path, monkeypatch):
    if not links:
        without_links(monkeypatch)
    store, together = Store(tmp_path), threading.Barrier(4, timeout=60)
    places = [store.path("s", "quick", "c", seed) for seed in range(50 if links else 10)]

    def publish() -> None:
        for seed, path in enumerate(places):
            together.wait()
            store.publish([(path, small_record(seed, "a" * 64))])

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(publish) for _ in range(4)]:
            done.result()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(places)


@pytest.mark.parametrize("links", [True, False])
def test_of_different_runs_published_to_one_place_at_once_none_is_lost(links, tmp_path, monkeypatch):
    if not links:
        without_links(monkeypatch)
    store, together = Store(tmp_path), threading.Barrier(4, timeout=60)
    places = [store.path("s", "quick", "c", seed) for seed in range(50 if links else 10)]

    def publish(digest: str) -> None:
        for seed, path in enumerate(places):
            together.wait()
            store.publish([(path, small_record(seed, digest))])

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(publish, letter * 64) for letter in "abcd"]:
            done.result()
    for path in places:
        kept = [store.read(each).run_digest[0] for each in path.parent.glob(f"{path.stem}.*")]
        assert sorted(kept) == list("abcd")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_without_links_two_that_both_find_nothing_there_do_not_replace_each_other(number, tmp_path, monkeypatch):
    """The worst instant: each has looked before either has put its record."""
    without_links(monkeypatch, number)
    store, looked, is_there = Store(tmp_path), threading.Barrier(2, timeout=60), atomic.is_there
    path = store.path("s", "quick", "c", 0)

    def look(there: Path) -> bool:
        found = is_there(there)
        if there == path:
            with suppress(threading.BrokenBarrierError):  # the other waits elsewhere, as it should
                looked.wait(0.2)
        return found

    monkeypatch.setattr(atomic, "is_there", look)
    records = [small_record(0, letter * 64) for letter in "ab"]
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(store.publish, [(path, record)]) for record in records]:
            done.result()
    assert sorted(store.read(each).run_digest[0] for each in path.parent.iterdir()) == ["a", "b"]


def test_without_links_who_was_killed_while_putting_a_record_holds_up_nobody(tmp_path, monkeypatch):
    without_links(monkeypatch)
    store = Store(tmp_path)
    path = store.path("s", "quick", "c", 0)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = Lease(path.with_name(f"{path.name}.lease"))
    path.parent.mkdir(parents=True)
    left.path.write_text(json.dumps({**left._own, "process": gone.pid, "token": "t", "beats": 0}))
    store.publish([(path, small_record(0, "a" * 64))])
    assert list(path.parent.iterdir()) == [path]


def test_a_lease_excludes_until_it_is_given_back(tmp_path):
    mine, other = Lease(tmp_path / "x.lease"), Lease(tmp_path / "x.lease")
    mine.take()
    with mine.kept():
        with pytest.raises(Held, match="works on it") as held:
            other.take()
        assert held.value.lives
    other.take()


def test_a_link_whose_answer_was_lost_on_a_network_is_ones_own_lease(tmp_path, monkeypatch):
    link = os.link

    def repeated(source, target):
        link(source, target)
        raise FileExistsError

    lease = Lease(tmp_path / "x.lease")
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", repeated)
        lease.take()
    with pytest.raises(Held):
        Lease(tmp_path / "x.lease").take()


def test_the_lease_of_a_process_that_is_gone_is_taken_over(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lease = Lease(tmp_path / "x.lease")
    owner = {"host": lease._own["host"], "process": gone.pid, "token": "t", "beats": 3}
    lease.path.write_text(json.dumps(owner))
    lease.take()
    assert lease._is_own()


def test_the_lease_of_a_killed_process_that_nobody_has_asked_after_is_taken_over(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    lease = Lease(tmp_path / "x.lease")
    owner = {**lease._own, "process": killed.pid, "started": processes.started(killed.pid), "token": "t", "beats": 3}
    lease.path.write_text(json.dumps(owner))
    with pytest.raises(Held) as held:
        lease.take()
    assert held.value.lives
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie, as in a container without an init
    lease.take()
    assert lease._is_own()
    killed.wait()


@pytest.mark.parametrize("number", [None, 0, -1, 10**30], ids=["ours", "0", "-1", "10^30"])
def test_the_lease_of_a_dead_process_whose_number_another_has_is_taken_over(tmp_path, number):
    lease = Lease(tmp_path / "x.lease")
    number = os.getpid() if number is None else number
    lease.path.write_text(json.dumps({**lease._own, "process": number, "started": 1, "token": "t", "beats": 3}))
    lease.take()
    assert lease._is_own()


def test_temporary_files_of_dead_processes_are_removed_and_no_others(tmp_path, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = atomic.temporary_beside(tmp_path / "x.json")
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
    elsewhere = dead.with_name(re.sub(r"tmp-[0-9a-f]{8}", "tmp-00000000", dead.name))
    forgotten = elsewhere.with_name(f"y.{elsewhere.name}")
    others = [tmp_path / name for name in ("x.json", "x.tmp-1-2", "notes.tmp-mine", "seed-0.superseded-a-b.json")]
    for path in (mine, dead, elsewhere, forgotten, *others):
        path.touch()
    os.utime(forgotten, (0, time.time() - 2 * atomic.SECONDS_TO_ABANDONMENT))
    atomic.write(tmp_path / "new.json", b"content")
    assert set(tmp_path.iterdir()) == {mine, elsewhere, forgotten, *others, tmp_path / "new.json"}
    now = time.monotonic() + 2 * atomic.SECONDS_OF_WATCH
    monkeypatch.setattr(atomic.time, "monotonic", lambda: now)
    atomic.clear(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, elsewhere, *others, tmp_path / "new.json"}


@pytest.mark.parametrize("content", ['{"host": "elsewhere", "process": 1, "token": "t", "beats": 3}', "torn", "[]"])
def test_another_machines_lease_is_taken_over_once_its_beats_stop(tmp_path, monkeypatch, content):
    now = [1000.0]
    monkeypatch.setattr(lease_module.time, "monotonic", lambda: now[0])
    lease = Lease(tmp_path / "x.lease")
    lease.path.write_text(content)
    for seconds in (0, 80):
        now[0] += seconds
        with pytest.raises(Held):
            lease.take()
    if "elsewhere" in content:  # it beats: it lives
        lease.path.write_text(content.replace("3}", "4}"))
        with pytest.raises(Held) as held:
            lease.take()
        assert held.value.lives
        now[0] += 80
        with pytest.raises(Held):
            lease.take()
    now[0] += 20
    lease.take()
    assert lease._is_own()


def test_a_lease_beats_while_it_is_kept_and_not_once_it_is_lost(tmp_path):
    lease = Lease(tmp_path / "x.lease")
    lease.take()
    with lease.kept(0.01):
        deadline = time.monotonic() + 10
        while json.loads(lease.path.read_text())["beats"] < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert json.loads(lease.path.read_text())["beats"] >= 3
    assert not lease.path.exists()
    lease.take()
    lease.path.write_text('{"token": "another"}')
    with lease.kept(0.01):
        time.sleep(0.05)
    assert json.loads(lease.path.read_text()) == {"token": "another"}


def test_a_file_system_without_hard_links_has_leases_too(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(lease_module.os, "link", no_links)
    mine, other = Lease(tmp_path / "x.lease"), Lease(tmp_path / "x.lease")
    mine.take()
    with mine.kept(), pytest.raises(Held):
        other.take()
    assert not list(tmp_path.iterdir())
