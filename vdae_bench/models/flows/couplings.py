"""Couplings on the replica axis: additive ones, which are NICE (eq. 3, Appendix D), and affine ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vdae_bench.models.flows.base import DiagonalScaling, Flow, FlowKind
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.layers import Cotangents, Generators, Layer, Linearisation, LinearMap, ReLUNetwork
from vdae_bench.models.problem import Problem

CouplingKind: TypeAlias = Literal["additive", "affine"]


class Couplings(Flow):
    r"""A flow z = f(x) of fully connected couplings, then a diagonal scaling; the additive one is NICE.

    Coupling k lets one half of the dimensions pass, and moves the other by a network of the first:

    .. math::
        y_\mathrm{pass} = x_\mathrm{pass}, \qquad
        y_\mathrm{move} = e^{s_k} \odot x_\mathrm{move} + t_k, \qquad
        s_k = b \tanh \frac{r_k}{b}, \qquad (r_k, t_k) = \mathrm{network}_k(x_\mathrm{pass})

    In NICE (Dinh et al., 2014, arXiv:1410.8516) s_k = 0 and a coupling keeps volumes, so that in eq. (3) the
    determinant is the scaling's at every x. Affine couplings (Dinh et al., 2016, arXiv:1605.08803) add the sum of s_k
    at x. Even indices pass first, then the halves alternate. The last layer of each network starts at zero (Appendix
    C), and so the flow starts as the identity.

    Args:
        replicas: R, flows side by side, each with weights of its own.
        dims: n.
        couplings: how many; 4 in Appendix D.
        hidden: ReLU units of a hidden layer; 1024 in Appendix D.
        hidden_layers: hidden layers of each network; 5 in Appendix D.
        hidden_init: `he`, or `uniform` as in the code of NICE's authors: after 12 epochs at `quick` sizes
            5.178 bits/dim, where `he` has 4.460.
        kind: `additive` or `affine`.
        context: dimensions of a context that every network sees beside its half; 0: none.
        bound: b; a black pixel in [0, 1] needs a factor of 256, which is e^5.5.

    Example:
        >>> flow = Couplings(replicas=2, dims=5, couplings=4, hidden=8, hidden_layers=1)
        >>> flow.start_affine_(location=torch.full((5,), 0.5), log_scale=torch.full((5,), 2.0).log())
        >>> z, log_det = flow.forward_and_log_det(torch.ones(2, 3, 5))
        >>> z[0, 0].tolist(), flow.inverse(z)[0, 0].tolist()
        ([1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0])
        >>> round(log_det[0].item(), 4)  # 5 log 2
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
        kind: CouplingKind = "additive",
        context: int = 0,
        bound: float = 6.0,
    ) -> None:
        super().__init__()
        self.dims, self.kind, self.bound = dims, kind, bound
        sizes = ((dims + 1) // 2, dims // 2)
        outputs = 2 if kind == "affine" else 1
        self.couplings = nn.ModuleList(  # type: ignore[assignment]
            ReLUNetwork(
                replicas, sizes[k % 2] + context, hidden, outputs * sizes[1 - k % 2], hidden_layers, hidden_init
            )
            for k in range(couplings)
        )
        self.scaling = DiagonalScaling(replicas, dims)

    def initialise(self, generators: Generators) -> None:
        """Draw the hidden layers; the flow starts as the identity."""
        for network in self.couplings:
            network.initialise(generators)

    def _scale_and_shift(self, value: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t of affine couplings, in the precision of what they move."""
        raw, shift = value.to(like.dtype).chunk(2, -1)
        return self.bound * torch.tanh(raw / self.bound), shift

    def forward_and_log_det(
        self, x: Float[Tensor, "R N n"], context: Float[Tensor, "R N c"] | None = None
    ) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"]]:
        """Return z and the log-determinant: the scaling's and, for affine couplings, the sum of all s_k."""
        # The halves stay apart from the first coupling to the last, so that none of them gathers or scatters.
        halves, log_det = split(x), self.scaling.log_det()
        for k, network in enumerate(self.couplings):
            value, moving = network(_beside(halves[k % 2], context)), halves[1 - k % 2]
            if self.kind == "additive":
                halves[1 - k % 2] = moving + value
            else:
                log_scale, shift = self._scale_and_shift(value, moving)
                halves[1 - k % 2] = moving * log_scale.exp() + shift
                log_det = log_det + log_scale.sum(-1)
        return self.scaling(interleave(halves)), log_det

    def inverse(
        self, z: Float[Tensor, "R N n"], context: Float[Tensor, "R N c"] | None = None
    ) -> Float[Tensor, "R N n"]:
        """Return the data point that f maps to z."""
        halves = split(self.scaling.inverse(z))
        for k, network in reversed(list(enumerate(self.couplings))):
            value, moved = network(_beside(halves[k % 2], context)), halves[1 - k % 2]
            if self.kind == "additive":
                halves[1 - k % 2] = moved - value
            else:
                log_scale, shift = self._scale_and_shift(value, moved)
                halves[1 - k % 2] = (moved - shift) * torch.exp(-log_scale)
        return interleave(halves)

    def linearise(self, x: Float[Tensor, "R N n"]) -> Linearisation:
        """Chain the couplings' Jacobians, each the identity but for the rows of the half that moves."""
        z, _, push, pull = self._linearised(x)
        return z, push, pull

    def push_forward(
        self, x: Float[Tensor, "R N n"], tangents: Float[Tensor, "R N K n"]
    ) -> tuple[Float[Tensor, "R N n"], Float[Tensor, "R #N"], Float[Tensor, "R N K n"]]:
        """Return z, the log-determinant and `t J^T`, by the networks' own matrix products."""
        z, log_det, push, _ = self._linearised(x)
        return z, log_det, push(tangents)

    def _linearised(self, x: Tensor) -> tuple[Tensor, Tensor, LinearMap, Callable[[Cotangents], Cotangents]]:
        halves, log_det = split(x), self.scaling.log_det()
        steps: list[tuple[int, _Push, _Pull]] = []
        for k, network in enumerate(self.couplings):
            value, push, pull = network.linearise(halves[k % 2])
            moving = halves[1 - k % 2]
            if self.kind == "additive":
                halves[1 - k % 2] = moving + value
                steps.append((k % 2, *_additive_step(push, pull)))
            else:
                log_scale, shift = self._scale_and_shift(value, moving)
                scale = log_scale.exp()
                halves[1 - k % 2] = moving * scale + shift
                log_det = log_det + log_scale.sum(-1)
                slope = moving * scale * (1 - (log_scale / self.bound).square())
                steps.append((k % 2, *_affine_step(push, pull, scale, slope)))
        z, push_scaling, pull_scaling = self.scaling.linearise(interleave(halves))

        def push_all(tangents: Tensor) -> Tensor:
            parts = split(tangents)
            for passing, push, _ in steps:
                parts[1 - passing] = push(parts[passing], parts[1 - passing])
            return push_scaling(interleave(parts))

        def pull_all(cotangents: Cotangents) -> Cotangents:
            parts = split(pull_scaling(cotangents).dense())
            for passing, _, pull in reversed(steps):
                added, parts[1 - passing] = pull(parts[1 - passing])
                parts[passing] = parts[passing] + added
            return Cotangents(interleave(parts))

        return z, log_det, push_all, pull_all

    @torch.no_grad()
    def start_affine_(self, location: Float[Tensor, "... n"], log_scale: Float[Tensor, "... n"]) -> None:
        """Start as `z = exp(log_scale) (x - location)`, for all replicas or (R, 1, n) each its own.

        The location goes into the bias of the first coupling that moves a pixel, where the model class has room
        for it; the couplings' weights stay as they are.
        """
        for k, network in list(enumerate(self.couplings))[:2]:
            shift = -split(location)[1 - k % 2]
            network.out.bias[..., -shift.shape[-1] :].copy_(shift)
        self.scaling.log_scale.copy_(log_scale)


_Push: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Tangents of the half that passes and of the one that moves, to those of the moved half."""
_Pull: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Cotangents of the moved half, to what they add to the half that passes, and those of the half before it moved."""


def _additive_step(push: LinearMap, pull: Callable[[Cotangents], Cotangents]) -> tuple[_Push, _Pull]:
    return lambda passing, moving: moving + push(passing), lambda moved: (pull(Cotangents(moved)).dense(), moved)


def _affine_step(
    push: LinearMap, pull: Callable[[Cotangents], Cotangents], scale: Tensor, slope: Tensor
) -> tuple[_Push, _Pull]:
    """Linearise `moving e^s + t`; `slope` is the derivative by the raw scale."""
    scale, slope = scale[:, :, None], slope[:, :, None]

    def push_step(passing: Tensor, moving: Tensor) -> Tensor:
        raw, shift = push(passing).to(moving.dtype).chunk(2, -1)
        return moving * scale + slope * raw + shift

    def pull_step(moved: Tensor) -> tuple[Tensor, Tensor]:
        images = moved.shape[1]
        both = torch.cat((moved * slope[:, :images], moved), -1)
        return pull(Cotangents(both)).dense(), moved * scale[:, :images]

    return push_step, pull_step


class InverseFlow(Layer):
    """The inverse h^-1 of a flow h, as a decoder; in `vdae-coupled` h is the encoder itself, as in eq. (6).

    Example:
        >>> flow = Couplings(replicas=1, dims=2, couplings=2, hidden=3, hidden_layers=1)
        >>> flow.start_affine_(location=torch.ones(2), log_scale=torch.tensor([2.0, 4.0]).log())
        >>> InverseFlow(flow)(torch.ones(1, 1, 2)).detach()
        tensor([[[1.5000, 1.2500]]])
    """

    def __init__(self, flow: Flow) -> None:
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


def _beside(half: Tensor, context: Tensor | None) -> Tensor:
    """Return what a coupling's network sees: its half and, where there is one, the context."""
    return half if context is None else torch.cat((half, context), -1)


COUPLINGS = Hyperparameter(
    "couplings", int, 4, ge=2, le=64, meaning="number of couplings of NICE and of its affine variant"
)
COUPLING_LAYERS = Hyperparameter(
    "coupling_layers", int, 5, ge=1, le=64, meaning="number of hidden layers of a coupling"
)
COUPLING_HIDDEN_SIZE = Hyperparameter(
    "coupling_hidden_size", int, 1024, ge=1, le=65536, meaning="width of a coupling's hidden layers"
)
NICE_HYPERPARAMETERS = (COUPLINGS, COUPLING_LAYERS, COUPLING_HIDDEN_SIZE)


def couplings_of(problem: Problem, kind: CouplingKind = "additive") -> Couplings:
    """The couplings at the sizes that the hyper-parameters give: NICE as in Appendix D, or the affine ones."""
    return Couplings(
        problem.replicas,
        problem.data_dim,
        couplings=COUPLINGS.of(problem.hyperparameters),
        hidden=COUPLING_HIDDEN_SIZE.of(problem.hyperparameters),
        hidden_layers=COUPLING_LAYERS.of(problem.hyperparameters),
        hidden_init=problem.options.get("hidden_init", "he"),
        kind=kind,
    )


NICE = FlowKind("NICE", couplings_of, NICE_HYPERPARAMETERS, reference="Dinh et al., 2014, arXiv:1410.8516")
AFFINE = FlowKind(
    "affine couplings",
    lambda problem: couplings_of(problem, "affine"),
    NICE_HYPERPARAMETERS,
    reference="fully connected; Dinh et al., 2016, arXiv:1605.08803",
)
