"""The sweep of most tests of this room: each kind of method on the tiny data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.specs import TINY
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.sweep import SweepSpec


@pytest.fixture
def sweep(tiny_data: tuple[Path, Path], tmp_path: Path) -> SweepSpec:
    return load_spec(TINY.write(tmp_path))
