"""`space: logit`: densities of pixels by way of logits, in the same units, for every method."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate
from torch.distributions import MultivariateNormal

from tests.support.models import DATA_DIM, IMAGE_SHAPE, SMALL, data, latents_of, noise, pairs
from tests.support.truths import full_jacobians
from vdae_bench.data.fetch import cache_path
from vdae_bench.data.images import Images, load_images
from vdae_bench.data.noise import initial_generators
from vdae_bench.data.units import bits_per_dim
from vdae_bench.data.views import PixelStatistics, ViewedImages
from vdae_bench.errors import UserError
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.models.space import Logits, OnLogits

ALPHA = 0.02
CONTINUOUS = [method for method, view in pairs() if view == "continuous"]
CPU = torch.device("cpu")


def on_logits(method, alpha=ALPHA, **options):
    options = {"space": "logit", "alpha": alpha, **options}
    problem = Problem(2, DATA_DIM, latents_of(method), "continuous", SMALL, options, "exact", image_shape=IMAGE_SHAPE)
    model = get_method(method).model(problem).double()
    model.initialise(initial_generators((0, 1)))
    return model


def test_the_map_its_inverse_and_its_volume():
    space, x = Logits(ALPHA), data("continuous")
    p = ALPHA + (1 - 2 * ALPHA) * x
    torch.testing.assert_close(space(x), torch.log(p / (1 - p)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(space.inverse(space(x)), x, rtol=1e-12, atol=1e-12)
    volume = torch.linalg.slogdet(full_jacobians(space, x)).logabsdet
    torch.testing.assert_close(space.log_det(x), volume, rtol=1e-12, atol=1e-12)


def test_the_ends_of_the_unit_interval_are_finite_in_float32():
    x = torch.tensor([0.0, 2**-32, 1 - 2**-24, 1.0])
    assert Logits(1e-6)(x).tolist() == pytest.approx([-13.8155, -13.8153, 13.7576, 13.8155], abs=1e-3)
    assert torch.isfinite(Logits(1e-6).log_det(x))


@pytest.mark.parametrize("method", CONTINUOUS)
def test_log_weights_of_pixels_are_those_of_logits_and_the_volume(method):
    """-ELBO in training and evaluation alike; decoders are linear, whatever the default."""
    model = on_logits(method)
    assert isinstance(model, OnLogits)
    x, space = data("continuous"), Logits(ALPHA)
    volume = torch.linalg.slogdet(full_jacobians(space, x)).logabsdet
    eta, one = noise(model, 5, samples=4), noise(model, 5)
    expected = model.inner.condition(space(x), 4)(eta) + volume[:, :, None]
    torch.testing.assert_close(model.condition(x, 4)(eta), expected, rtol=1e-12, atol=1e-12)
    terms, inner = model.bound_terms(x, one, 100), model.inner.bound_terms(space(x), one, 100)
    torch.testing.assert_close(terms.neg_elbo, inner.neg_elbo - volume.mean(1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms.divergence, inner.divergence)
    if hasattr(model.inner, "likelihood"):
        assert model.inner.likelihood.output == "linear"
    names = {name for name, _ in model.named_parameters()}
    assert names >= model.scalar_parameters() >= {f"on_logits.{name}" for name in model.inner.scalar_parameters()}
    assert names >= set(model.l2_penalties())


@pytest.mark.parametrize("method", CONTINUOUS)
def test_samples_come_back_as_pixels(method):
    model = on_logits(method)
    m = latents_of(method)
    draw = model.sample(torch.randn(2, 50, m).double(), torch.randn(2, 50, DATA_DIM).double()).drawn
    edge = ALPHA / (1 - 2 * ALPHA)
    assert (draw > -edge).all() and (draw < 1 + edge).all()
    if m:
        x = data("continuous")
        z = model.encode(x, torch.zeros(2, 5, model.noise_dim).double())
        assert model.decode(z).shape == x.shape
    if model.inner.noise_dim == 0 and m:  # a flow returns what it got
        torch.testing.assert_close(model.decode(z), x, rtol=1e-6, atol=1e-6)


def test_the_density_of_a_pixel_integrates_to_one():
    model = get_method("independent-pixels").model(
        Problem(1, 1, 0, "continuous", {}, {"space": "logit", "alpha": ALPHA})
    )
    model.double().initialise_from_data(PixelStatistics(torch.tensor([-0.7]).double(), torch.tensor([4.0]).double()))
    edge = ALPHA / (1 - 2 * ALPHA)

    def density(x: float) -> float:
        return math.exp(model.condition(torch.full((1, 1, 1), x, dtype=torch.float64))(torch.empty(0)).item())

    assert integrate.quad(density, -edge, 1 + edge)[0] == pytest.approx(1, abs=1e-6)


def test_statistics_are_those_of_the_logits_of_every_level():
    """Against simulated noise, and for one level against the closed integral of a logit."""
    pixels = torch.tensor([[0, 0, 7, 255], [0, 255, 7, 128], [0, 3, 7, 3]], dtype=torch.uint8)
    images = ViewedImages(Images("", pixels, pixels, pixels, (2, 2), ""), "continuous", CPU)
    space = Logits(1e-6)
    mean, variance = images.statistics(space)
    draws = torch.rand(200_000, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = space((pixels + draws) / 256)
    torch.testing.assert_close(mean, y.mean((0, 1)), rtol=0, atol=0.02)
    torch.testing.assert_close(variance, y.flatten(0, 1).var(0, correction=0), rtol=0.02, atol=0.02)
    ends = torch.tensor([1e-6, 1e-6 + (1 - 2e-6) / 256], dtype=torch.float64)  # the integral of log(p / (1 - p))
    whole = ends * ends.log() + (1 - ends) * torch.log1p(-ends)
    assert mean[0].item() == pytest.approx(((whole[1] - whole[0]) / (ends[1] - ends[0])).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("view", "options", "said"),
    [
        ("binary", {"space": "logit"}, "option space is for continuous data; leave it out for binary data"),
        ("continuous", {"space": "logits"}, "use one of pixels, logit"),
        ("continuous", {"space": "logit", "alpha": 1e-320}, "use a number from 1e-09 to 0.49"),
        ("continuous", {"space": "logit", "alpha": 0.4999999999999}, "use a number from 1e-09 to 0.49"),
        ("continuous", {"space": "logit", "alpha": -1.0}, "use a number from 1e-09 to 0.49"),
        ("continuous", {"space": "logit", "alpha": None}, "option alpha is null; use a number"),
        ("continuous", {"space": "logit", "alpha": math.nan}, "option alpha is nan; use a number"),
        ("continuous", {"alpha": 0.1}, "option alpha needs space: logit"),
    ],
)
def test_what_makes_no_sense_is_refused(view, options, said):
    with pytest.raises(UserError, match=said):
        get_method("vae").check(view, 3, DATA_DIM, options)


@pytest.fixture(scope="module")
def mnist():
    """Continuous MNIST, where it is at hand."""
    try:
        return ViewedImages(load_images("mnist", cache_path("mnist")), "continuous", CPU)  # fetch nothing
    except UserError as fault:
        pytest.skip(f"no MNIST here: {fault}")


def bits_of_independent_pixels(mnist, **options):
    model = get_method("independent-pixels").model(Problem(1, 784, 0, "continuous", {}, options)).double()
    model.initialise_from_data(mnist.statistics(model.space))
    x = mnist.held_out("test", torch.float64)
    log_prob = torch.cat([model.condition(part[None])(torch.empty(0)).flatten() for part in x.split(1000)])
    return bits_per_dim(-log_prob.mean().item(), 784)


@pytest.mark.mnist
def test_independent_pixels_have_2_54_bits_on_logits_of_mnist_and_5_82_on_pixels(mnist):
    assert bits_of_independent_pixels(mnist, space="logit") == pytest.approx(2.54, abs=0.005)
    assert bits_of_independent_pixels(mnist) == pytest.approx(5.82, abs=0.005)


@pytest.mark.mnist
def test_a_full_covariance_gaussian_has_5_29_bits_on_pixels_of_mnist(mnist):
    """The unit that both share: (v + u) / 256, and 8 bits for a uniform density."""
    levels = mnist.train.double()
    covariance = (torch.cov(levels.T, correction=0) + torch.eye(784, dtype=torch.float64) / 12) / 256**2
    density = MultivariateNormal((levels.mean(0) + 0.5) / 256, covariance)
    nats = -density.log_prob(mnist.held_out("test", torch.float64)).mean().item()
    assert bits_per_dim(nats, 784) == pytest.approx(5.29, abs=0.005)
