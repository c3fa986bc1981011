"""What is known without the code under test: Gaussian expectations, autograd's Jacobians, linear-Gaussian models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from tests.support.models import SMALL
from vdae_bench.data.noise import initial_generators
from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.layers import Linear
from vdae_bench.models.likelihoods import Gaussian
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.networks import ResNet
from vdae_bench.models.posteriors import Conditioned, LinearisedBijection, NoiseScale, PushForward
from vdae_bench.models.priors import StandardNormal
from vdae_bench.models.registry import Problem, get_method

DATA_DIM, LATENTS = 8, 4
"""Of the linear-Gaussian models: with n = 2 m the ResNets' projections but one are square, and can be identities."""


def randn(*shape: int, seed: int) -> Tensor:
    """Standard normal float64 numbers from a generator of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic_nodes(dims: int) -> Tensor:
    """The points ± sqrt(d) e_i, (2 d, d): their plain mean is E over N(0, I_d) for every polynomial of degree 3."""
    unit = dims**0.5 * torch.eye(dims, dtype=torch.float64)
    return torch.cat((unit, -unit))


def gauss_hermite(dims: int, order: int) -> tuple[Tensor, Tensor]:
    """Nodes (order^d, d) and weights of the tensor-product rule for N(0, I_d)."""
    points, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(order))
    weights = weights / weights.sum()
    nodes = torch.cartesian_prod(*[points] * dims).view(-1, dims)
    return nodes, torch.cartesian_prod(*[weights] * dims).view(-1, dims).prod(1)


def full_jacobians(f: Callable[[Tensor], Tensor], x: Tensor, *, create_graph: bool = False) -> Tensor:
    """J of each replica and image by autograd, one scalar output after the other: (R, N, outputs, inputs)."""
    x = x.detach().requires_grad_()
    y = f(x)
    rows = [
        torch.autograd.grad(y[..., output].sum(), x, retain_graph=True, create_graph=create_graph)[0]
        for output in range(y.shape[-1])
    ]
    return torch.stack(rows, 2)


@dataclass
class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(z L + b, lambda I), q(z|x) = N(x A + c, S); rows are points, R replicas.

    `loading` L (R, m, n), `offset` b (R, n), `variance` lambda (R,), `mean_map` A (R, n, m), `shift` c (R, m),
    `covariance` S (R, m, m). The posterior of replica 0 is the true one, that of replica 1 is not.
    """

    model: LatentVariableModel
    loading: Tensor
    offset: Tensor
    variance: Tensor
    mean_map: Tensor
    shift: Tensor
    covariance: Tensor

    @property
    def precision(self) -> Tensor:
        """L L^T / lambda + I of the true posterior, (R, m, m)."""
        identity = torch.eye(self.loading.shape[1], dtype=torch.float64)
        return self.loading @ self.loading.mT / self.variance[:, None, None] + identity

    def log_marginal(self, x: Tensor) -> Tensor:
        """log N(x; b, L^T L + lambda I) of images (N, n) under each replica, (R, N)."""
        noise = self.variance[:, None, None] * torch.eye(self.loading.shape[2], dtype=torch.float64)
        density = MultivariateNormal(self.offset[:, None], (self.loading.mT @ self.loading + noise)[:, None])
        return density.log_prob(x)

    def true_posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x) by Bayes' rule, batch (R, N)."""
        covariance = torch.linalg.inv(self.precision)
        mean = (x - self.offset[:, None]) @ self.loading.mT @ covariance / self.variance[:, None, None]
        return MultivariateNormal(mean, covariance[:, None])

    def q(self, x: Tensor) -> MultivariateNormal:
        """The model's own posterior, batch (R, N)."""
        return MultivariateNormal(x @ self.mean_map + self.shift[:, None], self.covariance[:, None])


VARIANCE = torch.tensor([0.4, 0.25], dtype=torch.float64)


def _loadings(latents: int, *, equal: bool) -> Tensor:
    """L of two replicas: L L^T = w^2 I (or merely diagonal) in the first, neither in the second."""
    frame = torch.linalg.qr(randn(DATA_DIM, latents, seed=1)).Q.T
    other = randn(latents, DATA_DIM, seed=2)
    if equal:
        return torch.stack((1.3 * frame, 0.6 * other))
    diagonal = torch.linspace(0.5, 1.7, latents, dtype=torch.float64)[:, None] * frame
    return torch.stack((diagonal, diagonal + 0.2 * other))


