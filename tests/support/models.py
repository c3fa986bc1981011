"""Small models of every built-in method in float64, their zeroed layers randomised."""

from __future__ import annotations

import torch

from vdae_bench.data.noise import initial_generators
from vdae_bench.models.flows import FLOWS as ROWS
from vdae_bench.models.model import Model
from vdae_bench.models.registry import BUILT_IN, Problem, get_method

DATA_DIM, LATENTS = 20, 3
IMAGE_SHAPE = 2, 10
FLOWS = ("nice", "lvdae-nice", "vdae-resnet", "vdae-nice", "vdae-coupled")
SMALL = {
    "hidden_size": 16,
    "residual_blocks": 2,
    "couplings": 4,
    "coupling_layers": 2,
    "coupling_hidden_size": 9,
    "decoder_hidden_size": 9,
    "conditioned_couplings": 3,
    "conditioned_layers": 1,
    "conditioned_hidden_size": 7,
    "context_size": 5,
    "flow_scales": 1,
    "flow_steps": 3,
    "flow_channels": 4,
    "flow_blocks": 2,
    "flow_hidden_size": 5,
    "series_terms": 8,
    "lipschitz": 0.9,
    "ode_steps": 3,
}


def latents_of(method: str) -> int:
    """Latents that the method accepts on `DATA_DIM` pixels."""
    return {"independent-pixels": 0}.get(method, DATA_DIM if method in (*FLOWS, *ROWS) else LATENTS)


def build(
    method: str,
    view: str = "continuous",
    seeds: tuple[int, ...] = (0, 1),
    log_det: str = "exact",
    randomise: bool = True,
) -> Model:
    """A model with replicas of those seeds, in float64."""
    problem = Problem(len(seeds), DATA_DIM, latents_of(method), view, SMALL, {}, log_det, image_shape=IMAGE_SHAPE)
    model = get_method(method).build(problem).double()
    generators = initial_generators(seeds)
    model.initialise(generators)
    if randomise:
        size = (
            0.25 if method == "conditioned" else 0.5
        )  # its couplings' scales multiply, to weights of thousands of nats
        with torch.no_grad():
            for parameter in model.parameters():
                for part, generator in zip(parameter, generators, strict=True):
                    deviation = size * part.shape[0] ** -0.5 if part.shape[0] > 1 else 0.1
                    part += deviation * torch.randn(part.shape, generator=generator)
    return model


def pairs() -> list[tuple[str, str]]:
    """Every (method, view) that exists."""
    return [(method, view) for method in sorted({*BUILT_IN, *ROWS}) for view in get_method(method).views]


def data(view: str, images: int = 5, replicas: int = 2) -> torch.Tensor:
    """Random images in a view, of shape (replicas, images, pixels)."""
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(replicas, images, DATA_DIM, generator=generator, dtype=torch.float64)
    return (x > 0.5).double() if view == "binary" else x


def noise(model: Model, images: int, samples: int | None = None, replicas: int = 2) -> torch.Tensor:
    """A posterior's noise as a training step takes it or, with several samples an image, as the evaluation does."""
    generator = torch.Generator().manual_seed(8)
    dims = model.training_noise_dim if samples is None else model.noise_dim
    shape = (replicas, images, dims) if samples is None else (replicas, images, samples, dims)
    return torch.randn(shape, generator=generator, dtype=torch.float64)
