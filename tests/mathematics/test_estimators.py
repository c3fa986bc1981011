"""Estimators: unbiased where an exact value is known, with their extra variance; importance sampling as K grows."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.support.models import DATA_DIM, LATENTS, build, pairs
from tests.support.references import Reference
from tests.support.truths import LINEAR_GAUSSIAN, full_jacobians, gauss_hermite, quadratic_nodes, randn
from vdae_bench.data.noise import NoiseSource
from vdae_bench.evaluation.likelihood import score_images
from vdae_bench.models.log_det import lanczos_rows, log_quadrature
from vdae_bench.models.posteriors import LinearisedFlow
from vdae_bench.models.registry import Problem, get_method

CPU = torch.device("cpu")
BATCH = 6


def pixels(images: int, seed: int = 7) -> torch.Tensor:
    return torch.rand(2, images, DATA_DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The log-determinant on a part of the batch


def terms_of_c(model, x):
    """1/2 (sigma^2 tr C - log det C) of each image, C by autograd: (R, N)."""
    jacobian = full_jacobians(model.posterior.encoder, x)
    sigma2 = model.posterior.log_sigma.detach().exp().square()[..., 0]
    return 0.5 * (sigma2 * jacobian.square().sum((2, 3)) - torch.logdet(jacobian @ jacobian.mT))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("log_det", ["subset", "projected"])
def test_over_all_shifts_of_a_batch_a_part_is_unbiased(log_det, size):
    """Each image takes its turn in the part: value and every gradient average to those of `exact`."""
    exact, subset = build("lvdae", log_det="exact"), build("lvdae", log_det=log_det)
    x = pixels(BATCH)
    zero = torch.zeros(2, BATCH, subset.training_noise_dim, dtype=torch.float64)
    expected = exact.posterior.sample_with_divergence(x, zero[..., :LATENTS], exact.prior, 1).divergence
    expected.sum().backward()
    values = torch.stack(
        [
            subset.posterior.sample_with_divergence(x.roll(shift, 1), zero, subset.prior, size * LATENTS)[1]
            for shift in range(BATCH)
        ]
    )
    values.mean(0).sum().backward()
    torch.testing.assert_close(values.mean(0), expected, rtol=1e-12, atol=1e-12)
    assert values.std(0).min() > 1e-3  # a part alone is not the mean
    for mine, theirs in zip(subset.posterior.parameters(), exact.posterior.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_extra_variance_of_a_part(size):
    """Over all parts of S of N images: (1 - S/N) s^2 / S, s^2 the variance of 1/2 (sigma^2 tr C - log det C)."""
    model = build("lvdae", log_det="subset")
    x, zero = pixels(BATCH), torch.zeros(2, BATCH, DATA_DIM, dtype=torch.float64)
    values, stated = [], []
    for part in itertools.combinations(range(BATCH), size):
        order = [*part, *(image for image in range(BATCH) if image not in part)]
        with torch.no_grad():
            sample = model.posterior.sample_with_divergence(x[:, order], zero, model.prior, size * LATENTS)
        values.append(sample.divergence)
        stated.append(sample.divergence_variance)
    expected = (1 - size / BATCH) * terms_of_c(model, x).var(1) / size
    torch.testing.assert_close(torch.stack(values).var(0, correction=0), expected, rtol=1e-9, atol=1e-12)
    if size == 1:  # one image alone does not say how much images differ
        assert torch.stack(stated).isinf().all()
    else:
        torch.testing.assert_close(torch.stack(stated).mean(0), expected, rtol=1e-9, atol=1e-12)


def test_log_det_rows_set_the_size_of_the_part(monkeypatch):
    model = build("lvdae", log_det="subset")
    images = []
    original = LinearisedFlow._jacobian
    monkeypatch.setattr(
        LinearisedFlow, "_jacobian", lambda self, pull, x, n: images.append(n) or original(self, pull, x, n)
    )
    x, noise = pixels(8), torch.zeros(2, 8, DATA_DIM, dtype=torch.float64)
    for rows in (0, LATENTS, 2 * LATENTS, 10**6):
        model.posterior.sample_with_divergence(x, noise, model.prior, rows)
    assert images == [1, 1, 2, 8]


# Stochastic Lanczos quadrature


def all_signs(m):
    """Every probe of m random signs, (2^m, m)."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=m)), dtype=torch.float64)


