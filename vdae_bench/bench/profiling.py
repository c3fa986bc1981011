"""Where the time of a training step goes: matrix products, other operations, Python."""

from __future__ import annotations

import time

from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from vdae_bench.bench.entries import Profile
from vdae_bench.bench.timing import Work

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear")
LISTED = 6
"""Operations that are named; the others are `others`."""


def profile_step(work: Work, steps: int = 5) -> tuple[float, Profile]:
    """Seconds of a step under the profiler, and its parts.

    An operation's time is its own, without those it calls; what no operation accounts for is Python between them.
    """
    work()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        for _ in range(steps):
            work()
        seconds = time.perf_counter() - started
    products, others = 0.0, {}
    for event in profiler.key_averages():
        name, share = event.key, event.self_cpu_time_total * 1e-6 / seconds
        if event.device_type != DeviceType.CPU or not name.startswith("aten::"):
            continue
        if name.removeprefix("aten::") in PRODUCTS:
            products += share
        else:
            others[name.removeprefix("aten::")] = share
    named = sorted(others, key=lambda name: others[name], reverse=True)[:LISTED]
    outside = {name: others[name] for name in named}
    outside["others"] = sum(others.values()) - sum(outside.values())
    rest = max(0.0, 1 - products - sum(others.values()))
    return seconds / steps, Profile(matrix_products=products, outside=outside, rest=rest)
