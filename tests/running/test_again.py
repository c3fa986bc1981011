"""Weights of finished runs: what they would take, and trained once more beside records that stay as they are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.support.runs import StopAfter, run
from tests.support.specs import PAIR
from vdae_bench import api
from vdae_bench.cli.run import raise_if_failed
from vdae_bench.errors import Failed, Stopped, UserError
from vdae_bench.running.again import TrainedAgain, price_of, train_again, without_weights
from vdae_bench.running.execute import Outcome
from vdae_bench.running.group import GroupTask
from vdae_bench.running.options import Command, RunOptions
from vdae_bench.running.plan import plan
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.check import load_spec
from vdae_bench.store.layout import weights_path

QUIET = RunOptions(workers=1, quiet=True)


@pytest.fixture
def finished(tmp_path, context):
    """(plan, context) of a sweep of two cells with a seed each that ran without keeping weights."""
    spec = load_spec(PAIR.but(protocol={"quality_samples": 0}, seeds=1).write(tmp_path))
    assert not run(spec, context).failures
    return plan(spec, context.store), replace(context, keep_models=True)


def test_weights_come_beside_a_record_that_stays(finished):
    planned, context = finished
    paths = {path: path.read_bytes() for path, _ in context.store.records()}
    bare = without_weights(planned, context.store)
    assert len(bare) == 2
    assert re.search(
        r"2 finished runs without weights, .* --train-again .*FLOP, which took \d+ s the first", price_of(bare)
    )
    assert train_again(bare, planned, context, QUIET, StopToken()) == TrainedAgain()  # the same numbers
    assert {path: path.read_bytes() for path, _ in context.store.records()} == paths
    assert not context.store.again.exists() and not without_weights(planned, context.store)
    for path in paths:
        model = api.load(path)
        again, test = model.score(context.data_folder), model.record.metrics.test
        assert again["nll_nats"] == pytest.approx(test.nll_nats, rel=1e-6)


def test_other_numbers_are_said_and_the_record_stays(finished):
    planned, context = finished
    bare = without_weights(planned, context.store)[:1]
    metrics = bare[0].record.metrics
    test = metrics.test.model_copy(update={"nll_nats": metrics.test.nll_nats - 1})
    claimed = bare[0].record.model_copy(update={"metrics": metrics.model_copy(update={"test": test})})
    said = train_again([replace(bare[0], record=claimed)], planned, context, QUIET, StopToken())
    (line,) = said.remarks
    assert re.match(r"binary-tiny_vae_4 seed 0: the weights come from a run with an NLL of .* but its record", line)
    assert "-ELBO" not in line and not said.without
    assert len(without_weights(planned, context.store)) == 1


def test_a_stop_goes_on_within(finished):
    planned, context = finished
    bare = without_weights(planned, context.store)
    token = StopAfter(3)
    token.signal = 15
    with pytest.raises(Stopped):
        train_again(bare, planned, context, QUIET, token)
    assert context.store.again.is_dir() and len(list(context.store.records())) == 2
    assert train_again(bare, planned, context, QUIET, StopToken()) == TrainedAgain()
    assert not context.store.again.exists()
    assert all(weights_path(path).is_file() for path, _ in context.store.records())


def test_a_kill_before_the_weights_are_in_place_is_made_good_by_the_same_command(finished, monkeypatch):
    planned, context = finished
    bare = without_weights(planned, context.store)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("vdae_bench.running.again._take_over", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_again(bare, planned, context, QUIET, StopToken())
    assert train_again(bare, planned, context, QUIET, StopToken()) == TrainedAgain()
    assert not without_weights(planned, context.store) and not context.store.again.exists()
    # Another process with the same command has moved them first.
    assert train_again(bare, planned, context, QUIET, StopToken()) == TrainedAgain()


@pytest.mark.parametrize("fault", ["torn", "of another run"])
def test_weights_that_cannot_be_loaded_count_as_none(finished, fault):
    planned, context = finished
    first, second = without_weights(planned, context.store)
    train_again([first, second], planned, context, QUIET, StopToken())
    paths = [weights_path(path) for path, _ in sorted(context.store.records(), key=lambda each: each[0].parent)]
    paths[0].write_bytes(b"torn" if fault == "torn" else paths[1].read_bytes())
    (bare,) = without_weights(planned, context.store)
    assert weights_path(context.store.path("tiny", bare.job.protocol.name, bare.job.cell.slug, 0)) == paths[0]


def test_a_run_that_cannot_be_trained_again_is_exit_code_1(finished, monkeypatch):
    planned, context = finished
    failed = Outcome(failures=[(GroupTask(planned.all_groups[0].runs), RuntimeError("no luck"))])
    monkeypatch.setattr("vdae_bench.running.again.run_groups", lambda *_: failed)
    said = train_again(without_weights(planned, context.store), planned, context, QUIET, StopToken())
    with pytest.raises(Failed, match="no luck"):
        raise_if_failed(Outcome(), planned, said.without)


def test_a_shard_trains_none_again():
    with pytest.raises(UserError, match="leave out --shard"):
        Command("sweep", ("mini",), run=RunOptions(train_again=True, shard="1/2"))
