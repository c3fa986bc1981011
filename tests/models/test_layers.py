"""Linearisations against autograd's own Jacobians, for every kind of layer and every replica."""

from __future__ import annotations

import pytest
import torch

from vdae_bench.models.flows import NICE, DiagonalScaling
from vdae_bench.models.layers import Cotangents, Linear, ResidualBlock, generic_linearise
from vdae_bench.models.networks import ResNet, projection_widths
from vdae_bench.noise import initial_generators

R, N, D = 2, 3, 10
LAYERS = {
    "linear": lambda: Linear(R, D, 4),
    "residual block": lambda: ResidualBlock(R, D, 6),
    "resnet": lambda: ResNet(R, projection_widths(D, 2), 5, 2),
    "resnet with few hidden units": lambda: ResNet(R, [D, D, D, 4], 2, 1),
    "one coupling": lambda: NICE(R, D, 1, 6, 2),
    "scaling": lambda: DiagonalScaling(R, D),
    "nice": lambda: NICE(R, D, 4, 6, 2),
}


@pytest.fixture(params=LAYERS, ids=str)
def layer(request):
    torch.manual_seed(0)
    built = LAYERS[request.param]().double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built


def full_jacobians(layer, x):
    """J of each replica and image by autograd, one scalar output after the other: (R, N, outputs, D)."""
    x = x.detach().requires_grad_()
    y = layer(x)
    columns = []
    for output in range(y.shape[-1]):
        (gradient,) = torch.autograd.grad(y[..., output].sum(), x, retain_graph=True)
        columns.append(gradient)
    return torch.stack(columns, 2)


@pytest.fixture
def x():
    return torch.randn(R, N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_push_and_pull_are_products_with_the_jacobian(layer, x):
    jacobian = full_jacobians(layer, x)
    value, push, pull = layer.linearise(x)
    torch.testing.assert_close(value, layer(x))
    tangents = torch.randn(R, N, 4, D, dtype=torch.float64)
    torch.testing.assert_close(push(tangents), tangents @ jacobian.mT, rtol=1e-10, atol=1e-12)
    cotangents = torch.randn(R, N, 4, jacobian.shape[2], dtype=torch.float64)
    torch.testing.assert_close(pull(Cotangents(cotangents)).dense(), cotangents @ jacobian, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        pull(Cotangents(cotangents[:, :2])).dense(), (cotangents @ jacobian)[:, :2], rtol=1e-10, atol=1e-12
    )


def test_generic_rule_agrees(layer, x):
    tangents = torch.randn(R, N, 2, D, dtype=torch.float64)
    cotangents = torch.randn(R, N - 1, 2, layer(x).shape[-1], dtype=torch.float64)
    _, push, pull = layer.linearise(x)
    _, generic_push, generic_pull = generic_linearise(layer, x)
    torch.testing.assert_close(generic_push(tangents), push(tangents), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        generic_pull(Cotangents(cotangents)).dense(), pull(Cotangents(cotangents)).dense(), rtol=1e-10, atol=1e-12
    )


def test_parameter_gradients_of_a_jacobian_match_numerical_ones():
    torch.manual_seed(2)
    network = ResNet(1, projection_widths(6, 2), 4, 1).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 2, 6, dtype=torch.float64)
    unit = torch.eye(2, dtype=torch.float64).expand(1, 2, -1, -1)

    def log_det():
        jacobian = network.linearise(x)[2](Cotangents(unit)).dense()
        return torch.logdet(jacobian @ jacobian.mT).sum()

    log_det().backward()
    for parameter in network.parameters():
        index = tuple(size // 2 for size in parameter.shape)
        step = 1e-6
        with torch.no_grad():
            parameter[index] += step
            above = log_det()
            parameter[index] -= 2 * step
            below = log_det()
            parameter[index] += step
        expected = (above - below) / (2 * step)
        actual = 0.0 if parameter.grad is None else parameter.grad[index]
        assert abs(float(actual) - float(expected)) < 1e-5 * max(1, abs(float(expected)))


@pytest.mark.parametrize("latents", [2, 5])
def test_initial_encoder_has_orthonormal_jacobian(latents):
    """Appendix C: identities and orthonormal projections, so C = J J^T = I at the start."""
    network = ResNet(2, projection_widths(40, latents), 8, 2).double()
    network.initialise(initial_generators((0, 1)))
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    jacobian = full_jacobians(network, x)
    identity = torch.eye(latents, dtype=torch.float64).expand(2, 3, -1, -1)
    torch.testing.assert_close(jacobian @ jacobian.mT, identity, rtol=0, atol=1e-12)


def test_initial_decoder_mirrors_the_encoder():
    widths = projection_widths(40, 3)
    encoder, decoder = ResNet(1, widths, 8, 1).double(), ResNet(1, widths[::-1], 8, 1).double()
    generators = initial_generators((0,))
    encoder.initialise(generators)
    decoder.initialise(generators)
    decoder.mirror_projections_(encoder)
    x = torch.randn(1, 4, 40, dtype=torch.float64)
    (projector,) = full_jacobians(encoder, x[:, :1])[0]
    torch.testing.assert_close(decoder(encoder(x)), x @ projector.T @ projector, rtol=0, atol=1e-12)


def test_nice_inverse_and_log_det():
    torch.manual_seed(3)
    flow = NICE(R, D, 4, 6, 3).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x = torch.randn(R, N, D, dtype=torch.float64)
    torch.testing.assert_close(flow.inverse(flow(x)), x, rtol=0, atol=1e-10)
    expected = torch.linalg.slogdet(full_jacobians(flow, x)).logabsdet
    torch.testing.assert_close(flow.log_det().expand(-1, N), expected, rtol=1e-10, atol=1e-10)


def test_even_indices_pass_first_and_then_alternate():
    for couplings, moved in ((1, slice(1, None, 2)), (2, slice(0, None))):
        flow = NICE(1, 8, couplings, 6, 2).double()
        for parameter in flow.couplings.parameters():
            torch.nn.init.normal_(parameter)
        x = torch.randn(1, 3, 8, dtype=torch.float64)
        changed = (flow(x) != x).all(1)[0]
        expected = torch.zeros(8, dtype=torch.bool)
        expected[moved] = True
        assert torch.equal(changed, expected)


def test_nice_of_odd_dimension():
    flow = NICE(1, 7, 3, 6, 2).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(flow.inverse(flow(x)), x, rtol=0, atol=1e-10)


def test_nice_starts_as_the_identity():
    flow = NICE(R, 9, 4, 6, 3).double()
    flow.initialise(initial_generators((0, 1)))
    x = torch.randn(R, N, 9, dtype=torch.float64)
    assert torch.equal(flow(x), x)
