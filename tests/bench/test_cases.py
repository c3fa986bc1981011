"""The declared cases: the issue's targets, and that each builds and runs."""

from __future__ import annotations

import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.support.entries import RUN, SIZES
from vdae_bench.bench import prediction, workers
from vdae_bench.bench.cases import Prediction, Profiles, SideBySide, StartUp, declared
from vdae_bench.bench.peers import versions
from vdae_bench.bench.workers import Workers
from vdae_bench.running.pools import WorkerPool

CASES = {case.name: case for case in declared(SIZES)}
INSTALLED = {name for name, version in versions().items() if version}

TARGETS = {
    "Glow step, float32": ("at least", 1.0),
    "L-VDAE step, m = 16, float32, against the paper's way": ("at least", 5),
    "L-VDAE step, m = 64, float32, against the paper's way": ("at least", 14),
    "L-VDAE step, m = 128, float32, against the paper's way": ("at least", 30),
    "L-VDAE step, m = 16, mixed, against the paper's way": ("at least", 8),
    "L-VDAE step, m = 64, mixed, against the paper's way": ("at least", 25),
    "L-VDAE step, m = 128, mixed, against the paper's way": ("at least", 50),
    **{
        f"L-VDAE step, m = {m}, {precision}, in VAE steps": ("at most", 3 if m == 784 else 2.5)
        for m in (16, 32, 64, 128, 784)
        for precision in ("float32", "mixed")
    },
    "VAE epoch, m = 32, float32": ("at least", 1.6),
    "VAE epoch, m = 32, mixed": ("at least", 2.5),
    "NLL of a VAE, m = 32, float32": ("at least", 1.5),
    "NLL of a VAE, m = 32, mixed": ("at least", 3),
    "NICE step, float32, against libraries with torch's fused Adam": ("at least", 1.1),
    "NICE step, mixed, against libraries with torch's fused Adam": ("at least", 2),
    **{f"VAE whole step, m = {m}, float32": ("at least", 0.8) for m in (16, 32, 128)},
    "NICE whole step, float32": ("at least", 0.8),
}


def test_targets_are_those_asked_for():
    rows = [row for case in CASES.values() if isinstance(case, SideBySide) for row in case.rows]
    assert len({row.name for row in rows}) == len(rows)
    assert {row.name: (row.direction, row.target) for row in rows if row.target is not None} == TARGETS
    assert {row.measure for row in rows if "whole step" in row.name and row.target} == {"peak_fraction"}


@pytest.fixture(scope="module")
def entries_of(setting):
    """Two rounds of a case, run once; of an axis of growth its ends, of the profiles the first."""

    @functools.cache
    def run(name: str):
        case = CASES[name]
        if isinstance(case, Profiles):
            case = replace(case, steps=case.steps[:1])
        elif name.startswith("growth"):
            positions = sorted({row.position for row in case.rows})
            rows = tuple(row for row in case.rows if row.position in (positions[0], positions[-1]))
            case = replace(case, rows=rows, contestants={row.ours: case.contestants[row.ours] for row in rows})
        return case.run(setting, rounds=2, run=RUN)

    return run


OF_THEIR_OWN = ("start-up", "plan", "workers", "paper-protocol")


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_THEIR_OWN])
def test_each_case_runs(entries_of, name):
    entries = entries_of(name)
    assert entries
    for entry in entries:
        assert entry.case == name
        if entry.skipped:
            assert not {"pythae", "zuko", "normflows"} <= INSTALLED
            continue
        if noise := entry.noise:
            share = 2 * noise.lanczos_steps / noise.latents  # rows of `lanczos` for one of `subset`
            assert entry.ratio == pytest.approx(share * (1 + noise.probe_variance / noise.images_variance))
            assert noise.equal_flops / entry.ratio == pytest.approx(entry.peer_flops / entry.flops / share)
            assert noise.bias_nats > -1e-4 and noise.condition > 1  # the quadrature errs upwards
            continue
        assert entry.ours_seconds > 0
        if entry.profile:
            parts = [entry.profile.matrix_products, entry.profile.rest, *entry.profile.outside.values()]
            assert all(0 <= part < 1.01 for part in parts) and 0.9 < sum(parts) < 1.1
            continue
        assert len(entry.ours_rounds) == 2 and 0 < entry.peak_fraction < 1.5
        if entry.peer:
            assert entry.peer_seconds > 0 and entry.spread[0] <= entry.ratio <= entry.spread[1]
            larger, smaller = entry.peer_rounds, entry.ours_rounds
            if entry.direction == "at most":
                larger, smaller = smaller, larger
            assert entry.spread[0] == pytest.approx(min(a / b for a, b in zip(larger, smaller, strict=True)))


