"""What is tried next: Optuna's samplers and pruner as functions of the trials that ended."""

from __future__ import annotations

import math

import pytest

from vdae_bench.search.propose import STARTUP, Pruner, observations, propose
from vdae_bench.search.space import distributions
from vdae_bench.search.winner import Trial

SAMPLERS = ["gp", "tpe", "random"]
BEST_RATE = 3e-3


def complete(number, parameters, value, curve=()):
    return Trial(
        number=number, state="complete", parameters=parameters, value=value, epochs=3, seconds=1.0, seed=number,
        curve=[*curve, (3, value)],
    )  # fmt: skip


def score(parameters):
    """A smooth valley in the learning rate; `none` is a little worse."""
    return 100 + 10 * math.log10(parameters["learning_rate"] / BEST_RATE) ** 2 + (parameters["schedule"] == "none")


def history_of(study, batches=2, size=8):
    history = []
    for batch in range(batches):
        for parameters in propose(study, history, batch, size):
            history.append(complete(len(history), parameters, score(parameters)))
    return history


@pytest.fixture(params=SAMPLERS)
def study(request, make_study):
    if request.param == "random":
        return make_study()
    return make_study(search={"method": "bayes", "sampler": request.param})


def test_a_proposal_follows_from_the_history_the_seed_and_the_batch_alone(study, make_study):
    history = history_of(make_study())
    asked = propose(study, history, 2, 3)
    assert propose(study, history, 2, 3) == asked
    assert propose(study, history, 2, 1) == asked[:1]  # a longer batch begins with the same trials
    assert propose(study, history, 3, 1) != asked[:1]
    assert len({each["learning_rate"] for each in asked}) == 3
    known = distributions(study.space)
    assert all(known[name]._contains(known[name].to_internal_repr(v)) for each in asked for name, v in each.items())


def test_search_seeds_differ_and_samplers_start_alike(make_study):
    def first(**search):
        return propose(make_study(search=search), [], 0, 4)

    assert first(seed=0) != first(seed=1)
    assert first(method="bayes", sampler="gp") == first(method="bayes", sampler="tpe") == first(method="random")


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_bayes_goes_where_trials_were_good_and_random_does_not(make_study, sampler):
    def distance(study):
        asked = propose(study, history_of(make_study(), 3), 3, 6)
        return sum(abs(math.log10(each["learning_rate"] / BEST_RATE)) for each in asked) / len(asked)

    bayes = distance(make_study(search={"method": "bayes", "sampler": sampler}))
    assert bayes < 0.5 < distance(make_study())


def test_trials_without_an_end_teach_too():
    parameters = {"learning_rate": 1.0}
    curves = [[(1, 150.0), (2, 120.0)], [(1, 140.0), (2, 110.0)], [(1, 130.0), (2, 100.0)]]
    history = [complete(n, parameters, value, curves[n]) for n, value in enumerate([110.0, 105.0, 95.0])]
    pruned = {"state": "pruned", "epochs": 2}
    history.append(history[0].model_copy(update={**pruned, "value": 113.0, "curve": [(1, 141.0), (2, 113.0)]}))
    history.append(history[0].model_copy(update={**pruned, "value": 300.0, "curve": [(1, 310.0), (2, 300.0)]}))
    history.append(history[0].model_copy(update={"state": "diverged", "value": None, "curve": []}))
    # 3 above the median of epoch 2, so 3 above the median of the ends; then the worst of the ends, twice.
    assert [value for _, value in observations(history)] == [110.0, 105.0, 95.0, 108.0, 110.0, 110.0]
    assert observations(history[-1:]) == []


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_where_trials_diverged_fewer_are_tried(make_study, sampler):
    """Rates above 1e-2 diverge; to Optuna a failed trial is none, and the best that is left is near that edge."""
    study = make_study(search={"method": "bayes", "sampler": sampler})
    history = []
    for trial in history_of(make_study(), 3):
        rate = trial.parameters["learning_rate"]
        fate = {"state": "diverged", "value": None} if rate > 1e-2 else {"value": -math.log10(rate)}
        history.append(trial.model_copy(update=fate))
    asked = propose(study, history, 3, 5)
    ignorant = propose(study, [each for each in history if each.state == "complete"], 3, 5)

    def above(several):
        return sum(each["learning_rate"] > 1e-2 for each in several)

    assert above(asked) < above(ignorant)


def test_the_median_of_earlier_batches_prunes_after_the_first_third(make_study):
    study = make_study(search={"epochs": 6})
    history = [complete(n, {}, 100.0 + n, [(epoch, 200.0 - 10 * epoch + n) for epoch in range(1, 6)]) for n in range(9)]
    prunes = Pruner(study, history)
    assert not prunes([(1, 999.0)])  # within the first third
    assert prunes([(1, 999.0), (2, 184.5)]) and not prunes([(1, 999.0), (2, 183.5)])  # the median there is 184
    assert not prunes([(1, 1.0), (2, 184.5)])  # was good once
    assert not Pruner(study, history[: STARTUP - 1])([(1, 999.0), (2, 999.0)])
    assert not Pruner(make_study(search={"pruning": False}), history)([(1, 999.0), (2, 999.0)])
    # Trials that did not end have no say.
    without = [each.model_copy(update={"state": "pruned"}) for each in history]
    assert not Pruner(study, without)([(1, 999.0), (2, 999.0)])
