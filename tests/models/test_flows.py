"""One parametrised test over every flow of `FLOWS`, in float64: determinants, inverses, Jacobian products, starts."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.models import SMALL
from tests.support.truths import full_jacobians, randn
from vdae_bench.data.noise import initial_generators
from vdae_bench.errors import UserError
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.images import MultiScale, _squeeze, _unsqueeze
from vdae_bench.models.flows.residual import Residual, spectral_bound
from vdae_bench.models.model import FlowModel
from vdae_bench.models.problem import Problem
from vdae_bench.models.registry import get_method

R, N, DIMS = 2, 2, 16
SIZES = {**SMALL, "flow_scales": 2, "ode_steps": 12}


def flow_of(name, seeds=(0, 1), randomise=True, **sizes):
    """A flow of 4 x 4 pixels; its parameters random, replicas by their seeds."""
    problem = Problem(len(seeds), DIMS, DIMS, "continuous", {**SIZES, **sizes})
    flow = FLOWS[name].build(problem).double()
    flow.initialise(initial_generators(seeds))
    if randomise:
        with torch.no_grad():
            for index, parameter in enumerate(flow.parameters()):
                for part, seed in zip(parameter, seeds, strict=True):
                    part += 0.2 * randn(*part.shape, seed=100 * index + seed)
    return flow


@pytest.fixture(params=FLOWS)
def name(request):
    return request.param


@pytest.fixture
def flow(name):
    return flow_of(name)


X = randn(R, N, DIMS, seed=7)
CLOSE = {"rtol": 1e-7, "atol": 1e-7}
"""Of the order that FFJORD's steps leave; the others are exact."""


def test_the_log_determinant_is_that_of_autograds_jacobian(flow, name):
    z, log_det = flow.forward_and_log_det(X)
    expected = torch.linalg.slogdet(full_jacobians(flow, X)).logabsdet
    torch.testing.assert_close(log_det.expand(R, N), expected, **CLOSE)
    torch.testing.assert_close(z, flow(X))
    assert expected.abs().min() > 0.1 and (z - X).abs().max() > 0.1
    if name not in ("nice", "ffjord"):  # from image to image; FFJORD's differs by little here
        assert expected.std(1).min() > 0.01


def test_the_log_determinants_gradient_is_that_of_autograds_jacobian(flow):
    """Every parameter's, which training goes by."""
    names, parameters = zip(*flow.named_parameters(), strict=True)
    mine = torch.autograd.grad(flow.forward_and_log_det(X)[1].expand(R, N).sum(), parameters, materialize_grads=True)
    jacobians = full_jacobians(flow, X, create_graph=True)
    theirs = torch.autograd.grad(torch.linalg.slogdet(jacobians).logabsdet.sum(), parameters, materialize_grads=True)
    for each, own, other in zip(names, mine, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6, msg=each)


def test_the_inverse_undoes_the_flow(flow):
    z = flow(X)
    torch.testing.assert_close(flow.inverse(z), X, **CLOSE)
    torch.testing.assert_close(flow(flow.inverse(X)), X, **CLOSE)


