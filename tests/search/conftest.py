"""Fixtures of the search: a spec on the tiny data set, its first study, another results folder."""

from __future__ import annotations

import pytest
import torch

from tests.support.searches import outcome, search
from tests.support.specs import SEARCHED
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
    """Load a spec, by default the tiny one with a search."""
    return lambda spec=SEARCHED, **words: load_spec(spec.write(tmp_path), **words)


@pytest.fixture
def make_study(make_spec):
    """The first study of a spec: the tiny one's is its VAE's."""
    return lambda spec=SEARCHED, **words: studies_of(make_spec(spec, **words))[0]


@pytest.fixture
def elsewhere(tiny_data, tmp_path):
    """Another results folder, and no checkpoints."""
    return RunContext(Store(tmp_path / "other"), torch.device("cpu"), 1, tiny_data[0], 1e9)


@pytest.fixture(scope="session")
def whole_of():
    """The uninterrupted outcome of a study, searched once for all tests."""
    known = {}

    def search_once(study, context):
        wanted = study.spec_digest, study.trials
        if wanted not in known:
            known[wanted] = outcome(search(study, context))
        return known[wanted]

    return search_once
