"""The time left is reckoned from the work that there is, and scores are those that the tables will have."""

from __future__ import annotations

import pytest

from vdae_bench.data.units import bits_per_dim
from vdae_bench.running import progress
from vdae_bench.spec.sweep import Cell


def test_what_is_done_once_does_not_count_as_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Progress(lambda: 10.0)
    for seconds, fraction in ((9, 0.0), (20, 0.5), (20, 1.0), (50, None), (50, None)):
        now += seconds  # 9 s for the start of workers, 40 s for 1 of 10, then a classifier
        shown.update("group", "phase", 1.0, fraction)
    lines = capsys.readouterr().err.splitlines()
    expected = ["time left unknown", "about 6 min 20 s left", *["about 6 min 0 s left"] * 3]
    assert [line.rpartition(", ")[2] for line in lines] == expected
    shown.group_ended("group", "done", 1.0)
    now += 40
    shown.update("next", "phase", 1.0, 1.0)
    assert "about 5 min 20 s left" in capsys.readouterr().err


def test_the_end_has_no_seconds_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Progress(lambda: 1.0)
    for seconds, fraction in ((0, 0.0), (50, 0.5), (49.6, 0.996), (10.4, 1.0)):
        now += seconds
        shown.update("group", "phase", 1.0, fraction)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in lines] == [
        "time left unknown",
        "about 50 s left",
        "almost done",
        "almost done",
    ]


def test_scores_are_in_the_unit_of_the_tables_and_cells_are_not_averaged() -> None:
    binary, continuous = Cell("binary-mnist", "vae", 16), Cell("continuous-mnist", "vae", 16)
    assert progress.scores_text([(binary, 90.0), (binary, 91.0), (binary, None)]) == "90.50 nats"
    mean = bits_per_dim(-1001.0, 784)
    assert progress.scores_text([(continuous, -1000.0), (continuous, -1002.0)]) == f"{mean:.3f} bits/dim"
    levels = [Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", float(level)),)) for level in range(-6, 0)]
    ends = [f"{bits_per_dim(nats, 784):.3f}" for nats in (-1500.0, -1000.0)]
    said = progress.scores_text((cell, -1000.0 - 100 * place) for place, cell in enumerate(levels))
    assert said == f"{ends[0]} to {ends[1]} bits/dim over 6 cells"
    assert progress.scores_text([(binary, float("nan")), (binary, 90.0)]) == "90.00 nats"
    assert progress.scores_text([(binary, float("inf"))]) == "not finite"
