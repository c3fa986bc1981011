"""The sweep of most tests of this room: each kind of method on the tiny data set, and what it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import run
from tests.support.specs import TINY
from vdae_bench.running.context import RunContext
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Store


@pytest.fixture
def sweep(tiny_data: tuple[Path, Path], tmp_path: Path) -> SweepSpec:
    return load_spec(TINY.write(tmp_path))


@pytest.fixture(scope="session")
def whole(tiny_data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Any]:
    """The records of that sweep run undisturbed in one process, once for all tests, and what the run came to."""
    folder = tmp_path_factory.mktemp("whole")
    context = RunContext(Store(folder / "results"), torch.device("cpu"), 1, tiny_data[0], 0.0)
    return context.store, run(load_spec(TINY.write(folder)), context)
