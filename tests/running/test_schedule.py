"""The scheduler with tasks that are no runs and no trials: it knows neither."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from vdae_bench.errors import EnvironmentFault
from vdae_bench.running import schedule
from vdae_bench.running.context import RunContext
from vdae_bench.running.execute import GroupDisplay, Outcome
from vdae_bench.running.pools import WorkerPool
from vdae_bench.running.progress import Progress
from vdae_bench.running.schedule import WORTH_DIVIDING, run_tasks, shared_out
from vdae_bench.running.stop import StopToken
from vdae_bench.running.task import Busy, CannotWrite, Report, lease_of, run_leased
from vdae_bench.store.records import Store
from vdae_bench.system.lease import Lease
from vdae_bench.training.trainer import Interrupted


@dataclass(frozen=True)
class Squares:
    """Squares numbers, as many at a time as there is memory for."""

    numbers: tuple[int, ...]
    memory: int = 100

    @property
    def identity(self) -> str:
        return "-".join(map(str, self.numbers))

    label = identity

    @property
    def work(self) -> float:
        return float(sum(self.numbers))

    def checkpoint_path(self, store: Store) -> Path:
        return store.root / "checkpoints" / f"{self.identity}.pt"

    def run(self, context: RunContext, report: Report, stop: Callable[[], bool]) -> list[int] | Busy:
        report("", 0.0)
        if len(self.numbers) > self.memory:
            raise MemoryError
        if 13 in self.numbers:
            raise EnvironmentFault("bad luck")
        if stop():
            raise Interrupted
        report("squaring", 0.5)
        return [number**2 for number in self.numbers]

    def halves(self) -> Sequence[Squares]:
        middle = len(self.numbers) // 2
        parts = (self.numbers[:middle], self.numbers[middle:])
        return [replace(self, numbers=part) for part in parts] if middle else []


class Heard:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def say(self, line: str) -> None:
        self.told.append(("say", line))

    def start(self, task: Squares) -> None:
        self.told.append(("start", task.label))

    def update(self, task: Squares, phase: str, fraction: float | None) -> None:
        self.told.append((phase or "start", task.label))

    def split(self, task: Squares) -> None:
        self.told.append(("split", task.label))

    def end(self, task: Squares, result: list[int]) -> None:
        self.told.append(("end", task.label))

    def fail(self, task: Squares, error: Exception) -> None:
        self.told.append(("fail", task.label))


@pytest.fixture
def context(tmp_path):
    return RunContext(Store(tmp_path), torch.device("cpu"), 1)


def run(context, tasks, heard=None, places=0, stop=None):
    executor = ThreadPoolExecutor(places) if places else nullcontext()
    with executor as pool:
        workers = WorkerPool(pool, lambda: places, context) if places else None
        return run_tasks(tasks, context, heard or Heard(), stop or StopToken(), workers)


@pytest.mark.parametrize("places", [0, 1, 3])
def test_tasks_come_to_the_same_results_here_and_on_a_pool(context, places):
    heard = Heard()
    finished = run(context, [Squares((1,)), Squares((2, 3, 4), memory=1), Squares((13,)), Squares((6,))], heard, places)
    assert sorted(number for result in finished.results for number in result) == [1, 4, 9, 16, 36]
    assert [(task.label, str(error)) for task, error in finished.failures] == [("13", "bad luck")]
    told = set(heard.told)
    assert {("split", "2-3-4"), ("split", "3-4"), ("fail", "13"), ("end", "4")} <= told and ("end", "2-3-4") not in told
    assert list(context.store.root.rglob("*")) == [context.store.root / "checkpoints"]  # no lease, no stop file


def test_halves_come_next_and_in_order(context):
    finished = run(context, [Squares((1, 2, 3, 4), memory=1), Squares((5,))])
    assert finished.results == [[1], [4], [9], [16], [25]]


def test_without_memory_for_what_cannot_be_halved_it_says_what_to_do(context):
    ((_, error),) = run(context, [Squares((1,), memory=0)]).failures
    assert "memory is full with a single run; lower batch_size" in str(error)


def test_a_pool_takes_the_most_work_first_and_this_process_keeps_the_order(context):
    tasks = [Squares((number,)) for number in (2, 9, 4)]
    assert run(context, tasks).results == [[4], [81], [16]]
    assert run(context, tasks, places=1).results == [[81], [16], [4]]


@dataclass(frozen=True)
class Alone(Squares):
    """Fails where another runs in the same process."""

    now: ClassVar[threading.Lock] = threading.Lock()

    def run(self, context: RunContext, report: Report, stop: Callable[[], bool]) -> list[int] | Busy:
        assert self.now.acquire(blocking=False)
        time.sleep(0.01)
        self.now.release()
        return super().run(context, report, stop)


def test_threads_of_one_process_work_one_after_the_other(context):
    """A plug-in, torch's generator and its forward-mode derivatives are the process's own."""
    finished = run(context, [Alone((number,)) for number in range(6)], places=3)
    assert sorted(finished.results) == [[0], [1], [4], [9], [16], [25]] and not finished.failures


@pytest.mark.parametrize("places", [0, 2])
def test_a_stop_raises_and_leaves_no_lease(context, places):
    stop = StopToken()
    stop.signal = 15
    with pytest.raises(Interrupted):
        run(context, [Squares((number,)) for number in range(8)], places=places, stop=stop)
    assert not list(context.store.root.rglob("*.lease")) and not list(context.store.root.rglob("stop-*"))


def test_what_another_process_has_comes_last_and_is_waited_for(context, monkeypatch):
    monkeypatch.setattr(schedule, "SECONDS_BETWEEN_QUESTIONS", 0.01)
    first, second, heard = Squares((1,)), Squares((2,)), Heard()
    lease = lease_of(first, context.store)
    lease.take()
    assert isinstance(run_leased(first, context, lambda *_: None, StopToken()), Busy)
    monkeypatch.setattr(heard, "say", lambda line: (heard.told.append(("say", line)), lease.path.unlink()))
    assert run(context, [first, second], heard).results == [[4], [1]]
    assert [line.split(":")[0] for what, line in heard.told if what == "say"] == ["waiting for 1"]


def test_others_see_in_the_lease_what_a_task_is_at(context):
    task, seen = Squares((3,)), []

    def report(phase: str, fraction: float | None) -> None:
        seen.append((phase, fraction))

    def stop() -> bool:
        (path,) = context.store.root.rglob("*.lease")
        seen.append(json.loads(path.read_text())["note"])
        assert Lease(path).read_note()["label"] == "3"
        return False

    assert run_leased(task, context, report, stop) == [9]
    assert seen == [("", 0.0), {"label": "3", "phase": "", "fraction": 0.0}, ("squaring", 0.5)]


def test_a_folder_that_cannot_be_written_ends_all_at_once(context):
    (context.store.root / "checkpoints").write_text("a file in its way")
    heard = Heard()
    with pytest.raises(CannotWrite):
        run(context, [Squares((1,)), Squares((2,))], heard)
    assert heard.told == []


def test_a_cpu_shares_large_work_out_in_the_same_way_for_any_number_of_workers(context):
    def numbers(tasks, places=0, device="cpu"):
        pool = WorkerPool(ThreadPoolExecutor(1), lambda: places, context) if places else None
        return [task.numbers for task in shared_out(tasks, replace(context, device=torch.device(device)), pool)]

    unit = int(WORTH_DIVIDING)
    large, small, tiny = Squares((unit,) * 8), Squares((unit,)), Squares((1, 2))
    assert numbers([large, small, tiny]) == [*[(unit,)] * 8, (unit,), (1, 2)]
    assert numbers([large, small, tiny]) == numbers([large, small, tiny], 2) == numbers([large, small, tiny], 8)
    assert numbers([large, small], device="cuda") == [large.numbers, small.numbers]
    many = [Squares((unit,) * 4)] * 20  # each is a twentieth already
    assert numbers(many) == [each.numbers for each in many]
    large.checkpoint_path(context.store).parent.mkdir(parents=True)
    large.checkpoint_path(context.store).touch()
    assert numbers([large, small]) == [large.numbers, small.numbers]


def test_each_place_of_a_pool_gets_a_part_and_what_has_a_checkpoint_stays_whole(context):
    def numbers(tasks, places=0):
        pool = WorkerPool(ThreadPoolExecutor(1), lambda: places, context) if places else None
        return [task.numbers for task in shared_out(tasks, context, pool)]

    large, small = Squares((4, 5, 6, 7)), Squares((1, 2))
    assert numbers([large, small]) == numbers([large, small], 2) == [(4, 5, 6, 7), (1, 2)]
    assert numbers([large, small], 3) == [(4, 5), (6, 7), (1, 2)]
    assert numbers([large, small], 4) == [(4, 5), (6,), (7,), (1, 2)]
    assert sorted(numbers([large, small], 9)) == [(1,), (2,), (4,), (5,), (6,), (7,)]

    part = Squares((6,)).checkpoint_path(context.store)
    part.parent.mkdir(parents=True)
    part.touch()  # a call with more workers was stopped: one with fewer goes on with its parts
    assert numbers([large, small]) == [(4, 5), (6,), (7,), (1, 2)]
    large.checkpoint_path(context.store).with_suffix(".previous.pt").touch()
    assert numbers([large, small], 9) == [(4, 5, 6, 7), (1,), (2,)]


def test_a_failed_group_says_at_least_what_kind_of_error_it_was(capsys):
    task, errors = Squares((1,)), [NotImplementedError(), RuntimeError("no room")]
    lines = Outcome(failures=[(task, error) for error in errors]).failed_lines
    assert lines == ["1: NotImplementedError", "1: no room"]
    GroupDisplay(Progress(lambda: 1.0), 1).fail(task, errors[0])
    assert "failed: NotImplementedError" in capsys.readouterr().err
