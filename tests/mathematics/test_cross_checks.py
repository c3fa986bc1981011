"""The models against a second implementation (`reference.py`), a library's flow, and loops."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.distributions import AffineTransform, Independent
from torch.distributions.transforms import ComposeTransform

from tests.support.models import DATA_DIM, SMALL, build, latents_of, pairs
from tests.support.references import Reference, logistic
from tests.support.truths import randn
from vdae_bench.data.noise import NoiseSource, initial_generators
from vdae_bench.data.views import PixelStatistics
from vdae_bench.evaluation import likelihood as evaluation
from vdae_bench.evaluation.likelihood import EvaluationSettings, Evaluator
from vdae_bench.models.registry import Problem, get_method

IMAGES, SAMPLES = 3, 4


def images(view: str, count: int = IMAGES, replicas: int = 2) -> torch.Tensor:
    """Pixels in (0, 1), or 0 and 1; (R, N, n)."""
    x = torch.rand(replicas, count, DATA_DIM, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return (x > 0.5).double() if view == "binary" else x


REFERENCES = [(method, view) for method, view in pairs() if method in Reference.METHODS]


@pytest.fixture(params=REFERENCES, ids=lambda pair: "-".join(pair))
def method_and_view(request):
    return request.param


def references(method, view, model, output=None):
    return [Reference.of(method, view, model, replica, output) for replica in range(2)]


def check_log_weights(model, theirs, x):
    noise = randn(2, IMAGES, SAMPLES, model.noise_dim, seed=8)
    log_w = model.condition(x)(noise)
    for replica, reference in enumerate(theirs):
        for k in range(log_w.shape[2]):
            expected = reference.log_weight(x[replica], noise[replica, :, k])
            torch.testing.assert_close(log_w[replica, :, k], expected, rtol=1e-9, atol=1e-9)


def check_bound(model, theirs, x):
    noise = randn(2, IMAGES, model.training_noise_dim, seed=9)
    terms = model.bound_terms(x, noise, log_det_rows=10**6)
    for replica, reference in enumerate(theirs):
        reconstruction, divergence = reference.bound(x[replica], noise[replica])
        torch.testing.assert_close(terms.reconstruction[replica], reconstruction.mean(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(terms.divergence[replica], divergence.mean(), rtol=1e-9, atol=1e-9)


def test_log_weights_are_those_of_the_second_implementation(method_and_view):
    method, view = method_and_view
    model = build(method, view)
    check_log_weights(model, references(method, view, model), images(view))


def test_the_training_bound_is_that_of_the_second_implementation(method_and_view):
    """For `vae` and `lvdae` the ELBO by torch.distributions and its KL."""
    method, view = method_and_view
    model = build(method, view)
    check_bound(model, references(method, view, model), images(view))


@pytest.mark.parametrize("log_det", ["subset", "projected"])
def test_so_is_the_bound_with_a_jacobian_vector_product_as_sample(log_det):
    """`subset` with all images: z = f(x) + sigma J w; `projected` has the sample of `exact`."""
    model = build("lvdae", log_det=log_det)
    check_bound(model, references("lvdae", "continuous", model), images("continuous"))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("vae", {"decoder_output": "linear"}),
        ("lvdae", {"decoder_output": "linear"}),
        ("vdae-nice", {"decoder_output": "linear", "log_sigma": -1.5}),
        ("vdae-resnet", {"decoder_output": "linear", "decoder_variance": "tied", "decoder_blocks": 2}),
        ("vdae-coupled", {"decoder_variance": "tied"}),
        ("lvdae-nice", {"decoder_variance": "tied", "log_sigma": -2.0}),
    ],
)
def test_options_of_the_continuous_decoder_too(method, options):
    problem = Problem(2, DATA_DIM, latents_of(method), "continuous", SMALL, options, "exact")
    model = get_method(method).build(problem).double()
    model.initialise(initial_generators((0, 1)))
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter += 0.2 * randn(*parameter.shape, seed=index)
    theirs = references(method, "continuous", model, options.get("decoder_output"))
    check_log_weights(model, theirs, images("continuous"))
    check_bound(model, theirs, images("continuous"))


def test_a_sampler_of_many_gives_what_a_sampler_of_few_gives():
    """`lvdae-nice` forms J where more than n samples are asked for."""
    model = build("lvdae-nice")
    x, noise = images("continuous"), randn(2, IMAGES, SAMPLES, DATA_DIM, seed=10)
    many, few = (model.condition(x, samples)(noise) for samples in (DATA_DIM + 1, DATA_DIM))
    torch.testing.assert_close(many, few, rtol=1e-11, atol=1e-11)
    assert [model.jacobian_rows(samples) for samples in (DATA_DIM + 1, DATA_DIM)] == [DATA_DIM, 1]


@pytest.mark.parametrize("method", ["vae", "lvdae", "lvdae-nice", "vdae-resnet", "nice"])
def test_importance_sampling_written_as_loops(method, monkeypatch):
    """-ELBO, NLL and effective sample size of each image, one sample at a time, over a block border of the noise."""
    monkeypatch.setattr(evaluation, "SAMPLE_BLOCK", 6)
    seeds, count, samples = (3, 8), 2, 9
    model = build(method, "continuous", seeds)
    x = images("continuous", count, 1)[0]
    evaluator = Evaluator(model, x, seeds, EvaluationSettings(samples, count, count, 1))
    assert evaluator.run(lambda: False, lambda: None)
    if method == "nice":
        samples = 1
    for replica, seed in enumerate(seeds):
        reference = Reference.of(method, "continuous", model, replica)
        for image in range(count):
            noise = []
            for block, size in enumerate((6, 3)):
                own = torch.empty(1, 1, size, model.noise_dim, dtype=torch.float64)
                NoiseSource((seed,), torch.device("cpu")).image_normal_("test", [image], block, own)
                noise += list(own[0, 0])
            weights, logs = [], []
            for eta in noise[:samples]:
                log_w = reference.log_weight(x[image : image + 1], eta[None]).item()
                logs.append(log_w)
                weights.append(math.exp(log_w))
            scores = evaluator.scores
            assert scores.neg_elbo[replica, image].item() == pytest.approx(-sum(logs) / samples, rel=1e-9)
            assert scores.nll[replica, image].item() == pytest.approx(-math.log(sum(weights) / samples), rel=1e-9)
            ess = sum(weights) ** 2 / sum(weight**2 for weight in weights)
            assert scores.effective_samples[replica, image].item() == pytest.approx(ess, rel=1e-9)


@pytest.mark.parametrize("dims", [6, 7])
def test_nice_is_zukos_nice(dims):
    """zuko's NICE with additive couplings, our weights, a scaling and a logistic base: density, latents, inverse."""
    zuko = pytest.importorskip("zuko")
    hyper = {"couplings": 4, "coupling_layers": 3, "coupling_hidden_size": 5}
    model = get_method("nice").build(Problem(2, dims, dims, "continuous", hyper)).double()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape, seed=30 + index))
    x = randn(2, 10, dims, seed=29)
    log_prob = model.log_prob(x)
    for replica in range(2):
        theirs = zuko.flows.NICE(
            dims, transforms=4, hidden_features=(5, 5, 5), univariate=zuko.transforms.AdditiveTransform, shapes=[()]
        ).double()
        for coupling, lazy in zip(model.flow.couplings, theirs.transform.transforms, strict=True):
            linears = [module for module in lazy.hyper if hasattr(module, "weight")]
            for mine, copy in zip([*coupling.hidden, coupling.out], linears, strict=True):
                copy.weight.data = mine.weight.data[replica].T
                copy.bias.data = mine.bias.data[replica, 0]
        scaling = AffineTransform(0.0, model.flow.scaling.log_scale[replica, 0].exp(), event_dim=1)
        transform = ComposeTransform([theirs.transform(), scaling])
        base = Independent(logistic().expand((dims,)), 1)
        density = zuko.distributions.NormalizingFlow(transform, base)
        torch.testing.assert_close(log_prob[replica], density.log_prob(x[replica]), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(model.flow(x)[replica], transform(x[replica]), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(model.flow.inverse(x)[replica], transform.inv(x[replica]), rtol=1e-10, atol=1e-10)


def test_nice_started_from_data_is_one_logistic_a_pixel():
    """Against scipy: at its data-initialised start each pixel has a logistic density of its own mean and variance."""
    model = get_method("nice").build(Problem(2, DATA_DIM, DATA_DIM, "continuous", SMALL)).double()
    model.initialise(initial_generators((0, 1)))
    mean, deviation = torch.linspace(0.1, 0.9, DATA_DIM).double(), torch.linspace(0.01, 0.4, DATA_DIM).double()
    model.initialise_from_data(PixelStatistics(mean, deviation**2))
    density = stats.logistic(mean.numpy(), 3**0.5 / math.pi * deviation.numpy())
    assert density.std() == pytest.approx(deviation.numpy())
    x = images("continuous")
    expected = torch.from_numpy(density.logpdf(x.numpy()).sum(-1))
    torch.testing.assert_close(model.log_prob(x), expected, rtol=1e-9, atol=1e-9)
