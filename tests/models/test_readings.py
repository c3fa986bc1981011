"""Readings of the paper that are plain choices (fidelity notes): sizes, starts, what is refused."""

from __future__ import annotations

import pytest
import torch

from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import Problem, get_method


def papers_model(method: str, latents: int):
    """The method's model on 28 x 28 pixels with the paper's sizes, without its numbers."""
    with torch.device("meta"):
        return get_method(method).build(
            Problem(1, 784, latents, "continuous", defaults(get_method(method).hyperparameters))
        )


def test_nice_is_that_of_appendix_d():
    """Four couplings of five hidden layers of 1024 units and a linear layer, on halves, and the scaling."""
    shapes = {name: tuple(parameter.shape[1:]) for name, parameter in papers_model("nice", 784).named_parameters()}
    weights = [shape for name, shape in shapes.items() if name.endswith("weight")]
    assert weights == 4 * [(392, 1024), *4 * [(1024, 1024)], (1024, 392)]
    assert shapes["flow.scaling.log_scale"] == (1, 784)
    assert len(shapes) == 2 * len(weights) + 1  # biases everywhere, and s


@pytest.mark.parametrize("method", ["vdae-resnet", "lvdae-nice"])
def test_the_decoder_beside_nice_is_four_blocks_without_projections(method):
    decoder = papers_model(method, 784).decoder
    weights = [tuple(p.shape[1:]) for name, p in decoder.named_parameters() if name.endswith("weight")]
    assert weights == 4 * [(784, 1024), (1024, 1024), (1024, 784)]


@pytest.mark.parametrize(("method", "latents"), [("vae", 16), ("lvdae", 16)])
def test_networks_with_fewer_latents_project_four_times(method, latents):
    """B = 1, H = 256: a block at each incoming width, then the projection; the decoder mirrors it."""
    model = papers_model(method, latents)

    def widths(network):
        return [tuple(layer.weight.shape[1:]) for layer in network.projections]

    assert widths(model.posterior.encoder) == [(784, 128), (128, 64), (64, 32), (32, 16)]
    assert widths(model.decoder) == [(16, 32), (32, 64), (64, 128), (128, 784)]
    hidden = [tuple(p.shape[1:]) for name, p in model.decoder.named_parameters() if "hidden.1.weight" in name]
    assert hidden == 4 * [(256, 256)]


def test_where_a_learned_sigma_starts():
    assert get_method("lvdae").build(
        Problem(1, 20, 3, "binary", {"hidden_size": 4, "residual_blocks": 1})
    ).posterior.log_sigma.flatten().tolist() == [0.0]
    small = {**defaults(get_method("vdae-resnet").hyperparameters), "coupling_hidden_size": 4, "decoder_hidden_size": 4}
    for method in ("vdae-resnet", "lvdae-nice"):
        model = get_method(method).build(Problem(1, 20, 20, "binary", small))
        assert model.posterior.log_sigma.flatten().tolist() == [-1.0]


@pytest.mark.parametrize("method", ["vdae-coupled", "vdae-nice", "nice"])
def test_inverse_decoders_are_for_continuous_data(method):
    with pytest.raises(UserError, match="continuous data, not for binary data"):
        get_method(method).check("binary", 784, 784, {})
    get_method(method).check("continuous", 784, 784, {})
