"""The VAE's posterior, and what L-VDAE's does not need; L-VDAE's own is in `tests/mathematics`."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from tests.support.models import LATENTS, build, data


def test_vae_against_torch_distributions():
    model = build("vae")
    x = data("continuous")
    mean, log_variance = model.posterior.moments(x)
    q = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    eta = torch.randn(2, 5, LATENTS, dtype=torch.float64)
    z, kl, _ = model.posterior.sample_with_divergence(x, eta, model.prior, 1)
    torch.testing.assert_close(kl, kl_divergence(q, prior).mean(1))
    z_again, log_q = model.posterior.condition(x)(eta[:, :, None])
    torch.testing.assert_close(z_again[:, :, 0], z)
    torch.testing.assert_close(log_q[:, :, 0], q.log_prob(z), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["vae", "lvdae"])
def test_the_posterior_starts_as_a_unit_normal_around_f(method):
    """VAE: log-variance head 0, s = 1; L-VDAE: C = I, sigma = 1."""
    model = build(method, randomise=False)
    x = data("continuous")
    z, log_q = model.posterior.condition(x)(torch.randn(2, 5, 4, LATENTS, dtype=torch.float64))
    q = Independent(Normal(model.posterior.encoder(x)[:, :, None], 1.0), 1)
    torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-10, atol=1e-10)


def test_lvdae_has_fewer_parameters_than_the_vae():
    count = {name: sum(p.numel() for p in build(name).parameters()) for name in ("vae", "lvdae")}
    assert count["lvdae"] < count["vae"]