def vae_flops(m: int, images: int, hidden: int = SIZES.hidden, blocks: int = 1, n: int = 144) -> int:
    """By hand: each weight takes part in three products, but for the first layers, which pass nothing on to x."""
    widths = [n, *(min(factor * m, n) for factor in (8, 4, 2)), m]
    block = [2 * width * hidden + hidden**2 for width in widths]
    projections = sum(a * b for a, b in pairwise(widths))
    encoder, decoder = (blocks * sum(of) + projections for of in (block[:-1], block[1:]))
    log_variance = widths[-2] * m
    return 2 * images * (3 * (encoder + decoder + log_variance) - n * hidden)


def test_growth_moves_one_axis_at_a_time(entries_of):
    for axis, by_hand in {
        "m": lambda m: vae_flops(m, 8),
        "H": lambda hidden: vae_flops(32, 8, hidden),
        "B": lambda blocks: vae_flops(32, 8, blocks=blocks),
        "batch": lambda images: vae_flops(32, images),
        "R": lambda replicas: replicas * vae_flops(32, 8),
    }.items():
        found = {int(entry.position): entry.flops for entry in entries_of(f"growth-{axis}") if entry.subject == "VAE"}
        assert len(found) == 2 and found == {position: by_hand(position) for position in found}
    memory = [entry.memory_bytes for entry in entries_of("growth-R")]
    assert memory.count(None) in (0, len(memory))


def test_without_a_library_its_rows_are_skipped(setting, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythae", None)
    entries = CASES["vae-epoch"].run(setting, rounds=1, run=RUN)
    assert all("pythae" in entry.skipped and entry.ours_seconds is None and entry.target for entry in entries)
    monkeypatch.setitem(sys.modules, "zuko", None)
    assert all(entry.skipped for entry in CASES["nice"].run(setting, rounds=1, run=RUN))


@pytest.mark.slow
def test_a_run_is_compared_with_what_was_foretold(setting, monkeypatch):
    monkeypatch.setattr(prediction, "SPEC", prediction.SPEC.replace("[16, 64]", "[4]"))
    (entry,) = Prediction("plan").run(setting, rounds=1, run=RUN)
    ((foretold,), (taken,)) = entry.ours_rounds, entry.peer_rounds
    assert foretold > 0 and taken > 0
    assert entry.ratio == max(foretold / taken, taken / foretold) and entry.met == (entry.ratio <= 1.25)


@pytest.mark.slow
def test_start_up_times_the_real_command(setting):
    entries = StartUp("start-up").run(setting, rounds=1, run=RUN)
    first, between, torch_alone, plan_alone = (entry.ours_seconds for entry in entries)
    assert 0.2 < first < 60 and 0 < between < first
    assert 0.1 < torch_alone < plan_alone < 60
    assert all(entry.value == entry.ours_seconds for entry in entries)
    assert [entry.met for entry in entries] == [first <= 3, between <= 3, None, None]


def test_workers_are_timed_beside_this_process(setting, monkeypatch):
    @contextmanager
    def local_pool(count, context, say):
        with ThreadPoolExecutor(count) as pool:
            yield WorkerPool(pool, lambda: count, context)

    monkeypatch.setattr(workers, "local_pool", local_pool)
    monkeypatch.setattr(workers, "SPEC", workers.SPEC.replace("[16, 24, 32, 64]", "[4]"))
    monkeypatch.setattr(workers, "EQUAL", workers.EQUAL.replace("[32]", "[4]").replace("16", "2"))
    entries = Workers("workers").run(setting, rounds=1, run=RUN)
    assert [entry.peer for entry in entries] == [
        "one worker",
        "this process",
        "this process",
        "this process on one thread",
    ]
    for entry in entries:
        assert entry.ours_seconds > 0 and entry.ratio == pytest.approx(entry.peer_seconds / entry.ours_seconds)
    assert entries[2].ours_seconds < entries[1].ours_seconds
