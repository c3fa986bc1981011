"""VDAE generalises flows: Appendix A and B, with decoder f^-1 and variance sigma^2 tied to the noise, eq. (6)."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import MultivariateNormal

from tests.support.models import SMALL
from tests.support.references import Reference
from tests.support.truths import affine_nice, full_jacobians, gauss_hermite, quadratic_nodes, randn
from vdae_bench.data.noise import NoiseSource
from vdae_bench.evaluation.likelihood import score_images
from vdae_bench.models import layers
from vdae_bench.models.flows.couplings import InverseFlow
from vdae_bench.models.likelihoods import Gaussian
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.posteriors import LinearisedBijection, NoiseScale, PushForward
from vdae_bench.models.priors import StandardNormal
from vdae_bench.models.registry import Problem, get_method

CPU = torch.device("cpu")
DIMS = 4


@pytest.fixture
def smooth(monkeypatch):
    """Couplings of tanh units: the ReLUs of the package replaced, those of the rest of torch left alone."""
    monkeypatch.setattr(layers, "F", SimpleNamespace(relu=lambda x, inplace: torch.tanh(x)))


def coupled(dims: int, log_sigmas: list[float], method: str = "vdae-coupled") -> LatentVariableModel:
    """The tied model as registered, logistic prior: equal random parameters in every replica, sigma its own."""
    options = {"decoder_variance": "tied"}
    each = tuple({**options, "log_sigma": value} for value in log_sigmas)
    problem = Problem(len(each), dims, dims, "continuous", SMALL, options, replica_options=each)
    model = get_method(method).build(problem).double()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape[1:], seed=40 + index))
    return model


def affine(log_sigma: float, posterior=PushForward, dims: int = DIMS) -> LatentVariableModel:
    """The tied model with an affine f and a normal prior: two replicas that differ in f."""
    flow = affine_nice(2, dims, seed=60)
    noise = NoiseScale([log_sigma, log_sigma], learned=False).double()
    likelihood = Gaussian(2, "linear", tied=lambda: noise.log_sigma)
    return LatentVariableModel(posterior(flow, noise, dims), InverseFlow(flow), likelihood, StandardNormal()).double()


def pulled_back_normal(model, extra_variance: float = 0.0) -> MultivariateNormal:
    """The density of f^-1(u), u ~ N(0, I), convolved with N(0, extra_variance I), for an affine f(x) = x A + c."""
    flow = model.posterior.flow
    zero = torch.zeros(2, 1, flow.scaling.log_scale.shape[-1], dtype=torch.float64)
    inverse = torch.linalg.inv(full_jacobians(flow, zero)[:, 0].mT)
    mean = -(flow(zero).detach() @ inverse)
    covariance = inverse.mT @ inverse + extra_variance * torch.eye(zero.shape[-1], dtype=torch.float64)
    return MultivariateNormal(mean, covariance[:, None])


def flow_log_prob(model, x: torch.Tensor, replica: int = 0) -> torch.Tensor:
    """log p(f(x)) + log |det df/dx| of points (..., n), by `slogdet` of the full Jacobian and torch's logistic."""
    parameters = {
        name.removeprefix("posterior."): value[replica]
        for name, value in model.state_dict().items()
        if name.startswith("posterior.flow.")
    }
    return Reference("nice", "continuous", parameters).log_prob(x)


def exact_bound(model, x: torch.Tensor, order: int) -> torch.Tensor:
    """E_q[log w] of images (N, n) under each replica, by a Gauss-Hermite grid over the noise: (R, N)."""
    nodes, weights = gauss_hermite(x.shape[1], order)
    replicas = len(model.posterior.log_sigma)
    with torch.no_grad():
        log_w = model.condition(x.expand(replicas, -1, -1))(nodes.expand(replicas, len(x), -1, -1))
    return log_w @ weights


