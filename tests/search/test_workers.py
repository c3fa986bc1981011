"""Searches on several workers: studies beside each other; one in a real PostgreSQL server whose worker is killed."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import optuna
import psutil
import pytest

from tests.support.searches import outcome
from tests.support.specs import SEARCHED
from vdae_bench.errors import Stopped
from vdae_bench.running.options import RunOptions
from vdae_bench.running.pools import WorkerPool
from vdae_bench.running.stop import StopToken
from vdae_bench.search import run as search_module
from vdae_bench.search import searches as sweep
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import Winner, all_winners
from vdae_bench.store.records import Store

LONG = SEARCHED.but(grid={"method": ["lvdae"]}, protocol={"epochs": 30})


@pytest.fixture
def postgresql():
    """The address of a server of its own."""
    with warnings.catch_warnings(action="ignore"):
        pgserver = pytest.importorskip("pgserver", reason="no PostgreSQL server from pip for this Python")

    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # the server's own user must reach it, and its socket's path be short
    folder.chmod(0o777)
    server = pgserver.get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def only_winner(results: Path) -> Winner:
    (found,) = (winner for _, winner in all_winners(Store(results)))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("no_counts", "forked_workers")
def test_workers_share_a_study_in_postgresql_and_one_is_killed(shell, postgresql):
    LONG.write(shell.folder)
    alone = shell.run("search", "tiny.yaml", "--results", "alone", "--threads", "1", "-q")
    assert alone.returncode == 0, alone.stderr
    words = ["--workers", "2", "--storage", postgresql, "--threads", "2", "--checkpoint-every", "0.1s"]
    process = shell.start("search", "tiny.yaml", *words)
    deadline = time.monotonic() + 120
    while not list((shell.folder / "results").rglob("search-*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    busiest = max(psutil.Process(process.pid).children(), key=lambda each: sum(each.cpu_times()[:2]))
    busiest.kill()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err

    ours, expected = only_winner(shell.folder / "results"), only_winner(shell.folder / "alone")
    assert [trial.parameters for trial in ours.trials] == [trial.parameters for trial in expected.trials]
    assert (ours.winner, ours.chosen) == (expected.winner, expected.chosen)
    for trial, same in zip(ours.trials, expected.trials, strict=True):
        assert trial.value == pytest.approx(same.value, rel=1e-4)
    (name,) = optuna.get_all_study_names(postgresql)
    trials = optuna.load_study(study_name=name, storage=postgresql).trials
    assert [trial.user_attrs["number"] for trial in trials] == list(range(6))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert not list((shell.folder / "results").rglob("checkpoints/*"))


def test_the_studies_of_a_sweep_run_beside_each_other_to_the_same_winners(
    make_spec, context, elsewhere, whole_of, monkeypatch
):
    studies = studies_of(make_spec())
    expected = {study.slug: whole_of(study, elsewhere) for study in studies}
    together, run_study = threading.Barrier(2, timeout=60), search_module.run_study

    def run_when_both_are_there(*words):
        together.wait()
        return run_study(*words)

    monkeypatch.setattr(search_module, "run_study", run_when_both_are_there)
    with ThreadPoolExecutor(2) as pool:
        workers = WorkerPool(pool, lambda: 2, context)
        monkeypatch.setattr(sweep, "choose_pool", lambda *_: nullcontext(workers))
        sweep.run_studies(studies, context, RunOptions(workers=2, quiet=True), StopToken())
    assert {winner.cell: outcome(winner) for _, winner in all_winners(context.store)} == expected


@pytest.mark.parametrize("workers", [None, 2])
def test_a_signal_stops_the_studies_of_a_sweep_and_they_go_on(
    make_spec, context, elsewhere, whole_of, monkeypatch, workers
):
    studies = studies_of(make_spec())
    expected = {study.slug: whole_of(study, elsewhere) for study in studies}
    stop = StopToken()
    options = RunOptions(workers=workers, quiet=True)

    def propose_and_stop(*words):
        stop.signal = signal.SIGTERM
        return propose(*words)

    propose = search_module.propose
    with ThreadPoolExecutor(2) as pool:
        if workers:
            monkeypatch.setattr(sweep, "choose_pool", lambda *_: nullcontext(WorkerPool(pool, lambda: 2, context)))
        with monkeypatch.context() as stopping, pytest.raises(Stopped) as stopped:
            stopping.setattr(search_module, "propose", propose_and_stop)
            sweep.run_studies(studies, context, options, stop)
        assert stopped.value.exit_code == 128 + signal.SIGTERM
        assert not list(all_winners(context.store))
        sweep.run_studies(studies, context, options, StopToken())
    assert {winner.cell: outcome(winner) for _, winner in all_winners(context.store)} == expected
