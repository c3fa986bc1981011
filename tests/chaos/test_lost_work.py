"""Work that a passing fault would lose: each ends in a sentence or goes on, and the next call has all of it."""

from __future__ import annotations

import errno
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.exceptions import StorageInternalError
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import StudyDirection
from sqlalchemy.exc import OperationalError

from tests.support.hostile import CHAOS
from tests.support.records import small_record
from tests.support.runs import StopAfter, run, wait_for, without_time
from tests.support.searches import entries, outcome, search
from tests.support.specs import PAIR, SEARCHED
from vdae_bench.cli import streams
from vdae_bench.errors import EnvironmentFault
from vdae_bench.running import cost
from vdae_bench.running.execute import run_plan
from vdae_bench.running.job import Job
from vdae_bench.running.options import Command, MachineOptions
from vdae_bench.running.plan import note_asked, plan
from vdae_bench.running.progress import Progress
from vdae_bench.running.stop import StopToken
from vdae_bench.search import run as search_module
from vdae_bench.search.ledger import JOURNAL, open_storage
from vdae_bench.search.studies import Study, studies_of
from vdae_bench.spec.check import load_spec
from vdae_bench.store.asked import read_asked
from vdae_bench.store.layout import weights_path
from vdae_bench.store.records import Store
from vdae_bench.store.weights import share_model
from vdae_bench.system import atomic, processes
from vdae_bench.system.lease import Held, Lease
from vdae_bench.system.tensor_file import write_tensors
from vdae_bench.training import checkpoint as checkpoint_module
from vdae_bench.training.checkpoint import Checkpoint, Unusable, read_state
from vdae_bench.training.trainer import Interrupted, Trainer

PASSING = [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES]


def fail_reading(monkeypatch: pytest.MonkeyPatch, error: int, fails: Callable[[Path], bool]) -> None:
    """Have opening a file to read it fail with an error where `fails` says so, however it is opened."""
    read, open_ = Path.read_bytes, os.open

    def check(path: Path) -> None:
        if fails(path):
            raise OSError(error, os.strerror(error))

    def open_checked(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR):
            check(Path(path))
        return open_(path, flags, *rest, **more)

    monkeypatch.setattr(Path, "read_bytes", lambda self: (check(self), read(self))[1])
    monkeypatch.setattr(os, "open", open_checked)


def once(*endings: str) -> Callable[[Path], bool]:
    """True the first time that there is a file of such a name."""
    left = [True]
    return lambda path: bool(left) and path.name.endswith(endings) and path.is_file() and left.pop()


@pytest.fixture
def sweep(tiny_data, tmp_path):
    return load_spec(PAIR.but(grid={"method": ["vae"]}).write(tmp_path))