def test_with_m_steps_lanczos_is_unbiased_over_all_probes():
    """Value and every gradient average to those of `exact`, tr C with log det C; one probe alone is far from them."""
    exact, lanczos = build("lvdae", log_det="exact"), build("lvdae", log_det="lanczos")
    assert lanczos.posterior.lanczos_steps == LATENTS  # no more than there are
    x, probes = pixels(BATCH), all_signs(LATENTS)
    zero = torch.zeros(2, BATCH, DATA_DIM, dtype=torch.float64)
    expected = exact.posterior.sample_with_divergence(x, zero[..., :LATENTS], exact.prior, 1).divergence
    expected.sum().backward()

    def with_probes(x, probes):
        noise = torch.cat((x.new_zeros(x.shape), probes.expand(2, -1, -1)), -1)
        return lanczos.posterior.sample_with_divergence(x, noise, lanczos.prior, 10**6).divergence

    found = with_probes(x.repeat(1, len(probes), 1), probes.repeat_interleave(BATCH, 0))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert (with_probes(x, probes[:1].expand(BATCH, -1)) - expected).abs().min() > 1e-3
    found.sum().backward()
    for mine, theirs in zip(lanczos.posterior.parameters(), exact.posterior.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("condition", [9.0, 160.0])
def test_the_bias_of_lanczos_is_as_stated(steps, condition):
    """Against slogdet, over all probes: each is too high by at most 2 m r^2k / (k (1 - r)); none is at k = m."""
    m, replicas = 7, 3
    frame = torch.linalg.qr(randn(replicas, 12, m, seed=130))[0].mT
    turn = torch.linalg.qr(randn(replicas, m, m, seed=131))[0]
    spectrum = torch.logspace(0, math.log10(condition), m, dtype=torch.float64)
    jacobian = (turn * spectrum.sqrt()) @ frame  # C has that spectrum, in other directions in each replica
    log_c = (turn * spectrum.log()) @ turn.mT
    probes = all_signs(m).expand(replicas, -1, -1)
    rows = lanczos_rows(
        lambda g: (g.flatten(1, 2) @ jacobian)[:, :, None],
        lambda t: (t.flatten(1, 2) @ jacobian.mT)[:, :, None],
        probes,
        steps,
    )
    values = m * log_quadrature(rows)
    bias = values - ((probes @ log_c) * probes).sum(-1)
    root = math.sqrt(condition)
    r = (root - 1) / (root + 1)
    assert bias.min() > -1e-6 and bias.max() < 2 * m * r ** (2 * steps) / (steps * (1 - r)) + 1e-6
    off = values.mean(1) - torch.linalg.slogdet(jacobian @ jacobian.mT).logabsdet
    torch.testing.assert_close(off, bias.mean(1), rtol=1e-9, atol=1e-9)  # the probes themselves are unbiased
    assert (off.abs().max() < 1e-6) if steps == m else (off.min() > 1e-5)


def test_lanczos_starts_where_c_is_the_identity_and_its_basis_ends_at_once():
    """As training does, where projections are orthonormal: the value is 0, and the gradient that of one step."""
    weight = torch.eye(5, 8, requires_grad=True)
    probe = torch.tensor([[[1.0, -1.0, 1.0, 1.0, -1.0]]])
    log_det = 5 * log_quadrature(lanczos_rows(lambda g: g @ weight, lambda t: t @ weight.mT, probe, 4))
    assert abs(log_det.item()) < 1e-5
    log_det.sum().backward()
    expected = torch.zeros(5, 8)
    expected[:, :5] = 2 * probe[0].mT @ probe[0]
    torch.testing.assert_close(weight.grad, expected, rtol=1e-5, atol=1e-5)


def test_replicas_of_lanczos_and_its_validation_are_apart():
    """A replica's terms are those it has alone; without gradients C is exact, on the part that `subset` has."""
    model, subset = build("lvdae", log_det="lanczos"), build("lvdae", log_det="subset")
    x, noise = pixels(BATCH), randn(2, BATCH, DATA_DIM + LATENTS, seed=132)
    both = model.posterior.sample_with_divergence(x, noise, model.prior, 10**6)
    changed = x.clone()
    changed[1] = 0.5
    one = model.posterior.sample_with_divergence(changed, noise, model.prior, 10**6)
    assert torch.equal(both.divergence[0], one.divergence[0]) and both.divergence[1] != one.divergence[1]
    assert (both.divergence_variance > 0).all()  # though all images have a probe
    with torch.no_grad():
        mine = model.posterior.sample_with_divergence(x, noise, model.prior, 2 * LATENTS)
        theirs = subset.posterior.sample_with_divergence(x, noise[..., :DATA_DIM], subset.prior, 2 * LATENTS)
    assert torch.equal(mine.divergence, theirs.divergence) and torch.equal(mine.z, theirs.z)


# The sample f(x) + sigma J w


SIZES = {"hidden_size": 5, "residual_blocks": 1}
N, M, IMAGES = 6, 2, 4


def copies(replicas: int, log_det: str, output: str):
    """`lvdae`, equal parameters in all replicas: each replica is a draw of the gradient.

    The decoder's residuals are 0, so that what follows f is smooth and an exact gradient can be had by quadrature.
    """
    options = {"decoder_output": output}
    model = get_method("lvdae").build(Problem(replicas, N, M, "continuous", SIZES, options, log_det)).double()
    with torch.no_grad():
        for index, (name, parameter) in enumerate(model.named_parameters()):
            parameter.copy_(0.4 * randn(*parameter.shape[1:], seed=100 + index))
            if name.startswith("decoder") and "residual" in name:
                parameter.zero_()
    return model


def names(model):
    """Parameters with a smooth loss: all but the decoder's residuals."""
    return [name for name, _ in model.named_parameters() if not (name.startswith("decoder") and "residual" in name)]


def gradients(model, x, noise, rows):
    """Those of -ELBO in each replica, (R, P)."""
    loss = model.bound_terms(x, noise, rows).neg_elbo.sum()
    parameters = [model.get_parameter(name) for name in names(model)]
    return torch.cat([each.flatten(1) for each in torch.autograd.grad(loss, parameters)], 1)


def exact_gradient(x, nodes, weights, output):
    """d(-ELBO)/d theta (P,) by the second implementation, E over eta in R^m by quadrature, mean over images (N, n)."""
    model = copies(1, "exact", output)
    leaves = {name: value[0].detach().requires_grad_() for name, value in model.named_parameters()}
    reference = Reference("lvdae", "continuous", leaves, output)
    loss = torch.zeros((), dtype=torch.float64)
    for image in x:
        reconstruction, divergence = reference.bound(image.expand(len(nodes), -1), nodes)
        loss = loss + ((reconstruction + divergence) @ weights) / len(x)
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, [leaves[name] for name in names(model)])])


