"""A budget: chosen once for what is asked, kept, and chosen again where anything that it depends on has changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.specs import PAIR
from vdae_bench.errors import UserError
from vdae_bench.running import budget
from vdae_bench.running.cost import Calibration, GroupLimit
from vdae_bench.spec.check import load_spec


@pytest.fixture
def timed(monkeypatch):
    """Groups that were timed, each run of which takes 1 s an epoch and 2 s beside."""
    groups = []

    def calibrate(group, prepare):
        groups.append(group)
        runs = len(group.runs)
        return Calibration(1.0 * runs, 1.0 * runs, 0.5 * runs, 0.5 * runs)

    monkeypatch.setattr(budget, "calibrate", calibrate)
    return groups


def test_it_is_kept_for_the_same_command_alone(timed, tiny_data, tmp_path, context):
    def fit(context=context, seconds=100.0, may_calibrate=True, **parts):
        spec = load_spec(PAIR.but(**{"seeds": 2, **parts}).write(tmp_path))
        return budget.fit_budget(spec, seconds, context, may_calibrate=may_calibrate)

    assert fit() == fit(may_calibrate=False) == ((0.9 * 100 - 4 * 2) // 4, 2)
    for changed in (
        {"seconds": 200.0},
        {"seeds": 3},
        {"grid": {"latents": [4, 5]}},
        {"grid": {"method": ["vae"]}},
        {"hyperparameters": {"hidden_size": 16}},
        {"protocol": {"importance_samples": 40}},
        {"context": replace(context, threads=2)},
    ):
        with pytest.raises(UserError, match="has not been calibrated yet"):
            fit(may_calibrate=False, **changed)
    assert fit(seeds=3) == ((0.9 * 100 - 6 * 2) // 6, 3)
    assert fit(seconds=8.0) == (1, 1)  # one epoch of both seeds does not fit


def test_no_more_runs_are_timed_together_than_train_together(timed, tiny_data, tmp_path, context):
    spec = load_spec(PAIR.but(seeds=10).write(tmp_path))
    few = replace(context, limit=GroupLimit(replicas=3))
    assert budget.fit_budget(spec, 1000.0, few) == ((0.9 * 1000 - 20 * 2) // 20, 10)
    assert [len(group.runs) for group in timed] == [3, 3]
