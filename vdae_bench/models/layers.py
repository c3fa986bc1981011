"""Layers on the replica axis, each with its forward map and its linearisation.

A layer maps rows `(R, N, D) -> (R, N, H)`. `linearise(x)` returns `(y, push, pull)`:

- `y = f(x)`, as `forward` does;
- `push(t) = t J^T` for tangents t of shape `(R, N, K, D)`: K Jacobian-vector products for each image;
- `pull(g) = g J` for `Cotangents` g of shape `(R, N', K, H)`, N' <= N: K vector-Jacobian products for each of the
  first N' images.

Networks of ReLUs are piecewise linear, so `push` and `pull` are the layers' own matrix products between gates that
were fixed at x. All K rows of all images share one batched product, autograd differentiates it with respect to the
parameters like any other, and cotangents stay factored while that is cheaper. (`torch.func.vjp` under `vmap` gives
the same numbers for any module, see `generic_linearise`, but `vmap` of a replica-batched product copies each weight
K times.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Generators: TypeAlias = Sequence[torch.Generator]
LinearMap: TypeAlias = Callable[[Tensor], Tensor]


def rows_times(rows: Float[Tensor, "R N K D"], matrix: Float[Tensor, "R D H"]) -> Float[Tensor, "R N K H"]:
    """Multiply all rows of a replica by its matrix, in one batched product."""
    return torch.bmm(rows.flatten(1, 2), matrix).view(*rows.shape[:3], matrix.shape[2])


@dataclass(frozen=True)
class Cotangents:
    """Rows `g = left right`: `left` (R, N, K, r) differs by image, `right` (R, r, D) is common; None is the identity.

    A linear layer changes only `right`, once for each replica instead of once for each row, and a residual block adds
    its hidden units to the rank r. While r < D this is cheaper than dense rows, if there are many: a test image with
    m = 128 and H = 128 takes 3.7 ms instead of 6.1 (two replicas, two cores).
    """

    left: Float[Tensor, "R N K r"]
    right: Float[Tensor, "R r D"] | None = None

    def times(self, matrix: Float[Tensor, "R D H"]) -> Cotangents:
        """Return the rows `g M`, without touching the images while that is cheaper."""
        right = matrix if self.right is None else torch.bmm(self.right, matrix)
        product = Cotangents(self.left, right)
        return product if self._worthwhile(rank=right.shape[1], width=right.shape[2]) else Cotangents(product.dense())

    def dense(self) -> Float[Tensor, "R N K D"]:
        """Return the rows themselves, without factors."""
        return self.left if self.right is None else rows_times(self.left, self.right)

    def __add__(self, other: Cotangents) -> Cotangents:
        if self.right is not None and other.right is not None:
            rank = self.left.shape[-1] + other.left.shape[-1]
            if self._worthwhile(rank, width=self.right.shape[-1]):
                return Cotangents(torch.cat((self.left, other.left), -1), torch.cat((self.right, other.right), 1))
        return Cotangents(self.dense() + other.dense())

    def _worthwhile(self, rank: int, width: int) -> bool:
        """Say whether factors pay: products cost their rank, those of dense rows all rows, and a factor of 4 to get."""
        rows = self.left.shape[1] * self.left.shape[2]
        return rank < width and 4 * rank <= rows


Pullback: TypeAlias = Callable[[Cotangents], Cotangents]
Linearisation: TypeAlias = tuple[Tensor, LinearMap, Pullback]


class Layer(nn.Module):
    """A map of rows that can be linearised, on R replicas at once.

    A subclass supplies `forward`; `initialise` where it has parameters, and `linearise` where it knows a cheaper rule
    than `generic_linearise`.
    """

    if TYPE_CHECKING:  # torch leaves the call of a module untyped

        def __call__(self, x: Tensor) -> Tensor:
            """Map rows, as `forward` does."""

    def initialise(self, generators: Generators) -> None:
        """Draw the initial parameters: replica r from `generators[r]` alone, whatever its neighbours."""

    def linearise(self, x: Float[Tensor, "R N D"]) -> Linearisation:
        """Return value, pushforward and pullback of the layer at x (see the module's docstring)."""
        return generic_linearise(self, x)


def generic_linearise(f: Callable[[Tensor], Tensor], x: Float[Tensor, "R N D"]) -> Linearisation:
    """Linearise any map of independent rows with `torch.func`: right for all, slower than a rule of its own."""

    def push(t: Float[Tensor, "R N K D"]) -> Tensor:
        jvp: LinearMap = torch.func.vmap(lambda v: torch.func.jvp(f, (x,), (v,))[1], in_dims=2, out_dims=2)
        return jvp(t)

    def pull(g: Cotangents) -> Cotangents:
        rows = g.dense()
        vjp: Callable[[Tensor], tuple[Tensor]] = torch.func.vjp(f, x[:, : rows.shape[1]])[1]
        return Cotangents(torch.func.vmap(lambda v: vjp(v)[0], in_dims=2, out_dims=2)(rows))

    return f(x), push, pull


class Linear(Layer):
    """R independent affine maps `y = x W + b`: W has shape (R, D, H), b (R, 1, H), and both start at zero.

    Example:
        >>> layer = Linear(replicas=2, inputs=3, outputs=1)
        >>> layer.bias.data[1] = 5.0
        >>> layer(torch.ones(2, 4, 3))[:, 0, 0].tolist()
        [0.0, 5.0]
    """

    def __init__(self, replicas: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(replicas, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(replicas, 1, outputs))

    def forward(self, x: Float[Tensor, "R N D"]) -> Float[Tensor, "R N H"]:
        """Return `x W + b`."""
        return torch.baddbmm(self.bias, x, self.weight)

    def linearise(self, x: Float[Tensor, "R N D"]) -> Linearisation:
        """Return `x W + b`, `t -> t W` and `g -> g W^T`."""
        return (
            self(x),
            lambda tangents: rows_times(tangents, self.weight),
            lambda cotangents: cotangents.times(self.weight.mT),
        )

    @torch.no_grad()
    def he_normal_(self, generators: Generators) -> None:
        """Draw the weights from N(0, 2 / inputs), He et al. (2015), for a layer that a ReLU follows."""
        deviation = (2.0 / self.weight.shape[1]) ** 0.5
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=generator) * deviation)

    @torch.no_grad()
    def uniform_(self, generators: Generators) -> None:
        """Draw the weights from U(-0.01, 0.01), as the code of NICE's authors does."""
        for weight, generator in zip(self.weight, generators, strict=True):
            weight.copy_(torch.rand(weight.shape, generator=generator) * 0.02 - 0.01)

    @torch.no_grad()
    def orthonormal_(self, generators: Generators) -> None:
        """Make the columns of W a random orthonormal set (Appendix C); needs outputs <= inputs."""
        for weight, generator in zip(self.weight, generators, strict=True):
            gaussian = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            q, r = torch.linalg.qr(gaussian)
            weight.copy_(q * r.diagonal().sign())  # the sign makes q uniform over the orthonormal frames

    @torch.no_grad()
    def transpose_of_(self, other: Linear) -> None:
        """Start as the transposed weights of `other` (Appendix C: decoder projections start as W^T)."""
        self.weight.copy_(other.weight.mT)


