"""The `Flow` interface: a bijection of R^n on the replica axis, with the log-determinant of each point."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import Hyperparameter, check_declared
from vdae_bench.models.layers import Cotangents, Layer, Linearisation
from vdae_bench.models.problem import Problem


class DiagonalScaling(Layer):
    r"""A learned scale of each dimension; it ends a NICE flow (Dinh et al., 2014, arXiv:1410.8516, section 3.3).

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

    def log_det(self) -> Float[Tensor, "R 1"]:
        """Return the log-determinant, the same at every point."""
        return self.log_scale.sum(-1)


class Flow(Layer):
    r"""A bijection z = f(x) of R^n, R of them side by side, which starts as an affine map of each dimension.

    Its density of x under a prior p(z) is that of eq. (3):

    .. math:: \log p(x) = \log p(f(x)) + \log \left| \det \partial f / \partial x \right|

    A subclass supplies `dims`, `forward_and_log_det`, `inverse` and `start_affine_`, without which `FlowKind.flow`
    refuses it; `initialise` where it has parameters to draw, `push_forward` where it knows a cheaper rule than a pass a
    tangent, and `forward_and_estimate` with `estimate_dims` where training takes an estimate of the log-determinant.

    Example:
        >>> class Scaled(Flow):
        ...     def __init__(self, replicas, dims):
        ...         super().__init__()
        ...         self.dims, self.scaling = dims, DiagonalScaling(replicas, dims)
        ...     def forward_and_log_det(self, x):
        ...         return self.scaling(x), self.scaling.log_det()
        >>> z, log_det, pushed = Scaled(1, 2).push_forward(torch.ones(1, 3, 2), torch.ones(1, 3, 4, 2))
        >>> z.shape, log_det.tolist(), pushed.shape
        (torch.Size([1, 3, 2]), [[0.0]], torch.Size([1, 3, 4, 2]))
    """

    dims: int
    """Number n of dimensions."""
    estimate_dims: int = 0
    """Dimensions of the normal noise of `forward_and_estimate`; 0 where it is exact."""
    activation_rows: int = 1
    """Rows of n numbers that an image takes at the widest place: they bound how many are worked on at a time."""

    @abstractmethod
    def forward_and_log_det(self, x: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"]]:
        """Return z = f(x) and `log |det df/dx|` at each x: exact, and of one column where it is the same everywhere."""
        raise NotImplementedError

    def forward_and_estimate(
        self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]
    ) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"]]:
        """Return z and what training takes for the log-determinant: here the exact one."""
        return self.forward_and_log_det(x)

    def forward(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return the latents z = f(x)."""
        return self.forward_and_log_det(x)[0]

    @abstractmethod
    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return the data point that f maps to z."""
        raise NotImplementedError

    def push_forward(
        self, x: Float[Tensor, "R N n"], tangents: Float[Tensor, "R N K n"]
    ) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"], Float[Tensor, "R N K n"]]:
        """Return z, the log-determinant, and the Jacobian-vector products `t J^T` of K tangents at each x."""
        rows = tangents.shape[2]
        # Forward-mode differentiation of one pass over all rows: autograd and torch's counter of FLOPs see through it.
        with forward_ad.dual_level():
            points = x[:, :, None].expand_as(tangents).flatten(1, 2).contiguous()  # replicas may share their images
            z, log_det = self.forward_and_log_det(forward_ad.make_dual(points, tangents.flatten(1, 2)))
            (z, pushed), log_det = forward_ad.unpack_dual(z), forward_ad.unpack_dual(log_det).primal
        return z[:, ::rows], log_det[:, ::rows], pushed.unflatten(1, (x.shape[1], rows))

    @abstractmethod
    def start_affine_(self, location: Float[Tensor, "... n"], log_scale: Float[Tensor, "... n"]) -> None:
        """Start as `z = exp(log_scale) (x - location)`, for all replicas or (R, 1, n) each its own."""
        raise NotImplementedError

    def initialise_from_data(self, mean: Float[Tensor, " n"], variance: Float[Tensor, "... n"]) -> None:
        """Start as one logistic for each pixel: z_i = exp(s_i) (x_i - mean_i), of variance pi^2 / 3."""
        self.start_affine_(mean, logistic_log_scale(variance))


def logistic_log_scale(variance: Tensor) -> Tensor:
    """Logarithm of the factor that gives a variable of that variance the variance pi^2 / 3 of a standard logistic."""
    return 0.5 * torch.log(torch.pi**2 / (3 * variance))


class StandardisedFlow(Flow):
    """Base of the flows that see their data standardised: y = exp(s) (x - location), then a core that starts as y.

    A subclass supplies `core` and `core_inverse`.
    """

    def __init__(self, replicas: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.location = nn.Parameter(torch.zeros(replicas, 1, dims))
        self.scaling = DiagonalScaling(replicas, dims)

    @abstractmethod
    def core(self, y: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"]]:
        """Map standardised data to latents, with the log-determinant."""
        raise NotImplementedError

    @abstractmethod
    def core_inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Undo `core`."""
        raise NotImplementedError

    def standardise(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return `exp(s) (x - location)`."""
        return self.scaling(x - self.location)

    def forward_and_log_det(self, x: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"]]:
        """Return z and the log-determinant: the scaling's and the core's."""
        z, log_det = self.core(self.standardise(x))
        return z, log_det + self.scaling.log_det()

    def inverse(self, z: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return the data point that f maps to z."""
        return self.location + self.scaling.inverse(self.core_inverse(z))

    @torch.no_grad()
    def start_affine_(self, location: Float[Tensor, "... n"], log_scale: Float[Tensor, "... n"]) -> None:
        """Start as `z = exp(log_scale) (x - location)`; the core starts as the identity."""
        self.location.copy_(location)
        self.scaling.log_scale.copy_(log_scale)


@dataclass(frozen=True)
class FlowKind:
    """An entry of `FLOWS`: a flow that has a row of its own and can stand in an encoder.

    Attributes:
        title: its name in reports.
        build: makes the flow of a model, its parameters not yet drawn; `flow` calls it.
        hyperparameters: its sizes.
        at_every_sample: its log-determinant costs about as much as the map and is exact, so that `vdae-*` can take it
            at each noisy point; without it the flow serves `lvdae-nice` and its own row alone.
        differentiable_inverse: gradients pass its inverse, which is the decoder of `vdae-nice` and `vdae-coupled`;
            without it the flow does not serve these two.
        reference: a line on the flow for its row's documentation.
        check: raises `UserError` with one sentence where images of a shape cannot pass a flow of these sizes.
        version: part of a run's identity: raise it when a change alters the numbers.
    """

    title: str
    build: Callable[[Problem], Flow]
    hyperparameters: tuple[Hyperparameter[Any], ...] = ()
    at_every_sample: bool = True
    differentiable_inverse: bool = True
    reference: str = ""
    check: Callable[[tuple[int, int], Mapping[str, Any]], None] = lambda shape, sizes: None
    version: int = 1

    def __post_init__(self) -> None:
        check_declared(f"the flow {self.title!r}", self.hyperparameters)

    def flow(self, problem: Problem) -> Flow:
        """Build the flow of a model, and check that it has all that a flow has to have.

        Raises:
            UserError: `build` returns something else, or a flow whose class leaves out a method.
        """
        flow = self.build(problem)
        kind = type(flow)
        if not isinstance(flow, Flow):
            raise UserError(f"the flow {self.title!r} builds a {kind.__name__}, which is no Flow; mend its FlowKind")
        lacking = [name for name in dir(kind) if getattr(getattr(kind, name), "__isabstractmethod__", False)]
        lacking += [] if hasattr(flow, "dims") else ["dims"]
        if lacking:
            raise UserError(
                f"the flow {self.title!r} is incomplete: its class {kind.__name__} lacks {' and '.join(lacking)}; add "
                "what is missing (vdae_bench.models.flows.base.Flow says what it does)"
            )
        return flow
