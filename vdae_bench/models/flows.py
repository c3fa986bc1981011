"""NICE (Dinh et al., 2014) on the replica axis: additive couplings and a diagonal scaling (eq. 3, Appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vdae_bench.models.layers import Cotangents, Generators, Layer, Linearisation, ReLUNetwork


class DiagonalScaling(Layer):
    r"""The diagonal scaling that ends a NICE flow (Dinh et al., 2014, arXiv:1410.8516, section 3.3).

    .. math:: z = e^s \odot x, \qquad \log \left| \det \partial z / \partial x \right| = \sum_i s_i

    s has shape (R, 1, n) and is zero at the start. Without it no NICE is below 10 bits/dim on dequantised pixels.

    Example:
        >>> scaling = DiagonalScaling(replicas=1, dims=2)
        >>> scaling.log_scale.data[:] = torch.tensor([2.0, 4.0]).log()
        >>> scaling(torch.ones(1, 1, 2)).detach()
        tensor([[[2., 4.]]])
    """

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
        """Return `e^s x` and products with its Jacobian, which is diagonal."""
        scale = self.log_scale.exp()
        return x * scale, lambda t: t * scale[:, :, None], lambda g: Cotangents(g.dense() * scale[:, :, None])


class NICE(Layer):
    r"""NICE (Dinh et al., 2014, arXiv:1410.8516): a flow z = f(x) of additive couplings, then a diagonal scaling.

    Coupling k lets one half of the dimensions pass, and shifts the other by a network of the first:

    .. math:: y_\mathrm{pass} = x_\mathrm{pass}, \qquad y_\mathrm{move} = x_\mathrm{move} + t_k(x_\mathrm{pass})

    Even indices pass first, then the halves alternate. A coupling keeps volumes, so in eq. (3) the determinant is the
    scaling's, :math:`\sum_i s_i`, at every x. The last layer of each t_k starts at zero (Appendix C), and so the flow
    starts as the identity.

    Args:
        replicas: R, flows side by side, each with weights of its own.
        dims: n.
        couplings: how many; 4 in Appendix D.
        hidden: ReLU units of a hidden layer; 1024 in Appendix D.
        hidden_layers: hidden layers of each t_k; 5 in Appendix D.
        hidden_init: `he`, or `uniform` as in the code of NICE's authors: after 12 epochs at `quick` sizes
            5.178 bits/dim, where `he` has 4.460.

    Example:
        >>> flow = NICE(replicas=2, dims=5, couplings=4, hidden=8, hidden_layers=1)
        >>> flow.start_affine_(location=torch.full((5,), 0.5), log_scale=torch.full((5,), 2.0).log())
        >>> z = flow(torch.ones(2, 3, 5))
        >>> z[0, 0].tolist(), flow.inverse(z)[0, 0].tolist()
        ([1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0])
        >>> round(flow.log_det()[0].item(), 4)  # 5 log 2
        3.4657
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
        """Draw the hidden layers; the flow starts as the identity."""
        for shift in self.couplings:
            shift.initialise(generators)

    def forward(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return the latents z = f(x)."""
        # The halves stay apart from the first coupling to the last, so that none of them gathers or scatters.
        halves = split(x)
        for k, shift in enumerate(self.couplings):
            halves[1 - k % 2] = halves[1 - k % 2] + shift(halves[k % 2])
        return self.scaling(interleave(halves))

    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return the data point that f maps to z."""
        halves = split(self.scaling.inverse(z))
        for k, shift in reversed(list(enumerate(self.couplings))):
            halves[1 - k % 2] = halves[1 - k % 2] - shift(halves[k % 2])
        return interleave(halves)

    def linearise(self, x: Float[Tensor, "R N n"]) -> Linearisation:
        """Chain the couplings' Jacobians: each is the identity plus its shift's in one off-diagonal block."""
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
        """Return log |det df/dx| = sum_i s_i: the same for every image, because additive couplings keep volumes."""
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
    """The inverse h^-1 of a NICE flow h, as a decoder; in `vdae-coupled` h is the encoder itself, as in eq. (6).

    Example:
        >>> flow = NICE(replicas=1, dims=2, couplings=2, hidden=3, hidden_layers=1)
        >>> flow.start_affine_(location=torch.ones(2), log_scale=torch.tensor([2.0, 4.0]).log())
        >>> InverseFlow(flow)(torch.ones(1, 1, 2)).detach()
        tensor([[[1.5000, 1.2500]]])
    """

    def __init__(self, flow: NICE) -> None:
        super().__init__()
        self.flow = flow

    def initialise(self, generators: Generators) -> None:
        """Draw the parameters of h; where h is the encoder, this second draw is as good as its first."""
        self.flow.initialise(generators)

    def forward(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return x = h^-1(z)."""
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
