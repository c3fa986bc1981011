"""ELBO and NLL from log weights: definitions, chunks, stated errors."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.models import DATA_DIM, build
from vdae_bench.data.views import evenly_spaced
from vdae_bench.evaluation import likelihood as evaluation
from vdae_bench.evaluation.likelihood import EvaluationSettings, Evaluator, summarise

SEEDS = (0, 1)


def images(count=9):
    return torch.rand(count, DATA_DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def evaluate(model, settings, x=None):
    evaluator = Evaluator(model, images() if x is None else x, SEEDS, settings)
    assert evaluator.run(lambda: False, lambda: None)
    return evaluator


@pytest.mark.parametrize("method", ["vae", "lvdae", "nice"])
def test_nll_is_never_above_the_bound_and_all_images_are_scored(method):
    scores = evaluate(build(method), EvaluationSettings(20, 4, 9, 2)).scores
    assert (scores.nll <= scores.neg_elbo + 1e-9).all() and not scores.neg_elbo.isnan().any()


def test_chunks_and_blocks_change_nothing(monkeypatch):
    model = build("lvdae")
    settings = EvaluationSettings(300, 5, 9, 2)
    whole = evaluate(model, settings).scores
    monkeypatch.setattr(evaluation, "CHUNK_ROWS", 1)
    parts = evaluate(model, settings)
    assert len(parts.chunks) == 9
    torch.testing.assert_close(parts.scores.neg_elbo, whole.neg_elbo, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.scores.nll, whole.nll, rtol=1e-12, atol=1e-12)


def test_a_stopped_evaluation_continues_with_the_same_numbers(monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK_ROWS", 8)
    model, settings = build("vae"), EvaluationSettings(4, 9, 9, 1)
    whole = evaluate(model, settings)
    first = Evaluator(model, images(), SEEDS, settings)
    assert not first.run(lambda: first.done == 3, lambda: None)
    second = Evaluator(model, images(), SEEDS, settings)
    second.load_state(first.state())
    assert second.run(lambda: False, lambda: None)
    assert second.metrics() == whole.metrics()


def test_summary_takes_the_gap_from_some_images_and_the_level_from_all():
    neg_elbo = torch.tensor([10.0, 20.0, 30.0, 40.0], dtype=torch.float64)
    nll = torch.tensor([9.0, math.nan, 27.0, math.nan], dtype=torch.float64)
    ess = torch.tensor([5.0, math.nan, 5.0, math.nan], dtype=torch.float64)
    result = summarise(neg_elbo, nll, ess, [0, 1, 2, 3], [0, 2], samples=10)
    assert result["neg_elbo_nats"] == 25.0
    assert result["nll_nats"] == 25.0 - 2.0
    assert result["nll_images_nll_nats"] == 18.0 and result["nll_images_neg_elbo_nats"] == 20.0
    # gaps 1 and 3: variance 2, half of the images unseen; importance sampling 1/5 - 1/10
    assert result["nll_standard_error_nats"] == pytest.approx(((0.1 + 0.5 * 2.0) / 2) ** 0.5)
    assert result["nll_bias_nats"] == pytest.approx(0.05)
    everything = summarise(
        neg_elbo, neg_elbo - 1.5, torch.full((4,), 5.0).double(), [0, 1, 2, 3], [0, 1, 2, 3], samples=10
    )
    assert everything["nll_nats"] == everything["nll_images_nll_nats"] == 23.5


def scatter_over_stated(method, settings, times, score):
    """The scatter of a score of one fixed model over independent noise, in units of the error that is stated."""
    model, x = build(method, seeds=(0,), randomise=False), images(30)
    results = []
    for seed in range(times):
        evaluator = Evaluator(model, x, (seed,), settings)
        evaluator.run(lambda: False, lambda: None)
        results.append(evaluator.metrics()[0])
    spread = torch.tensor([each[f"{score}_nats"] for each in results]).std().item()
    return spread / (sum(each[f"{score}_standard_error_nats"] for each in results) / len(results))


def test_stated_error_covers_the_spread_of_repeated_estimates():
    assert 0.6 < scatter_over_stated("vae", EvaluationSettings(200, 30, 30, 1), 40, "nll") < 1.6


def test_stated_error_of_the_elbo_covers_the_spread_of_repeated_estimates():
    """Ten images with 200 samples tell how much the other twenty, with two each, scatter."""
    assert 0.7 < scatter_over_stated("lvdae", EvaluationSettings(200, 10, 30, 2), 60, "neg_elbo") < 1.4


def test_the_noise_of_the_level_is_in_the_error_of_the_nll():
    """Images with one sample make NLL = mean -ELBO - gap as noisy as -ELBO; the gap's own error leaves that out."""
    evaluator = evaluate(build("lvdae"), EvaluationSettings(50, 3, 9, 1))
    for own, variance, scores in zip(
        evaluator.metrics(),
        evaluator.scores.variance[:, evaluator.nll_images],
        zip(evaluator.scores.neg_elbo, evaluator.scores.nll, evaluator.scores.effective_samples, strict=True),
        strict=True,
    ):
        gap = summarise(*scores, evaluator.images, evaluator.nll_images, 50)["nll_standard_error_nats"]
        level = (6 * variance.mean().item()) ** 0.5 / 9
        assert level > 0.1 * gap
        assert own["nll_standard_error_nats"] == pytest.approx(math.hypot(gap, level))


