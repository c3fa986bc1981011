"""A results folder and a reports folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdae_bench.report.sections import compute as equal_compute
from vdae_bench.report.sections import curves as figures
from vdae_bench.store.records import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare tests of the text the half second that a figure takes."""
    blank = {"svg": b"<svg></svg>", "png": b""}
    monkeypatch.setattr(equal_compute, "draw", lambda contests: blank if contests else {})
    monkeypatch.setattr(figures, "draw", lambda cells: blank if figures.panels_of(cells) else {})
