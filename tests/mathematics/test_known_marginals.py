"""Linear-Gaussian models (`truths.LinearGaussian`): log p(x), the true posterior and the bound's gap are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from tests.support.models import build
from tests.support.truths import (
    DATA_DIM,
    LATENTS,
    LINEAR_GAUSSIAN,
    full_jacobians,
    quadratic_nodes,
    randn,
    resnet_pair,
)
from vdae_bench.data.noise import NoiseSource
from vdae_bench.evaluation.likelihood import score_images

IMAGES = randn(5, DATA_DIM, seed=10)
EXACT = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(params=LINEAR_GAUSSIAN)
def linear(request):
    return LINEAR_GAUSSIAN[request.param]()


def exact_bound(linear) -> torch.Tensor:
    """E_q[log w] of each replica and image, (R, N): log w is quadratic in the noise, so nodes give it exactly."""
    nodes = quadratic_nodes(linear.model.noise_dim)
    x = IMAGES.expand(2, -1, -1)
    with torch.no_grad():
        return linear.model.condition(x)(nodes.expand(2, len(IMAGES), -1, -1)).mean(2)


def test_nll_meets_the_marginal_within_its_standard_error(linear):
    """By the evaluation's own code; the error of an image is sqrt(1 / ESS - 1 / K)."""
    samples = 4000
    scores = score_images(linear.model, IMAGES, range(5), NoiseSource((3, 4), torch.device("cpu")), samples)
    error = (1 / scores.effective_samples - 1 / samples).clamp(min=0).sqrt()
    assert ((scores.nll + linear.log_marginal(IMAGES)).abs() < 4 * error + 1e-9).all()
    assert error[0].max() < 1e-6  # the true posterior: all weights are equal
    assert 1e-3 < error[1].median() < 0.1  # a comparison that could fail
    assert (scores.neg_elbo[1] > -linear.log_marginal(IMAGES)[1]).all()


def test_the_bound_is_low_by_the_divergence_from_the_true_posterior(linear):
    """log p(x) - ELBO = KL[q(z|x) || p(z|x)]: 0 where the posterior can be the true one, its size elsewhere."""
    gap = linear.log_marginal(IMAGES) - exact_bound(linear)
    torch.testing.assert_close(gap, kl_divergence(linear.q(IMAGES), linear.true_posterior(IMAGES)), **EXACT)
    assert gap[0].abs().max() < 1e-9 and gap[1].min() > 0.04


def test_the_training_bound_is_that_bound(linear):
    """-(reconstruction + divergence) averages to log p(x) - KL, whichever noise training draws."""
    nodes = quadratic_nodes(linear.model.training_noise_dim)
    expected = linear.log_marginal(IMAGES) - kl_divergence(linear.q(IMAGES), linear.true_posterior(IMAGES))
    for image, truth in zip(IMAGES, expected.T, strict=True):
        with torch.no_grad():
            terms = linear.model.bound_terms(
                image.expand(2, len(nodes), -1), nodes.expand(2, -1, -1), log_det_rows=10**6
            )
        torch.testing.assert_close(-(terms.reconstruction + terms.divergence), truth, **EXACT)


def test_nothing_pulls_on_a_posterior_that_is_the_true_one(linear):
    """There the bound is at its maximum in q's parameters; away from it, in replica 1, the gradient is not 0."""
    model = linear.model
    with torch.no_grad():
        for parameter in model.posterior.parameters():
            parameter[1] += 0.01
    nodes = quadratic_nodes(model.training_noise_dim)
    x = IMAGES[:1].expand(2, len(nodes), -1)
    model.bound_terms(x, nodes.expand(2, -1, -1), 10**6).neg_elbo.sum().backward()
    gradients = [each.grad for each in model.posterior.parameters() if each.grad is not None]
    assert max(each[0].abs().max() for each in gradients) < 1e-9 < max(each[1].abs().max() for each in gradients)


def test_the_least_gap_of_a_diagonal_posterior():
    """1/2 (sum log P_ii - log det P), P the true posterior's precision."""
    linear = resnet_pair("vae")
    gap = linear.log_marginal(IMAGES) - exact_bound(linear)
    diagonal = linear.precision.diagonal(dim1=1, dim2=2)
    expected = 0.5 * (diagonal.log().sum(1) - torch.logdet(linear.precision))
    torch.testing.assert_close(gap, expected[:, None].expand(-1, 5), **EXACT)