@pytest.fixture
def study(tiny_data, tmp_path) -> Study:
    return studies_of(load_spec(SEARCHED.but(search={"trials": 4, "batch": 2}).write(tmp_path)))[0]


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
def test_a_checkpoint_that_cannot_be_read_once_is_gone_on_from_the_next_time(number, sweep, context, monkeypatch):
    with pytest.raises(Interrupted):
        run(sweep, context, StopAfter(2))
    with monkeypatch.context() as patched:
        fail_reading(patched, number, once(".pt"))
        patched.setattr(Trainer, "train_step", lambda self: pytest.fail("it trained"))
        ((_, error),) = run(sweep, context).failures
    assert os.strerror(number) in str(error) and ".pt" in str(error)
    started = []
    monkeypatch.setattr(Trainer, "load_state", lambda self, state: started.append(state["step"]))
    assert len(run(sweep, context).records) == 2
    assert started[0] == 3 and not list(context.store.root.rglob("*unusable*"))


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
def test_a_record_that_cannot_be_read_is_neither_trained_again_nor_moved(number, sweep, context, monkeypatch):
    run(sweep, context)
    before = {path: path.read_bytes() for path in context.store.root.rglob("*") if path.is_file()}
    fail_reading(monkeypatch, number, once("seed-0.json"))
    with pytest.raises(EnvironmentFault, match=rf"cannot read .*seed-0.json: {os.strerror(number)}; it stays"):
        plan(sweep, context.store)
    assert not plan(sweep, context.store).groups
    assert {path: path.read_bytes() for path in context.store.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("read", [1, 2, 3, 4])
def test_publishing_over_a_record_that_cannot_be_read_at_any_time_keeps_it(read, tmp_path, monkeypatch):
    store = Store(tmp_path)
    path = store.path("s", "quick", "c", 0)
    old, new = small_record(0, "a" * 64), small_record(0, "b" * 64)
    store.publish([(path, old)])
    count = itertools.count(1)
    fail_reading(monkeypatch, errno.EIO, lambda _: next(count) == read)
    try:
        store.publish([(path, new)])
    except EnvironmentFault:
        store.publish([(path, new)])
    monkeypatch.undo()
    assert sorted(store.read(each).run_digest[0] for each in path.parent.iterdir()) == ["a", "b"]
    assert store.read(path) == new


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
def test_what_was_asked_for_and_weights_that_cannot_be_read_are_not_called_missing(
    number, sweep, context, monkeypatch, tmp_path
):
    planned = plan(sweep, context.store)
    note_asked(sweep, planned, context.store)
    asked = read_asked(context.store, sweep.name, sweep.protocol.name)
    record = tmp_path / "cell" / "seed-0.json"
    write_tensors(weights_path(record), {"run_digest": "a", "state": {}})
    fail_reading(monkeypatch, number, once("asked.json", ".pt"))
    with pytest.raises(EnvironmentFault, match=r"cannot read .*asked\.json"):
        note_asked(sweep, planned, context.store)
    assert read_asked(context.store, sweep.name, sweep.protocol.name) == asked
    fail_reading(monkeypatch, number, once(".pt"))
    with pytest.raises(EnvironmentFault, match=r"cannot read .*\.pt"):
        share_model(record, "a")


def test_memory_that_is_short_while_a_checkpoint_is_read_says_nothing_against_it(tmp_path, monkeypatch):
    Checkpoint(tmp_path / "c.pt", "a").save({"step": 1})
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module.torch, "load", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            Checkpoint(tmp_path / "c.pt", "a").load()
    assert Checkpoint(tmp_path / "c.pt", "a").load() == {"step": 1}
    with pytest.raises(Unusable):
        read_state(tmp_path / "c.pt", "b")


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
def test_a_winner_that_cannot_be_read_is_not_called_damaged(number, study, context, monkeypatch):
    winner = search(study, context)
    with monkeypatch.context() as patched:
        fail_reading(patched, number, once(f"{study.slug}.json"))
        with pytest.raises(EnvironmentFault, match="cannot read"):
            search(study, context)
    assert search(study, context) == winner


def test_a_lease_that_cannot_be_read_for_a_moment_is_kept(tmp_path, monkeypatch):
    lease = Lease(tmp_path / "x.lease")
    lease.take()
    with monkeypatch.context() as patched:
        fail_reading(patched, errno.EIO, once(".lease"))
        assert lease._is_own()
    lease.path.unlink()
    assert not lease._is_own()


def test_bytes_of_the_command_that_are_no_text_are_read_again_by_us_and_by_a_shell(tmp_path):
    hostile = "caf\udce9 '\\\n\x1b[2J"
    command = Command("sweep", (hostile,), machine=MachineOptions(reports=Path(hostile)))
    line = str(command)
    assert line.isascii() and line.isprintable()
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    assert [os.fsdecode(word) for word in words.split(b"\0")[:-1]] == [
        *("vdae-bench", "sweep", hostile, "--reports", hostile),
    ]
    record = small_record(0, "a" * 64)
    record.provenance["command"] = line
    path = Store(tmp_path).path("s", "quick", "c", 0)
    Store(tmp_path).publish([(path, record)])
    assert Store(tmp_path).read(path) == record


def test_what_would_not_be_read_again_is_refused_before_the_training(sweep, context, monkeypatch):
    monkeypatch.setattr(Trainer, "train_step", lambda self: pytest.fail("it trained"))
    ((_, error),) = run(sweep, replace(context, command="caf\udce9")).failures
    assert "could not be read again (it has text that is not Unicode)" in str(error)
    assert not list(context.store.root.rglob("seed-*.json"))


def test_a_record_that_is_gone_once_it_was_published_is_an_error(tmp_path, monkeypatch):
    store = Store(tmp_path)
    path = store.path("s", "quick", "c", 0)
    put = Store._put
    monkeypatch.setattr(Store, "_put", lambda self, path, *rest: (put(self, path, *rest), path.unlink()))
    with pytest.raises(EnvironmentFault, match="was written and is no longer there"):
        store.publish([(path, small_record(0, "a" * 64))])


def test_a_journal_torn_by_a_full_disk_is_written_on_whole(study, context, monkeypatch):
    folder = context.store.searches(study.sweep, study.protocol.name)
    folder.mkdir(parents=True)
    storage = open_storage(folder, None)
    backend, fsync = storage._backend, os.fsync
    backend.append_logs([{"op_code": 0, "worker_id": "a", "study_name": "x", "directions": [1]}])
    whole = (folder / JOURNAL).read_bytes()

    def full(descriptor: int) -> None:
        os.ftruncate(descriptor, len(whole) + 9)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match=r"cannot write .*optuna.journal: No space left"):
        backend.append_logs([{"op_code": 0, "worker_id": "a", "study_name": "torn", "directions": [1]}])
    monkeypatch.setattr(os, "fsync", fsync)
    assert (folder / JOURNAL).read_bytes() == whole
    backend.append_logs([{"op_code": 0, "worker_id": "b", "study_name": "y", "directions": [1]}])
    assert [each.study_name for each in open_storage(folder, None).get_all_studies()] == ["x", "y"]


