"""Flows against libraries' with the same weights: zuko's couplings and CNF, normflows' Glow and residual flow."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import SMALL
from tests.support.truths import randn
from vdae_bench.models.flows.continuous import Continuous
from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.flows.images import MultiScale
from vdae_bench.models.flows.residual import Residual

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def randomised(flow, size=0.3):
    """The flow in float64 with random parameters; replica 1 is the one that is compared."""
    flow = flow.double()
    with torch.no_grad():
        for index, parameter in enumerate(flow.parameters()):
            parameter.copy_(size * randn(*parameter.shape, seed=50 + index))
    return flow


@pytest.mark.parametrize("dims", [6, 7])
@pytest.mark.parametrize("context", [0, 3])
def test_affine_couplings_are_zukos(dims, context):
    """Their own masks and networks, our bound on the scale; with a context too, as in `conditioned`."""
    zuko = pytest.importorskip("zuko")
    flow = randomised(Couplings(2, dims, 3, hidden=5, hidden_layers=2, kind="affine", context=context))
    x, c = randn(2, 4, dims, seed=60), randn(2, 4, context, seed=61) if context else None

    class OfOurs(zuko.transforms.MonotonicAffineTransform):
        def __init__(self, raw, shift):
            super().__init__(shift, torch.zeros(()))
            self.log_scale = flow.bound * torch.tanh(raw / flow.bound)
            self.scale = self.log_scale.exp()

    z, log_det = x[1], 0.0
    for k, network in enumerate(flow.couplings):
        theirs = zuko.flows.coupling.GeneralCouplingTransform(
            dims,
            context,
            mask=torch.arange(dims) % 2 == k % 2,
            univariate=OfOurs,
            shapes=((), ()),
            hidden_features=(5, 5),
        ).double()
        linears = [module for module in theirs.hyper if hasattr(module, "weight")]
        for mine, copy in zip([*network.hidden, network.out], linears, strict=True):
            weight, bias = mine.weight.data[1].T, mine.bias.data[1, 0]
            if mine is network.out:  # zuko has the parameters of one dimension side by side
                weight, bias = (torch.stack(each.chunk(2), 1).flatten(0, 1) for each in (weight, bias))
            copy.weight.data, copy.bias.data = weight, bias
        z, step = theirs(None if c is None else c[1]).call_and_ladj(z)
        log_det = log_det + step
    mine = flow.forward_and_log_det(x, *([] if c is None else [c]))
    log_scale = flow.scaling.log_scale[1, 0]
    torch.testing.assert_close(mine[0][1], z * log_scale.exp(), **CLOSE)
    torch.testing.assert_close(mine[1][1], log_det + log_scale.sum(), **CLOSE)
    if context:
        torch.testing.assert_close(flow.inverse(mine[0], c), x, **CLOSE)


def test_ffjord_is_zukos_cnf():
    """zuko's own integration in steps that adapt, with the exact trace by autograd, of our field."""
    zuko = pytest.importorskip("zuko")
    flow = randomised(Continuous(2, 5, hidden=4, steps=40))
    x = randn(2, 3, 5, seed=62)

    def velocity(time, state):
        return flow.field(state.expand(2, -1, -1), time)[0][1]

    theirs = zuko.transforms.FreeFormJacobianTransform(velocity, 0.0, 1.0, (), atol=1e-9, rtol=1e-9, exact=True)
    z, log_det = theirs.call_and_ladj(flow.standardise(x)[1])
    mine = flow.forward_and_log_det(x)
    torch.testing.assert_close(mine[0][1], z, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mine[1][1], log_det + flow.scaling.log_scale[1].sum(), rtol=1e-6, atol=1e-6)


def test_glow_is_made_of_normflows_parts():
    """Two scales: squeeze, 1 x 1 convolution by P L U, shift, affine coupling; the split's map is a coupling too."""
    nf = pytest.importorskip("normflows")
    flow = MultiScale(2, (4, 4), scales=2, steps=2, channels=3, mix="conv1x1", bound=1e9)
    flow.initialise([torch.Generator().manual_seed(seed) for seed in (0, 1)])
    frames = [mixing.frame.clone() for scale in flow.scales for mixing in scale.mixings]
    flow = randomised(flow)
    assert all(torch.equal(frame, mixing.frame.float()) for frame, mixing in zip(frames, mixings_of(flow), strict=True))
    x = randn(2, 3, 16, seed=63)

    def coupled(parameters, passing, moving):
        """Their coupling with our network; they have shift and scale of one channel side by side."""

        def network(rows):
            log_scale, shift = parameters(rows.expand(2, *rows.shape))
            return torch.stack((shift[1], log_scale[1]), 2).flatten(1, 2)

        (_, moved), log_det = nf.flows.AffineCoupling(Network(network), scale_map="exp")([passing, moving])
        return moved, log_det

    squeeze = nf.flows.Squeeze()
    y = flow.standardise(x)[1].view(3, 1, 4, 4)
    total, outs = flow.scaling.log_scale[1].sum(), []
    for scale in flow.scales:
        y, _ = squeeze.inverse(y)
        order = torch.eye(y.shape[1], dtype=y.dtype)
        for mixing, parameters in zip(scale.mixings, scale.couplings, strict=True):
            conv = nf.flows.Invertible1x1Conv(y.shape[1], use_lu=True).double()
            conv.P.copy_(mixing.frame[1])
            conv.sign_S.fill_(1)
            conv.L.data, conv.U.data = mixing.triangles.data[1], mixing.triangles.data[1]
            conv.log_S.data = mixing.log_gain.data[1]
            y, log_det = conv.inverse(y)
            passing, moving = (y + mixing.shift[1, :, None, None]).chunk(2, 1)
            moved, step = coupled(parameters, passing, moving)
            y, total = torch.cat((passing, moved), 1), total + log_det + step
            order = mixing.frame[1] @ order
        y = torch.einsum("dc,ndhw->nchw", order, y)
        if scale.split is not None:
            y, out = y.chunk(2, 1)
            out, step = coupled(scale.split, y, out)
            outs, total = [*outs, out], total + step
    y, _ = squeeze.forward(y)
    for out in reversed(outs):
        y, _ = squeeze.forward(torch.cat((y, out), 1))
    z, log_det = flow.forward_and_log_det(x)
    torch.testing.assert_close(z[1], y.flatten(1), rtol=1e-6, atol=1e-6)  # a bound of 1e9 leaves 1e-7
    torch.testing.assert_close(log_det[1], total, rtol=1e-6, atol=1e-6)


def mixings_of(flow):
    return [mixing for scale in flow.scales for mixing in scale.mixings]


class Network(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_a_residual_block_is_normflows():
    """In two dimensions, where its determinant is exact; our contraction in their block, and its inverse."""
    nf = pytest.importorskip("normflows")
    flow = randomised(Residual(2, 2, blocks=2, hidden=SMALL["flow_hidden_size"], terms=3), size=1.0)
    x = randn(2, 4, 2, seed=64)
    y, total = flow.standardise(x)[1], flow.scaling.log_scale[1].sum()
    for block in flow.blocks:
        theirs = nf.flows.Residual(
            Network(lambda rows, block=block: block(rows.expand(2, -1, -1), block.weights())[0][1]), reverse=False
        ).eval()
        y, log_det = theirs(y)
        total = total + log_det
    z, log_det = flow.forward_and_log_det(x)
    torch.testing.assert_close(z[1], y, **CLOSE)
    torch.testing.assert_close(log_det[1], total.detach(), **CLOSE)
