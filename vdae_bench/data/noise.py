"""Noise that depends on (seed, stream, step) alone, never on which replicas train side by side.

One draw of shape (R, ...) from one generator would tie a seed to its neighbours; here each replica's part of a buffer
is filled by a generator seeded for it. So a run resumes exactly at any step, and a seed's numbers are its own: the same
alone, beside others, and after some of them have ended.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def stream_seed(seed: int, stream: str, step: int) -> int:
    """A seed for a generator: a hash of (seed, stream, step) in 63 bits.

    CUDA's generator takes all of them, the CPU's the lower 32. So two draws on a CPU can begin alike: of the 300,000 of
    a run at `paper` (two a step, one for each test image and block of samples) about 10 pairs do. That is harmless: few
    steps repeat the noise of others, which changes no expectation and adds less than one in 10,000 to a variance.

    >>> stream_seed(0, "posterior", 7)
    1672030095796312549
    """
    # A hash and no sum of the three: neighbouring seeds and steps would share draws. BLAKE2 and not `hash`, which is
    # salted in each process.
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class NoiseSource:
    """The noise of a group of seeds, each from streams of its own, which differ between CPU and CUDA.

    Example:
        >>> cpu = torch.device("cpu")
        >>> together = NoiseSource((3, 8), cpu).normal_("posterior", 5, torch.empty(2, 4))
        >>> alone = NoiseSource((8,), cpu).normal_("posterior", 5, torch.empty(1, 4))
        >>> torch.equal(together[1], alone[0])
        True
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds = tuple(seeds)
        self.device = device
        self.generator = torch.Generator(device)

    def _at(self, seed: int, stream: str, step: int) -> torch.Generator:
        return self.generator.manual_seed(stream_seed(seed, stream, step))

    def uniform_(self, stream: str, step: int, out: Float[Tensor, "R *rest"]) -> Tensor:
        """Fill `out` with U(0, 1)."""
        for seed, part in zip(self.seeds, out, strict=True):
            part.uniform_(generator=self._at(seed, stream, step))
        return out

    def normal_(self, stream: str, step: int, out: Float[Tensor, "R *rest"]) -> Tensor:
        """Fill `out` with N(0, 1)."""
        for seed, part in zip(self.seeds, out, strict=True):
            part.normal_(generator=self._at(seed, stream, step))
        return out

    def image_normal_(self, stream: str, images: Sequence[int], block: int, out: Float[Tensor, "R N K d"]) -> Tensor:
        """Fill `out` with N(0, 1) that depends on an image's index and the block of samples, not on its neighbours."""
        if self.device.type != "cpu":  # where a launch for each image would take longer than all the rest
            keys = [[stream_seed(seed, f"{stream}/{image}", block) for image in images] for seed in self.seeds]
            return out.copy_(hashed_normals(torch.tensor(keys).to(self.device), out.shape[2:].numel()).view_as(out))
        for seed, part in zip(self.seeds, out, strict=True):
            for image, rows in zip(images, part, strict=True):
                rows.normal_(generator=self._at(seed, f"{stream}/{image}", block))
        return out

    def permutations(self, stream: str, step: int, length: int) -> Int[Tensor, "R N"]:
        """Return a random order of `length` images for each seed."""
        device = self.device
        return torch.stack(
            [torch.randperm(length, generator=self._at(seed, stream, step), device=device) for seed in self.seeds]
        )


_GOLDEN, *_FACTORS = (word - 2**64 for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def hashed_normals(keys: Int[Tensor, "*keys"], count: int) -> Float[Tensor, "*keys count"]:
    """The first `count` numbers of an N(0, 1) stream for each key, in a few operations on any device.

    Counters are hashed by SplitMix64 (Steele et al., 2014, doi:10.1145/2714064.2660195), and pairs of 32 bits made
    normal by Box and Muller's transform.
    """
    state = keys[..., None] + _GOLDEN * torch.arange(1, count // 2 + 2, device=keys.device)
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        state = (state ^ _shifted(state, shift)) * factor
    state = state ^ _shifted(state, 31)
    # Few bits are left near 1, where the radius is small, and all near 0, which makes the tails: they end at 6.7.
    radius = ((_shifted(state, 32).float() + 0.5) / 2**32).log().mul(-2).clamp(min=0).sqrt()
    angle = (state & 0xFFFFFFFF).float() * (2 * math.pi / 2**32)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), -1).flatten(-2)[..., :count]


def _shifted(bits: Int[Tensor, "*shape"], by: int) -> Int[Tensor, "*shape"]:
    """Shift 64 bits to the right; `>>` would repeat the sign."""
    shifted: Tensor = (bits >> by) & (2 ** (64 - by) - 1)
    return shifted


def initial_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Generators for the initial parameters, one a seed, on the CPU so that every device starts alike."""
    return [torch.Generator().manual_seed(stream_seed(seed, "initialise", 0)) for seed in seeds]
