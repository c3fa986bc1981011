"""The performance page about several workers: groups an hour here, and the paper's protocol on many GPUs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from vdae_bench.bench.entries import Entry, Workload
from vdae_bench.bench.simulation import Chain, Round, Stage, simulate
from vdae_bench.report.style.figure import GREY, STYLES
from vdae_bench.report.style.markdown import bullets, escape, table
from vdae_bench.system.words import measured_seconds

SUBJECTS = ("workers", "cost")
"""Of the entries that this section shows, and no other."""
GPUS = (1, 8, 64, 512)
GPU_FLOPS = 20e12
"""Float32 matrix products a second of the GPU that the simulation reckons with: stated, measured on none."""
DOLLARS_AN_HOUR = 2.5
"""For such a GPU: stated."""
GROUPINGS = (
    ("all seeds of a cell together, trials of a batch by their architecture", True),
    ("each run by itself (`--replicas 1`)", False),
)


def section(measured: Sequence[Entry]) -> Iterator[str]:
    """Markdown about workers, then about many GPUs, of what was measured on one machine."""
    workers = [entry for entry in measured if entry.subject == "workers"]
    if workers:
        yield "### Workers on this machine"
        yield (
            "Eight groups of a sweep, through `--workers` with this machine's threads divided fairly, or with no "
            "scheduler. The last row is what a scheduler itself costs: the group's records are there already."
        )
        yield _workers(workers)
    costs = [entry for entry in measured if entry.workload]
    if costs:
        yield from _simulation(costs)


def _workers(entries: Sequence[Entry]) -> str:
    headers = ["what", "a group", "groups an hour", "beside", "a group", "groups an hour", "ratio", "lowest to highest"]
    rows = []
    for entry in entries:
        assert entry.ours_seconds and entry.peer_seconds and entry.spread
        rows.append(
            [
                escape(entry.name),
                measured_seconds(entry.ours_seconds),
                f"{3600 / entry.ours_seconds:,.0f}",
                escape(entry.peer or ""),
                measured_seconds(entry.peer_seconds),
                f"{3600 / entry.peer_seconds:,.0f}",
                f"{entry.ratio:.2f}",
                f"{entry.spread[0]:.2f} to {entry.spread[1]:.2f}",
            ]
        )
    return table(headers, rows)


def _simulation(costs: Sequence[Entry]) -> Iterator[str]:
    yield "### The paper's protocol on many GPUs, simulated"
    speed = _speed(costs)
    runs = sum(entry.workload.runs for entry in costs if entry.workload and entry.workload.batch is None)
    trials = sum(entry.workload.runs for entry in costs if entry.workload and entry.workload.batch)
    yield (
        f"Both tables with their searches: {trials} trials, then {runs} runs. The seconds of each are those timed on "
        f"this machine (a slice of every cell; a trial's by its FLOPs, of architectures drawn evenly from the space, "
        f"none pruned), divided by {speed:,.0f}: the float32 matrix products of a GPU at an assumed "
        f"{GPU_FLOPS / 1e12:g} TFLOP/s over those of this machine. No GPU was measured. Runs that train together are "
        f"taken to need as long as one after the other, which on a GPU they may not. Groups are handed out as the "
        f"engines do it: of a batch, and of the final runs, the longest first; a table's studies beside each other, a "
        f"study's batches one after the other, final runs after all searches, one table after the other. Dollars at an "
        f"assumed {DOLLARS_AN_HOUR:g} an hour for each GPU, from the first group to the last."
    )
    yield "![Time and GPU-hours](scaling.svg)"
    for words, together in GROUPINGS:
        yield f"With {words}:"
        yield _table(costs, together)
    plans = [stages(costs, together) for _, together in GROUPINGS]
    longest = [max(each for stage in plan for chain in stage for part in chain for each in part) for plan in plans]
    chains = [simulate(plan, 10**6).seconds for plan in plans]
    yield bullets(
        [
            f"longest group: {_hours(longest[0])}, by itself {_hours(longest[1])}; no number of GPUs takes less than "
            f"{_hours(chains[0])} and {_hours(chains[1])}, as a study's batches follow each other",
            "the tail is the time at the ends of searches and final runs in which some GPU has nothing left to do",
        ]
    )


def _table(costs: Sequence[Entry], together: bool) -> str:
    plan, unsorted = (stages(costs, together, longest_first) for longest_first in (True, False))
    headers = ["GPUs", "hours", "in use", "tail, hours", "in the tables' order, hours", "GPU-hours", "dollars"]
    rows = []
    for count in GPUS:
        found = simulate(plan, count)
        held = count * found.seconds / 3600
        rows.append(
            [
                f"{count}",
                f"{found.seconds / 3600:.2f}",
                f"{found.used:.0%}",
                f"{found.tail_seconds / 3600:.2f}",
                f"{simulate(unsorted, count).seconds / 3600:.2f}",
                f"{held:,.1f}",
                f"{held * DOLLARS_AN_HOUR:,.0f}",
            ]
        )
    return table(headers, rows, right=headers)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h"


def _speed(costs: Sequence[Entry]) -> float:
    """How many times the stated GPU is faster than the machine of these entries."""
    rates = [entry.peak_flops_per_second for entry in costs if entry.peak_flops_per_second]
    return GPU_FLOPS / max(rates)


def stages(costs: Sequence[Entry], together: bool, longest_first: bool = True) -> list[Stage]:
    """The searches of each sweep, then its final runs, in seconds on the stated GPU."""

    def order(groups: Round) -> Round:
        return sorted(groups, reverse=True) if longest_first else groups

    speed, found = _speed(costs), list[Stage]()
    for sweep in dict.fromkeys(entry.workload.sweep for entry in costs if entry.workload):
        mine = [(entry.name, entry.workload) for entry in costs if entry.workload and entry.workload.sweep == sweep]
        studies = [_study(name, work, speed, together) for name, work in mine if work.batch]
        finals = [seconds for _, work in mine if work.batch is None for seconds in _finals(work, speed, together)]
        found.append([[order(batch) for batch in study] for study in studies])
        found.append([[order(finals)]])
    return found


def _finals(work: Workload, speed: float, together: bool) -> Round:
    seconds = work.seconds[0] / speed
    return [seconds * work.runs] if together else [seconds] * work.runs


def _study(name: str, work: Workload, speed: float, together: bool) -> Chain:
    assert work.batch
    draw, rounds = random.Random(name), []
    for first in range(0, work.runs, work.batch):
        asked = [draw.randrange(len(work.seconds)) for _ in range(first, min(first + work.batch, work.runs))]
        times = [work.seconds[each] / speed for each in asked]
        if together:
            times = [work.seconds[each] / speed * asked.count(each) for each in dict.fromkeys(asked)]
        rounds.append(times)
    return rounds


def figure(costs: Sequence[Entry]) -> Figure:
    """Hours, and GPU-hours held, over the number of GPUs."""
    counts = [2**power for power in range(10)]
    drawn = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(drawn)
    left, right = drawn.subplots(1, 2)
    for style, (_, together) in zip(STYLES, GROUPINGS, strict=False):
        plan = stages(costs, together)
        found = [simulate(plan, count) for count in counts]
        hours = [each.seconds / 3600 for each in found]
        held = [each.devices * each.seconds / 3600 for each in found]
        look = {"color": style.colour, "linestyle": style.dashes, "marker": style.marker, "markersize": 4}
        left.plot(counts, hours, label="seeds together" if together else "each run by itself", **look)
        right.plot(counts, held, **look)
    work = found[0].busy_seconds / 3600  # the same, however it is grouped
    left.plot(counts, [work / count for count in counts], color=GREY, linewidth=0.8, label="no idle GPU")
    right.axhline(work, color=GREY, linewidth=0.8)
    left.legend(fontsize=7)
    _axes(left, "hours")
    _axes(right, "GPU-hours held")
    return drawn


def _axes(axes: Axes, title: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("GPUs")
    axes.set_ylabel(title)
