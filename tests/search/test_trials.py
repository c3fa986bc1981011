"""Batches of trials: replicas with hyper-parameters of their own, pruned and diverged ones, and never the test set."""

from __future__ import annotations

import dataclasses

import optuna
import pytest
import torch

from tests.support.runs import StopAfter
from tests.support.searches import entries, outcome, search
from tests.support.specs import SEARCHED
from vdae_bench.data import registry
from vdae_bench.data.images import Images, load_images
from vdae_bench.data.views import ViewedImages
from vdae_bench.errors import EnvironmentFault
from vdae_bench.running.cost import price
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.search import trials as trials_module
from vdae_bench.search.studies import TRIAL_SEEDS, studies_of
from vdae_bench.search.trials import BatchDisplay, _search_images, groups_of, search_images, train
from vdae_bench.spec.file import MAX_SEEDS, MAX_TRIALS
from vdae_bench.store.records import Store
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Interrupted, Trainer, ValidationPoint

MEMBERS = {
    0: {"learning_rate": 1e-2, "schedule": "linear", "hidden_size": 4},
    1: {"learning_rate": 1e-3, "schedule": "none", "hidden_size": 6},
    2: {"learning_rate": 3e-2, "schedule": "none", "hidden_size": 4},
    3: {"learning_rate": 2e-3, "schedule": "linear", "hidden_size": 4},
}


def never(curve):
    return False


def run(study, members, context, prunes=never):
    groups = groups_of(study, members, prunes)
    return train(groups, context, BatchDisplay(groups, QuietProgress(lambda: 1.0), "batch"), StopToken())


def test_trials_of_one_architecture_are_one_group(make_study):
    groups = groups_of(make_study(), MEMBERS, never)
    assert [list(group.members) for group in groups] == [[0, 2, 3], [1]]


def test_without_memory_for_a_whole_group_parts_of_it_train_to_the_same_trials(
    make_study, context, elsewhere, monkeypatch
):
    study = make_study(search={"batch": 4})
    whole = run(study, MEMBERS, elsewhere)
    step, sizes = Trainer.train_step, set()

    def fail(self):
        if len(self.noise.seeds) > 1 and self.step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.add(len(self.noise.seeds))
        step(self)

    monkeypatch.setattr(Trainer, "train_step", fail)
    parts = run(study, MEMBERS, context)
    assert sorted(parts) == sorted(whole) and sizes == {1, 2, 3}
    for number, trial in parts.items():
        assert trial.value == pytest.approx(whole[number].value, rel=1e-5)
    written = [path.name for path in context.store.root.rglob("checkpoints/*.pt")]
    assert written and all(name.startswith(study.batch_name(0)) for name in written)


def test_without_memory_for_one_trial_the_search_says_what_to_do(make_study, context, monkeypatch):
    monkeypatch.setattr(Trainer, "train_step", lambda self: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(EnvironmentFault, match="memory is full with a single run; lower batch_size"):
        run(make_study(), MEMBERS, context)


def test_a_trial_has_its_own_hyperparameters_and_comes_out_as_if_alone(make_study, context, elsewhere, monkeypatch):
    built = []
    original = Trainer.__init__

    def note(self, model, data, seeds, optimisers, settings):
        built.append((tuple(seeds), list(optimisers)))
        original(self, model, data, seeds, optimisers, settings)

    monkeypatch.setattr(Trainer, "__init__", note)
    study = make_study()
    together = run(study, MEMBERS, context)
    assert built[0] == (
        (TRIAL_SEEDS, TRIAL_SEEDS + 2, TRIAL_SEEDS + 3),
        [
            AdamSettings(1e-2, "linear", 0.999, 1e-8),
            AdamSettings(3e-2, "none", 0.999, 1e-8),
            AdamSettings(2e-3, "linear", 0.999, 1e-8),
        ],
    )
    for number in (1, 2):
        (alone,) = run(study, {number: MEMBERS[number]}, elsewhere).values()
        assert together[number].value == pytest.approx(alone.value, rel=1e-5)
    assert len({trial.value for trial in together.values()}) == 4
    assert all(trial.epochs == 3 and trial.curve[-1] == (3, trial.value) for trial in together.values())


def test_a_pruned_trial_leaves_its_group_and_the_others_go_on(make_study, context, elsewhere, monkeypatch):
    study = make_study(search={"epochs": 5})
    whole = run(study, MEMBERS, elsewhere)
    doomed = whole[2].curve[1][1]
    replicas = []
    step = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda self: replicas.append(len(self.noise.seeds)) or step(self))
    thinned = run(study, MEMBERS, context, prunes=lambda curve: curve[-1][1] == doomed)
    assert (thinned[2].state, thinned[2].epochs, thinned[2].value) == ("pruned", 2, doomed)
    assert thinned[2].curve == whole[2].curve[:2]
    for number in (0, 1, 3):
        assert thinned[number].state == "complete"
        assert thinned[number].value == pytest.approx(whole[number].value, rel=1e-5)
    # 2 steps an epoch: two epochs of three replicas, three of two; then the group of one.
    assert replicas == [3] * 4 + [2] * 6 + [1] * 10


