"""Groups on many devices in simulated time: by hand, by bounds, and as the page shows them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.made_up_entries import entry
from vdae_bench.bench import scaling
from vdae_bench.bench.entries import Workload
from vdae_bench.bench.page import page
from vdae_bench.bench.simulation import simulate

TIMES = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)
STAGES = st.lists(st.lists(st.lists(TIMES, min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=3)


def test_by_hand():
    long_first = [[[[4.0, 2.0, 1.0, 1.0]]]]
    assert simulate(long_first, 2).seconds == 4 and simulate(long_first, 2).tail_seconds == 0
    assert simulate([[[[1.0, 1.0, 2.0, 4.0]]]], 2).seconds == 5  # 1 and 2, beside 1 and then 4
    assert simulate([*long_first, [[[3.0]]]], 2).seconds == 7  # the second stage waits
    two_chains = [[[[2.0], [2.0]], [[3.0]]]]
    assert simulate(two_chains, 2).seconds == 4 and simulate(two_chains, 1).seconds == 7
    assert simulate(two_chains, 2).used == 7 / 8
    assert simulate([], 3).seconds == 0 and simulate([], 3).used == 0


@given(STAGES, st.integers(1, 9))
def test_within_what_no_schedule_can_beat_and_any_greedy_one_meets(stages, devices):
    found = simulate(stages, devices)
    work = sum(each for stage in stages for chain in stage for part in chain for each in part)
    critical = sum(max(sum(max(part) for part in chain) for chain in stage) for stage in stages)
    assert found.busy_seconds == pytest.approx(work)
    assert found.seconds >= max(work / devices, critical) * (1 - 1e-9)
    assert found.seconds <= work / devices + critical + 1e-9  # Graham's bound, stage by stage
    assert 0 <= found.tail_seconds <= found.seconds
    assert simulate(stages, 1).seconds == pytest.approx(work)
    assert simulate(stages, 10_000).seconds == pytest.approx(critical)


COSTS = [
    entry(
        name,
        case="paper-protocol",
        subject="cost",
        per="run",
        ours_seconds=100.0,
        peak_flops_per_second=2e11,
        workload=Workload(sweep="table1", runs=runs, batch=batch, seconds=seconds),
    )
    for name, runs, batch, seconds in (
        ("search", 6, 4, (3600.0, 7200.0)),
        ("vae", 10, None, (36_000.0,)),
        ("lvdae", 10, None, (72_000.0,)),
    )
]


def test_the_seeds_of_a_cell_are_one_group_or_ten():
    together, alone = scaling.stages(COSTS, True), scaling.stages(COSTS, False)
    assert together[1] == [[[7200.0, 3600.0]]]  # a hundred times faster
    assert alone[1] == [[[720.0] * 10 + [360.0] * 10]]
    assert scaling.stages(COSTS, True, longest_first=False)[1] == [[[3600.0, 7200.0]]]
    ((asked, rest),) = alone[0]
    assert (len(asked), len(rest)) == (4, 2) and set(asked + rest) == {36.0, 72.0}
    ((grouped, _),) = together[0]
    assert sorted(grouped) == sorted(asked.count(each) * each for each in set(asked))


def test_the_page_shows_hours_and_price():
    text = page([COSTS])
    hours, used, tail, unsorted, held, dollars = (
        cell.strip() for cell in re.findall(r"^\| *8 \|(.*)\|$", text, re.MULTILINE)[0].split("|")
    )
    found = simulate(scaling.stages(COSTS, True), 8)
    assert float(hours) == pytest.approx(found.seconds / 3600, abs=0.005)
    assert float(held) == pytest.approx(8 * found.seconds / 3600, abs=0.05)
    assert float(dollars) == pytest.approx(2.5 * 8 * found.seconds / 3600, abs=0.5)
    assert used == f"{found.used:.0%}" and float(unsorted) >= float(hours) and float(tail) <= float(hours)
    assert "No GPU was measured" in text and "search" not in text.partition("### Without a target")[2][:200]
