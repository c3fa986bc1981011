"""The arithmetic of timing, on a clock that only the work moves."""

from __future__ import annotations

import pytest
import torch

from vdae_bench.bench.timing import (
    Contestant,
    Measured,
    Ratio,
    count_flops,
    interleave,
    peak,
    peak_fraction,
    peak_memory,
    ratio,
)

CPU = torch.device("cpu")


class Machine:
    """A clock, and work that takes its time by it; `pace` is how slow the machine is at the moment."""

    def __init__(self) -> None:
        self.now, self.pace = 0.0, 1.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now += seconds * self.pace


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_contestants_take_turns_and_another_begins_each_round(machine):
    works = {name: Contestant(lambda name=name: machine.work(name, 1.0)) for name in "abc"}
    interleave(works, rounds=4, least_seconds=0.5, clock=machine)
    assert "".join(machine.calls) == "abc" + "abc" + "bca" + "cab" + "abc"


def test_seconds_are_of_a_unit_and_short_calls_are_repeated(machine):
    works = {
        "short": Contestant(lambda: machine.work("short", 0.03)),
        "many": Contestant(lambda: machine.work("many", 2.0), units=4),
    }
    measured = interleave(works, rounds=1, least_seconds=0.2, clock=machine)
    assert measured["short"].seconds == pytest.approx(0.03) and measured["many"].seconds == pytest.approx(0.5)
    assert machine.calls.count("short") == 2 + 7 and machine.calls.count("many") == 1 + 1


def test_a_slow_first_call_does_not_count(machine):
    def work() -> None:
        machine.work("a", 1.0 if machine.calls else 100.0)

    assert interleave({"a": Contestant(work)}, rounds=3, clock=machine)["a"].rounds == (1.0, 1.0, 1.0)


def test_what_warms_up_by_a_part_is_timed_whole(machine):
    contestant = Contestant(
        lambda: machine.work("whole", 8.0), warm_up=lambda: machine.work("part", 2.0), warm_up_share=0.25
    )
    measured = interleave({"a": contestant}, clock=machine)["a"]
    assert measured.rounds == (8.0,) * 5  # five rounds of 8 s are the 40 s that a comparison may take
    assert machine.calls == ["part"] + ["whole"] * 5


def test_a_machine_that_slows_down_changes_seconds_but_no_ratio(machine):
    def slows(name: str, seconds: float) -> None:
        machine.pace = 1.0 if len(machine.calls) < 6 else 5.0
        machine.work(name, seconds)

    works = {"ours": Contestant(lambda: slows("ours", 1.0)), "peer": Contestant(lambda: slows("peer", 3.0))}
    measured = interleave(works, rounds=4, least_seconds=0.5, clock=machine)
    assert measured["ours"].rounds == (1.0, 1.0, 5.0, 5.0)
    assert ratio(measured["peer"].rounds, measured["ours"].rounds) == Ratio(3.0, 3.0, 3.0)


def test_peak_fraction_is_of_flops_a_second_within_rounds():
    ours = Measured(Contestant(lambda: None, units=2, flops=200.0), (1.0, 2.0, 4.0))
    best = Measured(Contestant(lambda: None, flops=500.0), (1.0, 2.0, 1.0))
    assert peak_fraction(ours, best) == pytest.approx(0.2)  # 100 FLOPs a unit: 0.2, 0.2, 0.05 of 500
    assert peak_fraction(Measured(Contestant(lambda: None), (1.0,)), best) is None


def test_flops_are_those_of_matrix_products():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: (a @ b).relu()) == 2 * 3 * 5 * 7


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("mixed", torch.bfloat16)])
def test_the_peak_multiplies_in_its_precision(precision, dtype):
    contestant = peak(precision, CPU)
    product = contestant.work()
    assert product.dtype == dtype and contestant.flops == 2 * product.shape[0] ** 3


def test_peak_memory_is_of_what_stays_and_of_what_the_work_needs_for_a_moment():
    size = 32 * 2**20

    def prepare():
        torch.zeros(size)  # four times as much, for a moment
        kept = torch.ones(size // 4)
        return lambda: kept + 1

    held = peak_memory(prepare, CPU)
    if held is None:
        pytest.skip("this system does not say how much memory a process holds")
    assert 1.9 * size < held < 2.3 * size
    assert peak_memory(lambda: lambda: None, CPU) < 0.1 * size
