"""A small made-up data set and a web server: no test here reaches the network or the user's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import TinySet, write_tiny_set
from tests.support.web import Server, run_server
from vdae_bench.data.registry import DATASETS
from vdae_bench.data.sources import pip_settings, web


@pytest.fixture(autouse=True)
def isolated(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a cache of its own and, unless it needs the real MNIST, hide how packages are reached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))
    monkeypatch.delenv("VDAE_BENCH_DATA", raising=False)
    if request.node.get_closest_marker("mnist"):
        return
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(pip_settings, "_pip_config_list", lambda: "")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinySet:
    """Give a registered data set of a few images."""
    made = write_tiny_set(tmp_path / "genuine")
    monkeypatch.setitem(DATASETS, "tiny", made.files)
    return made


@pytest.fixture
def server() -> Iterator[Server]:
    yield from run_server()


@pytest.fixture
def other_server() -> Iterator[Server]:
    yield from run_server()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections and silences take half a second at most."""
    monkeypatch.setattr(web, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(web, "SILENCE_SECONDS", 0.5)
