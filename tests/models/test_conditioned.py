"""Method `conditioned`, f(w; h(x)): it contains the VAE, and its density is that of autograd's Jacobian."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import DATA_DIM, LATENTS, SMALL, build, data, noise
from tests.support.truths import full_jacobians, randn
from vdae_bench.data.noise import initial_generators
from vdae_bench.data.views import PixelStatistics
from vdae_bench.errors import UserError
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


def beside_flows(coupling="affine", view="continuous"):
    options = {"decoder": "blocks", "coupling": coupling}
    model = get_method("conditioned").build(Problem(2, DATA_DIM, DATA_DIM, view, SMALL, options)).double()
    model.initialise(initial_generators((0, 1)))
    return model


@pytest.mark.parametrize("view", ["binary", "continuous"])
def test_with_a_decoder_of_blocks_it_starts_as_vdae_resnet(view):
    """Posterior, decoder and prior are the same, so that what training makes of them is the encoder's doing."""
    mine = beside_flows(view=view)
    theirs = get_method("vdae-resnet").build(Problem(2, DATA_DIM, DATA_DIM, view, SMALL)).double()
    theirs.initialise(initial_generators((0, 1)))
    mean = torch.rand(DATA_DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for model in (mine, theirs):
        model.initialise_from_data(PixelStatistics(mean, mean * (1 - mean)))
    mine.decoder.load_state_dict(theirs.decoder.state_dict())
    x, w = data(view), randn(2, 5, 4, DATA_DIM, seed=3)
    torch.testing.assert_close(mine.condition(x)(w), theirs.condition(x)(w), rtol=1e-9, atol=1e-9)
    own, other = (model.bound_terms(x, w[:, :, 0], 0) for model in (mine, theirs))
    torch.testing.assert_close(own[:2], other[:2], rtol=1e-9, atol=1e-9)


def test_without_couplings_the_divergence_to_another_prior_is_sampled():
    model = beside_flows("none")
    x, w = data("continuous"), randn(2, 5, 1, DATA_DIM, seed=3)
    z, log_q = model.posterior.condition(x)(w)
    divergence = model.bound_terms(x, w[:, :, 0], 0).divergence
    torch.testing.assert_close(divergence, (log_q - model.prior.log_prob(z))[:, :, 0].mean(1))


def test_additive_couplings_keep_the_volume_of_the_noise():
    options = {"coupling": "additive"}
    model = get_method("conditioned").build(Problem(2, DATA_DIM, LATENTS, "binary", SMALL, options)).double()
    model.initialise(initial_generators((0, 1)))
    with torch.no_grad():
        for index, parameter in enumerate(model.posterior.couplings.couplings.parameters()):
            parameter += 0.2 * randn(*parameter.shape, seed=index)
    x, w = data("binary"), randn(2, 5, 1, LATENTS, seed=9)
    z, log_q = model.posterior.condition(x)(w)
    assert (z - w).abs().max() > 0.01
    expected = normal_log_prob(w) - 0.5 * model.posterior.moments(x)[1].sum(-1, keepdim=True)
    torch.testing.assert_close(log_q, expected, rtol=1e-9, atol=1e-9)


def test_a_decoder_of_blocks_keeps_the_dimension():
    with pytest.raises(UserError, match="decoder: blocks keeps the dimension"):
        get_method("conditioned").check("binary", LATENTS, DATA_DIM, {"decoder": "blocks"})
