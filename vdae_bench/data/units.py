"""Units: nats an image to bits per dimension, for pixels of 256 levels scaled to [0, 1]."""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Nats = TypeVar("Nats", float, NDArray[np.float64])
"""A score in nats, or an array of some."""
LEVEL_BITS = 8.0
"""Bits by which a density on [0, 256] has more than one on [0, 1]: log2 256."""


def bits_per_dim(nats: Nats, dims: int) -> Nats:
    r"""Bits/dim of a negative log density in nats an image (section 5.1).

    .. math:: \frac{\mathrm{nats}}{n \ln 2} + 8

    >>> round(bits_per_dim(-1980.50, 784), 2), bits_per_dim(0.0, 784)
    (4.36, 8.0)
    """
    return nats / (dims * math.log(2)) + LEVEL_BITS


def score_text(nats: float, view: str, dims: int) -> str:
    """A score as the tables state it, in bits/dim of continuous data and nats an image of binary.

    >>> score_text(-1980.50, "continuous", 784), score_text(81.5, "binary", 784)
    ('4.356 bits/dim', '81.50 nats')
    """
    return f"{bits_per_dim(nats, dims):.3f} bits/dim" if view == "continuous" else f"{nats:.2f} nats"
