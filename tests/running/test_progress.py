"""The time left is reckoned from the work that there is."""

from __future__ import annotations

import pytest

from vdae_bench.running import progress


def test_what_is_done_once_does_not_count_as_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Progress(lambda: 10.0)
    for seconds, fraction in ((20, 0.5), (20, 1.0), (50, None), (50, None)):  # 40 s for 1 of 10, then a classifier
        now += seconds
        shown.update("group", "phase", 1.0, fraction)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in lines] == ["about 6 min 20 s left", *["about 6 min 0 s left"] * 3]
    shown.group_ended("group", "done", 1.0)
    now += 40
    shown.update("next", "phase", 1.0, 1.0)
    assert "about 5 min 20 s left" in capsys.readouterr().err


def test_the_end_has_no_seconds_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Progress(lambda: 1.0)
    for seconds, fraction in ((50, 0.5), (49.6, 0.996), (10.4, 1.0)):
        now += seconds
        shown.update("group", "phase", 1.0, fraction)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in lines] == ["about 50 s left", "almost done", "almost done"]
