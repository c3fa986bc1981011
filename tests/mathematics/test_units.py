"""Units: bits/dim of densities on [0, 1], what NICE can reach at most, nats of binary images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tests.support.models import SMALL
from tests.support.truths import randn
from vdae_bench.data.images import load_images
from vdae_bench.data.units import bits_per_dim
from vdae_bench.data.views import ViewedImages, binarise, dequantise
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.execute import run_plan
from vdae_bench.running.plan import plan
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store

DIMS = 10


def test_known_values():
    assert bits_per_dim(-1980.50, 784) == pytest.approx(4.36, abs=0.005)  # NICE's own paper
    assert bits_per_dim(0.0, 784) == 8.0  # a uniform density on [0, 1]
    assert bits_per_dim(100 + 784 * math.log(2), 784) == pytest.approx(bits_per_dim(100, 784) + 1)


def test_a_constant_density_in_each_level_costs_the_bits_of_the_level():
    """p(x) = 256 P(level of x): bits/dim of dequantised pixels are -log2 P of the 8-bit ones, whatever the noise."""
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(256))
    pixels = generator.integers(0, 256, (20, DIMS)).astype(np.uint8)
    uniform = torch.rand(20, DIMS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = dequantise(torch.from_numpy(pixels), uniform).numpy()
    density = stats.rv_histogram((probability, np.linspace(0, 1, 257)))
    for image, row in zip(pixels, x, strict=True):
        nats = -density.logpdf(row).sum()
        assert bits_per_dim(nats, DIMS) == pytest.approx(-np.log2(probability[image]).mean(), rel=1e-12)


def test_dequantised_pixels_fill_their_level_and_binary_ones_have_their_probability():
    """x = (v + u) / 256; x = 1 with probability v / 255: u < v / 255, by definition of a uniform u."""
    pixels = torch.arange(256, dtype=torch.uint8)
    low, high = (dequantise(pixels, torch.full((256,), u, dtype=torch.float64)) for u in (0.0, 1.0))
    assert torch.equal(low, torch.arange(256, dtype=torch.float64) / 256)
    assert torch.equal(high[:-1], low[1:]) and high[-1] == 1
    count = 10_000
    grid = ((torch.arange(count, dtype=torch.float64) + 0.5) / count)[:, None].expand(-1, 256)
    binary = binarise(pixels.expand(count, -1), grid)
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    assert (binary.mean(0) - torch.arange(256) / 255).abs().max() < 1 / count
    assert not binary[:, 0].any() and binary[:, 255].all()


def nice(log_scale: float):
    """Random couplings; s equal to `log_scale` on average."""
    model = get_method("nice").build(Problem(2, DIMS, DIMS, "continuous", SMALL)).double()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape, seed=130 + index))
        s = model.flow.scaling.log_scale
        s.copy_(0 * s if log_scale == 0 else log_scale + s - s.mean(-1, keepdim=True))
    return model


@pytest.mark.parametrize(("log_scale", "least"), [(0.0, 10.0), (1.0, 10 - 1 / math.log(2)), (4.0341, 4.18)])
def test_nice_is_never_below_ten_bits_less_its_scale(log_scale, least):
    """bits/dim >= 10 - mean(s) / ln 2: a logistic density is 1/4 at most, at z = 0; 4.18 needs mean(s) of 4.03."""
    model = nice(log_scale)
    tolerance = 1e-4 if least == 4.18 else 1e-9  # that mean(s) is rounded

    def bits(x):
        return [bits_per_dim(nats, DIMS) for nats in (-model.log_prob(x)).flatten().tolist()]

    with torch.no_grad():
        mode = model.flow.inverse(torch.zeros(2, 1, DIMS, dtype=torch.float64))
        assert bits(mode) == pytest.approx([least] * 2, abs=tolerance)
        for deviation in (1e-3, 0.1, 1.0, 10.0):
            assert min(bits(mode + deviation * randn(2, 500, DIMS, seed=131))) > least - tolerance
        assert min(bits(mode + 1e-3 * randn(2, 500, DIMS, seed=131))) > min(bits(mode))


SPEC = """\
version: 1
name: units
include:
  - {dataset: binary-tiny, method: vae, latents: 4}
  - {dataset: continuous-tiny, method: vae, latents: 4}
  - {dataset: binary-tiny, method: independent-pixels, latents: 0}
  - {dataset: continuous-tiny, method: independent-pixels, latents: 0}
protocol: {base: smoke, epochs: 1, seeds: 1, train_images: null, validation_images: 20, elbo_images: 30,
           nll_images: 30, importance_samples: 3}
hyperparameters: {hidden_size: 4}
"""


def test_records_convert_continuous_data_and_leave_binary_data_in_nats(tiny_data, tmp_path):
    """n = 36; the baselines against scipy's Bernoulli and logistic on the same test draw."""
    path = tmp_path / "units.yaml"
    path.write_text(SPEC)
    context = RunContext(Store(tmp_path / "results"), torch.device("cpu"), 1, tiny_data[0])
    outcome = run_plan(plan(load_spec(path), context.store), context, QuietProgress(lambda: 1.0), StopToken())
    tests = {(each.cell.dataset, each.cell.method): each.metrics.test for each in outcome.records}
    assert len(tests) == 4 and not outcome.failures
    for (dataset, _), test in tests.items():
        for name in ("nll", "neg_elbo"):
            nats, bits = getattr(test, f"{name}_nats"), getattr(test, f"{name}_bits_per_dim")
            if dataset.startswith("binary") or nats is None:
                assert bits is None
            else:
                assert bits == pytest.approx(nats / 36 / math.log(2) + 8)
    images = load_images("tiny", tiny_data[0])
    levels = images.train.double()
    binary = ViewedImages(images, "binary", context.device).held_out("test").double().numpy()
    mean = (levels / 255).mean(0).clamp(1e-5, 1 - 1e-5).numpy()
    expected = -stats.bernoulli.logpmf(binary, mean).sum(1).mean()
    assert tests["binary-tiny", "independent-pixels"].nll_nats == pytest.approx(expected, rel=1e-4)
    continuous = ViewedImages(images, "continuous", context.device).held_out("test").double().numpy()
    mean, variance = (levels.mean(0) + 0.5) / 256, (levels.var(0, correction=0) + 1 / 12) / 256**2
    density = stats.logistic(mean.numpy(), (variance.sqrt() * 3**0.5 / math.pi).numpy())
    expected = -density.logpdf(continuous).sum(1).mean()
    assert tests["continuous-tiny", "independent-pixels"].nll_nats == pytest.approx(expected, rel=1e-4)