def _bayes(loading: Tensor) -> tuple[Tensor, Tensor]:
    """Mean map (R, n, m) and precision of the true posterior."""
    identity = torch.eye(loading.shape[1], dtype=torch.float64)
    gram = loading @ loading.mT
    mean_map = loading.mT @ torch.linalg.inv(gram + VARIANCE[:, None, None] * identity)
    return mean_map, gram / VARIANCE[:, None, None] + identity


def resnet_pair(method: str, log_det: str = "exact") -> LinearGaussian:
    """`vae` or `lvdae` as registered, with linear output; residual blocks are identities and projections are set.

    Replica 1 has the best mean and the best scale that the method's posterior can have: of each latent for `vae`,
    one sigma for `lvdae`, at f = the true posterior mean.
    """
    problem = Problem(2, DATA_DIM, LATENTS, "continuous", SMALL, {"decoder_output": "linear"}, log_det)  # type: ignore[arg-type]
    model = get_method(method).build(problem).double()
    model.initialise(initial_generators((0, 1)))
    loading = _loadings(LATENTS, equal=method == "lvdae")
    offset = 0.3 * randn(2, DATA_DIM, seed=3)
    mean_map, precision = _bayes(loading)
    shift = -(offset[:, None] @ mean_map)[:, 0]
    identity = torch.eye(DATA_DIM, dtype=torch.float64)
    with torch.no_grad():
        *square, last = model.posterior.encoder.projections
        first, *squares = model.decoder.projections
        for projection in square + squares:
            projection.weight.copy_(identity)
        last.weight.copy_(mean_map)
        last.bias.copy_(shift[:, None])
        first.weight.copy_(loading)
        squares[-1].bias.copy_(offset[:, None])
        model.likelihood.log_lambda.copy_(VARIANCE.log()[:, None, None])
        if method == "vae":
            variances = 1 / precision.diagonal(dim1=1, dim2=2)
            model.posterior.log_variance_head.bias.copy_(variances.log()[:, None])
            covariance = torch.diag_embed(variances)
        else:
            gram = mean_map.mT @ mean_map
            best = LATENTS / torch.diagonal(precision @ gram, dim1=1, dim2=2).sum(1)
            w2 = torch.tensor(1.3**2)
            assert abs(best[0] - VARIANCE[0] * (VARIANCE[0] + w2) / w2) < 1e-6  # lambda (lambda + w^2) / w^2
            model.posterior.log_sigma.copy_(0.5 * best.log()[:, None, None])
            covariance = best[:, None, None] * gram
    return LinearGaussian(model, loading, offset, VARIANCE, mean_map, shift, covariance)