def test_the_least_gap_of_one_sigma():
    """m/2 log(arithmetic mean / geometric mean) of the eigenvalues of P A^T A: L-VDAE with f the true mean."""
    linear = resnet_pair("lvdae")
    gap = linear.log_marginal(IMAGES) - exact_bound(linear)
    eigenvalues = torch.linalg.eigvals(linear.precision @ linear.mean_map.mT @ linear.mean_map).real
    expected = 0.5 * LATENTS * (eigenvalues.mean(1).log() - eigenvalues.log().mean(1))
    torch.testing.assert_close(gap, expected[:, None].expand(-1, 5), **EXACT)


@pytest.fixture(params=["linear", "resnet"])
def lvdae(request):
    """(build model for `log_det`, x of shape (2, 3, n)): f linear, or residual blocks with everything random."""
    if request.param == "linear":
        return lambda log_det: resnet_pair("lvdae", log_det).model, randn(2, 3, DATA_DIM, seed=11)
    return lambda log_det: build("lvdae", log_det=log_det), randn(2, 3, 20, seed=11)


def gaussian(model, x) -> MultivariateNormal:
    """N(f(x), sigma^2 J J^T) with J by autograd, batch (R, N)."""
    jacobian = full_jacobians(model.posterior.encoder, x)
    sigma = model.posterior.log_sigma.detach().exp()[..., None]
    return MultivariateNormal(model.posterior.encoder(x).detach(), sigma**2 * jacobian @ jacobian.mT)


def test_lvdae_log_q_is_the_gaussian_one(lvdae):
    make, x = lvdae
    model = make("exact")
    z, log_q = model.posterior.condition(x)(randn(2, 3, 6, model.noise_dim, seed=12))
    expected = gaussian(model, x).log_prob(z.permute(2, 0, 1, 3)).permute(1, 2, 0)
    torch.testing.assert_close(log_q, expected, **EXACT)


def test_lvdae_entropy_is_the_gaussian_one(lvdae):
    """m/2 log(2 pi e) + m log sigma + 1/2 log det C: eq. (8) with its sigma; -log q is quadratic in the noise."""
    make, x = lvdae
    model = make("exact")
    nodes = quadratic_nodes(model.noise_dim)
    _, log_q = model.posterior.condition(x)(nodes.expand(2, 3, -1, -1))
    q = gaussian(model, x)
    torch.testing.assert_close(-log_q.mean(2), q.entropy(), **EXACT)
    jacobian = full_jacobians(model.posterior.encoder, x)
    m = model.noise_dim
    eq_8 = 0.5 * (m * math.log(2 * math.pi) + m + torch.logdet(jacobian @ jacobian.mT))
    torch.testing.assert_close(q.entropy(), eq_8 + m * model.posterior.log_sigma[..., 0].detach(), **EXACT)


@pytest.mark.parametrize("log_det", ["exact", "subset", "projected"])
def test_lvdae_kl_is_the_gaussian_one(lvdae, log_det):
    make, x = lvdae
    model = make(log_det)
    m = model.noise_dim
    prior = MultivariateNormal(torch.zeros(m, dtype=torch.float64), torch.eye(m, dtype=torch.float64))
    _, kl, variance = model.posterior.sample_with_divergence(
        x, randn(2, 3, model.training_noise_dim, seed=13), model.prior, 10**6
    )
    torch.testing.assert_close(kl, kl_divergence(gaussian(model, x), prior).mean(1), **EXACT)
    assert torch.equal(variance, torch.zeros_like(variance))  # no image was left out


@pytest.mark.parametrize("log_det", ["exact", "subset", "projected", "lanczos", "evaluation"])
def test_lvdae_samples_have_the_gaussian_mean_and_covariance(lvdae, log_det):
    """z = f(x) + sigma L eta or f(x) + sigma J w is affine in the noise, so nodes have its moments exactly."""
    make, x = lvdae
    model = make("exact" if log_det == "evaluation" else log_det)
    evaluation = log_det == "evaluation"
    nodes = quadratic_nodes(model.noise_dim if evaluation else model.training_noise_dim)
    for image in range(x.shape[1]):
        one = x[:, image : image + 1]
        if evaluation:
            z = model.posterior.condition(one)(nodes.expand(2, 1, -1, -1))[0][:, 0]
        else:
            many = one.expand(-1, len(nodes), -1)
            z = model.posterior.sample_with_divergence(many, nodes.expand(2, -1, -1), model.prior, 1).z
        q = gaussian(model, one)
        torch.testing.assert_close(z.mean(1), q.mean[:, 0], **EXACT)
        deviation = z - q.mean
        torch.testing.assert_close(deviation.mT @ deviation / len(nodes), q.covariance_matrix[:, 0], **EXACT)