class ReLUNetwork(Layer):
    """Hidden layers with ReLUs, then a linear layer that starts at zero: the residual of Appendix C.

    Hidden weights start He-normal (or small and uniform); the last layer's weights and all biases start at zero, so
    that a residual block or an additive coupling made of it starts as the identity.

    Args:
        replicas: R.
        inputs: width of the rows.
        hidden: ReLU units of a hidden layer.
        outputs: width of the result.
        hidden_layers: how many.
        hidden_init: `he`, or `uniform` as in the code of NICE's authors.

    Example:
        >>> network = ReLUNetwork(replicas=1, inputs=2, hidden=3, outputs=1, hidden_layers=2)
        >>> network.initialise([torch.Generator().manual_seed(0)])
        >>> network(torch.ones(1, 1, 2)).tolist()
        [[[0.0]]]
    """

    hidden: Sequence[Linear]

    def __init__(
        self,
        replicas: int,
        inputs: int,
        hidden: int,
        outputs: int,
        hidden_layers: int,
        hidden_init: Literal["he", "uniform"] = "he",
    ) -> None:
        super().__init__()
        self.hidden_init = hidden_init
        widths = [inputs] + [hidden] * hidden_layers
        self.hidden = nn.ModuleList(Linear(replicas, a, b) for a, b in pairwise(widths))  # type: ignore[assignment]
        self.out = Linear(replicas, hidden, outputs)

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers; the last one stays zero."""
        for layer in self.hidden:
            (layer.he_normal_ if self.hidden_init == "he" else layer.uniform_)(generators)

    def forward(self, x: Float[Tensor, "R N D"]) -> Float[Tensor, "R N H"]:
        """Return `ReLU(... ReLU(x W_1) ...) W_L`, with biases."""
        for layer in self.hidden:
            x = F.relu(layer(x), inplace=True)
        return self.out(x)

    def linearise(self, x: Float[Tensor, "R N D"]) -> Linearisation:
        """Fix each ReLU's gate at x; between gates the network is its matrix products."""
        gates = []
        for layer in self.hidden:
            x = F.relu(layer(x), inplace=True)
            # A ReLU's output is never negative, so its sign is its gate; as floats, because that multiplies fastest.
            gates.append(x.detach().sign()[:, :, None])

        def push(tangents: Tensor) -> Tensor:
            for layer, gate in zip(self.hidden, gates, strict=True):
                tangents = rows_times(tangents, layer.weight) * gate
            return rows_times(tangents, self.out.weight)

        def pull(cotangents: Cotangents) -> Cotangents:
            images = cotangents.left.shape[1]
            cotangents = cotangents.times(self.out.weight.mT)
            for layer, gate in zip(reversed(self.hidden), reversed(gates), strict=True):
                cotangents = Cotangents(cotangents.dense() * gate[:, :images], layer.weight.mT)
            return cotangents

        return self.out(x), push, pull


