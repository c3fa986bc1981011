"""Pictures of a trained model: samples, reconstructions, interpolations, and the use it makes of its latents.

Everything here draws from noise streams of its own, so that it changes no number of training or test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int8, UInt8
from numpy.typing import NDArray
from torch import Tensor

from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.views import ViewedImages, evenly_spaced
from vdae_bench.evaluation.likelihood import CHUNK_ROWS
from vdae_bench.models.model import LatentVariableModel, Model, Samples
from vdae_bench.models.posteriors import LinearisedFlow

BATCH = 500
"""Samples that one generator draws, whatever the number of replicas: a seed's samples are its own."""
KEPT_DATA, KEPT_MEANS, KEPT_DRAWN = 20, 24, 16
"""Numbers of test images, mean images and drawn images that are kept."""
RECONSTRUCTED, NOISE_MULTIPLES = 6, (0.0, 1.0, 2.0, 4.0)
"""Number of test images that are reconstructed, and the multiples of the posterior's noise it is done from."""
PAIRS, INTERPOLATION_STEPS = 3, 8
"""Number of interpolations, and of images in each, the two ends included."""
UNIT_IMAGES = {True: 2000, False: 250}
"""Number of test images behind the active units of a posterior, by whether its mean is known exactly."""
UNIT_PAIRS = 16
"""Pairs of samples of each image behind either of its two mean latents, where it is not."""
ACTIVE = 0.01
"""Variance of E_q[z] over the data above which a latent is active (Burda et al., 2016)."""
CORRELATION_IMAGES, MAX_CORRELATED = 100, 256
"""Test images that C is averaged over; and the largest m for which it is kept."""


