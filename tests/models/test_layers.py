"""How networks and flows start (Appendix C), and which half of NICE passes; Jacobians are in `tests/mathematics`."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import DATA_DIM, build
from tests.support.truths import full_jacobians
from vdae_bench.data.noise import initial_generators
from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.layers import ResidualBlock
from vdae_bench.models.networks import ResNet, projection_widths

R, N = 2, 3


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


@pytest.mark.parametrize("method", ["vae", "lvdae"])
def test_methods_start_as_a_projection(method):
    """With mirrored decoders, encoding and decoding is P^T P of the encoder's orthonormal rows P, in every replica."""
    model = build(method, randomise=False)
    x = torch.randn(2, 4, DATA_DIM, dtype=torch.float64)
    projector = full_jacobians(model.posterior.encoder, x)
    expected = (projector.mT @ projector @ x[..., None])[..., 0]
    torch.testing.assert_close(model.decoder(model.posterior.encoder(x)), expected, rtol=0, atol=1e-12)


def test_hidden_layers_start_he_normal_and_last_ones_at_zero():
    """He et al. (2015): N(0, 2 / inputs), which keeps the mean square of ReLU units as it is through a layer."""
    block = ResidualBlock(2, 300, 400).double()
    block.initialise(initial_generators((0, 1)))
    x = torch.randn(2, 500, 300, dtype=torch.float64)
    for layer in block.residual.hidden:
        assert layer.weight.std().item() == pytest.approx((2 / layer.weight.shape[1]) ** 0.5, rel=0.01)
        after = torch.relu(layer(x))
        assert (after.square().mean() / x.square().mean()).item() == pytest.approx(1, rel=0.1)
        x = after
    assert not block.residual.out.weight.any() and not any(layer.bias.any() for layer in block.residual.hidden)


def test_even_indices_pass_first_and_then_alternate():
    for couplings, moved in ((1, slice(1, None, 2)), (2, slice(0, None))):
        flow = Couplings(1, 8, couplings, 6, 2).double()
        for parameter in flow.couplings.parameters():
            torch.nn.init.normal_(parameter)
        x = torch.randn(1, 3, 8, dtype=torch.float64)
        changed = (flow(x) != x).all(1)[0]
        expected = torch.zeros(8, dtype=torch.bool)
        expected[moved] = True
        assert torch.equal(changed, expected)


def test_nice_starts_as_the_identity():
    flow = Couplings(R, 9, 4, 6, 3).double()
    flow.initialise(initial_generators((0, 1)))
    x = torch.randn(R, N, 9, dtype=torch.float64)
    assert torch.equal(flow(x), x)
