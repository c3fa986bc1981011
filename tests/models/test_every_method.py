"""One parametrised test over every method in the registry: what any row of the tables must satisfy."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import build, data, noise, pairs
from vdae_bench.models.registry import get_method


@pytest.fixture(params=pairs(), ids=lambda pair: "-".join(pair))
def method_and_view(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each method under each view it models."""
    return request.param


def test_shapes_and_finite_values(method_and_view):
    method, view = method_and_view
    model = build(method, view)
    x = data(view)
    terms = model.bound_terms(x, noise(model, 5), log_det_rows=5)
    assert terms.reconstruction.shape == terms.divergence.shape == (2,)
    log_w = model.condition(x)(noise(model, 5, samples=4))
    assert log_w.shape in ((2, 5, 4), (2, 5, 1))
    assert torch.isfinite(log_w).all() and torch.isfinite(terms.reconstruction + terms.divergence).all()


def test_gradients_reach_every_parameter(method_and_view):
    method, view = method_and_view
    if not get_method(method).trains:
        pytest.skip("nothing trains")
    model = build(method, view)
    terms = model.bound_terms(data(view, 60), noise(model, 60), log_det_rows=60)
    (terms.reconstruction + terms.divergence).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad.flatten(1).abs().amax(1) > 0).all(), name


def test_a_replica_does_not_know_its_neighbours(method_and_view):
    method, view = method_and_view
    both, alone = build(method, view, seeds=(3, 4)), build(method, view, seeds=(4,))
    x = data(view)
    together = both.bound_terms(x, noise(both, 5), 5)
    single = alone.bound_terms(x[1:], noise(both, 5)[1:], 5)
    torch.testing.assert_close(together.reconstruction[1:], single.reconstruction, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together.divergence[1:], single.divergence, rtol=1e-12, atol=1e-12)


def test_equal_replicas_give_equal_results(method_and_view):
    method, view = method_and_view
    model = build(method, view, seeds=(5, 5))
    x, eta = data(view)[:1].expand(2, -1, -1), noise(model, 5)[:1].expand(2, -1, -1)
    terms = model.bound_terms(x, eta, 5)
    torch.testing.assert_close(terms.reconstruction[0], terms.reconstruction[1], rtol=1e-13, atol=0)
    torch.testing.assert_close(terms.divergence[0], terms.divergence[1], rtol=1e-12, atol=1e-12)
