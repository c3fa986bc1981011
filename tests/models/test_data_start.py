"""`initialisation: data` for the methods with a NICE encoder: decoders start as guessing x from y = x + eps."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.models import DATA_DIM, SMALL
from vdae_bench.data.noise import initial_generators
from vdae_bench.data.views import PixelStatistics
from vdae_bench.models.registry import Problem, get_method

LOG_SIGMA = -0.875  # exact in float32, in which a fixed sigma is built
GENERATOR = torch.Generator().manual_seed(11)
MEAN = torch.rand(DATA_DIM, generator=GENERATOR, dtype=torch.float64) * 0.8 + 0.1


def started(method: str, variance: torch.Tensor, view: str = "continuous", **options):
    """A model at its start; its replicas are at different sigmas, the second at `LOG_SIGMA`."""
    sigmas = tuple({**options, "log_sigma": value} for value in (-3.0, LOG_SIGMA))
    problem = Problem(2, DATA_DIM, DATA_DIM, view, SMALL, options, replica_options=sigmas)
    model = get_method(method).build(problem).double()
    model.initialise(initial_generators((0, 1)))
    model.initialise_from_data(PixelStatistics(MEAN, variance))
    return model


def noisy_pixels(draw, images: int = 100_000):
    """(x, y, decoder's output at y) of the second replica."""

    def of(model):
        x = draw(images)
        w = torch.randn(x.shape, generator=GENERATOR, dtype=torch.float64)
        y = x + math.exp(LOG_SIGMA) * w
        noise = torch.stack((torch.zeros_like(w), w))[:, :, None]
        z, _ = model.posterior.condition(x.expand(2, -1, -1))(noise)
        return x, y, model.decoder(z[:, :, 0])[1]

    return of


def test_a_coupled_decoder_returns_what_it_got():
    model = started("vdae-coupled", variance=torch.full((DATA_DIM,), 0.04, dtype=torch.float64))
    _, y, output = noisy_pixels(lambda images: torch.rand(images, DATA_DIM, dtype=torch.float64), images=1000)(model)
    torch.testing.assert_close(output, y, atol=1e-10, rtol=0)
    assert model.likelihood.log_lambda.flatten().tolist() == pytest.approx([-6.0, 2 * LOG_SIGMA])


@pytest.mark.parametrize("method", ["vdae-nice", "vdae-resnet", "lvdae-nice"])
def test_a_linear_decoder_starts_as_least_squares_and_lambda_as_its_error(method):
    """Against an ordinary regression of x on y, pixel by pixel, on simulated pixels."""
    deviation = torch.linspace(0.05, 0.8, DATA_DIM, dtype=torch.float64)
    model = started(method, variance=deviation**2, decoder_output="linear")

    def draw(images):
        return MEAN + deviation * torch.randn(images, DATA_DIM, generator=GENERATOR, dtype=torch.float64)

    x, y, output = noisy_pixels(draw)(model)
    slope = ((x - x.mean(0)) * (y - y.mean(0))).mean(0) / y.var(0)
    fitted = x.mean(0) + slope * (y - y.mean(0))
    assert (output - fitted).abs().max() < 0.02
    error = (x - output).square().mean().item()
    assert model.likelihood.log_lambda[1].exp().item() == pytest.approx(error, rel=0.01)


def test_logits_start_at_the_posterior_log_odds_of_binary_pixels():
    """Against Bayes' rule: log p(1 | y) - log p(0 | y) from the two normal densities."""
    model = started("vdae-resnet", variance=MEAN * (1 - MEAN), view="binary")
    _, y, output = noisy_pixels(
        lambda images: torch.bernoulli(MEAN.expand(images, -1), generator=GENERATOR), images=100
    )(model)
    sigma = torch.tensor(LOG_SIGMA, dtype=torch.float64).exp()
    likelihoods = [torch.distributions.Normal(value, sigma).log_prob(y) for value in (1, 0)]
    odds = likelihoods[0] + MEAN.log() - likelihoods[1] - (1 - MEAN).log()
    torch.testing.assert_close(output, odds, atol=1e-8, rtol=0)


def test_without_data_the_decoder_is_the_papers():
    """Residual blocks that start as the identity, and nothing else."""
    problem = Problem(1, DATA_DIM, DATA_DIM, "continuous", SMALL)
    model = get_method("vdae-resnet").build(problem).double()
    model.initialise(initial_generators((0,)))
    z = torch.randn(1, 5, DATA_DIM, generator=GENERATOR, dtype=torch.float64)
    torch.testing.assert_close(model.decoder(z), z)


def test_lambda_has_no_floor_where_sigma_is_fixed():
    """Fixed noise bounds the loss from below; with sigma learned, beta < 1 does not, and both scalars are held."""
    fixed, learned = (
        get_method("vdae-coupled").build(Problem(1, DATA_DIM, DATA_DIM, "continuous", SMALL, options))
        for options in ({"log_sigma": -6.0}, {})
    )
    assert not fixed.floored_parameters()
    assert set(learned.floored_parameters()) == {"posterior.scale.log_sigma", "likelihood.log_lambda"}