def in_unit_interval(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels that an image can hold: values outside [0, 1] are cut off, and what is no number is black."""
    return x.nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)


def as_bytes(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Pixels as grey levels 0 to 255."""
    return in_unit_interval(x).mul(255).round().to(torch.uint8)


@torch.no_grad()
def sample_batches(model: Model, noise: NoiseSource, data_dim: int, count: int) -> Iterator[Samples]:
    """At least `count` images of each replica, `BATCH` at a time, from the streams of its seed."""
    assert model.latent_dim is not None
    replicas, device = len(noise.seeds), noise.device
    rows = max(1, CHUNK_ROWS // replicas)
    for step in range(-(-count // BATCH)):
        z, x = (
            noise.normal_(f"samples/{name}", step, torch.empty(replicas, BATCH, dims, device=device)).split(rows, 1)
            for name, dims in (("latents", model.latent_dim), ("pixels", data_dim))
        )
        parts = [model.sample(*noises) for noises in zip(z, x, strict=True)]
        yield Samples(*(torch.cat(column, 1) for column in zip(*parts, strict=True)))


class Latents(NamedTuple):
    """The use that one replica makes of its latents on test images."""

    unit_variances: NDArray[np.float32]
    """Variance of E_q[z_u] over images, (m,)."""
    correlation: NDArray[np.int8] | None
    """Mean over images of C = J J^T normalised, in 1/127; None for posteriors without it, or large m."""
    mean_absolute_correlation: float | None
    """Mean over images and pairs of latents of its absolute value."""


@torch.no_grad()
def interpolations(model: Model, x: Float[Tensor, "N n"], noise: NoiseSource) -> Float[Tensor, "R P S n"]:
    """Mean images on the straight lines between the latents of two test images, at the centres of their posteriors."""
    replicas, pairs = len(noise.seeds), min(PAIRS, len(x) // 2)
    centres = model.encode(x[: 2 * pairs].expand(replicas, -1, -1), x.new_zeros(replicas, 2 * pairs, model.noise_dim))
    starts, ends = centres[:, 0::2, None], centres[:, 1::2, None]
    way = torch.linspace(0, 1, INTERPOLATION_STEPS, device=x.device)[:, None]
    images = model.decode(torch.lerp(starts, ends, way).flatten(1, 2))
    return images.view(replicas, pairs, INTERPOLATION_STEPS, x.shape[1])


@torch.no_grad()
def reconstructions(model: Model, x: Float[Tensor, "N n"], noise: NoiseSource) -> Float[Tensor, "R P L n"]:
    """Mean images decoded from one draw of each image's posterior, its noise multiplied by `NOISE_MULTIPLES`."""
    shown = x[:RECONSTRUCTED].expand(len(noise.seeds), -1, -1)
    eta = noise.normal_("samples/reconstructions", 0, x.new_empty(*shown.shape[:2], model.noise_dim))
    return torch.stack([model.decode(model.encode(shown, level * eta)) for level in NOISE_MULTIPLES], 2)


@torch.no_grad()
def unit_variances(model: LatentVariableModel, x: Float[Tensor, "N n"], noise: NoiseSource) -> Float[Tensor, "R m"]:
    r"""The activity of each latent on the images (Burda et al., 2016, arXiv:1509.00519, section 5.2).

    .. math:: \mathrm{Cov}_x \left( \mathrm{E}_{q(z|x)}[z] \right)

    Where E_q[z] is an average over samples, its two factors come from independent ones, so that what the average leaves
    of the noise does not count as activity.
    """
    first = _posterior_means(model, x, noise, "samples/units/0")
    second = first if model.posterior.mean_is_exact else _posterior_means(model, x, noise, "samples/units/1")
    centred = (first - first.mean(1, keepdim=True)) * (second - second.mean(1, keepdim=True))
    return centred.sum(1) / max(1, len(x) - 1)


def _posterior_means(
    model: LatentVariableModel, x: Float[Tensor, "N n"], noise: NoiseSource, stream: str
) -> Float[Tensor, "R N m"]:
    """Mean E_q[z] of each image; each eta comes with -eta, which cancels what is linear in it."""
    replicas = len(noise.seeds)
    pairs = 1 if model.posterior.mean_is_exact else UNIT_PAIRS
    means = []
    at_a_time = max(1, CHUNK_ROWS // (replicas * 2 * pairs))
    # Noise is drawn in parts of one size, so that a seed's is the same whatever is evaluated beside it.
    for part, images in enumerate(x.split(CHUNK_ROWS // (2 * pairs))):
        eta = noise.normal_(stream, part, x.new_empty(replicas, len(images), pairs, model.noise_dim))
        for some, own in zip(images.split(at_a_time), eta.split(at_a_time, 1), strict=True):
            means.append(model.posterior.mean(some.expand(replicas, -1, -1), torch.cat((own, -own), 2)))
    return torch.cat(means, 1).double()


@torch.no_grad()
def mean_correlations(
    posterior: LinearisedFlow, x: Float[Tensor, "N n"], replicas: int
) -> tuple[Float[Tensor, "R m m"], Float[Tensor, " R"]]:
    """Mean correlation matrix over images, and the mean absolute value of its off-diagonal elements."""
    m = posterior.latent_dim
    total = x.new_zeros(replicas, m, m, dtype=torch.float64)
    absolute = torch.zeros_like(total)
    for images in x.split(max(1, CHUNK_ROWS // (replicas * m))):
        each = posterior.correlation(images.expand(replicas, -1, -1)).double()
        total += each.sum(1)
        absolute += each.abs().sum(1)
    off_diagonal = absolute.sum((1, 2)) - absolute.diagonal(dim1=1, dim2=2).sum(1)
    return total / len(x), off_diagonal / (len(x) * max(1, m * (m - 1)))


def quantised(correlation: Float[Tensor, "*shape"]) -> Int8[Tensor, "*shape"]:
    """Correlations as whole numbers of 1/127."""
    return correlation.mul(127).round().to(torch.int8)


@torch.no_grad()
def latents_of(model: Model, x: Float[Tensor, "N n"], noise: NoiseSource) -> list[Latents] | None:
    """The use that each replica makes of its latents; None for a model without a posterior."""
    x, model = x if model.space is None else model.space(x), model.inner
    if not isinstance(model, LatentVariableModel):
        return None
    variances = unit_variances(model, _some(x, UNIT_IMAGES[model.posterior.mean_is_exact]), noise).float().cpu().numpy()
    if not isinstance(model.posterior, LinearisedFlow) or model.posterior.latent_dim > MAX_CORRELATED:
        return [Latents(each, None, None) for each in variances]
    images = _some(x, CORRELATION_IMAGES)
    matrices, absolutes = mean_correlations(model.posterior, images, len(noise.seeds))
    return [
        Latents(each, quantised(matrix).cpu().numpy(), absolute)
        for each, matrix, absolute in zip(variances, matrices, absolutes.tolist(), strict=True)
    ]


def scales_of(model: Model, replica: int) -> dict[str, float]:
    """The log sigma and log lambda that a replica has come to, or was given, where each is a single number."""
    found = {}
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        short = name.rpartition(".")[2]
        if short in ("log_sigma", "log_lambda") and value[replica].numel() == 1:
            found[short] = value[replica].item()
    return found


def shown_images(data: ViewedImages) -> Float[Tensor, "N n"]:
    """The test images that are kept beside the samples."""
    return _some(data.held_out("test"), KEPT_DATA)


def _some(x: Float[Tensor, "N n"], count: int) -> Float[Tensor, "M n"]:
    return x[evenly_spaced(len(x), count).to(x.device)]
