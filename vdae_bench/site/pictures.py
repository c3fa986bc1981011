"""Samples and reconstructions of runs as pictures that are small enough to travel in a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vdae_bench.report.style.sheet import sheet
from vdae_bench.store.evidence import Evidence

GREYS = 16
"""Half the bytes of 256 greys, and no eye tells them apart in a digit of 28 pixels."""
LARGEST_BYTES = 1_200_000
"""Characters of all pictures of a page: with them the committed evidence fits in 3 MB."""

Picture = dict[str, str | int]
"""Title, data address, width and height in pixels."""


class Album:
    """The pictures of a page, of one run after the other until there is no more room."""

    def __init__(self, largest: int = LARGEST_BYTES) -> None:
        self.left = largest

    def of(self, evidence: Evidence | None) -> list[Picture] | None:
        """The pictures of a run; None where there is no room for them, empty where it left none."""
        pictures = _pictures(evidence) if evidence else []
        size = sum(len(str(each["data"])) for each in pictures)
        if size > self.left:
            return None
        self.left -= size
        return pictures


def _pictures(evidence: Evidence) -> list[Picture]:
    arrays, shape = evidence.arrays, evidence.numbers.image_shape
    found = []
    if "means" in arrays:
        found.append(_picture("Samples: mean images", sheet(arrays["means"], shape)))
    found.append(_picture("Samples: drawn pixels", sheet(arrays["drawn"], shape)))
    if "reconstructions" in arrays:
        rebuilt = arrays["reconstructions"]
        beside = np.concatenate([arrays["data"][: len(rebuilt), None], rebuilt], axis=1)
        found.append(
            _picture("Reconstructions: the test image, then its own from ever more noise", sheet(beside, shape))
        )
    if "interpolations" in arrays:
        between = sheet(arrays["interpolations"], shape)
        found.append(_picture("Interpolations between two test images, a row each", between))
    return found


def _picture(title: str, pixels: NDArray[np.uint8]) -> Picture:
    steps = GREYS - 1
    levels = np.rint(pixels.astype(np.float32) * (steps / 255)).astype(np.uint8)
    image = Image.fromarray(levels, "P")
    image.putpalette(bytes(round(level * 255 / steps) for level in range(GREYS) for _ in range(3)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=4, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"title": title, "data": f"data:image/png;base64,{data}", "width": image.width, "height": image.height}