def test_a_log_weight_is_the_flows_density_at_the_noisy_point():
    """Appendix A, third line: the noise terms cancel, log w = log p(f(x + eps)) + log |det df/dx (x + eps)|."""
    model = coupled(DIMS, [-2.0, 0.3])
    x, w = randn(3, DIMS, seed=41), randn(2, 3, 5, DIMS, seed=42)
    log_w = model.condition(x.expand(2, -1, -1))(w)
    for replica, sigma in enumerate(model.posterior.log_sigma.exp().flatten()):
        expected = flow_log_prob(model, (x[:, None] + sigma * w[replica]).flatten(0, 1), replica)
        torch.testing.assert_close(log_w[replica].flatten(), expected, rtol=1e-9, atol=1e-9)


def test_the_entropy_of_the_noise():
    """H[q(z|x)] = n/2 log(2 pi e sigma^2) + E log |det df/dx|: Appendix A has n (log(2 pi sigma) + 1/2)."""
    model = coupled(DIMS, [-2.0, 0.3])
    nodes = quadratic_nodes(DIMS)
    x = randn(2, 1, DIMS, seed=43)
    _, log_q = model.posterior.condition(x)(nodes.expand(2, 1, -1, -1))
    variance = model.posterior.log_sigma.exp().square().flatten()
    volume = torch.linalg.slogdet(full_jacobians(model.posterior.flow, x)).logabsdet[:, 0]
    expected = 0.5 * DIMS * torch.log(2 * math.pi * math.e * variance) + volume
    torch.testing.assert_close(-log_q.mean((1, 2)), expected, rtol=1e-10, atol=1e-10)


def test_the_bound_tends_to_the_flows_likelihood(smooth):
    """log p_flow(x) - ELBO = -sigma^2 / 2 tr(Hessian of log p_flow at x) + O(sigma^4): Appendix A with its rate."""
    model = coupled(3, [math.log(0.1), math.log(0.05), math.log(0.025)])
    x = randn(4, 3, seed=44)

    def flow(point: torch.Tensor) -> torch.Tensor:
        return model.posterior.flow(point.expand(3, 1, -1))[0, 0]

    def log_prob(point: torch.Tensor) -> torch.Tensor:
        z = flow(point)
        volume = torch.linalg.slogdet(torch.func.jacrev(flow)(point)).logabsdet
        return -(z + 2 * torch.log1p(torch.exp(-z))).sum() + volume

    gap = torch.stack([log_prob(point) for point in x]).detach() - exact_bound(model, x, order=7)
    rate = gap / model.posterior.log_sigma.exp().square()[..., 0]
    expected = torch.stack(
        [-0.5 * torch.func.jacrev(torch.func.jacrev(log_prob))(point).trace() for point in x]
    ).detach()
    torch.testing.assert_close((4 * rate[2] - rate[1]) / 3, expected, rtol=1e-4, atol=1e-4)
    assert expected.abs().max() > 1
    error = (rate - expected).abs().amax(1)  # O(sigma^2): a quarter at half the sigma
    assert (error[:-1] / error[1:]).tolist() == pytest.approx([4, 4], rel=0.1)


def test_relu_couplings_have_that_limit_too():
    """With kinks the gap still vanishes; at this sigma its size is far below that at ten times the sigma."""
    model = coupled(3, [math.log(0.1), math.log(0.01), math.log(0.001)])
    x = randn(40, 3, seed=45)
    gap = (flow_log_prob(model, x) - exact_bound(model, x, order=7)).abs().mean(1)
    assert gap[0] > 1e-3 and gap[1] < gap[0] / 5 and gap[2] < gap[1] / 5


