"""A cache folder of the tests' own, so that their classifiers never lie in the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdae_bench.evaluation import classifier, gather


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(classifier, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(gather, "_classifiers", {})
    monkeypatch.setattr(gather, "_references", {})
    return tmp_path / "cache"
