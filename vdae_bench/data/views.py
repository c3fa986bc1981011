"""Views of uint8 images, made on the device: dequantised (continuous) and dynamically binarised (`binary`) data.

Training draws fresh noise at every use. Validation and test have one draw an image from a fixed stream, the same for
all methods and seeds, made on the CPU so that it is the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vdae_bench.data.images import Images
from vdae_bench.data.noise import stream_seed

Split = Literal["validation", "test"]
View = Literal["binary", "continuous"]


def dequantise(pixels: UInt8[Tensor, "*rows n"], uniform: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    r"""Pixels as continuous values in [0, 1], with uniform noise (Uria et al., 2013, arXiv:1306.0186; section 5.1).

    .. math:: x = (v + u) / 256, \qquad u \sim \mathcal{U}(0, 1)

    A uniform density on the pixels has 8 bits/dim.

    >>> dequantise(torch.tensor([0, 128], dtype=torch.uint8), torch.zeros(2))
    tensor([0.0000, 0.5000])
    """
    # Converted first: arithmetic on mixed types is 20 times slower on a CPU.
    return pixels.to(uniform.dtype).add_(uniform).mul_(1 / 256)


def binarise(pixels: UInt8[Tensor, "*rows n"], uniform: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    r"""Pixels drawn as on or off, with their grey level as probability (section 5.2).

    .. math:: x \sim \mathrm{Bernoulli}(v / 255)

    >>> binarise(torch.tensor([0, 128, 255], dtype=torch.uint8), torch.full((3,), 0.5))
    tensor([0., 1., 1.])
    """
    # One where u < v / 255, that is where v - 255 u > 0.
    return pixels.to(uniform.dtype).sub_(uniform, alpha=255).gt_(0)


QUADRATURE_NODES = 200
"""Points of the rule that averages a map of a pixel over the noise of its grey level."""
VIEWED_AS = {"continuous": dequantise, "binary": binarise}


class PixelStatistics(NamedTuple):
    """Mean and variance of each pixel over the training images, noise of the view included; each of shape (n,)."""

    mean: Float[Tensor, " n"]
    variance: Float[Tensor, " n"]


class ViewedImages:
    """The three splits of a data set under one view, on one device."""

    def __init__(
        self,
        images: Images,
        view: View,
        device: torch.device,
        train_images: int | None = None,
    ) -> None:
        """`train_images` takes the first so many of the training images; None takes all."""
        self.view = view
        self.device = device
        self.sha256 = images.sha256
        self.train: UInt8[Tensor, "N n"] = images.train[:train_images].to(device)
        self._held_out = {"validation": images.validation, "test": images.test}

    @property
    def data_dim(self) -> int:
        """Number n of pixels."""
        return self.train.shape[1]

    def training_batch(self, indices: Int[Tensor, "R N"], uniform: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Return the training images at `indices`, with the noise given."""
        pixels = self.train.index_select(0, indices.flatten()).unflatten(0, indices.shape)
        return VIEWED_AS[self.view](pixels, uniform)

    def held_out(self, split: Split, dtype: torch.dtype = torch.float32, draw: int = 0) -> Float[Tensor, "N n"]:
        """Return the fixed draw of a split's images, in their order; other draws only show what a draw matters."""
        pixels = self._held_out[split]
        generator = torch.Generator().manual_seed(stream_seed(0, f"{split}-data", draw))
        uniform = torch.rand(pixels.shape, generator=generator)
        return VIEWED_AS[self.view](pixels, uniform).to(self.device, dtype)

    def statistics(self, space: Callable[[Tensor], Tensor] | None = None) -> PixelStatistics:
        """Return mean and variance of each pixel over the training images, noise included; exact, in float64.

        With a `space`, they are of what it maps continuous pixels to: its integral over the noise of each grey level,
        by a Gauss-Legendre rule.
        """
        if space is not None:
            return self._statistics_in(space)
        total, squares = (sum(chunk.double().pow(power).sum(0) for chunk in self.train.split(4096)) for power in (1, 2))
        mean = torch.as_tensor(total) / len(self.train)
        variance = torch.as_tensor(squares) / len(self.train) - mean.square()
        if self.view == "continuous":
            return PixelStatistics((mean + 0.5) / 256, (variance + 1 / 12) / 256**2)
        probability = mean / 255
        return PixelStatistics(probability, probability * (1 - probability))

    def _statistics_in(self, space: Callable[[Tensor], Tensor]) -> PixelStatistics:
        nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(QUADRATURE_NODES))
        mapped = space((torch.arange(256, dtype=torch.float64)[:, None] + (nodes + 1) / 2) / 256)
        moments = torch.stack([(mapped.pow(power) * weights / 2).sum(-1) for power in (1, 2)]).to(self.device)
        first, second = (
            sum(moment[chunk.long()].sum(0) for chunk in self.train.split(4096)) / len(self.train) for moment in moments
        )
        return PixelStatistics(first, second - first.square())


def evenly_spaced(total: int, count: int) -> Int[Tensor, " count"]:
    """Indices of `count` images spread evenly over `total`: a head of MNIST's test set, sorted by source, is easier.

    >>> evenly_spaced(10, 4).tolist()
    [0, 2, 5, 7]
    """
    return torch.arange(min(count, total)) * total // min(count, total)
