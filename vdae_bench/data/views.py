"""Views of uint8 images, made on the device: dequantised (continuous) and dynamically binarised (`binary`) data.

Training draws fresh noise at every use. Validation and test have one draw an image from a fixed stream, the same for
all methods and seeds, made on the CPU so that it is the same on every device.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vdae_bench.data.images import Images
from vdae_bench.data.noise import stream_seed
from vdae_bench.data.statistics import PixelStatistics

Split = Literal["validation", "test"]
View = Literal["binary", "continuous"]


def dequantise(pixels: UInt8[Tensor, "*rows n"], uniform: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """x = (v + u) / 256, u ~ U(0, 1) (Uria et al., 2013; section 5.1): in [0, 1]; 8 bits/dim for a uniform density."""
    # Converted first: arithmetic on mixed types is 20 times slower on a CPU.
    return pixels.to(uniform.dtype).add_(uniform).mul_(1 / 256)


def binarise(pixels: UInt8[Tensor, "*rows n"], uniform: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """x ~ Bernoulli(v / 255) (section 5.2): one where u < v / 255, that is where v - 255 u > 0."""
    return pixels.to(uniform.dtype).sub_(uniform, alpha=255).gt_(0)


VIEWS = {"continuous": dequantise, "binary": binarise}


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
        """n, the number of pixels."""
        return self.train.shape[1]

    def training_batch(self, indices: Int[Tensor, "R N"], uniform: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """The training images at `indices`, with the noise given."""
        pixels = self.train.index_select(0, indices.flatten()).unflatten(0, indices.shape)
        return VIEWS[self.view](pixels, uniform)

    def held_out(self, split: Split, dtype: torch.dtype = torch.float32, draw: int = 0) -> Float[Tensor, "N n"]:
        """The fixed draw of a split's images, in their order; other draws only to see what a draw matters."""
        pixels = self._held_out[split]
        generator = torch.Generator().manual_seed(stream_seed(0, f"{split}-data", draw))
        uniform = torch.rand(pixels.shape, generator=generator)
        return VIEWS[self.view](pixels, uniform).to(self.device, dtype)

    def statistics(self) -> PixelStatistics:
        """Mean and variance of each pixel over the training images, noise included, in closed form; float64."""
        total, squares = (sum(chunk.double().pow(power).sum(0) for chunk in self.train.split(4096)) for power in (1, 2))
        mean = torch.as_tensor(total) / len(self.train)
        variance = torch.as_tensor(squares) / len(self.train) - mean.square()
        if self.view == "continuous":
            return PixelStatistics((mean + 0.5) / 256, (variance + 1 / 12) / 256**2)
        probability = mean / 255
        return PixelStatistics(probability, probability * (1 - probability))


def evenly_spaced(total: int, count: int) -> Int[Tensor, " count"]:
    """Indices of `count` images spread evenly over `total`: a head of MNIST's test set, sorted by source, is easier.

    >>> evenly_spaced(10, 4).tolist()
    [0, 2, 5, 7]
    """
    return torch.arange(min(count, total)) * total // min(count, total)