def test_with_all_images_alike_the_level_adds_nothing():
    evaluator = evaluate(build("lvdae"), EvaluationSettings(50, 9, 9, 1))
    for own, *scores in zip(
        evaluator.metrics(),
        evaluator.scores.neg_elbo,
        evaluator.scores.nll,
        evaluator.scores.effective_samples,
        strict=True,
    ):
        gap = summarise(*scores, evaluator.images, evaluator.nll_images, 50)["nll_standard_error_nats"]
        assert own["nll_standard_error_nats"] == gap


def log_weights(monkeypatch, model, settings):
    """(the evaluator of three images after it ran, all log weights that it saw)."""
    seen = []
    original = model.condition

    def watched(x, samples):
        sampler = original(x, samples)
        return lambda eta: seen.append(sampler(eta).double()) or seen[-1]

    monkeypatch.setattr(model, "condition", watched)
    evaluator = Evaluator(model, images(), SEEDS[:1], settings)
    evaluator.run(lambda: False, lambda: None)
    assert len(seen) == 3
    return evaluator, torch.cat(seen, 2)


def test_variance_over_blocks_of_samples_is_that_of_all_samples(monkeypatch):
    evaluator, log_w = log_weights(monkeypatch, build("vae", seeds=(0,)), EvaluationSettings(600, 3, 3, 1))
    assert log_w.shape[2] == 600
    found = evaluator.scores.variance[:, evaluator.nll_images]
    torch.testing.assert_close(found, log_w.var(2), rtol=1e-9, atol=1e-12)


def test_the_nll_with_fewer_samples_is_that_of_parts_of_them(monkeypatch):
    """Blocks of 256 samples and quarters of 150 do not meet."""
    evaluator, log_w = log_weights(monkeypatch, build("vae", seeds=(0,)), EvaluationSettings(602, 3, 3, 1))
    own = evaluator.metrics()[0]
    for name, size in (("half", 300), ("quarter", 150)):
        parts = log_w[:, :, :600].unflatten(2, (-1, size))
        expected = (math.log(size) - parts.logsumexp(3)).mean().item()
        assert own[f"nll_{name}_samples_nats"] == pytest.approx(expected, abs=1e-12)
    assert own["nll_quarter_samples_nats"] > own["nll_half_samples_nats"] > own["nll_images_nll_nats"]


def test_a_checkpoint_of_before_the_parts_goes_on_without_them():
    model, settings = build("vae"), EvaluationSettings(8, 9, 9, 1)
    evaluator = evaluate(model, settings)
    state = {name: value for name, value in evaluator.state().items() if name not in ("nll_half", "nll_quarter")}
    again = Evaluator(model, images(), SEEDS, settings)
    again.load_state(state)
    old, new = again.metrics()[0], evaluator.metrics()[0]
    assert "nll_half_samples_nats" not in old and "nll_half_samples_nats" in new
    assert old["nll_nats"] == new["nll_nats"]


def test_evenly_spaced_covers_the_set():
    assert evenly_spaced(10_000, 500).tolist() == list(range(0, 10_000, 20))
    assert evenly_spaced(5, 50).tolist() == [0, 1, 2, 3, 4]