def test_a_jacobian_vector_product_as_sample_is_unbiased_exactly():
    """With a linear output the loss is quadratic in the noise: nodes in R^n and in R^m give the same gradient.

    `projected` too: what its w lacks is independent of the sample, with mean 0.
    """
    image = randn(N, seed=110)
    small, large = quadratic_nodes(M), quadratic_nodes(N)
    expected = exact_gradient(image[None], small, torch.full((2 * M,), 0.5 / M, dtype=torch.float64), "linear")
    for log_det, nodes in (("exact", small), ("projected", small), ("subset", large)):
        model = copies(1, log_det, "linear")
        x = image.expand(1, len(nodes), -1)
        torch.testing.assert_close(gradients(model, x, nodes[None], 10**6)[0], expected, rtol=1e-9, atol=1e-10)
        alone = gradients(model, x[:, :1], nodes[None, :1], 10**6)[0]
        assert (alone - expected).abs().max() > 1e-2  # one draw is not the mean


ESTIMATORS = {
    "exact": ("exact", 1),
    "projected": ("projected", 10**6),
    "J w": ("subset", 10**6),
    "lanczos": ("lanczos", 10**6),
    "half": ("subset", IMAGES // 2 * M),
}
"""Estimator and rows of Jacobian for the log-determinant: 10^6 is all images, the last half of them."""


def test_mean_gradients_meet_the_exact_one_and_their_extra_variance_is_known():
    """Each draw has its own order of the batch and its own noise; a sigmoid follows the linear decoder.

    The samples J w and J w' have 1.3 and 1.04 times the variance of L eta here; log det C on half of the batch adds the
    variance over all halves.
    """
    replicas, rounds = 250, 8
    x = torch.sigmoid(randn(IMAGES, N, seed=111))
    expected = exact_gradient(x, *gauss_hermite(M, order=24), "sigmoid")
    generator = torch.Generator().manual_seed(112)
    variance = {}
    for name, (log_det, rows) in ESTIMATORS.items():
        model = copies(replicas, log_det, "sigmoid")
        rounds_of_draws = []
        for _ in range(rounds):
            orders = torch.rand(replicas, IMAGES, generator=generator).argsort(1)
            noise = torch.randn(replicas, IMAGES, model.training_noise_dim, generator=generator, dtype=torch.float64)
            rounds_of_draws.append(gradients(model, x[orders], noise, rows))
        draws = torch.cat(rounds_of_draws)
        score = (draws.mean(0) - expected) / (draws.std(0) / len(draws) ** 0.5 + 1e-9)
        assert score.abs().max() < 4 and score.square().mean() < 2, name
        variance[name] = draws.var(0).sum().item()
    assert variance["exact"] < variance["J w"] < 2 * variance["exact"]
    assert variance["projected"] < variance["J w"] < variance["lanczos"]
    one = copies(1, "subset", "sigmoid")
    no_noise = torch.zeros(1, IMAGES, N, dtype=torch.float64)
    halves = [
        gradients(one, x[None, list(order)], no_noise, IMAGES // 2 * M)
        for order in itertools.permutations(range(IMAGES))
    ]
    added = torch.cat(halves).var(0, correction=0).sum().item()
    assert variance["half"] == pytest.approx(variance["J w"] + added, rel=0.1) and added > variance["J w"]


# Log weights


# Training by i-ResNet takes an estimate of the determinant, which `test_flows` has.
@pytest.fixture(params=[pair for pair in pairs() if pair[0] != "i-resnet"], ids=lambda pair: "-".join(pair))
def method_and_view(request):
    return request.param


def test_log_weights_average_to_the_training_bound(method_and_view):
    """Closed KL (`vae`, `lvdae`) or sampled: log q - log p(z) is quadratic there, so nodes give its mean exactly."""
    method, view = method_and_view
    model = build(method, view)
    nodes = quadratic_nodes(model.noise_dim) if model.noise_dim else torch.empty(1, 0, dtype=torch.float64)
    for image in range(2):
        x = pixels(2)[:, image : image + 1]
        x = x.round() if view == "binary" else x
        log_w = model.condition(x)(nodes.expand(2, 1, -1, -1))
        terms = model.bound_terms(x.expand(-1, len(nodes), -1), nodes.expand(2, -1, -1), 10**6)
        torch.testing.assert_close(
            -(terms.reconstruction + terms.divergence), log_w.mean((1, 2)), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("name", ["lvdae", "push-forward"])
def test_nll_falls_with_k_and_never_beats_the_true_marginal(name):
    """NLL - (-log p) over 200 images: positive within its error, smaller at 8 times as many samples, and going to 0."""
    linear = LINEAR_GAUSSIAN[name]()
    x = randn(200, linear.loading.shape[2], seed=120)
    gaps, errors = [], []
    for samples in (1, 8, 64, 512):
        scores = score_images(linear.model, x, range(200), NoiseSource((3, 4), CPU), samples)
        excess = (scores.nll + linear.log_marginal(x))[1]
        gaps.append(excess.mean().item())
        errors.append(excess.std().item() / len(x) ** 0.5)
        if samples == 1:
            assert torch.equal(scores.nll, scores.neg_elbo)
    assert all(gap > -4 * error for gap, error in zip(gaps, errors, strict=True))
    assert gaps[0] > gaps[1] > gaps[2] and gaps[3] < 0.1 * gaps[0]
    assert gaps[0] > 3 * errors[0]