@pytest.mark.parametrize("posterior", [PushForward, LinearisedBijection])
@pytest.mark.parametrize("log_sigma", [-3.0, -0.5, 0.5])
def test_the_gap_of_an_affine_flow(posterior, log_sigma):
    """ELBO - log p_flow(x) = -sigma^2 / 2 |A|_F^2, at every sigma: f(x) = x A + c, normal prior."""
    model = affine(log_sigma, posterior)
    x, nodes = randn(3, DIMS, seed=46), quadratic_nodes(DIMS)
    with torch.no_grad():
        bound = model.condition(x.expand(2, -1, -1))(nodes.expand(2, 3, -1, -1)).mean(2)
        terms = [
            model.bound_terms(image.expand(2, len(nodes), -1), nodes.expand(2, -1, -1), log_det_rows=1) for image in x
        ]
    jacobian = full_jacobians(model.posterior.flow, torch.zeros(2, 1, DIMS, dtype=torch.float64))
    sigma2 = model.posterior.log_sigma.exp().square()[:, 0, 0]
    gap = -0.5 * sigma2 * jacobian.square().sum((1, 2, 3))
    expected = pulled_back_normal(model).log_prob(x) + gap[:, None]
    torch.testing.assert_close(bound, expected, rtol=1e-9, atol=1e-9)
    trained = -torch.stack([each.reconstruction + each.divergence for each in terms], 1)
    torch.testing.assert_close(trained, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_sigma", [-2.0, -1.0])
def test_the_marginal_of_an_affine_coupled_model_is_the_convolved_flow(log_sigma):
    """log E_q[w] = log N(x; -c A^-1, A^-1 A^-T + sigma^2 I), by a Gauss-Hermite grid; it is not the flow's density."""
    model = affine(log_sigma)
    x = randn(4, DIMS, seed=47)
    nodes, weights = gauss_hermite(DIMS, order=12)
    with torch.no_grad():
        log_w = model.condition(x.expand(2, -1, -1))(nodes.expand(2, 4, -1, -1))
    marginal = torch.logsumexp(log_w + weights.log(), 2)
    sigma2 = model.posterior.log_sigma.exp().square()[0].item()
    torch.testing.assert_close(marginal, pulled_back_normal(model, sigma2).log_prob(x), rtol=1e-6, atol=1e-6)
    assert (marginal - pulled_back_normal(model).log_prob(x)).abs().min() > 1e-3


def test_the_marginal_of_a_coupled_nice_is_the_convolved_flow():
    """Integral of p_flow(y) N(x; y, sigma^2 I) over a grid in two dimensions, ReLU couplings, logistic prior."""
    model = coupled(2, [math.log(0.4), math.log(0.6)])
    x, samples = randn(5, 2, seed=48), 8000
    scores = score_images(model, x, range(5), NoiseSource((1, 2), CPU), samples)
    offsets = torch.linspace(-6, 6, 121, dtype=torch.float64)
    u = torch.cartesian_prod(offsets, offsets)  # y = x + sigma u
    kernel = -0.5 * u.square().sum(1) - math.log(2 * math.pi) + 2 * (offsets[1] - offsets[0]).log()
    error = (1 / scores.effective_samples - 1 / samples).sqrt()
    assert error.max() < 0.02
    for replica, sigma in enumerate(model.posterior.log_sigma.exp().flatten()):
        for image, point in enumerate(x):
            expected = torch.logsumexp(kernel + flow_log_prob(model, point + sigma * u, replica), 0)
            assert abs(scores.nll[replica, image] + expected) < 4 * error[replica, image]
            own = flow_log_prob(model, point[None], replica)
            assert abs(expected - own) > 4 * error[replica, image]


def test_the_linearised_posterior_is_the_push_forward_one_for_small_noise():
    """Appendix B: f(x + eps) = f(x) + J eps while eps crosses no kink, so eq. (7) has the limit of eq. (6) too."""
    model = coupled(DIMS, [math.log(1e-6), math.log(0.5)])
    flow, scale = model.posterior.flow, model.posterior.scale
    x, w = randn(2, 3, DIMS, seed=49), randn(2, 3, 5, DIMS, seed=50)
    pushed, linearised = (each(flow, scale, DIMS).condition(x)(w) for each in (PushForward, LinearisedBijection))
    deviation = (pushed[0] - flow(x)[:, :, None])[0]
    difference = (pushed[0] - linearised[0]).abs()
    assert deviation.abs().max() > 1e-7 and difference[0].max() < 1e-13 and difference[1].max() > 1e-3
    torch.testing.assert_close(pushed[1], linearised[1])
    coupled_bound = LatentVariableModel(
        LinearisedBijection(flow, scale, DIMS), model.decoder, model.likelihood, model.prior
    ).condition(x)(w)
    expected = flow_log_prob(model, x[0])[:, None].expand(-1, 5)
    torch.testing.assert_close(coupled_bound[0], expected, rtol=0, atol=1e-4)
