"""Statistics of the training images that some initialisations start from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

PROBABILITY_MARGIN = 1e-5
"""Keeps a pixel that is never on in training from being impossible in the test set: about half an image in 50,000."""


class PixelStatistics(NamedTuple):
    """Mean and variance of each pixel over the training images, noise of the view included; each of shape (n,)."""

    mean: Tensor
    variance: Tensor