def test_nobody_writes_on_behind_a_torn_line_that_cannot_be_cut_off(study, context, monkeypatch):
    folder = context.store.searches(study.sweep, study.protocol.name)
    folder.mkdir(parents=True)
    backend = open_storage(folder, None)._backend
    backend._torn = True
    monkeypatch.setattr("vdae_bench.search.ledger._cut_torn_end", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
    for _ in range(2):
        with pytest.raises(EnvironmentFault):
            backend.append_logs([{"op_code": 0}])
    assert not (folder / JOURNAL).read_bytes()


def test_studies_that_fill_the_disk_beside_each_other_leave_a_journal_that_reads(study, context):
    resource = pytest.importorskip("resource")
    folder = context.store.searches(study.sweep, study.protocol.name)
    folder.mkdir(parents=True)
    storage = open_storage(folder, None)
    names = [f"study {number}" for number in range(4)]
    numbers = [storage.create_new_study([StudyDirection.MINIMIZE], name) for name in names]
    written: Counter[int] = Counter()

    def fill(number: int) -> int:
        faults = 0
        while faults < 5:  # a study that goes on, whatever happened to it and to the others
            try:
                storage.create_new_trial(number)
                written[number] += 1
            except EnvironmentFault as fault:
                assert "cannot write" in str(fault)
                faults += 1
        return faults

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # longer files end as on a full disk: in mid-write
    try:
        with ThreadPoolExecutor(len(numbers)) as executor:
            assert list(executor.map(fill, numbers)) == [5] * 4
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for _ in range(2):
        content = (folder / JOURNAL).read_bytes()
        assert content.endswith(b"\n") and all(map(json.loads, content.splitlines()))
        read = open_storage(folder, None)
        assert [read.get_n_trials(read.get_study_id_from_name(name)) for name in names] == [
            written[number] for number in numbers
        ]
        storage.create_new_trial(numbers[0])
        written[numbers[0]] += 1
    assert sum(written.values()) > 40


def assert_each_told_once(study: Study, trials: list[Any]) -> None:
    finished = [each for each in trials if "stale" not in each.user_attrs]
    assert sorted(each.user_attrs["number"] for each in finished) == list(range(study.trials))
    assert all(each.state.is_finished() for each in trials)


def other_search_at(monkeypatch: pytest.MonkeyPatch, moment: str, other: Callable[[], Any]) -> None:
    """Have another search run to its end in the midst of the first that comes to this moment."""
    original = getattr(search_module, moment)

    def interposed(*words: Any, **more: Any) -> Any:
        found = original(*words, **more)
        monkeypatch.setattr(search_module, moment, original)
        other()
        return found

    monkeypatch.setattr(search_module, moment, interposed)


@pytest.mark.parametrize("moment", ["propose", "train"])
def test_two_results_folders_on_one_storage_come_to_the_same_winner(moment, study, context, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    second = replace(context, store=Store(tmp_path / "second"))
    winners = []
    other_search_at(monkeypatch, moment, lambda: winners.append(search(study, second, url=url)))
    winners.append(search(study, context, url=url))
    assert winners[0] == winners[1] and len(winners[0].trials) == 4
    assert not list(tmp_path.rglob("checkpoints/*")) and not list(tmp_path.rglob("*superseded*"))
    assert_each_told_once(study, optuna.load_study(study_name=study.name, storage=url).trials)


@pytest.mark.parametrize("moment", ["propose", "train"])
def test_a_search_that_was_taken_for_dead_and_goes_on_doubles_nothing(moment, study, context, tmp_path, monkeypatch):
    winners = []
    other_search_at(monkeypatch, moment, lambda: winners.append(search(study, context)))
    winners.append(search(study, context))
    assert outcome(winners[0]) == outcome(winners[1])
    assert not list(tmp_path.rglob("checkpoints/*")) and not list(tmp_path.rglob("*superseded*"))
    assert_each_told_once(study, entries(study, context))


GONE = OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))


