"""Method `conditioned`, f(w; h(x)): it contains the VAE, and its density is that of autograd's Jacobian."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import DATA_DIM, LATENTS, SMALL, build, data, noise
from tests.support.truths import full_jacobians, randn
from vdae_bench.data.noise import initial_generators
from vdae_bench.models.priors import normal_log_prob
from vdae_bench.models.registry import Problem, get_method


def without_couplings(view):
    sizes = {**SMALL, "conditioned_couplings": 0}
    model = get_method("conditioned").build(Problem(2, DATA_DIM, LATENTS, view, sizes)).double()
    model.initialise(initial_generators((0, 1)))
    return model


@pytest.mark.parametrize("view", ["binary", "continuous"])
def test_without_couplings_it_is_the_vae(view):
    """The same parameters by name, the same log weights, training bound and means."""
    vae, mine = build("vae", view), without_couplings(view)
    mine.load_state_dict(vae.state_dict())
    x, several, one = data(view), noise(vae, 5, samples=4), noise(vae, 5)
    assert torch.equal(mine.condition(x, 4)(several), vae.condition(x, 4)(several))
    for own, theirs in zip(mine.bound_terms(x, one, 0)[:2], vae.bound_terms(x, one, 0)[:2], strict=True):
        assert torch.equal(own, theirs)
    assert torch.equal(mine.posterior.mean(x, several), vae.posterior.mean(x, several))


def test_it_starts_as_the_vae():
    model, vae = build("conditioned", randomise=False), without_couplings("continuous")
    vae.load_state_dict({name: value for name, value in model.state_dict().items() if name in vae.state_dict()})
    x, eta = data("continuous"), noise(vae, 5, samples=4)
    torch.testing.assert_close(model.condition(x)(eta), vae.condition(x)(eta), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("latents", [1, LATENTS, DATA_DIM])
def test_log_q_is_the_change_of_variables_of_the_noise(latents):
    """log q(z|x) = log N(w) - log |det dz/dw|, for any m; no bit of w moves z as it would at another image."""
    model = get_method("conditioned").build(Problem(2, DATA_DIM, latents, "binary", SMALL)).double()
    model.initialise(initial_generators((0, 1)))
    with torch.no_grad():
        for index, parameter in enumerate(model.posterior.parameters()):
            parameter += 0.2 * randn(*parameter.shape, seed=index)
    x, w = data("binary"), randn(2, 5, 1, latents, seed=9)
    sample = model.posterior.condition(x)
    log_q = sample(w)[1]
    jacobians = full_jacobians(lambda rows: sample(rows[:, :, None])[0][:, :, 0], w[:, :, 0])
    expected = normal_log_prob(w[:, :, 0]) - torch.linalg.slogdet(jacobians).logabsdet
    torch.testing.assert_close(log_q[:, :, 0], expected, rtol=1e-9, atol=1e-9)
    if latents > 1:
        shape = jacobians / jacobians.diagonal(dim1=2, dim2=3)[..., None, :]
        assert shape.std(1).max() > 1e-3  # f_x is more than mu(x) + s(x) w, and differs from image to image


def test_the_encoder_passes_over_an_image_once_for_all_its_samples(monkeypatch):
    model, passes = build("conditioned"), []
    trunk = model.posterior.trunk
    monkeypatch.setattr(model.posterior, "trunk", lambda x: passes.append(x.shape) or trunk(x))
    sampler = model.posterior.condition(data("continuous"), samples=40)
    for _ in range(3):
        sampler(noise(model, 5, samples=20))
    assert passes == [(2, 5, DATA_DIM)]
