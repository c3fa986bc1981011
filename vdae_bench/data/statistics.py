"""Statistics of the training images that some initialisations start from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PixelStatistics(NamedTuple):
    """Mean and variance of each pixel over the training images, noise of the view included; each of shape (n,)."""

    mean: Tensor
    variance: Tensor
