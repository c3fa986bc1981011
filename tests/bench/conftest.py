"""Every case at tiny sizes, on random images of 12 x 12 pixels."""

from __future__ import annotations

import pytest
import torch

from tests.support.entries import SIZES
from vdae_bench.bench import page as performance
from vdae_bench.bench.data import random_bytes
from vdae_bench.bench.ours import Setting
from vdae_bench.running.context import RunContext
from vdae_bench.store.records import Store


@pytest.fixture(scope="session")
def setting(tmp_path_factory) -> Setting:
    data = random_bytes(tmp_path_factory.mktemp("random"), train=3000, test=300, shape=(12, 12))
    context = RunContext(Store(tmp_path_factory.mktemp("results")), torch.device("cpu"), 1, data.folder)
    return Setting(context, data, SIZES, least_seconds=0.0)


@pytest.fixture
def blank_chart(monkeypatch) -> None:
    """Spare tests of the text the second that a chart takes."""
    monkeypatch.setattr(performance, "saved", lambda make: {"svg": b"", "png": b""})
