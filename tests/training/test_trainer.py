"""The trainer: resumes exactly, does not mix replicas, bounds memory without changing results, keeps seeds apart."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import SMALL
from vdae_bench.data.images import load_images
from vdae_bench.data.views import ViewedImages
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.training import trainer as training
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.trainer import Interrupted, Trainer, TrainingSettings

ADAM = AdamSettings(1e-3, "linear", 0.999, 1e-8)


@pytest.fixture
def make(tiny_data):
    def build(
        method="lvdae",
        seeds=(0, 1),
        view="continuous",
        log_det="subset",
        epochs=2,
        dtype=torch.float32,
        adam=ADAM,
        initialisation="data",
        validation_images=20,
    ):
        images = ViewedImages(load_images("tiny", tiny_data[0]), view, torch.device("cpu"))
        latents = images.data_dim if method in FLOWS else 4
        problem = Problem(len(seeds), images.data_dim, latents, view, SMALL, {}, log_det)
        settings = TrainingSettings(epochs, 50, 10.0, initialisation, 1.0, validation_images)
        model = get_method(method).build(problem)
        return Trainer(model, images, seeds, [adam] * len(seeds), settings, dtype)

    return build


def run(trainer, stop_at=None):
    saved = []
    trainer.run(saved.append, lambda: False, lambda: trainer.step == stop_at, lambda _: None)
    return trainer


@pytest.mark.parametrize("method", ["vae", "lvdae", *FLOWS])
@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_stopped_run_continues_with_the_same_bits(make, method, stop_at):
    whole = run(make(method))
    first = make(method)
    states = []
    with pytest.raises(Interrupted):
        first.run(states.append, lambda: False, lambda: first.step == stop_at, lambda _: None)
    second = make(method)
    second.load_state(states[-1])
    run(second)
    assert torch.equal(second.optimiser.parameters, whole.optimiser.parameters)
    assert second.curve == whole.curve and len(whole.curve["train"]) == 2


@pytest.mark.parametrize("method", ["vae", "lvdae", *FLOWS])
def test_a_seed_is_the_same_alone_and_beside_others(make, method):
    together = run(make(method, seeds=(5, 7, 11), dtype=torch.float64))
    alone = run(make(method, seeds=(7,), dtype=torch.float64))
    torch.testing.assert_close(together.optimiser.parameters[1], alone.optimiser.parameters[0], rtol=1e-9, atol=1e-12)
    for split in ("train", "validation"):
        for row, (single,) in zip(together.curve[split], alone.curve[split], strict=True):
            assert row[1] == pytest.approx(single, rel=1e-10)


def test_seeds_differ(make):
    trainer = run(make(seeds=(0, 1)))
    assert trainer.curve["train"][0][0] != trainer.curve["train"][0][1]


@pytest.mark.parametrize(("method", "log_det"), [("vae", "subset"), ("lvdae", "exact")])
def test_micro_batches_equal_the_whole(make, monkeypatch, method, log_det):
    whole = run(make(method, log_det=log_det, dtype=torch.float64))
    monkeypatch.setattr(training, "MICRO_BATCH_ROWS", 30)
    parts = run(make(method, log_det=log_det, dtype=torch.float64))
    torch.testing.assert_close(parts.optimiser.parameters, whole.optimiser.parameters, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("log_det", ["subset", "exact"])
def test_what_trains_beside_a_replica_changes_nothing_however_a_batch_is_cut(make, monkeypatch, log_det):
    monkeypatch.setattr(training, "MICRO_BATCH_ROWS", 30)
    together = run(make(log_det=log_det, dtype=torch.float64, seeds=(0, 1, 2)))
    alone = run(make(log_det=log_det, dtype=torch.float64, seeds=(1,)))
    torch.testing.assert_close(together.optimiser.parameters[1:2], alone.optimiser.parameters, rtol=1e-8, atol=1e-11)
    assert [row[1] for row in together.curve["validation"]] == pytest.approx(
        [row[0] for row in alone.curve["validation"]]
    )


def test_a_step_never_works_on_more_rows_than_the_bound(make, monkeypatch):
    monkeypatch.setattr(training, "MICRO_BATCH_ROWS", 64)
    trainer = make("lvdae", log_det="exact")
    rows = []
    bound = trainer.bound
    trainer.bound = lambda x, *rest: rows.append(x.shape[1] * 4) or bound(x, *rest)
    trainer.train_step()
    assert max(rows) <= 64 and sum(rows) == 50 * 4


def test_the_last_batch_is_short_and_counted_once(make):
    trainer = make("vae")
    assert (len(trainer.data.train), trainer.steps_per_epoch) == (120, 3)
    seen = []
    original = trainer.data.training_batch
    trainer.data.training_batch = lambda indices, uniform: seen.append(indices.clone()) or original(indices, uniform)
    for _ in range(3):
        trainer.train_step()
    assert [batch.shape[1] for batch in seen] == [50, 50, 20]
    assert (torch.cat(seen, 1).sort(1).values == torch.arange(120)).all()


def test_noise_is_fresh_at_each_step_and_the_order_in_each_epoch(make):
    trainer = make("vae")
    orders, uniforms, noises = [], [], []
    batch, bound = trainer.data.training_batch, trainer.bound

    def watch_batch(indices, uniform):
        orders.append(indices.clone())
        uniforms.append(uniform[:, :20].clone())
        return batch(indices, uniform)

    def watch_bound(x, noise, rows):
        if torch.is_grad_enabled():
            noises.append(noise[:, :20].clone())
        return bound(x, noise, rows)

    trainer.data.training_batch, trainer.bound = watch_batch, watch_bound
    run(trainer)
    first, second = torch.cat(orders[:3], 1), torch.cat(orders[3:], 1)
    assert not torch.equal(first[0], second[0]) and not torch.equal(first[0], first[1])
    for draws in (uniforms, noises):
        flat = torch.cat(draws).flatten(1)  # 6 steps of 2 replicas
        assert len(flat) == 12 and torch.pdist(flat).min() > 1


def test_scalars_start_from_data_only_where_the_protocol_says_so(make):
    assert make("nice").model.flow.scaling.log_scale.min() > 0  # pixels in [0, 1] vary less than a logistic
    paper = make("nice", initialisation="paper").model
    x = torch.rand(2, 3, 36)
    assert torch.equal(paper.flow(x), x)


def test_validation_images_are_spread_over_those_held_out(make):
    """Files come in the order of their writers or classes: their head is no sample of them."""
    trainer = make("vae")
    held_out = trainer.data.held_out("validation", torch.float32)
    assert len(held_out) == 20
    few = make("vae", validation_images=7)
    assert torch.equal(few._validation[0], held_out[[place * len(held_out) // 7 for place in range(7)]])


def test_validation_is_at_beta_one_and_leaves_no_trace(make):
    trainer = make("vae")  # at step 0 beta is 0
    before = trainer.optimiser.parameters.clone()
    x = trainer._validation
    noise = torch.empty(2, 20, 4)
    trainer.noise.normal_("validation", 0, noise)
    with torch.no_grad():
        terms = trainer.model.bound_terms(x, noise, 10**6)
    torch.testing.assert_close(trainer.validate().neg_elbo, terms.neg_elbo.double())
    assert terms.divergence.abs().min() > 0
    assert torch.equal(before, trainer.optimiser.parameters)


@pytest.mark.parametrize("log_det", ["subset", "projected"])
def test_lvdaes_validation_points_are_unbiased_over_epochs_and_exact_at_the_end(make, monkeypatch, log_det):
    """The images with a Jacobian come round: over a round the points average to the exact value, which the last has."""
    monkeypatch.setattr(training, "VALIDATION_LOG_DET_ROWS", 1.0)  # 5 of 20 images with m = 4: four epochs are a round
    trainer = make(log_det=log_det, epochs=9, dtype=torch.float64)
    run(trainer, stop_at=None)
    exact, error = trainer.validate()
    assert trainer.curve["validation"][-1] == exact.tolist() and error.tolist() == [0, 0]
    assert trainer.curve["validation_error"][-1] == [0, 0] and min(map(min, trainer.curve["validation_error"][:-1])) > 0

    points = []
    for epoch in range(4, 8):  # of the same model
        trainer.step = epoch * trainer.steps_per_epoch
        points.append(trainer.validate())
    values, errors = (torch.stack(each) for each in zip(*points, strict=True))
    torch.testing.assert_close(values.mean(0), exact, rtol=1e-12, atol=0)
    spread = (values - exact).square().mean(0).sqrt()
    assert spread.min() > 1e-4 and ((errors.square().mean(0).sqrt() / spread).log().abs() < 1).all()


@pytest.mark.parametrize("method", ["vae", "nice"])
def test_a_curve_without_jacobians_has_no_error(make, method):
    trainer = run(make(method))
    assert trainer.curve["validation_error"] == [[0, 0], [0, 0]]


def test_the_parameters_of_the_lowest_validation_are_kept_for_each_replica_and_survive_a_stop(make):
    trainer = make("vae", epochs=4)
    kept = {}

    def watch(trainer):
        if trainer.step % trainer.steps_per_epoch == 0:
            kept[trainer.step // trainer.steps_per_epoch] = trainer.optimiser.parameters.clone()

    trainer.run(lambda _: None, lambda: False, lambda: False, watch)
    points = torch.tensor(trainer.curve["validation"])
    assert trainer.lowest.epoch.tolist() == (points.argmin(0) + 1).tolist()
    last = trainer.optimiser.parameters.clone()
    with trainer.at_its_lowest():
        for replica, epoch in enumerate(trainer.lowest.epoch.tolist()):
            assert torch.equal(trainer.optimiser.parameters[replica], kept[epoch][replica])
            assert trainer.validate().neg_elbo[replica].item() == pytest.approx(points.min(0).values[replica].item())
    assert torch.equal(trainer.optimiser.parameters, last)
    again = make("vae", epochs=4)
    again.load_state(trainer.state())
    assert torch.equal(again.lowest.parameters, trainer.lowest.parameters)


def test_a_replica_overfits_where_its_validation_has_risen_beyond_noise(make):
    trainer = make("vae")
    assert trainer.overfitted() == [False, False]
    trainer.curve |= {"validation": [[100.0, 100.0], [90.0, 90.0], [90.4, 93.0]], "validation_error": [[0.0, 0.0]] * 3}
    assert trainer.overfitted() == [False, True]
    trainer.curve["validation_error"] = [[0.4, 1.2], [0.3, 1.1], [0.0, 0.0]]  # so the low point is chance
    assert trainer.overfitted() == [False, False]
    noisy = [[90.0 + 0.8 * (-1) ** epoch, 90.0 + 0.01 * epoch] for epoch in range(100)]  # a constant rate, and a rise
    trainer.curve |= {"validation": noisy, "validation_error": [[0.0, 0.0]] * 100}
    assert trainer.overfitted() == [False, True]


def test_a_diverged_replica_is_named_and_leaves_the_others_alone(make):
    sick, well = make("vae", seeds=(0, 1)), make("vae", seeds=(0, 1))
    sick.train_step()
    well.train_step()
    sick.optimiser.parameters[0] = torch.nan
    for trainer in (sick, well):
        run(trainer)
    assert sick.diverged_at() == [1, None] and well.diverged_at() == [None, None]
    assert torch.equal(sick.optimiser.parameters[1], well.optimiser.parameters[1])


def test_floors_hold_and_are_flagged(make):
    trainer = make("lvdae", epochs=1)
    with torch.no_grad():
        trainer.model.posterior.log_sigma[0] = -50
    run(trainer)
    assert trainer.model.posterior.log_sigma.min() >= -10
    assert "log_sigma" in trainer.flags()[0][0] and trainer.flags()[1] == []


def test_training_lowers_the_bound(make):
    trainer = run(make("lvdae", epochs=30, adam=AdamSettings(1e-2, "linear", 0.999, 1e-8)))
    first, last = trainer.curve["validation"][0], trainer.curve["validation"][-1]
    assert all(b < a - 5 for a, b in zip(first, last, strict=True))