@pytest.mark.parametrize("asked", [5, 7])
def test_a_thinned_group_goes_on_from_its_checkpoint(make_study, context, elsewhere, asked):
    """Stopped after the fifth or seventh of ten steps; a trial was pruned after the fourth."""
    study = make_study(search={"epochs": 5})
    members = {number: MEMBERS[number] for number in (0, 2, 3)}
    doomed = run(study, members, elsewhere)[2].curve[1][1]

    def prunes(curve):
        return curve[-1][1] == doomed

    whole = run(study, members, dataclasses.replace(elsewhere, store=Store(elsewhere.store.root / "again")), prunes)
    (group,) = groups_of(study, members, prunes)
    with pytest.raises(Interrupted):
        group.run(context, lambda *_: None, StopAfter(asked))
    assert Checkpoint(group.checkpoint_path(context.store), group.identity).load()["alive"] == [0, 3]
    resumed = run(study, members, context, prunes)
    assert [trial.model_dump(exclude={"seconds"}) for trial in resumed.values()] == [
        trial.model_dump(exclude={"seconds"}) for trial in whole.values()
    ]


def poison(monkeypatch, *numbers):
    """Let trials diverge in their second step."""
    step = Trainer.train_step

    def poisoned(self):
        for replica, seed in enumerate(self.noise.seeds):
            if seed - TRIAL_SEEDS in numbers and self.step == 1:
                self.optimiser.parameters[replica] = torch.nan
        step(self)

    monkeypatch.setattr(Trainer, "train_step", poisoned)


def test_a_diverged_trial_is_recorded_and_the_study_goes_on(make_study, context, elsewhere, monkeypatch):
    study = make_study()
    well = search(study, elsewhere)
    poison(monkeypatch, 1, well.winner)
    sick = search(study, context)
    lost = {trial.number: trial for trial in sick.trials if trial.state == "diverged"}
    assert set(lost) == {1, well.winner} and len(sick.trials) == 6
    assert all((t.value, t.diverged_at, t.epochs) == (None, 1, 1) for t in lost.values())
    for trial, same in zip(sick.trials, well.trials, strict=True):
        assert trial.parameters == same.parameters
        if trial.number not in lost:
            assert trial.value == pytest.approx(same.value, rel=1e-5)
    assert sick.winner not in lost and sick.value == min(t.value for t in sick.trials if t.value is not None)
    states = {t.user_attrs["number"]: t.state for t in entries(study, context)}
    assert {number for number, state in states.items() if state == optuna.trial.TrialState.FAIL} == set(lost)
    assert search(study, context) == sick  # nothing is tried again


def test_a_study_of_which_nothing_is_left_says_so(make_study, context, monkeypatch):
    poison(monkeypatch, *range(6))
    with pytest.raises(EnvironmentFault, match="none of 6 trials stayed finite; lower learning_rate"):
        search(make_study(), context)


class Sealed(Images):
    """Images whose test part cannot be looked at."""

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if name == "test" and len(value):
            raise AssertionError("the test set was looked at")
        return value


def test_a_search_never_sees_the_test_set(make_study, context, monkeypatch, tiny_data):
    def sealed(name, folder):
        images = load_images(name, folder)
        return Sealed(**{field.name: getattr(images, field.name) for field in dataclasses.fields(images)})

    with pytest.raises(AssertionError, match="looked at"):
        ViewedImages(sealed("tiny", tiny_data[0]), "binary", torch.device("cpu"))  # the seal holds
    monkeypatch.setattr(trials_module, "load_images", sealed)
    _search_images.cache_clear()
    try:
        assert len(search(make_study(), context).trials) == 6
        data = search_images("tiny", context.data_folder, "binary", context.device, None)
        assert len(data.held_out("validation")) == 20
        with pytest.raises(AssertionError, match="never sees"):
            data.held_out("test")
    finally:
        _search_images.cache_clear()


