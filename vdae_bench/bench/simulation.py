"""How long a plan of groups takes on many devices: list scheduling, as the engines do it, in simulated time.

A stage begins when the one before it is over, as final runs follow their search. In it are chains (a study) of rounds
(its batches), each of which begins when the one before it is over; the groups of all rounds that have begun share the
devices, first come, first served.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

Round = Sequence[float]
"""Seconds of its groups, in the order in which they are handed out."""
Chain = Sequence[Round]
Stage = Sequence[Chain]


@dataclass(frozen=True)
class Simulated:
    """What a plan comes to on some devices."""

    devices: int
    seconds: float
    """From the first group's start to the last one's end."""
    busy_seconds: float
    """Of all devices together: what is paid for where idle ones are given back."""
    tail_seconds: float
    """At the end of stages: from when a device first has nothing left to do until all are done."""

    @property
    def used(self) -> float:
        """The part of the devices' time in which they work."""
        return self.busy_seconds / (self.devices * self.seconds) if self.seconds else 0.0


def simulate(stages: Sequence[Stage], devices: int) -> Simulated:
    """Run the stages on so many equal devices.

    >>> simulate([[[[3.0, 2.0], [1.0]]]], 2)
    Simulated(devices=2, seconds=4.0, busy_seconds=6.0, tail_seconds=2.0)
    """
    now = tail = 0.0
    for stage in stages:
        end, starved = _run(stage, devices)
        now += end
        tail += end - starved
    busy = sum(seconds for stage in stages for chain in stage for each in chain for seconds in each)
    return Simulated(devices, now, busy, tail)


def _run(stage: Stage, devices: int) -> tuple[float, float]:
    """When all of a stage is done, and when a device first had nothing left to do until then."""
    ready: deque[tuple[float, int]] = deque()  # seconds, chain
    running: list[tuple[float, int]] = []  # end, chain
    rounds = [iter(chain) for chain in stage]
    left = [0] * len(stage)

    def begin(chain: int) -> None:
        for each in rounds[chain]:
            if each:
                left[chain] = len(each)
                ready.extend((seconds, chain) for seconds in each)
                return

    for chain in range(len(stage)):
        begin(chain)
    now, starved = 0.0, 0.0
    while ready or running:
        while ready and len(running) < devices:
            seconds, chain = ready.popleft()
            heapq.heappush(running, (now + seconds, chain))
        if len(running) == devices:
            starved = running[0][0]
        now, chain = heapq.heappop(running)
        left[chain] -= 1
        if not left[chain]:
            begin(chain)
    return now, starved