@pytest.mark.parametrize("error", [GONE, StorageInternalError("An exception is raised during the commit.")])
@pytest.mark.parametrize("method", ["get_all_trials", "create_new_trial", "set_trial_user_attr"])
def test_a_database_that_stops_in_mid_search_is_not_called_damaged(
    method, error, study, context, tmp_path, monkeypatch
):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with monkeypatch.context() as patched:
        patched.setattr(_CachedStorage, method, lambda *_, **__: (_ for _ in ()).throw(error))
        with pytest.raises(EnvironmentFault, match=r"does not answer .* are kept: give the same command") as fault:
            search(study, context, url=url)
    assert "delete" not in str(fault.value)
    assert len(search(study, context, url=url).trials) == 4


@pytest.mark.parametrize("broken", [OSError(errno.ENOSPC, "full"), BrokenPipeError(), ValueError("closed")])
def test_progress_that_cannot_be_written_loses_no_run(broken, sweep, context, monkeypatch):
    class Broken:
        def write(self, text: str) -> int:
            raise broken

        flush = isatty = lambda self: False

    monkeypatch.setattr(sys, "stderr", Broken())
    outcome = run_plan(plan(sweep, context.store), context, Progress(lambda: 1.0), StopToken())
    streams.forgive("stderr")
    print("a warning", file=sys.stderr, flush=True)
    assert len(outcome.records) == 2 and not outcome.failures


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&- >/dev/full", "2>&1 | true"][0 if CHAOS else 1 :])  # seconds of a processor
def test_a_command_of_paths_that_are_no_text_whose_output_nobody_takes_comes_to_its_records(closed, shell):
    if not Path("/dev/full").exists():
        pytest.skip("has no /dev/full")
    spec = PAIR.but(grid={"method": ["vae"]}).write(shell.folder)
    spec.rename(shell.folder / os.fsdecode(b"t\xff.yaml"))
    words = [sys.executable, "-m", "vdae_bench", "--plugin", str(shell.data[1]), "sweep", "--threads", "1"]
    environment = {**os.environ, "VDAE_BENCH_DATA": str(shell.data[0])}
    line = f"set -o pipefail; {' '.join(words)} $'t\\xff.yaml' --results $'r\\xfe' --reports $'p\\xfd' {closed}"
    assert subprocess.run(["bash", "-c", line], cwd=shell.folder, env=environment).returncode == 0
    store = Store(shell.folder / os.fsdecode(b"r\xfe"))
    assert len(list(store.records())) == 2 and list((shell.folder / os.fsdecode(b"p\xfd")).rglob("tiny.md"))


def test_a_results_folder_that_is_moved_away_is_noticed_and_nothing_is_begun_in_its_place(tmp_path):
    results = tmp_path / "results"
    with atomic.held(results):
        atomic.write(results / "s" / "one.json", b"1")
        results.rename(tmp_path / "moved")
        for _ in range(2):
            with pytest.raises(EnvironmentFault, match=r"was moved or replaced .* move it back"):
                atomic.write(results / "s" / "two.json", b"2")
        assert not results.exists()
        results.mkdir()
        with pytest.raises(EnvironmentFault, match="was moved or replaced"):
            atomic.write(results / "s" / "two.json", b"2")
        results.rmdir()
        (tmp_path / "moved").rename(results)
        atomic.write(results / "s" / "two.json", b"2")
    assert sorted(path.name for path in (results / "s").iterdir()) == ["one.json", "two.json"]


def test_a_folder_that_two_commands_begin_is_held_from_its_first_file_on(tmp_path):
    results = tmp_path / "results"
    with atomic.held(results):
        with atomic.held(results):
            pass  # one that wrote nothing, as with a fault in its spec
        assert not results.exists()
        results.mkdir()  # by another process
        atomic.write(results / "s" / "one.json", b"1")
        results.rename(tmp_path / "moved")
        with pytest.raises(EnvironmentFault, match="was moved or replaced"):
            atomic.write(results / "s" / "two.json", b"2")
    with atomic.held(tmp_path / "new"):
        atomic.write(tmp_path / "new" / "one.json", b"1")
        (tmp_path / "new").rename(tmp_path / "moved too")
        with pytest.raises(EnvironmentFault, match="was moved or replaced"):
            atomic.write(tmp_path / "new" / "two.json", b"2")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match=r"cannot write .*file: Not a directory"), atomic.held(tmp_path / "file"):
        raise AssertionError
    assert not atomic._held


