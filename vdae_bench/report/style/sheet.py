"""Small images side by side in one picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

COLUMNS = 8
"""Images in a row of a sheet of them."""


def sheet(images: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Images side by side, (N, n) in rows of `COLUMNS`, (rows, columns, n) as they are.

    >>> sheet(np.ones((9, 4), np.uint8), (2, 2)).shape, sheet(np.ones((3, 5, 4), np.uint8), (2, 2)).shape
    ((4, 16), (6, 10))
    """
    if images.ndim == 2:
        rows = math.ceil(len(images) / COLUMNS)
        padded = np.zeros((rows * COLUMNS, images.shape[1]), np.uint8)
        padded[: len(images)] = images
        images = padded.reshape(rows, COLUMNS, -1)
    rows, columns = images.shape[:2]
    return images.reshape(rows, columns, *shape).transpose(0, 2, 1, 3).reshape(rows * shape[0], columns * shape[1])
