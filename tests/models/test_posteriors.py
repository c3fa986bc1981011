"""Posteriors against torch.distributions and known marginals; L-VDAE's estimators against each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from tests.models.small_models import DATA_DIM, LATENTS, build
from tests.models.test_every_method import data
from tests.models.test_layers import full_jacobians
from vdae_bench.models.layers import Linear
from vdae_bench.models.likelihoods import Gaussian
from vdae_bench.models.log_det import gram_cholesky
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.posteriors import LinearisedFlow
from vdae_bench.models.priors import StandardNormal


def linearised(model, x):
    """The posterior N(f(x), sigma^2 J J^T) of each replica and image, built without the code under test."""
    encoder = model.posterior.encoder
    jacobian = full_jacobians(encoder, x)
    sigma = model.posterior.log_sigma.exp()[..., None]
    return MultivariateNormal(encoder(x), covariance_matrix=sigma**2 * jacobian @ jacobian.mT)


def standard_normal(dims):
    return MultivariateNormal(torch.zeros(dims, dtype=torch.float64), torch.eye(dims, dtype=torch.float64))


def test_lvdae_kl_is_the_multivariate_normal_one():
    model = build("lvdae", log_det="exact")
    x = data("continuous")
    _, kl = model.posterior.sample_with_divergence(x, torch.randn(2, 5, LATENTS).double(), model.prior, 10**6)
    torch.testing.assert_close(kl, kl_divergence(linearised(model, x), standard_normal(LATENTS)).mean(1))


def test_lvdae_log_q_is_the_multivariate_normal_one():
    model = build("lvdae")
    x = data("continuous")
    z, log_q = model.posterior.condition(x)(torch.randn(2, 5, 6, LATENTS, dtype=torch.float64))
    expected = linearised(model, x).log_prob(z.permute(2, 0, 1, 3)).permute(1, 2, 0)
    torch.testing.assert_close(log_q, expected)


def test_vae_against_torch_distributions():
    model = build("vae")
    x = data("continuous")
    mean, log_variance = model.posterior.moments(x)
    q = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    eta = torch.randn(2, 5, LATENTS, dtype=torch.float64)
    z, kl = model.posterior.sample_with_divergence(x, eta, model.prior, 1)
    torch.testing.assert_close(kl, kl_divergence(q, prior).mean(1))
    z_again, log_q = model.posterior.condition(x)(eta[:, :, None])
    torch.testing.assert_close(z_again[:, :, 0], z)
    torch.testing.assert_close(log_q[:, :, 0], q.log_prob(z), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("log_det", ["exact", "subset"])
def test_training_samples_have_the_posterior_covariance(log_det):
    model = build("lvdae", log_det=log_det)
    count = 40_000
    x = data("continuous", images=1).expand(-1, count, -1)
    noise = torch.randn(2, count, model.training_noise_dim, dtype=torch.float64)
    with torch.no_grad():
        z, _ = model.posterior.sample_with_divergence(x, noise, model.prior, LATENTS)
    q = linearised(model, x[:, :1])
    for replica in range(2):
        deviation = z[replica] - q.mean[replica]
        scale = q.covariance_matrix[replica, 0]
        torch.testing.assert_close(deviation.T @ deviation / count, scale, rtol=0, atol=0.03 * scale.max().item())


def test_subset_is_unbiased_for_exact():
    """Over all shifts of a batch each image takes its turn in the subset: value and gradient average to exact."""
    exact, subset = build("lvdae", log_det="exact"), build("lvdae", log_det="subset")
    subset.load_state_dict(exact.state_dict())
    x = data("continuous", images=6)
    zero = torch.zeros(2, 6, DATA_DIM, dtype=torch.float64)
    _, expected = exact.posterior.sample_with_divergence(x, zero[..., :LATENTS], exact.prior, 1)
    expected.sum().backward()
    values = []
    for shift in range(6):
        _, value = subset.posterior.sample_with_divergence(x.roll(shift, 1), zero, subset.prior, log_det_rows=LATENTS)
        values.append(value)
    torch.stack(values).mean(0).sum().backward()
    torch.testing.assert_close(torch.stack(values).mean(0), expected, rtol=1e-12, atol=1e-12)
    assert torch.stack(values).std(0).min() > 1e-3  # one image alone is not the mean
    for (name, mine), theirs in zip(subset.named_parameters(), exact.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_log_det_rows_set_the_size_of_the_subset(monkeypatch):
    model = build("lvdae", log_det="subset")
    images = []
    original = LinearisedFlow._jacobian
    monkeypatch.setattr(
        LinearisedFlow, "_jacobian", lambda self, pull, x, n: images.append(n) or original(self, pull, x, n)
    )
    x, noise = data("continuous", images=8), torch.zeros(2, 8, DATA_DIM, dtype=torch.float64)
    for rows in (0, LATENTS, 2 * LATENTS, 10**6):
        model.posterior.sample_with_divergence(x, noise, model.prior, rows)
    assert images == [1, 1, 2, 8]


def linear_gaussian(log_lambda: float, log_sigma: float, weight: torch.Tensor) -> LatentVariableModel:
    """p(z) = N(0, I), p(x|z) = N(z A, lambda I), q = N(x W, sigma^2 W^T W): one replica, all linear."""
    n, m = weight.shape
    encoder, decoder = Linear(1, n, m).double(), Linear(1, m, n).double()
    model = LatentVariableModel(
        LinearisedFlow(encoder, 1, n, m, "exact"), decoder, Gaussian(1, "linear"), StandardNormal()
    ).double()
    with torch.no_grad():
        encoder.weight.copy_(weight)
        model.posterior.log_sigma.fill_(log_sigma)
        model.likelihood.log_lambda.fill_(log_lambda)
    return model


@pytest.mark.parametrize("orthogonal", [True, False])
def test_linear_gaussian_marginal(orthogonal):
    """NLL meets the known marginal; the bound's gap closes exactly where the posterior can be the true one."""
    torch.manual_seed(5)
    n, m, lam, w = 8, 3, 0.4, 1.3
    basis = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q
    scales = torch.tensor([1.0, 1.0, 1.0] if orthogonal else [0.5, 1.0, 1.5], dtype=torch.float64) * w
    loading = basis[:, :m] * scales  # decoder: x = z loading^T
    # The true posterior is N(x M^-T ..., lambda M^-1) with M = loading^T loading + lambda I.
    precision = loading.T @ loading + lam * torch.eye(m, dtype=torch.float64)
    mean_map = loading @ torch.linalg.inv(precision)
    sigma2 = lam * (lam + w**2) / w**2
    model = linear_gaussian(math.log(lam), 0.5 * math.log(sigma2), mean_map)
    with torch.no_grad():
        model.decoder.weight.copy_(loading.T)
    x = torch.randn(1, 4, n, dtype=torch.float64)
    marginal = MultivariateNormal(
        torch.zeros(n, dtype=torch.float64), loading @ loading.T + lam * torch.eye(n, dtype=torch.float64)
    ).log_prob(x[0])
    samples = 20_000
    with torch.no_grad():
        log_w = model.condition(x)(torch.randn(1, 4, samples, m, dtype=torch.float64))[0]
    estimate = log_w.logsumexp(1) - math.log(samples)
    weights = (log_w - log_w.max(1, keepdim=True).values).exp()
    standard_error = weights.std(1) / weights.mean(1) / samples**0.5
    assert ((estimate - marginal).abs() < 4 * standard_error + 1e-9).all()
    q = MultivariateNormal(x[0] @ mean_map, sigma2 * mean_map.T @ mean_map)
    truth = MultivariateNormal(x[0] @ mean_map, lam * torch.linalg.inv(precision))
    gap = kl_divergence(q, truth)
    bound_error = log_w.std(1) / samples**0.5
    assert ((marginal - log_w.mean(1) - gap).abs() < 4 * bound_error + 1e-9).all()
    if orthogonal:
        assert gap.abs().max() < 1e-10 and log_w.std(1).max() < 1e-6
    else:
        assert gap.min() > 0.04


def test_cholesky_of_a_singular_gram_matrix_is_not_finite():
    jacobian = torch.zeros(1, 2, 3, 5, dtype=torch.float64)
    jacobian[0, 1] = torch.eye(3, 5)
    factor = gram_cholesky(jacobian)
    assert torch.isnan(factor[0, 0]).any() and torch.equal(factor[0, 1], torch.eye(3, dtype=torch.float64))


def test_lvdae_has_fewer_parameters_than_the_vae():
    count = {name: sum(p.numel() for p in build(name).parameters()) for name in ("vae", "lvdae")}
    assert count["lvdae"] < count["vae"]
