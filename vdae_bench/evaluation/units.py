"""Units: nats an image to bits per dimension, for pixels of 256 levels scaled to [0, 1]."""

import math

LEVEL_BITS = 8.0
"""log2 256: a density on [0, 1] against one on [0, 256]."""


def bits_per_dim(nats: float, dims: int) -> float:
    """Negative log density in nats an image to bits/dim: `nats / (n ln 2) + 8`.

    >>> round(bits_per_dim(-1980.50, 784), 2), bits_per_dim(0.0, 784)
    (4.36, 8.0)
    """
    return nats / (dims * math.log(2)) + LEVEL_BITS
