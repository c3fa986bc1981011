"""A results folder and a reports folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdae_bench.report.style import figure
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
    monkeypatch.setattr(figure, "saved", lambda make: {"svg": b"<svg></svg>", "png": b""})
