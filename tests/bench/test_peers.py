"""The peers compute what ours computes: the same value with the same weights, not only as many of them."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from vdae_bench.bench import peers
from vdae_bench.bench.ours import Sizes, Timed
from vdae_bench.bench.plain import PapersWay, VmapJacrev
from vdae_bench.data.noise import initial_generators
from vdae_bench.errors import VdaeBenchError
from vdae_bench.models.layers import Linear
from vdae_bench.models.registry import get_method

M, N = 5, 6


def our_model(setting, subject: Timed):
    """One replica in float64, nothing at its start: zeroed layers, s and sigma moved."""
    job = subject.job(setting)
    model = get_method(subject.method).build(job.problem(1)).double()
    generators = initial_generators((0,))
    model.initialise(generators)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generators[0], dtype=torch.float64)
    return model


@torch.no_grad()
def copy_linears(ours: nn.Module, theirs: nn.Module, sign: float = 1.0) -> None:
    """Give their layers our weights, in order; `sign` is for the last layer of a shift that is subtracted."""
    mine = [layer for layer in ours.modules() if isinstance(layer, Linear)]
    others = [layer for layer in theirs.modules() if hasattr(layer, "in_features") and hasattr(layer, "weight")]
    for own, other in zip(mine, others, strict=True):
        factor = sign if own is mine[-1] else 1.0
        other.weight.copy_(factor * own.weight[0].T)
        other.bias.copy_(factor * own.bias[0, 0])


def images(setting, binary: bool) -> torch.Tensor:
    x = torch.rand(N, setting.data_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (x < 0.3).double() if binary else x


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("way", [PapersWay, VmapJacrev])
def test_plain_lvdae_has_our_bound_and_gradient(setting, way):
    ours = our_model(setting, Timed("lvdae", M))
    theirs = way(setting.data_dim, M, setting.sizes.hidden, setting.sizes.blocks).double()
    copy_linears(ours.posterior.encoder, theirs.encoder)
    copy_linears(ours.decoder, theirs.decoder)
    theirs.log_sigma.data.copy_(ours.posterior.log_sigma[0, 0, 0])
    x, w = images(setting, binary=True), normal(N, setting.data_dim)
    terms = ours.bound_terms(x[None], w[None], log_det_rows=N * M)
    bound = (terms.reconstruction + terms.divergence).sum()
    assert theirs.loss(x, w).item() == pytest.approx(bound.item(), rel=1e-12)
    theirs.part_rows = 2 * M  # two images at a time
    theirs.gradients(x, w)
    first = ours.posterior.encoder.layers[0].residual.hidden[0].weight
    (expected,) = torch.autograd.grad(bound, first)
    torch.testing.assert_close(theirs.encoder[0].residual[0].weight.grad, expected[0].T)


def test_pythae_has_our_bound(setting):
    pytest.importorskip("pythae")
    subject = Timed("vae", M)
    ours, theirs = our_model(setting, subject), peers.pythae_vae(setting, subject).double()
    eps, x = normal(N, M), images(setting, binary=True)
    encoder = ours.posterior.encoder
    *trunk, mean = encoder.layers
    for own, other in (
        (nn.ModuleList(trunk), theirs.encoder.trunk),
        (mean, theirs.encoder.mean),
        (ours.posterior.log_variance_head, theirs.encoder.log_variance),
        (ours.decoder, theirs.decoder.net),
    ):
        copy_linears(own, other)
    theirs._sample_gauss = lambda mu, std: (mu + eps * std, eps)
    terms = ours.bound_terms(x[None], eps[None], 0)
    found = theirs({"data": x})
    assert found.recon_loss.item() == pytest.approx(terms.reconstruction.item(), rel=1e-9)
    assert found.reg_loss.item() == pytest.approx(terms.divergence.item(), rel=1e-9)


def nice(setting) -> Timed:
    return Timed("nice", setting.data_dim, "continuous")


def test_zuko_has_our_density(setting):
    pytest.importorskip("zuko")
    ours = our_model(setting, nice(setting))
    theirs, loss = peers.zuko_nice(setting, nice(setting))
    theirs.double()
    couplings, scaling = theirs.transform.transforms[:-1], theirs.transform.transforms[-1]
    for own, other in zip(ours.flow.couplings, couplings, strict=True):
        copy_linears(own, other)
    (scale,) = scaling.parameters()
    with torch.no_grad():  # zuko bounds its scale from below: ours takes the value that comes of it
        scale.copy_(normal(setting.data_dim))
        applied = scale / (1 + (scale / torch.tensor(1e-3, dtype=torch.float64).log()).abs())
        ours.flow.scaling.log_scale.copy_(applied)
    x = images(setting, binary=False)
    assert loss(x).item() == pytest.approx(ours.bound_terms(x[None], x[None, :, :0], 0)[0].item(), rel=1e-9)


def test_normflows_has_our_density(setting):
    pytest.importorskip("normflows")
    ours = our_model(setting, nice(setting))
    theirs, loss = peers.normflows_nice(setting, nice(setting))
    theirs.double()
    scaling, *couplings = theirs.flows  # from latents to data, where a shift is added: ours is the inverse
    for own, other in zip(ours.flow.couplings, reversed(couplings), strict=True):
        copy_linears(own, other, sign=-1.0)

    def in_halves(rows: torch.Tensor) -> torch.Tensor:
        return torch.cat((rows[..., 0::2], rows[..., 1::2]), -1)

    with torch.no_grad():
        scaling.s.copy_(-in_halves(ours.flow.scaling.log_scale[0, 0]))
    x = images(setting, binary=False)
    assert loss(in_halves(x)).item() == pytest.approx(ours.bound_terms(x[None], x[None, :, :0], 0)[0].item(), rel=1e-6)


def test_another_architecture_is_refused(setting):
    subject = Timed("lvdae", M)
    peers.plain_lvdae(PapersWay, setting, subject)
    wider = replace(subject, changes=(("hidden_size", 9),))
    with pytest.raises(VdaeBenchError, match="different architectures"):
        peers.plain_lvdae(PapersWay, setting, wider)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(peers.MissingPeer, match="zuko"):
        peers.require("zuko")


def test_by_default_a_subject_has_the_papers_sizes(setting):
    """What is timed is a cell of protocol `paper`, H = 256, B = 1, batch 1000, with the estimator `subset`."""
    full = replace(setting, sizes=Sizes())
    job = Timed("lvdae", 16).job(full)
    assert (job.hyperparameters["hidden_size"], job.hyperparameters["residual_blocks"]) == (256, 1)
    assert (job.protocol.batch_size, job.protocol.importance_samples) == (1000, 5000)
    assert (job.protocol.log_det, job.protocol.log_det_rows, job.protocol.precision) == ("subset", 1, "float32")
    nice = Timed("nice", 784, "continuous", "mixed").job(full)
    names = ("couplings", "coupling_layers", "coupling_hidden_size")
    assert [nice.hyperparameters[name] for name in names] == [4, 5, 1024] and nice.protocol.precision == "mixed"


def test_normflows_glow_has_our_networks_scales_and_steps(setting):
    pytest.importorskip("normflows")
    subject = Timed("glow", setting.data_dim, "continuous", changes=(("flow_channels", 5), ("flow_steps", 3)))
    flow = our_model(setting, subject).flow
    theirs, loss = peers.normflows_glow(setting, subject)
    mine = sum(p.numel() for scale in flow.scales for each in scale.couplings for p in each.parameters())
    networks = (module for module in theirs.modules() if type(module).__name__ == "ConvNet2d")
    assert mine == sum(p.numel() for network in networks for p in network.parameters())
    value = loss(images(setting, binary=False).float())
    assert torch.isfinite(value) and value.requires_grad
