"""Frechet distance and entropies against closed forms and another implementation; errors against repetition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from vdae_bench.evaluation.classifier import Outputs
from vdae_bench.evaluation.quality import Moments, entropies, frechet_distance, moments, score_with_errors


def random_moments(seed: int, dims: int = 6) -> Moments:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dims, dims, generator=generator, dtype=torch.float64)
    return Moments(torch.randn(dims, generator=generator, dtype=torch.float64), root @ root.T)


def test_axis_aligned_gaussians_have_the_closed_form():
    """|mu_a - mu_b|^2 + sum (s_a - s_b)^2, zero variances among them."""
    a, b = torch.tensor([1.0, 2.0, 0.0, 3.0]).double(), torch.tensor([2.0, 0.5, 4.0, 0.0]).double()
    shift = torch.tensor([0.5, -1.0, 0.0, 2.0]).double()
    distance = frechet_distance(Moments(shift, a.square().diag()), Moments(torch.zeros(4).double(), b.square().diag()))
    assert distance == pytest.approx(((a - b).square().sum() + shift.square().sum()).item(), rel=1e-12)


def test_general_gaussians_as_by_the_matrix_square_root():
    a, b = random_moments(0), random_moments(1)
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    expected = (a.mean - b.mean).square().sum().item() + np.trace(
        a.covariance.numpy() + b.covariance.numpy() - 2 * root.real
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_counts_stand_for_repeated_rows():
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor([2, 0, 1, 3, 1])
    for ours, plain in zip(moments(rows, counts), moments(rows.repeat_interleave(counts, 0)), strict=True):
        torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(moments(rows).covariance, torch.cov(rows.T.double()))


def test_entropies_of_sure_and_of_unsure_predictions():
    sure = torch.eye(4).double().log()
    assert entropies(sure.clamp(min=-800)) == pytest.approx((0, math.log(4)))
    unsure = torch.full((4, 4), 0.25).double().log()
    assert entropies(unsure) == pytest.approx((math.log(4), math.log(4)))
    only_one = sure[:1].expand(4, 4).clamp(min=-800)
    assert entropies(only_one) == pytest.approx((0, 0))


def test_the_bootstrap_error_is_the_spread_of_repeated_sets():
    reference = random_moments(2, dims=4)
    generator = torch.Generator().manual_seed(3)

    def outputs() -> Outputs:
        features = torch.randn(400, 4, generator=generator) * 1.5 + torch.arange(4)
        return Outputs(features, (0.3 * features).log_softmax(-1))

    repeated = [score_with_errors(outputs(), reference) for _ in range(25)]
    for each in range(3):
        spread = np.std([scores[each] for scores, _ in repeated], ddof=1)
        error = np.mean([errors[each] for _, errors in repeated])
        assert 0.6 < error / spread < 1.6