class ResidualBlock(Layer):
    r"""The residual block of Appendix C, which starts as the identity and has no ReLU after the sum.

    .. math:: y = x + \mathrm{ReLU}(\mathrm{ReLU}(x W_1) W_2) W_3

    Example:
        >>> ResidualBlock(replicas=1, width=2, hidden=3)(torch.tensor([[[-1.0, 2.0]]])).tolist()
        [[[-1.0, 2.0]]]
    """

    def __init__(self, replicas: int, width: int, hidden: int) -> None:
        super().__init__()
        self.residual = ReLUNetwork(replicas, width, hidden, width, hidden_layers=2)

    def initialise(self, generators: Generators) -> None:
        """Start as the identity map."""
        self.residual.initialise(generators)

    def forward(self, x: Float[Tensor, "R N D"]) -> Float[Tensor, "R N D"]:
        """Return x plus its residual."""
        return x + self.residual(x)

    def linearise(self, x: Float[Tensor, "R N D"]) -> Linearisation:
        """Add the identity to the residual's linearisation."""
        value, push, pull = self.residual.linearise(x)
        return x + value, lambda t: t + push(t), lambda g: g + pull(g)


class Chain(Layer):
    """Layers one after the other; its Jacobian is the product of theirs.

    Its output has the type of its input, whatever the precision (`precision.py`) between its layers.

    Example:
        >>> chain = Chain([Linear(replicas=2, inputs=3, outputs=5), ResidualBlock(replicas=2, width=5, hidden=4)])
        >>> value, push, pull = chain.linearise(torch.ones(2, 6, 3))
        >>> value.shape, push(torch.ones(2, 6, 1, 3)).shape, pull(Cotangents(torch.ones(2, 6, 1, 5))).dense().shape
        (torch.Size([2, 6, 5]), torch.Size([2, 6, 1, 5]), torch.Size([2, 6, 1, 3]))
    """

    layers: Sequence[Layer]

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]

    def initialise(self, generators: Generators) -> None:
        """Initialise the layers in order."""
        for layer in self.layers:
            layer.initialise(generators)

    def forward(self, x: Float[Tensor, "R N D"]) -> Tensor:
        """Apply the layers in order."""
        y: Tensor = x
        for layer in self.layers:
            y = layer(y)
        return y.to(x.dtype)

    def linearise(self, x: Float[Tensor, "R N D"]) -> Linearisation:
        """Chain the layers' maps: pushforwards in order, pullbacks in reverse."""
        pushes: list[LinearMap] = []
        pulls: list[Pullback] = []
        y: Tensor = x
        for layer in self.layers:
            y, push, pull = layer.linearise(y)
            pushes.append(push)
            pulls.append(pull)
        return y.to(x.dtype), _composed(pushes), _composed(pulls[::-1])


T = TypeVar("T")


def _composed(maps: list[Callable[[T], T]]) -> Callable[[T], T]:
    def apply(value: T) -> T:
        for each in maps:
            value = each(value)
        return value

    return apply
