"""Measuring: interleaved rounds, medians, the spread of ratios, the matrix-product peak, FLOPs, memory.

Contestants take turns, one measurement each a round, and ratios are taken within a round: what the machine does
meanwhile (clock rates, neighbours) meets both sides alike. The peak is a contestant like the others.
"""

from __future__ import annotations

import ctypes
import gc
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vdae_bench.models.precision import Precision

Work = Callable[[], Any]
Clock = Callable[[], float]

LEAST_SECONDS = 0.2
"""A measurement repeats a short call until it lasts about this long."""
ROUNDS = (3, 7)
ROUND_BUDGET = 40.0
"""Seconds that all rounds of a comparison may take: as many rounds as fit, within `ROUNDS`."""
PEAK_SIZE = 1024
"""Rows of the square matrices whose product is the peak: products of a step are of this size or less."""


@dataclass(frozen=True)
class Contestant:
    """Something to time: a call of `work` does `units` of what the comparison counts (steps, images, ...)."""

    work: Work
    units: float = 1.0
    precision: Precision = "float32"
    flops: float | None = None
    """FLOPs of a call, by torch's counter; None where they were not counted."""
    memory_bytes: int | None = None
    warm_up: Work | None = None
    """Call to make first where `work` itself would take too long, a part `warm_up_share` of it."""
    warm_up_share: float = 1.0


@dataclass(frozen=True)
class Measured:
    """Seconds a unit, one value a round."""

    contestant: Contestant
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Median seconds a unit over the rounds."""
        return median(self.rounds)

    @property
    def flops(self) -> float | None:
        """FLOPs of a unit."""
        flops = self.contestant.flops
        return None if flops is None else flops / self.contestant.units


def interleave(
    contestants: Mapping[str, Contestant],
    rounds: int | None = None,
    least_seconds: float = LEAST_SECONDS,
    clock: Clock = time.perf_counter,
) -> dict[str, Measured]:
    """Time all contestants in turn, the first one another in each round; None chooses the number of rounds.

    Each is called once before (twice where it is short), which fills caches and allocators and says how often a
    measurement repeats it.
    """
    gc.freeze()  # so that collecting before each measurement costs nothing
    try:
        taken = _take_turns(contestants, rounds, least_seconds, clock)
    finally:
        gc.unfreeze()
    return {name: Measured(each, tuple(taken[name])) for name, each in contestants.items()}


def _take_turns(
    contestants: Mapping[str, Contestant], rounds: int | None, least_seconds: float, clock: Clock
) -> dict[str, list[float]]:
    """Seconds a unit in each round."""
    calls, lasting = {}, 0.0
    for name, each in contestants.items():
        warm_up = each.warm_up or each.work
        seconds = _seconds(warm_up, 1, clock) / each.warm_up_share
        if seconds < least_seconds:
            seconds = _seconds(warm_up, 1, clock) / each.warm_up_share
        calls[name] = max(1, math.ceil(least_seconds / max(seconds, 1e-6)))
        lasting += calls[name] * seconds
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    count = rounds or rounds_within(ROUND_BUDGET, lasting)
    names = list(contestants)
    for index in range(count):
        start = index % len(names)
        for name in names[start:] + names[:start]:
            each = contestants[name]
            taken[name].append(_seconds(each.work, calls[name], clock) / each.units)
    return taken


def rounds_within(budget: float, round_seconds: float) -> int:
    """Number of rounds that fit a budget of seconds, within `ROUNDS`.

    >>> [rounds_within(40, seconds) for seconds in (1, 8, 30)]
    [7, 5, 3]
    """
    return min(ROUNDS[1], max(ROUNDS[0], int(budget / round_seconds)))


def _seconds(work: Work, calls: int, clock: Clock) -> float:
    """Mean seconds of so many calls."""
    gc.collect()
    started = clock()
    for _ in range(calls):
        work()
    return (clock() - started) / calls


@dataclass(frozen=True)
class Ratio:
    """Numerator over denominator, taken in each round: the median, the lowest and the highest."""

    value: float
    low: float
    high: float


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """The ratio of two contestants that took turns.

    >>> ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0])
    Ratio(value=3.0, low=2.0, high=4.0)
    """
    each = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return Ratio(median(each), min(each), max(each))


def peak(precision: Precision, device: torch.device) -> Contestant:
    """The fastest that matrix products get here: square ones of `PEAK_SIZE` in the operands' type of a precision."""
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    a, b = (torch.randn(PEAK_SIZE, PEAK_SIZE, device=device).to(dtype) for _ in range(2))
    return Contestant(lambda: torch.mm(a, b), precision=precision, flops=2.0 * PEAK_SIZE**3)


def peak_fraction(ours: Measured, best: Measured) -> float | None:
    """Achieved FLOP/s over those of the peak of the same precision, taken in each round; the median."""
    if ours.flops is None or best.flops is None:
        return None
    return median(
        (ours.flops / mine) / (best.flops / theirs) for mine, theirs in zip(ours.rounds, best.rounds, strict=True)
    )


def count_flops(work: Work) -> float:
    """FLOPs of a call by torch's counter, which counts matrix products; calls it once."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def peak_memory(prepare: Callable[[], Work], device: torch.device) -> int | None:
    """Bytes that a process holds more of than before `prepare`, at the peak of the work that this returns.

    On a GPU they are those of its tensors there. What preparing needs for a moment does not count, what stays of it
    does. None where Linux does not say.
    """
    if device.type == "cuda":
        gc.collect()
        held = torch.cuda.memory_allocated(device)
        work = prepare()
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return max(0, torch.cuda.max_memory_allocated(device) - held)
    try:
        before = _held()
        work = prepare()
        _held()
        CLEAR.write_text("5")
        work()
        return max(0, _status("VmHWM") - before)
    except OSError:
        return None


def _held() -> int:
    """Bytes that this process holds, after giving back what was freed: else it would be used again, unseen."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _status("VmRSS")


def _status(field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(match[1]) * 1024
