"""A check of a flow against automatic differentiation, for whoever adds one from outside the package."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.noise import initial_generators
from vdae_bench.errors import UserError
from vdae_bench.models.flows.base import Flow, FlowKind
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.problem import Problem

REPLICAS, POINTS = 2, 3
CLOSE = 1e-4
"""Largest difference, absolute or relative: above what a solver's steps leave, below what a wrong formula does."""


def check_flow(kind: FlowKind, shape: tuple[int, int] = (4, 4), sizes: Mapping[str, Any] | None = None) -> None:
    """Check that a flow is the bijection that it says it is, on small images, in float64, with random parameters.

    What is checked: the leading axis of replicas, the affine start, the log-determinant and the products with the
    Jacobian beside autograd's, the inverse, that replicas and images do not mix, and that gradients pass the inverse.

    Args:
        kind: the entry of `FLOWS`.
        shape: rows and columns of the images.
        sizes: hyper-parameters other than their defaults, by name.

    Raises:
        UserError: the first fault, in one sentence.
    """
    own = defaults(kind.hyperparameters) | dict(sizes or {})
    kind.check(shape, own)
    with _fault(kind, "it cannot be built"):
        problem = Problem(REPLICAS, math.prod(shape), math.prod(shape), "continuous", own, image_shape=shape)
        flow = kind.flow(problem).double()
    _check_axis(kind, flow)
    x = _randn(REPLICAS, POINTS, flow.dims, seed=1)
    with _fault(kind, "it cannot be started"):
        flow.initialise(initial_generators(range(REPLICAS)))
        _check_start(flow, x)
    _disturb(flow)
    with _fault(kind, "its map fails"):
        jacobians = _check_map(flow, x)
    with _fault(kind, "push_forward fails"):
        tangents = _randn(REPLICAS, POINTS, 2, flow.dims, seed=2)
        _require(
            flow.push_forward(x, tangents)[2], tangents @ jacobians.mT, "push_forward is not t J^T of autograd's J"
        )
    with _fault(kind, "its inverse fails"):
        _check_inverse(flow, x, trains=kind.differentiable_inverse)


class _Wrong(Exception):
    """A fault that a check has found, in words that follow `is wrong`."""


@contextmanager
def _fault(kind: FlowKind, what: str) -> Iterator[None]:
    try:
        yield
    except _Wrong as error:
        raise UserError(f"the flow {kind.title!r} is wrong: {error}") from None
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the flow {kind.title!r} is wrong: {what} ({type(error).__name__}: {error})") from error


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _require(ours: Tensor, truth: Tensor, otherwise: str) -> None:
    if ours.shape != truth.shape or not torch.allclose(ours, truth, rtol=CLOSE, atol=CLOSE):
        raise _Wrong(otherwise)


def _check_axis(kind: FlowKind, flow: Flow) -> None:
    for name, parameter in flow.named_parameters():
        if parameter.shape[:1] != (REPLICAS,):
            raise UserError(
                f"the flow {kind.title!r} is wrong: its parameter {name} of shape {tuple(parameter.shape)} lacks the "
                "leading axis of replicas"
            )


@torch.no_grad()
def _disturb(flow: Flow) -> None:
    """Move each replica's parameters, which may all start at a value where a fault does not show; wide layers less."""
    for index, parameter in enumerate(flow.parameters()):
        parameter.add_(_randn(*parameter.shape, seed=100 + index), alpha=0.2 * parameter[0].numel() ** -0.25)


@torch.no_grad()
def _check_start(flow: Flow, x: Float[Tensor, "R N n"]) -> None:
    location, log_scale = _randn(REPLICAS, 1, flow.dims, seed=3), 0.3 * _randn(REPLICAS, 1, flow.dims, seed=4)
    flow.start_affine_(location, log_scale)
    z, log_det = flow.forward_and_log_det(x)
    _require(
        z, torch.exp(log_scale) * (x - location), "start_affine_ does not start it as exp(log_scale) (x - location)"
    )
    _require(
        log_det.expand(REPLICAS, POINTS),
        log_scale.sum(-1).expand(REPLICAS, POINTS),
        "after start_affine_ its log-determinant is not the sum of log_scale",
    )


def _check_map(flow: Flow, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n n"]:
    """Check the map at each point; return autograd's Jacobians."""
    point = x.clone().requires_grad_()
    z, log_det = flow.forward_and_log_det(point)
    if z.shape != x.shape or log_det.shape not in ((REPLICAS, POINTS), (REPLICAS, 1)):
        raise _Wrong(
            f"of {tuple(x.shape)} points it makes latents of shape {tuple(z.shape)} and log-determinants of shape "
            f"{tuple(log_det.shape)}, where {tuple(x.shape)} and {(REPLICAS, POINTS)} are asked for"
        )
    _require(flow(x[:, :1]), z[:, :1], "the latents of an image depend on the other images")
    rows = [torch.autograd.grad(z[..., i].sum(), point, retain_graph=True)[0] for i in range(flow.dims)]
    jacobians = torch.stack(rows, 2)
    truth = torch.linalg.slogdet(jacobians).logabsdet
    _require(log_det.expand(REPLICAS, POINTS), truth, "its log-determinant is not that of autograd's Jacobian")
    _check_replicas(flow, x, z)
    return jacobians


@torch.no_grad()
def _check_replicas(flow: Flow, x: Float[Tensor, "R N n"], z: Float[Tensor, "R N n"]) -> None:
    """Check that the first replica does not see the parameters of the second."""
    before = [parameter.clone() for parameter in flow.parameters()]
    for parameter in flow.parameters():
        parameter[1] *= 1.5
    _require(flow(x)[0], z[0], "the latents of a replica depend on another's parameters")
    for parameter, value in zip(flow.parameters(), before, strict=True):
        parameter.copy_(value)


def _check_inverse(flow: Flow, x: Float[Tensor, "R N n"], *, trains: bool) -> None:
    with torch.no_grad():
        _require(flow.inverse(flow(x)), x, "its inverse does not undo it")
    if not trains:
        return
    z, weights, parameters = x.clone().requires_grad_(), _randn(*x.shape, seed=5), list(flow.parameters())
    # f(f^-1(z)) is z whatever the parameters, so its gradient by them is zero where gradients pass the inverse.
    by_z, *by_parameters = torch.autograd.grad(
        (weights * flow(flow.inverse(z))).sum(), [z, *parameters], materialize_grads=True
    )
    fault = (
        "gradients do not pass its inverse, through which vdae-nice and vdae-coupled train; set "
        "differentiable_inverse=False in its FlowKind"
    )
    _require(by_z, weights, fault)
    for gradient in by_parameters:
        _require(gradient, torch.zeros_like(gradient), fault)
