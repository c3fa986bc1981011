"""Fixtures of the search: a spec on the tiny data set, its first study, surroundings."""

from __future__ import annotations

import pytest
import torch

from tests.search.tiny_search import SPEC
from vdae_bench.running.context import RunContext
from vdae_bench.search.studies import studies_of
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """A killed process loses nothing that it wrote; only a machine does."""
    monkeypatch.setattr("os.fsync", lambda file: None)


@pytest.fixture
def make_spec(tiny_data, tmp_path):
    """Build the tiny spec with some of its text replaced, pairs of (before, after)."""

    def build(*changes, **words):
        text = SPEC
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return load_spec(path, **words)

    return build


@pytest.fixture
def make_study(make_spec):
    """The study of the tiny spec's VAE."""
    return lambda *changes, **words: studies_of(make_spec(*changes, **words))[0]


@pytest.fixture
def context(tiny_data, tmp_path):
    """Checkpoints after every step."""
    return RunContext(Store(tmp_path / "results"), torch.device("cpu"), 1, tiny_data[0], 0.0)


@pytest.fixture
def elsewhere(tiny_data, tmp_path):
    """Another results folder, and no checkpoints."""
    return RunContext(Store(tmp_path / "other"), torch.device("cpu"), 1, tiny_data[0], 1e9)
