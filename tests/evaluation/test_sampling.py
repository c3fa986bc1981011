"""Samples, encodings and what is computed of latents, for every method and against independent truths."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from tests.support.models import DATA_DIM, build, pairs
from vdae_bench.data.noise import NoiseSource
from vdae_bench.evaluation import pictures
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.priors import StandardLogistic, StandardNormal, logistic_from_normal, logistic_log_prob

CPU = torch.device("cpu")


@pytest.fixture(params=pairs(), ids=lambda pair: "-".join(pair))
def model_and_view(request: pytest.FixtureRequest):
    return build(*request.param).float(), request.param[1]


def test_logistic_noise_is_logistic_far_into_its_tails():
    eta = torch.linspace(-9, 9, 19, dtype=torch.float64)
    z = StandardLogistic().from_normal(eta)
    torch.testing.assert_close(torch.from_numpy(scipy.stats.logistic.logcdf(z)), torch.special.log_ndtr(eta))
    step = 1e-6
    slope = (logistic_from_normal(eta + step) - logistic_from_normal(eta - step)) / (2 * step)
    of_normal = torch.from_numpy(scipy.stats.norm.logpdf(eta))  # change of variables
    assert torch.equal(StandardNormal().from_normal(eta), eta)
    torch.testing.assert_close(logistic_log_prob(z[:, None]) + slope.log(), of_normal, rtol=1e-6, atol=1e-6)


def test_samples_of_a_seed_are_its_own(model_and_view):
    model, view = model_and_view
    (batch,) = pictures.sample_batches(model, NoiseSource((0, 1), CPU), DATA_DIM, 10)
    (swapped,) = pictures.sample_batches(model, NoiseSource((0, 7), CPU), DATA_DIM, 10)
    for images, others in zip(batch, swapped, strict=True):
        assert images.shape == (2, pictures.BATCH, DATA_DIM) and torch.isfinite(images).all()
        torch.testing.assert_close(images[0], others[0])
    if view == "binary":
        assert set(batch.drawn.unique().tolist()) <= {0.0, 1.0} and 0 <= batch.means.min() <= batch.means.max() <= 1


def test_drawn_pixels_scatter_around_their_mean_as_the_likelihood_says(model_and_view):
    model, view = model_and_view
    if not isinstance(model, LatentVariableModel):
        pytest.skip("no p(x|z)")
    batches = list(pictures.sample_batches(model, NoiseSource((0, 1), CPU), DATA_DIM, 4000))
    means, drawn = (torch.cat([getattr(batch, kind) for batch in batches], 1).double() for kind in ("means", "drawn"))
    variance = means * (1 - means) if view == "binary" else model.likelihood.log_variance().exp().expand_as(means)
    residual = (drawn - means) / variance.mean((1, 2), keepdim=True).sqrt()
    assert residual.mean((1, 2)).abs().max() < 0.02
    torch.testing.assert_close(residual.square().mean((1, 2)), torch.ones(2).double(), rtol=0.03, atol=0)


def test_a_flow_decodes_what_it_encodes():
    model = build("nice")
    x = torch.rand(2, 5, DATA_DIM, dtype=torch.float64)
    torch.testing.assert_close(model.decode(model.encode(x, x.new_zeros(2, 5, 0))), x)


@pytest.mark.parametrize("method", ["vae", "lvdae", "lvdae-nice", "vdae-resnet"])
def test_activity_is_the_variance_of_the_posterior_means(method):
    model = build(method)
    if method == "vdae-resnet":  # so much noise that what an average leaves of it would count
        model.posterior.scale.log_sigma.data.fill_(1.5)
    x = torch.rand(100, DATA_DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = pictures.unit_variances(model, x, NoiseSource((0, 1), CPU))
    eta = torch.randn(2, 100, 3000, model.noise_dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        z = model.posterior.condition(x.expand(2, -1, -1), 3000)(eta)[0]
    truth = z.mean(2).var(1) - z.var(2).mean(1) / 3000
    if model.posterior.mean_is_exact:
        torch.testing.assert_close(ours, truth, rtol=0.05, atol=5e-3)
    else:  # the bias would be more than the truth itself; over all latents an estimate's errors cancel
        torch.testing.assert_close(ours.mean(1), truth.mean(1), rtol=0.1, atol=0)


def test_correlations_are_those_of_the_samples():
    model = build("lvdae")
    x = torch.rand(2, 3, DATA_DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    correlation = model.posterior.correlation(x)
    eta = torch.randn(2, 3, 20_000, model.noise_dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = model.posterior.condition(x, 20_000)(eta)[0]
    for replica in range(2):
        for image in range(3):
            sampled = torch.corrcoef(z[replica, image].T)
            torch.testing.assert_close(correlation[replica, image], sampled, rtol=0, atol=0.03)
    mean, absolute = pictures.mean_correlations(model.posterior, x[0], 2)
    each = model.posterior.correlation(x[:1].expand(2, -1, -1))
    torch.testing.assert_close(mean, each.mean(1))
    m = model.noise_dim
    off = each.abs().sum((2, 3)) - m
    torch.testing.assert_close(absolute, off.mean(1) / (m * (m - 1)))


def test_interpolations_start_and_end_at_the_two_images():
    model = build("vae").float()
    x = torch.rand(6, DATA_DIM)
    lines = pictures.interpolations(model, x, NoiseSource((0, 1), CPU))
    assert lines.shape == (2, pictures.PAIRS, pictures.INTERPOLATION_STEPS, DATA_DIM)
    ends = model.decode(model.posterior.moments(x.expand(2, -1, -1))[0])
    torch.testing.assert_close(lines[:, :, 0], ends[:, 0::2])
    torch.testing.assert_close(lines[:, :, -1], ends[:, 1::2])


@pytest.mark.parametrize(("images", "pairs"), [(1, 0), (2, 1), (5, 2), (20, 3)])
def test_there_are_as_many_interpolations_as_pairs_of_images(images, pairs):
    lines = pictures.interpolations(build("vae").float(), torch.rand(images, DATA_DIM), NoiseSource((0, 1), CPU))
    assert lines.shape == (2, pairs, pictures.INTERPOLATION_STEPS, DATA_DIM)


def test_active_units_of_a_seed_are_the_same_whatever_is_beside_it(monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK_ROWS", 512)
    both = build("vdae-resnet")
    x = torch.rand(40, DATA_DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = pictures.unit_variances(both, x, NoiseSource((3, 4), CPU))
    for _, parameter in both.named_parameters():
        parameter.data = parameter.data[1:]
    for _, buffer in both.named_buffers():
        buffer.data = buffer.data[1:]
    alone = pictures.unit_variances(both, x, NoiseSource((4,), CPU))
    torch.testing.assert_close(alone[0], together[1])


def test_a_scale_for_each_latent_is_no_single_number_and_is_left_out():
    model = build("vae")
    model.log_sigma = torch.nn.Parameter(torch.zeros(2, 1, 3))
    model.register_buffer("log_lambda", torch.full((2, 1), -1.0))
    assert pictures.scales_of(model, 1) == {"log_lambda": -1.0}


def test_pixels_outside_the_interval_are_cut_off():
    x = torch.tensor([-0.5, 0.0, 0.5, 1.0, 7.0, torch.inf, -torch.inf, torch.nan])
    assert pictures.as_bytes(x).tolist() == [0, 0, 128, 255, 255, 255, 0, 0]
