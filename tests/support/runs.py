"""Runs of sweeps in tests: started, stopped, watched from outside, and compared by what they measured."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vdae_bench.running.context import RunContext
from vdae_bench.running.execute import run_plan
from vdae_bench.running.plan import Plan, plan
from vdae_bench.running.progress import Progress, QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Record

Found = TypeVar("Found")


def run(sweep: SweepSpec, context: RunContext, stop: StopToken | None = None, planned: Plan | None = None) -> Any:
    """Run a sweep, or the part of it that is planned, in this process."""
    return run_plan(planned or plan(sweep, context.store), context, QuietProgress(lambda: 1.0), stop or StopToken())


def without_time(record: Record) -> dict[str, Any]:
    """A record's content but for what a clock says."""
    content = record.model_dump()
    for key in ("train_seconds", "validation_seconds", "evaluation_seconds"):
        content["cost"].pop(key)
    content["provenance"].pop("started_at")
    return content


def numbers(folder: Path) -> dict[str, Any]:
    """What the records of a folder measured, without times."""
    return {
        str(path.relative_to(folder)): {key: json.loads(path.read_text())[key] for key in ("metrics", "curve", "flags")}
        for path in sorted(folder.rglob("seed-*.json"))
    }


def say_and_sleep(path: Path) -> int:
    """In a worker: write its process number and sleep, unless another did before; its process number."""
    if not path.exists():
        path.write_text(str(os.getpid()))
        time.sleep(600)
    return os.getpid()


class StopAfter(StopToken):
    """Says stop at the n-th time it is asked."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(lambda: 1.0)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def working(results: Path) -> set[int]:
    """Process numbers in the leases of a results folder."""
    found = set()
    for path in results.rglob("*.lease"):
        try:
            found.add(json.loads(path.read_bytes())["process"])
        except (OSError, ValueError):
            continue
    return found


def wait_for(condition: Callable[[], Found], seconds: float = 120.0) -> Found:
    """Wait until a condition holds, and return what it found."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value