def test_a_thread_that_ends_with_a_folder_does_not_disturb_one_that_looks_at_it(tmp_path, monkeypatch):
    """The worst instant: the last that holds the folder ends between another's two looks at it."""
    results, ends, ended = tmp_path / "results", threading.Event(), threading.Event()
    results.mkdir()
    held, look = threading.Event(), Path.stat

    def work() -> None:
        with atomic.held(results):
            held.set()
            ends.wait(60)
        ended.set()

    def stat(self: Path, **options: Any) -> os.stat_result:
        found = look(self, **options)
        if self == results and held.is_set():
            ends.set()
            ended.wait(0.2)
        return found

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        assert held.wait(60)
        monkeypatch.setattr(Path, "stat", stat)
        atomic.check_held(results / "one.json")
        ends.set()
        working.result()
    assert not atomic._held


def test_the_estimate_of_memory_keeps_nothing(sweep):
    job = Job("s", sweep.cells[0], sweep.protocol, sweep.resolved_hyperparameters(sweep.cells[0]))
    seen: list[weakref.ref[torch.Tensor]] = []
    detach = torch.Tensor.detach

    def note(self: torch.Tensor) -> torch.Tensor:
        seen.append(weakref.ref(self))
        return detach(self)

    gc.collect()
    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(torch.Tensor, "detach", note)
            cost._counts.clear()
            assert cost.train_bytes(job) > 0
        alive = [each() for each in seen if each() is not None]
    finally:
        gc.enable()
    assert len(seen) > 10 and not alive


def test_a_time_limit_that_is_over_before_the_start_still_comes_further(sweep, context, tmp_path):
    elsewhere = replace(context, store=Store(tmp_path / "other"))
    whole = run(sweep, elsewhere)
    for _ in range(100):
        try:
            outcome = run(sweep, context, StopToken(0.0))
            break
        except Interrupted:
            continue
    assert list(map(without_time, outcome.records)) == list(map(without_time, whole.records))


def test_a_process_that_is_stopped_is_said_to_be(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lease = Lease(tmp_path / "x.lease")
        owner = {**lease._own, "process": process.pid, "started": processes.started(process.pid), "token": "t"}
        owner["note"] = {"label": "a group", "phase": "epoch 1", "fraction": 0.1}
        lease.path.write_text(json.dumps(owner))
        with pytest.raises(Held, match="works on it"):
            lease.take()
        assert not lease.read_note()["stopped"]
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: processes.is_stopped(process.pid))
        with pytest.raises(Held, match=rf"is stopped; `kill -CONT {process.pid}` lets it continue") as held:
            lease.take()
        assert held.value.lives and lease.read_note()["stopped"]
    finally:
        process.kill()
        process.wait()
    lease.take()


def test_a_clock_that_is_set_while_a_process_runs_does_not_make_it_dead(monkeypatch):
    before = processes.started(os.getpid())
    system = processes.psutil._psplatform
    boot = system.boot_time
    monkeypatch.setattr(system, "boot_time", lambda: boot() + 2 * 86400)
    assert processes.lives(os.getpid(), before) is True


def test_a_clock_days_ahead_lets_nobody_delete_files_that_others_write(tmp_path, monkeypatch):
    mine = atomic.temporary_beside(tmp_path / "x.json").name
    elsewhere = tmp_path / mine.replace(f"tmp-{atomic._place()}", "tmp-00000000")
    elsewhere.touch()
    ahead = tmp_path / "by-a-clock-ahead"
    ahead.touch()
    os.utime(ahead, (0, time.time() + 2 * atomic.SECONDS_TO_ABANDONMENT))
    now = [time.monotonic()]
    monkeypatch.setattr(atomic.time, "monotonic", lambda: now[0])
    atomic.clear(tmp_path)
    now[0] += atomic.SECONDS_OF_WATCH / 2
    atomic.clear(tmp_path)
    assert elsewhere.exists()
    now[0] += 2 * atomic.SECONDS_OF_WATCH
    atomic.write(tmp_path / "new.json", b"")  # long after it was first seen: whoever wrote it is gone
    assert not elsewhere.exists()