def test_tangents_and_cotangents_are_multiplied_by_the_jacobian(flow):
    tangents, jacobians = randn(R, N, 4, DIMS, seed=8), full_jacobians(flow, X)
    z, log_det, pushed = flow.push_forward(X, tangents)
    torch.testing.assert_close(pushed, tangents @ jacobians.mT, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close((z, log_det), flow.forward_and_log_det(X), rtol=1e-12, atol=1e-12)
    value, push, _ = flow.linearise(X)
    torch.testing.assert_close((value, push(tangents)), (z, pushed), rtol=1e-12, atol=1e-12)


def test_it_starts_as_an_affine_map_of_each_dimension(name):
    flow = flow_of(name, randomise=False)
    assert torch.equal(flow(X), X) and not flow.forward_and_log_det(X)[1].any()
    location, log_scale = randn(DIMS, seed=9), 0.3 * randn(R, 1, DIMS, seed=10)
    flow.start_affine_(location, log_scale)
    torch.testing.assert_close(flow(X), log_scale.exp() * (X - location), rtol=1e-12, atol=1e-12)
    log_det = flow.forward_and_log_det(X)[1].expand(R, N)
    torch.testing.assert_close(log_det, log_scale.sum(-1).expand(R, N), rtol=1e-12, atol=1e-12)


def test_replicas_are_apart(name):
    both, alone = flow_of(name, seeds=(3, 4)), flow_of(name, seeds=(4,))
    for together, single in zip(
        both.push_forward(X, X[:, :, None]), alone.push_forward(X[1:], X[1:, :, None]), strict=True
    ):
        torch.testing.assert_close(together[1:], single, rtol=1e-12, atol=1e-12)
    assert (both(X[:1].expand(2, -1, -1)).diff(dim=0)).abs().max() > 0.1


def test_training_reaches_every_parameter(name):
    model = FlowModel(flow_of(name))
    terms = model.bound_terms(randn(R, 60, DIMS, seed=11), randn(R, 60, model.training_noise_dim, seed=12), 0)
    terms.reconstruction.sum().backward()
    for each, parameter in model.named_parameters():
        assert (parameter.grad.flatten(1).abs().amax(1) > 0).all(), each


def test_a_row_of_its_own_follows_from_the_table(name):
    method = get_method(name)
    assert method.hyperparameters == FLOWS[name].hyperparameters and method.title == FLOWS[name].title
    method.check("continuous", DIMS, DIMS, {})
    with pytest.raises(UserError, match=f"method {name} keeps the dimension: latents must be 16, not 3"):
        method.check("continuous", 3, DIMS, {})
    with pytest.raises(UserError, match="for continuous data, not for binary data"):
        method.check("binary", DIMS, DIMS, {})


# i-ResNet


def test_the_residual_estimate_is_the_series_on_average_and_the_determinant_with_many_terms():
    """Over all signs of the probe the mean is the truncated series of J's powers; with 200 terms it is log det."""
    flow = flow_of("i-resnet", flow_blocks=1, series_terms=3)
    jacobians = full_jacobians(lambda y: flow.blocks[0](y, flow.blocks[0].weights())[0], flow.standardise(X))
    powers = [torch.linalg.matrix_power(jacobians, k).diagonal(dim1=-2, dim2=-1).sum(-1) for k in (1, 2, 3)]
    expected = powers[0] - powers[1] / 2 + powers[2] / 3 + flow.scaling.log_det()
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * flow.hidden)
    means = [
        flow.forward_and_estimate(X[:, image : image + 1].expand(-1, len(signs), -1), signs.expand(R, -1, -1))[1].mean(
            1
        )
        for image in range(N)
    ]
    torch.testing.assert_close(torch.stack(means, 1), expected, rtol=1e-10, atol=1e-10)
    flow.terms = 200
    long = flow.forward_and_estimate(X[:, :1].expand(-1, len(signs), -1), signs.expand(R, -1, -1))
    torch.testing.assert_close(long[1].mean(1), flow.forward_and_log_det(X)[1][:, 0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(long[0][:, 0], flow(X)[:, 0])


def test_an_i_resnet_trains_by_its_estimate_and_is_validated_exactly():
    model = FlowModel(flow_of("i-resnet"))
    noise = randn(R, N, model.training_noise_dim, seed=13)
    z, log_det = model.flow.forward_and_estimate(X, noise)
    estimate = -(model.prior.log_prob(z) + log_det).mean(1)
    torch.testing.assert_close(model.bound_terms(X, noise, 0).neg_elbo, estimate, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        exact = model.bound_terms(X, noise, 0).neg_elbo
    torch.testing.assert_close(exact, -model.log_prob(X).mean(1), rtol=1e-12, atol=1e-12)
    assert (estimate - exact).abs().min() > 1e-6


@pytest.mark.parametrize("shape", [(7, 7), (20, 6), (6, 20)])
def test_a_spectral_norm_is_bounded_from_above_and_closely(shape):
    matrices = torch.cat((randn(4, *shape, seed=14), 100 * randn(4, *shape, seed=15)))
    ratio = spectral_bound(matrices)[:, 0, 0] / torch.linalg.matrix_norm(matrices, 2)
    assert (ratio > 1 - 1e-12).all() and (ratio < 7 ** (1 / 128) + 1e-9).all()


def test_a_blocks_lipschitz_constant_stays_below_the_bound_whatever_the_weights():
    flow = Residual(R, DIMS, blocks=1, hidden=5, terms=3, lipschitz=0.8).double()
    with torch.no_grad():
        for index, parameter in enumerate(flow.blocks.parameters()):
            parameter.copy_(20 * randn(*parameter.shape, seed=index))
    norms = [torch.linalg.matrix_norm(weight, 2) for weight in flow.blocks[0].weights()]
    assert 0.7 < math.prod(norm.max().item() for norm in norms) <= 0.8


# FFJORD


def test_the_error_of_ffjord_falls_with_the_fourth_power_of_its_steps():
    values = {}
    for steps in (2, 4, 64):
        flow = flow_of("ffjord", ode_steps=steps)
        with torch.no_grad():
            for layer in flow.field.layers:
                layer.weight.mul_(2)
        values[steps] = torch.cat((flow(X), flow.forward_and_log_det(X)[1][..., None]), -1)
    errors = [(values[steps] - values[64]).norm() for steps in (2, 4)]
    assert errors[1] > 1e-8 and 10 < errors[0] / errors[1] < 30


def test_ffjord_is_evaluated_in_enough_steps_however_few_it_trains_with():
    """Its claimed determinant is that of the map, and its inverse undoes it; training keeps its own steps."""
    flow = flow_of("ffjord", ode_steps=1)
    with torch.no_grad():
        for layer in flow.field.layers:
            layer.weight.mul_(3)
    claimed = {True: flow.forward_and_log_det(X)[1]}
    with torch.no_grad():
        z, claimed[False] = flow.forward_and_log_det(X)
        jacobians = flow.push_forward(X, torch.eye(DIMS, dtype=X.dtype).expand(R, N, DIMS, DIMS))[2].mT
        back = flow.inverse(z)
    exact = torch.linalg.slogdet(jacobians).logabsdet
    torch.testing.assert_close(claimed[False], exact, rtol=0, atol=1e-3)
    torch.testing.assert_close(back, X, rtol=0, atol=1e-3)
    assert (claimed[True] - exact).abs().max() > 1e-2


def test_a_flows_version_is_in_the_identity_of_every_run_with_it():
    versions = {name: get_method(name).version for name in FLOWS if name != "nice"}
    assert versions == {"couplings": 1, "realnvp": 1, "glow": 1, "i-resnet": 1, "ffjord": 2}
    assert get_method("lvdae-nice").code_with({"flow": "ffjord"})["flow_version"] == 2
    assert "flow_version" not in get_method("lvdae-nice").code_with({"flow": "glow"})


# RealNVP and Glow


def test_a_squeeze_makes_squares_channels_and_is_undone():
    x = torch.arange(32.0).view(1, 1, 2, 4, 4)
    squeezed = _squeeze(x)
    assert squeezed[0, 0, :, 0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]
    assert torch.equal(_unsqueeze(squeezed), x)


def test_realnvp_moves_a_checkerboard_first_and_the_rows_of_the_squares_then():
    moved = []
    for steps in range(1, 5):
        flow = MultiScale(1, (4, 4), 1, 4, 3, "fixed").double()
        with torch.no_grad():
            for coupling in flow.scales[0].couplings[steps - 1 : steps]:
                coupling.convolutions[-1].bias += 1
        moved.append((flow(X[:1, :1]) != X[:1, :1]).view(4, 4)[:2, :2].int().flatten().tolist())
    assert moved == [[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("shape", "scales", "remedy"),
    [
        ((28, 28), 3, "flow_scales: 2"),
        ((4, 6), 2, "flow_scales: 1"),
        ((1, 784), 1, "a flow without squeezing, such as nice or couplings"),
        ((5, 7), 1, "a flow without squeezing, such as nice or couplings"),
    ],
)
def test_an_image_that_cannot_be_halved_is_refused_with_what_helps(shape, scales, remedy):
    sizes = {"flow_scales": scales, "flow_steps": 1, "flow_channels": 2}
    pixels = shape[0] * shape[1]
    with pytest.raises(UserError, match=f"{shape[0]} x {shape[1]} cannot be halved {scales} times?: .* use {remedy}$"):
        get_method("glow").build(Problem(1, pixels, pixels, "continuous", sizes, image_shape=shape))


def test_hidden_convolutions_start_he_normal_and_last_ones_at_zero():
    flow = MultiScale(2, (4, 4), 1, 3, 40)
    flow.initialise(initial_generators((0, 1)))
    for coupling in flow.scales[0].couplings:
        first, second, last = (each.weight for each in coupling.convolutions)
        for weight in (first, second):
            assert weight.std().item() == pytest.approx((2 / weight[0, 0].numel()) ** 0.5, rel=0.1)
        assert not last.any() and not any(each.bias.any() for each in coupling.convolutions)
    frames = flow.scales[0].mixings[0].frame
    assert torch.equal(frames @ frames.mT, torch.eye(4).expand(2, -1, -1)) and not torch.equal(*frames)
