"""NICE (Dinh et al., 2014) on the replica axis: additive couplings and a diagonal scaling (eq. 3, Appendix D)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vdae_bench.models.layers import Chain, Generators, Layer, LinearMap, ReLUNetwork


class AdditiveCoupling(Layer):
    """One half of the dimensions passes, the other is shifted by a network of the first: volume preserving.

    `y_pass = x_pass`, `y_move = x_move + t(x_pass)`. `even_passes` says which half passes. The network t has
    `hidden_layers` layers of `hidden` ReLU units and a linear layer that starts at zero (Appendix C), so the coupling
    starts as the identity.
    """

    def __init__(self, replicas: int, dims: int, hidden: int, hidden_layers: int, *, even_passes: bool) -> None:
        super().__init__()
        self.passing, self.moving = (
            (slice(0, None, 2), slice(1, None, 2)) if even_passes else (slice(1, None, 2), slice(0, None, 2))
        )
        even, odd = (dims + 1) // 2, dims // 2
        inputs, outputs = (even, odd) if even_passes else (odd, even)
        self.shift = ReLUNetwork(replicas, inputs, hidden, outputs, hidden_layers)

    def initialise(self, generators: Generators) -> None:
        """Start as the identity."""
        self.shift.initialise(generators)

    def _shifted(self, rows: Tensor, shift: Tensor) -> Tensor:
        result = rows.clone()
        result[..., self.moving] += shift
        return result

    def forward(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Shift the moving half."""
        return self._shifted(x, self.shift(x[..., self.passing]))

    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Take the shift back."""
        return self._shifted(z, -self.shift(z[..., self.passing]))

    def linearise(self, x: Float[Tensor, "R N n"]) -> tuple[Tensor, LinearMap, LinearMap]:
        """The identity plus the shift's Jacobian in one off-diagonal block."""
        value, push, pull = self.shift.linearise(x[..., self.passing])

        def push_rows(tangents: Tensor) -> Tensor:
            return self._shifted(tangents, push(tangents[..., self.passing]))

        def pull_rows(cotangents: Tensor) -> Tensor:
            result = cotangents.clone()
            result[..., self.passing] += pull(cotangents[..., self.moving])
            return result

        return self._shifted(x, value), push_rows, pull_rows


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

    def linearise(self, x: Float[Tensor, "R N n"]) -> tuple[Tensor, LinearMap, LinearMap]:
        """A diagonal Jacobian."""
        scale = self.log_scale.exp()
        return x * scale, lambda t: t * scale[:, :, None], lambda g: g * scale[:, :, None]


class NICE(Chain):
    """`couplings` additive couplings, even indices passing first and then alternating, then the diagonal scaling."""

    def __init__(self, replicas: int, dims: int, couplings: int, hidden: int, hidden_layers: int) -> None:
        layers = [
            AdditiveCoupling(replicas, dims, hidden, hidden_layers, even_passes=index % 2 == 0)
            for index in range(couplings)
        ]
        super().__init__([*layers, DiagonalScaling(replicas, dims)])

    @property
    def couplings(self) -> list[AdditiveCoupling]:
        """The couplings, first to last."""
        return [layer for layer in self.layers if isinstance(layer, AdditiveCoupling)]

    @property
    def scaling(self) -> DiagonalScaling:
        """The last layer."""
        layer = self.layers[-1]
        assert isinstance(layer, DiagonalScaling)
        return layer

    def log_det(self) -> Float[Tensor, "R 1"]:
        """log |det df/dx| = sum_i s_i: the same for every image, because additive couplings preserve volume."""
        return self.scaling.log_scale.sum(-1)

    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """The data point that f maps to z."""
        z = self.scaling.inverse(z)
        for coupling in reversed(self.couplings):
            z = coupling.inverse(z)
        return z

    def weights(self) -> list[Tensor]:
        """Weight matrices of the couplings (no biases, no s): what the L2 penalty of Appendix D acts on."""
        return [parameter for name, parameter in self.named_parameters() if name.endswith("weight")]

    @torch.no_grad()
    def initialise_from_data(self, location: Float[Tensor, " n"], log_scale: Float[Tensor, " n"]) -> None:
        """Start as one logistic a pixel: z_i = exp(s_i) (x_i - location_i) with s_i = -log_scale_i.

        The location goes into the bias of the first coupling that moves a pixel, where the model class has room
        for it; the couplings' weights stay as they are.
        """
        for coupling in self.couplings[:2]:
            coupling.shift.out.bias.copy_(-location[coupling.moving])
        self.scaling.log_scale.copy_(-log_scale)
