"""FFJORD on the replica axis: a continuous flow, followed by Runge-Kutta steps of one size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.models.flows.base import FlowKind, StandardisedFlow
from vdae_bench.models.flows.residual import BLOCK_HIDDEN_SIZE
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.layers import Generators, Linear
from vdae_bench.models.precision import full_precision
from vdae_bench.models.problem import Problem

EVALUATION_STEPS = 8
"""Steps that evaluation takes at least, where training takes fewer.

On the field that `quick` trains in 2 steps (FFJORD on logits, seed 0, 100 test images, float64, one CPU), log p is off
by at most 2.3 nats with 2 steps, 0.1 with 4 and 0.004 with 8, and a logit after a way there and back by 4.4, 0.16 and
0.005. The reference is 32 steps.
"""


class Field(nn.Module):
    r"""The velocity of a point at a time, by FFJORD's layers, in which time gates the units and shifts them.

    .. math:: h' = \mathrm{softplus}\left( (h W + b) \odot g(t) + c t \right), \qquad g(t) = \mathrm{sigmoid}(a t + d)

    There are two hidden layers; the third has no softplus, and its W and c start at zero. The divergence is exact: it
    is the trace of W_1 G_1 D_1 W_2 G_2 D_2 W_3 G_3, with diagonal gates G and slopes D, a bilinear form in the two
    slopes that costs no more than the velocity.
    """

    layers: Sequence[Linear]
    gates: nn.ParameterList
    """Parameters a, d and c of each layer's gate, (R, 3, width)."""

    def __init__(self, replicas: int, dims: int, hidden: int) -> None:
        super().__init__()
        sizes = ((dims, hidden), (hidden, hidden), (hidden, dims))
        self.layers = nn.ModuleList(Linear(replicas, *size) for size in sizes)  # type: ignore[assignment]
        self.gates = nn.ParameterList(nn.Parameter(torch.zeros(replicas, 3, size[1])) for size in sizes)

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers."""
        for layer in self.layers[:-1]:
            layer.he_normal_(generators)

    def forward(self, x: Float[Tensor, "R N n"], time: float | Tensor) -> tuple[Tensor, Tensor]:
        """Return the velocity (R, N, n) and its divergence (R, N)."""
        gates = [torch.sigmoid(gate[:, :1] * time + gate[:, 1:2]) for gate in self.gates]
        h, slopes = x, []
        for layer, gate, times in zip(self.layers, gates, self.gates, strict=True):
            h = layer(h).to(x.dtype) * gate + times[:, 2:] * time
            if layer is not self.layers[-1]:
                slopes.append(torch.sigmoid(h))
                h = F.softplus(h)
        with full_precision(x.device):
            first, second, third = (layer.weight * gate for layer, gate in zip(self.layers, gates, strict=True))
            form = second * (third @ first).mT
            divergence = (torch.bmm(slopes[0], form) * slopes[1]).sum(-1)
        return h, divergence


class Continuous(StandardisedFlow):
    r"""FFJORD (Grathwohl et al., 2019, arXiv:1810.01367): the flow of a velocity field from time 0 to 1.

    .. math::
        \frac{dz}{dt} = v(z, t), \qquad
        \log \left| \det \partial z(1) / \partial z(0) \right| = \int_0^1 \mathrm{div}\, v(z(t), t)\, dt

    The classical Runge-Kutta method follows both in S steps of one size. A resumed run therefore gives the same bits,
    and a step costs the same whatever the field has learned. FFJORD estimates the divergence of any network by a
    probe; this field is fully connected, and its divergence is exact (`Field`) in training and evaluation. The error of
    both integrals, and of the inverse, which goes back in time, falls with S^-4. Without gradients, as in validation,
    test scores and samples, there are at least `EVALUATION_STEPS`, so that the determinant is close to that of the map,
    and the inverse close to its inverse.

    Args:
        replicas: R.
        dims: n.
        hidden: units of the two hidden layers of the field.
        steps: S of training.

    Example:
        >>> flow = Continuous(replicas=1, dims=3, hidden=4, steps=2)
        >>> flow.initialise([torch.Generator().manual_seed(0)])
        >>> x = torch.rand(1, 2, 3)
        >>> z, log_det = flow.forward_and_log_det(x)
        >>> torch.equal(z, x), log_det.abs().max().item()
        (True, 0.0)
    """

    def __init__(self, replicas: int, dims: int, hidden: int, steps: int) -> None:
        super().__init__(replicas, dims)
        self.field, self.steps = Field(replicas, dims, hidden), steps

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers; the flow starts as the identity on standardised data."""
        self.field.initialise(generators)

    def _follow(self, x: Tensor, begin: float, end: float) -> tuple[Tensor, Tensor]:
        """Return where each point is at time `end`, and the integral of the divergence on its way."""
        steps = self.steps if torch.is_grad_enabled() else max(self.steps, EVALUATION_STEPS)
        step = (end - begin) / steps
        integral = x.new_zeros(x.shape[:2])
        for index in range(steps):
            time = begin + index * step
            v1, d1 = self.field(x, time)
            v2, d2 = self.field(x + step / 2 * v1, time + step / 2)
            v3, d3 = self.field(x + step / 2 * v2, time + step / 2)
            v4, d4 = self.field(x + step * v3, time + step)
            x = x + step / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
            integral = integral + step / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        return x, integral

    def core(self, y: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R N"]]:
        """Map standardised data to latents, with the log-determinant."""
        return self._follow(y, 0.0, 1.0)

    def core_inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Map latents to standardised data, back in time."""
        return self._follow(z, 1.0, 0.0)[0]


ODE_STEPS = Hyperparameter(
    "ode_steps",
    int,
    8,
    ge=1,
    le=1000,
    meaning=f"number of Runge-Kutta steps of FFJORD; evaluation takes {EVALUATION_STEPS} at least",
)


def _continuous(problem: Problem) -> Continuous:
    hyper = problem.hyperparameters
    return Continuous(problem.replicas, problem.data_dim, BLOCK_HIDDEN_SIZE.of(hyper), ODE_STEPS.of(hyper))


CONTINUOUS = FlowKind(
    "FFJORD",
    _continuous,
    (BLOCK_HIDDEN_SIZE, ODE_STEPS),
    at_every_sample=False,
    version=2,  # evaluation takes at least 8 steps
    reference="fully connected, fixed steps; Grathwohl et al., 2019, arXiv:1810.01367",
)
