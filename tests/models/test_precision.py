"""`precision: mixed` against float64: the bound, its gradient, and the log weights, for every method."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.support.models import build, data, noise, pairs
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
