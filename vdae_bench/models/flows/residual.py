"""The residual flow (i-ResNet) on the replica axis: x + g(x) with a Lipschitz constant of g below 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.models.flows.base import FlowKind, StandardisedFlow
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.layers import Generators, Linear
from vdae_bench.models.precision import full_precision
from vdae_bench.models.problem import Problem

SQUARINGS = 5
"""With 5 of them the bound of a spectral norm is at most h^(1/128) too high: 3% at h = 64."""
INVERSE_ERROR = 1e-8
"""Size to which fixed-point iterations shrink the first error of an inverse."""


def spectral_bound(weight: Float[Tensor, "R D H"]) -> Float[Tensor, "R 1 1"]:
    r"""Upper bound of each matrix's spectral norm, tight to a few per cent, by repeated squaring of its Gram matrix G.

    .. math:: \| W \|_2 = \| G^p \|_2^{1 / 2 p} \le \| G^p \|_F^{1 / 2 p}, \qquad p = 2^k

    The bound holds up to rounding. A power iteration would approach the norm from below, and would keep a vector
    between steps; this rule keeps nothing.

    >>> round(spectral_bound(torch.diag(torch.tensor([3.0, 1.0]))[None]).item(), 3)
    3.0
    """
    gram = weight @ weight.mT if weight.shape[1] < weight.shape[2] else weight.mT @ weight
    log_norm = torch.zeros_like(gram[:, :1, :1])
    for squaring in range(SQUARINGS + 1):
        gram = gram @ gram if squaring else gram
        norm = gram.square().sum((1, 2), keepdim=True).clamp(min=1e-36).sqrt()
        gram, log_norm = gram / norm, 2 * log_norm + norm.log()
    return torch.exp(log_norm / 2 ** (SQUARINGS + 1))


class Contraction(nn.Module):
    r"""A network g of two hidden layers with biases, g(x) = ELU(ELU(x W_1) W_2) W_3, of Lipschitz constant c at most.

    Each weight matrix is divided by as much as its spectral norm exceeds c^(1/3) (Behrmann et al., 2019,
    arXiv:1811.00995, eq. 4); an ELU has a slope of at most 1. The last layer starts at zero.
    """

    layers: Sequence[Linear]

    def __init__(self, replicas: int, dims: int, hidden: int, lipschitz: float) -> None:
        super().__init__()
        self.norm = lipschitz ** (1 / 3)
        sizes = ((dims, hidden), (hidden, hidden), (hidden, dims))
        self.layers = nn.ModuleList(Linear(replicas, *size) for size in sizes)  # type: ignore[assignment]

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers."""
        for layer in self.layers[:-1]:
            layer.he_normal_(generators)

    def weights(self) -> list[Tensor]:
        """Return the three matrices, each with a norm of at most c^(1/3)."""
        with full_precision(self.layers[0].weight.device):
            return [layer.weight * (self.norm / spectral_bound(layer.weight)).clamp(max=1.0) for layer in self.layers]

    def forward(self, x: Float[Tensor, "R N n"], weights: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return g(x), and the ELUs' slopes in both hidden layers, (R, N, h) each."""
        h, slopes = x, []
        for layer, weight in zip(self.layers[:-1], weights, strict=False):
            before = torch.baddbmm(layer.bias, h, weight).to(x.dtype)
            slopes.append(before.clamp(max=0).exp())
            h = F.elu(before)
        return torch.baddbmm(self.layers[-1].bias, h, weights[-1]).to(x.dtype), slopes


class Residual(StandardisedFlow):
    r"""i-ResNet (Behrmann et al., 2019, arXiv:1811.00995), fully connected: blocks x + g(x) with Lip(g) < 1.

    g has hidden layers of h units and the Jacobian W_1 D_1 W_2 D_2 W_3, with the slopes D of its ELUs at x. So the
    determinant of a block is one of h rows (Sylvester), and exact wherever an image is evaluated:

    .. math:: \det(I_n + W_1 D_1 W_2 D_2 W_3) = \det(I_h + B), \qquad B = W_3 W_1 D_1 W_2 D_2

    Training takes i-ResNet's estimate, the first T terms of the series with a Rademacher probe v of h dimensions,

    .. math:: \log \det(I + B) \approx \sum_{k=1}^{T} \frac{(-1)^{k+1}}{k} v^T B^k v

    which leaves out at most :math:`h \sum_{k>T} c^k / k` nats a block. Validation and test scores use the exact value.
    The inverse is the fixed point of x = y - g(x).

    Args:
        replicas: R.
        dims: n.
        blocks: how many.
        hidden: h.
        terms: T.
        lipschitz: c, a bound of every g's Lipschitz constant.

    Example:
        >>> flow = Residual(replicas=1, dims=3, blocks=2, hidden=4, terms=5)
        >>> flow.initialise([torch.Generator().manual_seed(0)])
        >>> x = torch.rand(1, 2, 3)
        >>> z, log_det = flow.forward_and_log_det(x)
        >>> torch.equal(z, x), log_det.abs().max().item()
        (True, 0.0)
    """

    blocks: Sequence[Contraction]

    def __init__(self, replicas: int, dims: int, blocks: int, hidden: int, terms: int, lipschitz: float = 0.9) -> None:
        super().__init__(replicas, dims)
        self.terms, self.lipschitz, self.hidden = terms, lipschitz, hidden
        self.estimate_dims = blocks * hidden
        self.activation_rows = max(1, hidden**2 // dims)  # the matrix of which the determinant is taken
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            Contraction(replicas, dims, hidden, lipschitz) for _ in range(blocks)
        )

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers; the flow starts as the identity on standardised data."""
        for block in self.blocks:
            block.initialise(generators)

    def core(self, y: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R N"]]:
        """Map standardised data to latents, with the exact log-determinant."""
        log_det = y.new_zeros(y.shape[:2])
        for block in self.blocks:
            weights = block.weights()
            value, (first, second) = block(y, weights)
            with full_precision(y.device):
                crossed = (weights[2] @ weights[0])[:, None] * first[:, :, None, :]
                inner = (crossed @ weights[1][:, None]) * second[:, :, None, :]
                identity = torch.eye(self.hidden, dtype=y.dtype, device=y.device)
                log_det = log_det + torch.linalg.slogdet(identity + inner).logabsdet
            y = y + value
        return y, log_det

    def forward_and_estimate(
        self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]
    ) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R N"]]:
        """Return z, with the series' first terms for the log-determinant; the probe is the noise's signs."""
        y = self.standardise(x)
        log_det = self.scaling.log_det().expand(-1, x.shape[1])
        for block, normal in zip(self.blocks, noise.split(self.hidden, -1), strict=True):
            weights = block.weights()
            value, (first, second) = block(y, weights)
            with full_precision(y.device):
                crossed = weights[2] @ weights[0]
                probe = torch.where(normal < 0, -1.0, 1.0).to(y.dtype)
                row = probe
                for k in range(1, self.terms + 1):
                    row = torch.bmm(torch.bmm(row, crossed) * first, weights[1]) * second
                    log_det = log_det - (-1) ** k / k * (row * probe).sum(-1)
            y = y + value
        return y, log_det

    def core_inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Map latents to standardised data, by as many iterations as the Lipschitz constant asks for."""
        y = z
        for block in reversed(self.blocks):
            weights, target = block.weights(), y
            for _ in range(math.ceil(math.log(INVERSE_ERROR) / math.log(self.lipschitz))):
                y = target - block(y, weights)[0]
        return y


BLOCKS = Hyperparameter("flow_blocks", int, 6, ge=1, le=256, meaning="number of residual blocks of i-ResNet")
BLOCK_HIDDEN_SIZE = Hyperparameter(
    "flow_hidden_size", int, 128, ge=1, le=65536, meaning="width of the hidden layers of i-ResNet and FFJORD"
)
TERMS = Hyperparameter(
    "series_terms", int, 8, ge=1, le=256, meaning="number of terms of i-ResNet's log-determinant in training"
)
# At 0.99 the inverse takes 1833 iterations a block; they grow as 1 / (1 - c), to 1.8e8 at 0.9999999.
LIPSCHITZ = Hyperparameter(
    "lipschitz", float, 0.9, ge=0.01, le=0.99, meaning="largest Lipschitz constant of an i-ResNet block"
)
_SIZES = (BLOCKS, BLOCK_HIDDEN_SIZE, TERMS, LIPSCHITZ)


def _residual(problem: Problem) -> Residual:
    hyper = problem.hyperparameters
    sizes = BLOCKS.of(hyper), BLOCK_HIDDEN_SIZE.of(hyper), TERMS.of(hyper), LIPSCHITZ.of(hyper)
    return Residual(problem.replicas, problem.data_dim, *sizes)


RESIDUAL = FlowKind(
    "i-ResNet",
    _residual,
    _SIZES,
    at_every_sample=False,
    reference="fully connected; Behrmann et al., 2019, arXiv:1811.00995",
)
