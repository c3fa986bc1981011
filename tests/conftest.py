"""Shared fixtures: shapes checked at run time, the tiny data set, where runs of a test go, the command line."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from jaxtyping import config, install_import_hook

import tests.support.typecheck  # noqa: F401 - named below

# Shapes such as Float[Tensor, "R N n"] are checked at every call in most tests: before any of these is imported.
CHECKED = ["models", "training", "evaluation", "data.noise", "data.views"]
install_import_hook([f"vdae_bench.{module}" for module in CHECKED], "tests.support.typecheck.checked")
UNCHECKED = {"api", "bench", "chaos", "cli", "export", "illustration", "report", "running", "search", "site", "store"}
"""Rooms whose tests run whole sweeps of models that other rooms check: a checked step takes three times as long."""

import torch  # noqa: E402

from tests.support.images import write_tiny_data  # noqa: E402
from tests.support.shell import ROOT, Shell  # noqa: E402
from vdae_bench.models import registry  # noqa: E402
from vdae_bench.models.registry import load_plugin  # noqa: E402
from vdae_bench.running.context import RunContext  # noqa: E402
from vdae_bench.running.cost import Price  # noqa: E402
from vdae_bench.store.records import Store  # noqa: E402
from vdae_bench.system.devices import usable_processors  # noqa: E402

torch.set_num_threads(1)  # the models are tiny
os.environ["OMP_NUM_THREADS"] = "1"  # the default of --threads: runs of tests are in one process, unless they say more


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes in this test or not, its fixtures included."""
    config.update("jaxtyping_disable", item.path.parent.name in UNCHECKED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first, so that at the end no process waits long for another."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Read `-n auto` as one worker for each processor that a container leaves to us."""
    return usable_processors()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(folder with four IDX files, plugin that registers them as `tiny`), registered in this process too."""
    folder = tmp_path_factory.mktemp("tiny")
    plugin = write_tiny_data(folder)
    load_plugin(plugin)
    return folder, plugin


@pytest.fixture
def context(tiny_data: tuple[Path, Path], tmp_path: Path) -> RunContext:
    """A results folder of the test's own; a checkpoint after every step."""
    return RunContext(Store(tmp_path / "results"), torch.device("cpu"), 1, tiny_data[0], 0.0)


@pytest.fixture
def shell(tiny_data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line in a folder of the test's own; what the test itself starts finds the package too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Shell(tmp_path, tiny_data)


@pytest.fixture(autouse=True)
def plugins_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget its plug-in files with it: workers that a later test starts would look for them."""
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare verbs in this process and in its forks the pages, which take longer than runs of a tiny model."""
    monkeypatch.setattr("vdae_bench.cli.run.report_sweep", lambda *_: None)


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers forked by this process and its forks, which spares each the imports; others start them anew."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: fork)


@pytest.fixture
def no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare verbs the count of FLOPs, a fifth of a second for each cell of full size."""
    monkeypatch.setattr("vdae_bench.running.cost._count", lambda job: Price(1, 1, 1, 1))
    monkeypatch.setattr("vdae_bench.running.cost._prices", {})