def test_a_value_is_the_validation_bound_of_the_protocol(make_study, context):
    """At beta = 1, on the validation images, after the last epoch: what `Trainer.validate` says."""
    study = make_study(search={"trials": 1})
    (trial,) = search(study, context).trials
    job = study.job(trial.parameters)
    from vdae_bench.models.registry import get_method

    data = ViewedImages(load_images("tiny", context.data_folder), "binary", context.device)
    trainer = Trainer(
        get_method("vae").build(job.problem(1)), data, [trial.seed], [job.adam_settings], job.training_settings()
    )
    trainer.run(lambda _: None, lambda: False, lambda: False, lambda _: None)
    assert trial.value == pytest.approx(trainer.validate().neg_elbo.item(), rel=1e-6)
    assert job.hyperparameters["residual_blocks"] == 1 and job.protocol.epochs == 3


def test_a_value_is_of_the_last_epoch_where_an_earlier_one_was_lower(make_study, context, monkeypatch):
    def rising(self):
        return ValidationPoint(torch.full((len(self.noise.seeds),), float(self.step)), torch.zeros(1))

    monkeypatch.setattr(Trainer, "validate", rising)
    (trial,) = search(make_study(search={"trials": 1}), context).trials
    first, *_, last = [value for _, value in trial.curve]
    assert trial.value == last > first


def test_seeds_of_trials_are_no_seeds_of_runs(make_study):
    study = make_study()
    last = make_study(search={"seed": MAX_SEEDS}).trial_seed(MAX_TRIALS - 1)
    seeds = [study.trial_seed(number) for number in range(MAX_TRIALS)]
    assert min(seeds) > MAX_SEEDS and len(set(seeds)) == MAX_TRIALS
    assert make_study(search={"seed": 1}).trial_seed(0) > max(seeds) and last < 2**62


def test_what_determines_the_trials_is_in_the_digest_and_their_number_is_not(make_study, make_spec):
    base = make_study().spec_digest
    assert make_study(search={"trials": 99}).spec_digest == base
    assert make_study(SEARCHED.but(seeds=3)).spec_digest == base
    changed = [
        make_study(search={"seed": 1}),
        make_study(search={"batch": 2}),
        make_study(search={"epochs": 2}),
        make_study(search={"pruning": False}),
        make_study(search={"method": "bayes"}),
        make_study(search={"method": "bayes", "sampler": "tpe"}),
        make_study(SEARCHED.but(search={"parameters": {"learning_rate": {"max": 1e-2}}})),
        make_study(SEARCHED.but(hyperparameters={"residual_blocks": 2})),
        make_study(overrides={"validation_images": 10}),
        studies_of(make_spec())[1],
    ]
    assert len({base, *(study.spec_digest for study in changed)}) == len(changed) + 1


def test_outcomes_repeat(make_study, context, elsewhere):
    assert outcome(search(make_study(), context)) == outcome(search(make_study(), elsewhere))


def test_images_of_a_search_are_those_of_the_data_set_now(tiny_data, monkeypatch):
    """A worker on a cluster lives on after an edit of a user's own images."""
    known = dict(registry.DATASETS)
    monkeypatch.setattr(registry, "DATASETS", known)
    place = (tiny_data[0], "binary", torch.device("cpu"), None)
    before = search_images("tiny", *place)
    assert search_images("tiny", *place) is before
    known["tiny"] = dataclasses.replace(known["tiny"], validation_images=known["tiny"].validation_images + 1)
    assert len(search_images("tiny", *place).train) == len(before.train) - 1


def test_a_space_that_is_too_large_to_count_costs_as_its_largest_network(make_study):
    sizes, blocks = [2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9]
    costs = []
    for turn in (1, -1):
        parameters = {"hidden_size": {"values": sizes[::turn]}, "residual_blocks": {"values": blocks[::turn]}}
        study = make_study(
            SEARCHED.but(grid={"method": ["vae"]}, hyperparameters={}, search={"parameters": parameters})
        )
        costs.append(study.train_flops)
    assert costs[0] == costs[1] == price(study.largest_job).train_flops
