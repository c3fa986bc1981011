"""NICE (Dinh et al., 2014) on the replica axis: additive couplings and a diagonal scaling (eq. 3, Appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vdae_bench.models.layers import Cotangents, Generators, Layer, Linearisation, ReLUNetwork


class DiagonalScaling(Layer):
    """`z = exp(s) x`, s of shape (R, 1, n), zero at the start; log |det J| = sum s (Dinh et al., 2014, section 3.3)."""

    def __init__(self, replicas: int, dims: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(replicas, 1, dims))

    def forward(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Scale each dimension."""
        return x * self.log_scale.exp()

    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Undo the scaling."""
        return z * torch.exp(-self.log_scale)

    def linearise(self, x: Float[Tensor, "R N n"]) -> Linearisation:
        """A diagonal Jacobian."""
        scale = self.log_scale.exp()
        return x * scale, lambda t: t * scale[:, :, None], lambda g: Cotangents(g.dense() * scale[:, :, None])


class NICE(Layer):
    """Additive couplings, even indices passing first and then alternating, then the diagonal scaling.

    Coupling k lets one half of the dimensions pass and shifts the other by a network of the first, volume preserving:
    `y_pass = x_pass`, `y_move = x_move + t_k(x_pass)`. Each t_k has `hidden_layers` layers of `hidden` ReLU units and a
    linear layer that starts at zero (Appendix C), so the flow starts as the identity. Between input and output the two
    halves are kept apart, so that no coupling gathers or scatters.
    """

    couplings: Sequence[ReLUNetwork]

    def __init__(
        self,
        replicas: int,
        dims: int,
        couplings: int,
        hidden: int,
        hidden_layers: int,
        hidden_init: Literal["he", "uniform"] = "he",
    ) -> None:
        super().__init__()
        self.dims = dims
        sizes = ((dims + 1) // 2, dims // 2)
        self.couplings = nn.ModuleList(  # type: ignore[assignment]
            ReLUNetwork(replicas, sizes[k % 2], hidden, sizes[1 - k % 2], hidden_layers, hidden_init)
            for k in range(couplings)
        )
        self.scaling = DiagonalScaling(replicas, dims)

    def initialise(self, generators: Generators) -> None:
        """Start as the identity."""
        for shift in self.couplings:
            shift.initialise(generators)

    def forward(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """z = f(x)."""
        halves = split(x)
        for k, shift in enumerate(self.couplings):
            halves[1 - k % 2] = halves[1 - k % 2] + shift(halves[k % 2])
        return self.scaling(interleave(halves))

    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """The data point that f maps to z."""
        halves = split(self.scaling.inverse(z))
        for k, shift in reversed(list(enumerate(self.couplings))):
            halves[1 - k % 2] = halves[1 - k % 2] - shift(halves[k % 2])
        return interleave(halves)

    def linearise(self, x: Float[Tensor, "R N n"]) -> Linearisation:
        """Chain rule over the couplings: each is the identity plus its shift's Jacobian in one off-diagonal block."""
        halves = split(x)
        shifts = []
        for k, shift in enumerate(self.couplings):
            value, push, pull = shift.linearise(halves[k % 2])
            halves[1 - k % 2] = halves[1 - k % 2] + value
            shifts.append((k % 2, push, pull))
        value, push_scaling, pull_scaling = self.scaling.linearise(interleave(halves))

        def push_all(tangents: Tensor) -> Tensor:
            parts = split(tangents)
            for passing, push, _ in shifts:
                parts[1 - passing] = parts[1 - passing] + push(parts[passing])
            return push_scaling(interleave(parts))

        def pull_all(cotangents: Cotangents) -> Cotangents:
            parts = split(pull_scaling(cotangents).dense())
            for passing, _, pull in reversed(shifts):
                parts[passing] = parts[passing] + pull(Cotangents(parts[1 - passing])).dense()
            return Cotangents(interleave(parts))

        return value, push_all, pull_all

    def log_det(self) -> Float[Tensor, "R 1"]:
        """log |det df/dx| = sum_i s_i: the same for every image, because additive couplings preserve volume."""
        return self.scaling.log_scale.sum(-1)

    def initialise_from_data(self, mean: Float[Tensor, " n"], variance: Float[Tensor, "... n"]) -> None:
        """Start as one logistic a pixel: z_i = exp(s_i) (x_i - mean_i), of variance pi^2 / 3."""
        self.start_affine_(mean, 0.5 * torch.log(torch.pi**2 / (3 * variance)))

    @torch.no_grad()
    def start_affine_(self, location: Float[Tensor, "... n"], log_scale: Float[Tensor, "... n"]) -> None:
        """Start as `z = exp(log_scale) (x - location)`, for all replicas or (R, 1, n) each its own.

        The location goes into the bias of the first coupling that moves a pixel, where the model class has room
        for it; the couplings' weights stay as they are.
        """
        for k, shift in list(enumerate(self.couplings))[:2]:
            shift.out.bias.copy_(-split(location)[1 - k % 2])
        self.scaling.log_scale.copy_(log_scale)


class InverseFlow(Layer):
    """h^-1 of a NICE h, as a decoder: with h's own weights, or with those of the encoder (`vdae-coupled`)."""

    def __init__(self, flow: NICE) -> None:
        super().__init__()
        self.flow = flow

    def initialise(self, generators: Generators) -> None:
        """As h starts; for the encoder's own flow the second draw is as good as the first."""
        self.flow.initialise(generators)

    def forward(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """x = h^-1(z)."""
        return self.flow.inverse(z)

    def start_affine_(self, offset: Float[Tensor, "R 1 n"], slope: Float[Tensor, "R 1 n"]) -> None:
        """Start as `x = offset + slope * z`."""
        self.flow.start_affine_(offset, -slope.log())


def split(rows: Float[Tensor, "*rows n"]) -> list[Tensor]:
    """The even and the odd dimensions of each row."""
    return [rows[..., 0::2].contiguous(), rows[..., 1::2].contiguous()]


def interleave(halves: list[Tensor]) -> Float[Tensor, "*rows n"]:
    """Put even and odd dimensions back in their order; even ones may be one more."""
    even, odd = halves
    size = odd.shape[-1]
    rows = torch.stack((even[..., :size], odd), -1).flatten(-2)
    return rows if even.shape[-1] == size else torch.cat((rows, even[..., size:]), -1)
