"""J, J w, J^T u, log det J J^T and its gradient: against autograd's Jacobian and central differences."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.support.models import DATA_DIM, FLOWS, LATENTS, build
from tests.support.truths import full_jacobians, randn
from vdae_bench.models.flows.base import DiagonalScaling
from vdae_bench.models.flows.couplings import Couplings, InverseFlow, interleave, split
from vdae_bench.models.layers import Cotangents, Linear, ResidualBlock, generic_linearise
from vdae_bench.models.log_det import gram_cholesky, log_det_gram
from vdae_bench.models.networks import ResNet, projection_widths

R, N, D = 2, 3, 10
LAYERS = {
    "linear": lambda: Linear(R, D, 4),
    "residual block": lambda: ResidualBlock(R, D, 6),
    "resnet": lambda: ResNet(R, projection_widths(D, 2), 5, 2),
    "resnet with few hidden units": lambda: ResNet(R, [D, D, D, 4], 2, 1),
    "resnet that widens": lambda: ResNet(R, projection_widths(D, 2)[::-1], 5, 1),
    "one coupling": lambda: Couplings(R, D, 1, 6, 2),
    "scaling": lambda: DiagonalScaling(R, D),
    "nice": lambda: Couplings(R, D, 4, 6, 2),
    "nice of odd dimension": lambda: Couplings(R, 7, 3, 6, 2),
    "inverse flow": lambda: InverseFlow(Couplings(R, D, 4, 6, 2)),
}
INPUTS = {"resnet that widens": 2, "nice of odd dimension": 7}  # D elsewhere
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(params=LAYERS, ids=str)
def layer(request):
    """Every parameter random, the replicas different."""
    built = LAYERS[request.param]().double()
    with torch.no_grad():
        for index, parameter in enumerate(built.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape, seed=70 + index))
    return built


@pytest.fixture
def x(layer, request):
    return randn(R, N, INPUTS.get(request.node.callspec.params["layer"], D), seed=71)


def numerical_jacobians(f, x, step=1e-6):
    """J by central differences, one input after the other: (R, N, outputs, inputs)."""
    columns = []
    with torch.no_grad():
        for unit in torch.eye(x.shape[-1], dtype=x.dtype):
            columns.append((f(x + step * unit) - f(x - step * unit)) / (2 * step))
    return torch.stack(columns, 3)


def test_j_from_unit_rows_is_the_numerical_one(layer, x):
    _, push, pull = layer.linearise(x)
    expected = numerical_jacobians(layer, x)
    outputs, inputs = expected.shape[2:]
    eye = torch.eye(max(outputs, inputs), dtype=torch.float64)
    rows = pull(Cotangents(eye[:outputs, :outputs].expand(R, N, -1, -1))).dense()
    columns = push(eye[:inputs, :inputs].expand(R, N, -1, -1))
    torch.testing.assert_close(rows, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(columns.mT, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rows", [1, 4, 40])
def test_push_and_pull_are_products_with_the_jacobian(layer, x, rows):
    """J w and J^T u for few rows and for so many that cotangents stay factored."""
    jacobian = full_jacobians(layer, x)
    value, push, pull = layer.linearise(x)
    torch.testing.assert_close(value, layer(x))
    tangents = randn(R, N, rows, x.shape[-1], seed=72)
    torch.testing.assert_close(push(tangents), tangents @ jacobian.mT, **CLOSE)
    cotangents = randn(R, N, rows, jacobian.shape[2], seed=73)
    for images in (N, 2):
        pulled = pull(Cotangents(cotangents[:, :images])).dense()
        torch.testing.assert_close(pulled, (cotangents @ jacobian)[:, :images], **CLOSE)


def test_the_generic_rule_agrees(layer, x):
    jacobian = full_jacobians(layer, x)
    value, push, pull = generic_linearise(layer, x)
    torch.testing.assert_close(value, layer(x))
    tangents, cotangents = randn(R, N, 2, x.shape[-1], seed=74), randn(R, N - 1, 2, jacobian.shape[2], seed=75)
    torch.testing.assert_close(push(tangents), tangents @ jacobian.mT, **CLOSE)
    torch.testing.assert_close(pull(Cotangents(cotangents)).dense(), cotangents @ jacobian[:, :-1], **CLOSE)


def test_gradients_of_products_with_j_are_those_of_autograds_jacobian(layer, x):
    """d/d theta of u^T J w, with J pushed, pulled, or differentiated twice by autograd; every parameter and replica."""
    w, jacobian = randn(R, N, 1, x.shape[-1], seed=76), full_jacobians(layer, x, create_graph=True)
    u = randn(R, N, 1, jacobian.shape[2], seed=77)
    _, push, pull = layer.linearise(x)
    parameters = list(layer.parameters())

    def gradients(value):
        if not value.requires_grad:
            return [torch.zeros_like(parameter) for parameter in parameters]
        return torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)

    expected = gradients((u @ jacobian @ w.mT).sum())
    torch.testing.assert_close(gradients((push(w) * u).sum()), expected, **CLOSE)
    torch.testing.assert_close(gradients((pull(Cotangents(u)).dense() * w).sum()), expected, **CLOSE)


ENCODERS = ("vae", "lvdae", *FLOWS)


def encoder_of(method, seeds=(0, 1)):
    model = build(method, seeds=seeds)
    if method == "nice":
        return model.flow
    return model.posterior.flow if method in FLOWS else model.posterior.encoder


def latent_rows(method, replicas=2):
    dims = LATENTS if method in ("vae", "lvdae") else DATA_DIM
    return Cotangents(torch.eye(dims, dtype=torch.float64).expand(replicas, N, -1, -1))


def code_log_det(encoder, x, rows):
    """log det J J^T as training computes it: pullback of unit rows, Cholesky; (R, N)."""
    return log_det_gram(gram_cholesky(encoder.linearise(x)[2](rows).dense()))


@pytest.mark.parametrize("method", ENCODERS)
def test_log_det_and_its_gradient_for_every_encoder(method):
    """Against slogdet of autograd's J J^T (every gradient) and central differences (along random directions)."""
    encoder, x = encoder_of(method), randn(R, N, DATA_DIM, seed=78)
    parameters = dict(encoder.named_parameters())
    jacobian = full_jacobians(encoder, x, create_graph=True)
    expected = torch.linalg.slogdet(jacobian @ jacobian.mT).logabsdet
    actual = code_log_det(encoder, x, latent_rows(method))
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    mine, theirs = (
        torch.autograd.grad(value.sum(), parameters.values(), materialize_grads=True) for value in (actual, expected)
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)
    step = 1e-6
    for seed in range(3):
        directions = [randn(*parameter.shape, seed=10 * seed + k) for k, parameter in enumerate(parameters.values())]
        values = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                for parameter, direction in zip(parameters.values(), directions, strict=True):
                    parameter += sign * step * direction
                values.append(code_log_det(encoder, x, latent_rows(method)).sum(1))
        numerical = (values[0] - values[1]) / (2 * step)
        analytical = sum((each * direction).sum((1, 2)) for each, direction in zip(mine, directions, strict=True))
        torch.testing.assert_close(numerical, analytical, rtol=1e-6, atol=1e-5)
    moved = sum(gradient.abs().max() > 1e-3 for gradient in mine)
    assert moved >= (1 if method in FLOWS else len(parameters) // 3)


@pytest.mark.parametrize("method", ENCODERS)
def test_equal_replicas_have_equal_jacobians_and_no_other_replica_matters(method):
    x = randn(1, N, DATA_DIM, seed=79).expand(3, -1, -1)
    w = randn(1, N, 1, DATA_DIM, seed=80).expand(3, -1, -1, -1)

    def results(encoder):
        """J w, J^T u for unit u, log det C and the gradient of the latter, per replica."""
        _, push, pull = encoder.linearise(x)
        jacobian = pull(latent_rows(method, 3)).dense()
        log_det = log_det_gram(gram_cholesky(jacobian))
        gradients = torch.autograd.grad(log_det.sum(), list(encoder.parameters()), materialize_grads=True)
        return push(w), jacobian, log_det, *gradients

    encoder = encoder_of(method, seeds=(5, 5, 6))
    before = [each.detach().clone() for each in results(encoder)]
    assert not torch.equal(before[0][0], before[0][2])
    for each in before:
        torch.testing.assert_close(each[0], each[1], rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter[2] *= -3
    for old, new in zip(before, results(encoder), strict=True):
        assert torch.equal(old[:2], new[:2])


@pytest.mark.parametrize("dims", [7, 10])
@pytest.mark.parametrize("couplings", [1, 2, 3, 4])
def test_nice_inverse_and_log_det(dims, couplings):
    """Inverse of forward (and forward of inverse) is the identity to 1e-10; log det against the full Jacobian's."""
    flow = Couplings(R, dims, couplings, 6, 3).double()
    with torch.no_grad():
        for index, parameter in enumerate(flow.parameters()):
            parameter.copy_(0.4 * randn(*parameter.shape, seed=81 + index))
    x = randn(R, N, dims, seed=80)
    torch.testing.assert_close(flow.inverse(flow(x)), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(flow(flow.inverse(x)), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(InverseFlow(flow)(flow(x)), x, rtol=0, atol=1e-10)
    assert (flow(x) - x).abs().max() > 0.1
    expected = torch.linalg.slogdet(full_jacobians(flow, x)).logabsdet
    log_det = flow.forward_and_log_det(x)[1]
    torch.testing.assert_close(log_det.expand(-1, N), expected, rtol=1e-10, atol=1e-10)
    assert log_det.abs().min() > 0.1 and (log_det[0] != log_det[1]).all()


@pytest.mark.parametrize("dims", [6, 7])
def test_halves_are_the_even_and_the_odd_dimensions(dims):
    x = torch.arange(2 * dims, dtype=torch.float64).view(2, dims)
    even, odd = split(x)
    assert even[0].tolist() == list(range(0, dims, 2)) and odd[0].tolist() == list(range(1, dims, 2))
    assert torch.equal(interleave([even, odd]), x)


@pytest.mark.parametrize(("rows", "ranks"), list(itertools.product([1, 30], [(2, 3), (5, 3), (7, 9)])))
def test_factored_cotangents_stand_for_their_rows(rows, ranks):
    """Sums and products of `left right`, whether kept factored or made dense."""
    width, out = 8, 6
    a, b = (
        Cotangents(randn(R, N, rows, rank, seed=90 + rank), randn(R, rank, width, seed=95 + rank)) for rank in ranks
    )
    left = [each.left @ each.right[:, None] for each in (a, b)]
    matrix = randn(R, width, out, seed=99)
    torch.testing.assert_close(a.dense(), left[0], **CLOSE)
    torch.testing.assert_close((a + b).dense(), left[0] + left[1], **CLOSE)
    torch.testing.assert_close(((a + b) + Cotangents(left[0])).dense(), 2 * left[0] + left[1], **CLOSE)
    torch.testing.assert_close(a.times(matrix).dense(), left[0] @ matrix[:, None], **CLOSE)
    torch.testing.assert_close((a + b).times(matrix).dense(), (left[0] + left[1]) @ matrix[:, None], **CLOSE)
    torch.testing.assert_close(Cotangents(left[0]).times(matrix).dense(), left[0] @ matrix[:, None], **CLOSE)


def test_cholesky_of_a_singular_gram_matrix_is_not_finite():
    jacobian = torch.zeros(1, 2, 3, 5, dtype=torch.float64)
    jacobian[0, 1] = torch.eye(3, 5)
    factor = gram_cholesky(jacobian)
    assert torch.isnan(factor[0, 0]).any() and torch.equal(factor[0, 1], torch.eye(3, dtype=torch.float64))


def test_jitter_is_added_in_training_alone_and_only_where_it_is_needed():
    """One image's J has rank 1: its factor is finite with jitter and counted, the other's keeps its bits."""
    jacobian = torch.randn(2, 2, 8, 30, generator=torch.Generator().manual_seed(0))
    jacobian[1, 0] = jacobian[1, 0, :1].clone()
    jacobian.requires_grad_()
    plain = gram_cholesky(jacobian)
    counted = torch.zeros(2, dtype=torch.int64)
    factor = gram_cholesky(jacobian, counted)
    assert counted.tolist() == [0, 1] and factor.isfinite().all() and not plain[1, 0].isfinite().any()
    torch.testing.assert_close(factor[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(factor[1, 1], plain[1, 1], rtol=0, atol=0)
    exact = (jacobian @ jacobian.mT)[1, 0]
    torch.testing.assert_close(factor[1, 0] @ factor[1, 0].mT, exact, rtol=0, atol=1e-5 * exact.trace().item())
    (gradient,) = torch.autograd.grad(log_det_gram(factor).sum(), jacobian)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("latents", [4, 32, 128])
def test_the_jitter_is_enough_for_any_rank(latents):
    for rank in (1, latents // 2, latents - 1):
        parts = torch.randn(2, 1, 20, 784, latents, generator=torch.Generator().manual_seed(rank))
        jacobian = parts[0].mT[..., :latents, :rank] @ parts[1].mT[..., :rank, :]
        counted = torch.zeros(1, dtype=torch.int64)
        assert gram_cholesky(jacobian, counted).isfinite().all() and counted > 0
