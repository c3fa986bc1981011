"""`precision: mixed` against float64: the bound, its gradient, and the log weights, for every method."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.support.models import build, data, noise, pairs
from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.networks import ResNet
from vdae_bench.models.precision import arithmetic
from vdae_bench.models.registry import get_method

CPU = torch.device("cpu")
TRAINED = [pair for pair in pairs() if get_method(pair[0]).trains]


def bound_and_gradient(model, x, eta, precision="float32"):
    with arithmetic(precision, CPU):
        terms = model.bound_terms(x, eta, log_det_rows=10**6)
    loss = terms.reconstruction + terms.divergence
    gradients = torch.autograd.grad(loss.sum(), list(model.parameters()), materialize_grads=True)
    return loss.double(), torch.cat([gradient.double().flatten() for gradient in gradients])


@pytest.mark.parametrize(("method", "view"), TRAINED, ids=lambda word: word)
def test_bound_and_gradient(method, view):
    """bfloat16 has 8 bits: 0.4% an operand. The sums average it, so that both end well below 1%."""
    exact = build(method, view)
    x, eta = data(view, 60), noise(exact, 60)
    expected, direction = bound_and_gradient(exact, x, eta)
    mixed = copy.deepcopy(exact).float()
    got, gradient = bound_and_gradient(mixed, x.float(), eta.float(), "mixed")
    assert all(parameter.dtype == torch.float32 for parameter in mixed.parameters())
    assert ((got - expected).abs() < 0.005 * expected.abs() + 0.01).all()
    assert (gradient - direction).norm() < 0.05 * direction.norm()
    # float32 is far closer, so what was measured is the precision, not the models.
    plain, _ = bound_and_gradient(mixed, x.float(), eta.float())
    assert ((plain - expected).abs() < 1e-4 * expected.abs() + 1e-5).all()
    assert not torch.equal(plain, got)


@pytest.mark.parametrize(("method", "view"), TRAINED, ids=lambda word: word)
def test_log_weights(method, view):
    """-ELBO and NLL by 500 samples an image, of random models far from their optimum, where a weight can be alone."""
    exact = build(method, view)
    x, eta = data(view, 40), noise(exact, 40, samples=500)

    def scores(model, x, eta, precision):
        with torch.no_grad(), arithmetic(precision, CPU):
            log_w = model.condition(x, 500)(eta).double()
        return -log_w.mean(2), -log_w.logsumexp(2)

    expected = scores(exact, x, eta, "float32")
    got = scores(copy.deepcopy(exact).float(), x.float(), eta.float(), "mixed")
    (elbo, nll), (elbo_error, nll_error) = expected, (mine - theirs for mine, theirs in zip(got, expected, strict=True))
    assert (elbo_error.mean(1).abs() < 0.02 * elbo.abs().mean(1) + 0.01).all()
    assert (nll_error.abs().median(1).values < 0.02 * nll.abs().mean(1) + 0.01).all()


def test_residual_blocks_are_added_in_bfloat16_after_the_first_projection_alone():
    """What `models/precision.py` says of sums inside networks, and of NICE's couplings."""
    chains = [ResNet(1, [8, 6, 4], hidden=3, blocks=1), Couplings(1, dims=4, couplings=2, hidden=3, hidden_layers=1)]
    for chain in chains:
        chain.initialise([torch.Generator().manual_seed(0)])
    with arithmetic("mixed", CPU):
        y, found = torch.rand(1, 5, 8), []
        for layer in chains[0].layers:
            y = layer(y)
            found.append((type(layer).__name__, y.dtype))
        assert chains[0](torch.rand(1, 5, 8)).dtype == chains[1](torch.rand(1, 5, 4)).dtype == torch.float32
    half = torch.bfloat16
    assert found == [("ResidualBlock", torch.float32), ("Linear", half), ("ResidualBlock", half), ("Linear", half)]
