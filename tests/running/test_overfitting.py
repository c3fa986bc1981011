"""A run that overfits is scored at its best epoch too, and reports show that score beside the one of the last epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vdae_bench.report.numbers.runs import load_runs
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.numbers.units import NATS
from vdae_bench.running.context import RunContext
from vdae_bench.running.group import paths_of, run_group
from vdae_bench.running.plan import plan
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.check import load_spec
from vdae_bench.store.layout import weights_path
from vdae_bench.store.records import Store
from vdae_bench.system.tensor_file import read_tensors
from vdae_bench.training.overfitting import OVERFITTED_NATS
from vdae_bench.training.trainer import Interrupted, Trainer

SPEC = """\
version: 1
name: tiny
grid: {dataset: [binary-tiny], method: [vae], latents: [4], kl_weight: [0.01]}
protocol: {base: smoke, epochs: 60, batch_size: 10, train_images: 10, validation_images: 20, elbo_images: 30,
           nll_images: 30, importance_samples: 20}
hyperparameters: {hidden_size: 64, learning_rate: 3e-3, schedule: none}
seeds: 2
"""


@pytest.fixture
def group(tiny_data, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC)
    (group,) = plan(load_spec(path), Store(tmp_path / "results")).groups
    return group


@pytest.fixture
def second_replica_overfits(monkeypatch):
    monkeypatch.setattr(Trainer, "overfitted", lambda trainer: [False, True])


def silent(*_):
    pass


def scores_at_the_best_epoch(group, context):
    bench = Workbench(group, context)
    bench.trainer.run(silent, lambda: False, lambda: False, silent)
    with bench.trainer.at_its_lowest():
        evaluator = bench.evaluator()
        assert evaluator.run(lambda: False, lambda: None)
    return evaluator.metrics()


@pytest.mark.usefixtures("second_replica_overfits")
def test_it_is_scored_with_the_parameters_of_its_lowest_validation(group, context):
    first, second = run_group(group, context, silent, lambda: False)
    assert first.metrics.test_at_best_epoch is None
    expected = scores_at_the_best_epoch(group, context)[1]
    best = second.metrics.test_at_best_epoch
    assert (
        best.nll_nats == pytest.approx(expected["nll_nats"], rel=1e-6) and best.nll_nats != second.metrics.test.nll_nats
    )
    assert second.cost.evaluation_flops == first.cost.evaluation_flops > 0
    cell = CellRuns(load_runs(context.store)[0].cell, tuple(load_runs(context.store)))
    assert cell.by_seed("nll", NATS) == {0: first.metrics.test.nll_nats, 1: best.nll_nats}


@pytest.mark.usefixtures("second_replica_overfits")
def test_stopped_while_it_is_scored_it_goes_on_to_the_same_record(group, context, tmp_path, monkeypatch):
    monkeypatch.setattr("vdae_bench.evaluation.likelihood.CHUNK_ROWS", 200)  # several chunks
    elsewhere = RunContext(Store(tmp_path / "whole"), context.device, 1, context.data_folder, 1e9, keep_models=True)
    whole = run_group(group, elsewhere, silent, lambda: False)
    phases = []

    def note(phase, fraction):
        phases.append(phase)

    with pytest.raises(Interrupted):
        run_group(group, context, note, lambda: phases[-1:] == ["evaluating its best epoch"])
    assert list(context.store.records()) == []
    resumed = run_group(group, replace(context, keep_models=True), silent, lambda: False)
    assert [each.metrics for each in resumed] == [each.metrics for each in whole]
    for ours, others in zip(*(paths_of(group, store) for store in (context.store, elsewhere.store)), strict=True):
        kept, expected = (read_tensors(weights_path(path))["state"] for path in (ours, others))
        assert all(torch.equal(kept[name], value) for name, value in expected.items())


def test_ten_images_are_learned_by_heart_which_is_noticed(group, context):
    for record in run_group(group, context, silent, lambda: False):
        curve = record.curve.validation_neg_elbo_nats
        assert curve[-1] - min(curve) > OVERFITTED_NATS and record.metrics.validation.best_epoch < 60
        assert record.metrics.test_at_best_epoch.neg_elbo_nats < record.metrics.test.neg_elbo_nats


def test_a_replica_that_diverged_is_not_scored_twice(group, context):
    bench = Workbench(group, context)
    bench.trainer.run(silent, lambda: False, lambda: False, silent)
    assert bench.trainer.overfitted() == [True, True]
    bench.trainer._diverged_at[1] = 7
    assert bench.trainer.overfitted() == [True, False]