def affine_nice(replicas: int, dims: int, seed: int) -> Couplings:
    """A NICE whose coupling networks have no hidden layer, so that f is affine; everything in it random."""
    flow = Couplings(replicas, dims, 4, hidden=dims // 2, hidden_layers=0).double()
    with torch.no_grad():
        for index, parameter in enumerate(flow.parameters()):
            parameter.copy_(0.4 * randn(*parameter.shape, seed=seed + index))
    return flow


def flow_encoder(posterior: type[PushForward] | type[LinearisedBijection]) -> LinearGaussian:
    """Posteriors on a NICE encoder, f affine, a linear decoder and a normal prior.

    The first three couplings are the shears of a rotation of each pair of dimensions, so that f can be the true
    posterior mean although L is not diagonal; in replica 1 everything is a little off.
    """
    n, angle, w = DATA_DIM, 0.7, 1.3
    flow = affine_nice(2, n, seed=20)
    scale = w / (w**2 + VARIANCE)
    away = torch.tensor([0.0, 0.2], dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        half = torch.eye(n // 2, dtype=torch.float64)
        shears = (np.tan(angle / 2), -np.sin(angle), np.tan(angle / 2), 0.0)
        for coupling, shear in zip(flow.couplings, shears, strict=True):
            coupling.out.weight.mul_(away).add_(shear * half)
            coupling.out.bias.mul_(away)
        flow.scaling.log_scale.mul_(away).add_(scale.log()[:, None, None])
    mean_map = full_jacobians(flow, torch.zeros(2, 1, n, dtype=torch.float64))[:, 0].mT
    rotation = mean_map[0] / scale[0]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-12)
    loading = (w * rotation.T).expand(2, -1, -1)
    sigma2 = VARIANCE * (VARIANCE + w**2) / w**2 * torch.tensor([1.0, 1.3], dtype=torch.float64)
    noise = NoiseScale([0.0, 0.0], learned=True).double()
    decoder = Linear(2, n, n).double()
    model = LatentVariableModel(
        posterior(flow, noise, n), decoder, Gaussian(2, "linear").double(), StandardNormal()
    ).double()
    with torch.no_grad():
        noise.log_sigma.copy_(0.5 * sigma2.log()[:, None, None])
        decoder.weight.copy_(loading)
        model.likelihood.log_lambda.copy_(VARIANCE.log()[:, None, None])
        shift = flow(torch.zeros(2, 1, n, dtype=torch.float64))[:, 0]
    covariance = sigma2[:, None, None] * mean_map.mT @ mean_map
    offset = torch.zeros(2, n, dtype=torch.float64)
    return LinearGaussian(model, loading, offset, VARIANCE, mean_map, shift, covariance)


def conditioned() -> LinearGaussian:
    """A Gaussian encoder and one affine coupling that sees it, everything affine; a linear decoder and a normal prior.

    z_even = mu_even + s w_even and z_odd = e^g s w_odd + z_even T + c(x): mu_odd is 0, the context c brings its mean.
    L is chosen so that the covariance of these is the true posterior's, in replica 1 before s and T are moved a little.
    """
    n, half = DATA_DIM, LATENTS // 2
    away = torch.tensor([0.0, 0.1], dtype=torch.float64)[:, None, None]
    shear, gain = 0.5 * randn(2, half, half, seed=40), 0.3 * randn(2, 1, half, seed=41)
    deviation = 0.2 + 0.1 * torch.rand(2, 1, LATENTS, generator=torch.Generator().manual_seed(42), dtype=torch.float64)
    even, odd = slice(0, None, 2), slice(1, None, 2)

    def covariance(shear: Tensor, deviation: Tensor) -> Tensor:
        """Covariance of z, with rows and columns in the order of the latents."""
        jacobian = torch.zeros(2, LATENTS, LATENTS, dtype=torch.float64)  # dz = d(s w) J
        jacobian[:, even, even] = torch.eye(half, dtype=torch.float64)
        jacobian[:, even, odd], jacobian[:, odd, odd] = shear, torch.diag_embed(gain.exp()[:, 0])
        scaled = deviation.mT * jacobian
        return scaled.mT @ scaled

    identity = torch.eye(LATENTS, dtype=torch.float64)
    gram = VARIANCE[:, None, None] * (torch.linalg.inv(covariance(shear, deviation)) - identity)
    loading = torch.linalg.cholesky(gram) @ torch.linalg.qr(randn(n, LATENTS, seed=43)).Q.T
    offset, (mean_map, _) = 0.3 * randn(2, n, seed=44), _bayes(loading)
    shift = -(offset[:, None] @ mean_map)[:, 0]
    shear, deviation = shear + away, deviation * (1 + away)

    encoder = ResNet(2, [n, n, LATENTS], hidden=3, blocks=1)
    flow = Couplings(2, LATENTS, 1, hidden=2 * half, hidden_layers=0, kind="affine", context=half)
    posterior, decoder = Conditioned(encoder, flow, context=half), Linear(2, LATENTS, n)
    model = LatentVariableModel(posterior, decoder, Gaussian(2, "linear"), StandardNormal()).double()
    with torch.no_grad():
        square, mean_head = encoder.projections
        square.weight.copy_(torch.eye(n))
        mean_head.weight[..., even], mean_head.bias[..., even] = mean_map[..., even], shift[:, None, even]
        posterior.log_variance_head.bias.copy_(2 * deviation.log())
        posterior.context_head.weight.copy_(mean_map[..., odd] - mean_map[..., even] @ shear)
        posterior.context_head.bias.copy_((shift[:, odd] - (shift[:, None, even] @ shear)[:, 0])[:, None])
        out = flow.couplings[0].out
        out.bias[..., :half] = flow.bound * torch.atanh(gain / flow.bound)
        out.weight[:, :half, half:], out.weight[:, half:, half:] = shear, torch.eye(half, dtype=torch.float64)
        decoder.weight.copy_(loading)
        decoder.bias.copy_(offset[:, None])
        model.likelihood.log_lambda.copy_(VARIANCE.log()[:, None, None])
    return LinearGaussian(model, loading, offset, VARIANCE, mean_map, shift, covariance(shear, deviation))


LINEAR_GAUSSIAN: dict[str, Callable[[], LinearGaussian]] = {
    "vae": lambda: resnet_pair("vae"),
    "lvdae": lambda: resnet_pair("lvdae"),
    "lvdae subset": lambda: resnet_pair("lvdae", "subset"),
    "lvdae projected": lambda: resnet_pair("lvdae", "projected"),
    "push-forward": lambda: flow_encoder(PushForward),
    "conditioned": conditioned,
    "linearised bijection": lambda: flow_encoder(LinearisedBijection),
}
