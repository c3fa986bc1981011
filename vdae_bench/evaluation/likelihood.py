"""ELBO and importance-sampled NLL on held-out images, both from the same log weights.

For K samples of an image: -ELBO = -mean_k log w_k and NLL = -(logsumexp_k log w_k - log K), so NLL <= -ELBO for each
image. Per-image noise depends on (seed, image, block of samples), so chunk sizes and resumption change no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.views import evenly_spaced
from vdae_bench.models.model import Model
from vdae_bench.models.precision import Precision, arithmetic
from vdae_bench.system.devices import is_out_of_memory, release_memory

CHUNK_ROWS = 8192
"""Rows over all replicas that a chunk works on: samples to decode, or rows of Jacobian.

They bound the memory to some 200 MiB; twice as many rows fall out of the cache and are slower.
"""
SAMPLE_BLOCK = 256
"""Samples of an image that one generator draws."""
PARTS = 4
"""Equal parts of an image's K samples, whose own NLLs show how the NLL still falls with K."""


@dataclass(frozen=True)
class EvaluationSettings:
    """The protocol's part on evaluation: K samples for `nll_images`, `elbo_samples` for the other `elbo_images`."""

    importance_samples: int
    nll_images: int
    elbo_images: int
    elbo_samples: int
    precision: Precision = "float32"


def images_in_chunk(model: Model, replicas: int, samples: int) -> int:
    """How many images a chunk takes, so that neither samples nor rows of Jacobian exceed `CHUNK_ROWS`."""
    return max(1, CHUNK_ROWS // (replicas * max(min(samples, SAMPLE_BLOCK), model.jacobian_rows(samples))))


@dataclass
class ImageScores:
    """Scores of each image (columns) under each replica (rows), float64, in nats; NaN where not evaluated yet."""

    neg_elbo: Float[Tensor, "R N"]
    nll: Float[Tensor, "R N"]
    effective_samples: Float[Tensor, "R N"]
    variance: Float[Tensor, "R N"]
    """Variance of log w between samples of the posterior; NaN where there is one alone."""
    nll_half: Float[Tensor, "R N"]
    """NLL with half of the K samples, mean of both halves; NaN with fewer than `PARTS` samples, as the next."""
    nll_quarter: Float[Tensor, "R N"]

    @classmethod
    def empty(cls, replicas: int, images: int) -> ImageScores:
        """Return scores in which no image is scored yet."""
        return cls(*(torch.full((replicas, images), torch.nan, dtype=torch.float64) for _ in range(6)))


@torch.no_grad()
def score_images(
    model: Model,
    x: Float[Tensor, "N n"],
    images: Sequence[int],
    noise: NoiseSource,
    samples: int,
) -> ImageScores:
    """Score the images x, whose indices in the test set are `images`, with `samples` importance samples each."""
    replicas = len(noise.seeds)
    sampler = model.condition(x.expand(replicas, -1, -1), samples)
    total = log_sum = log_square_sum = about = squares = torch.tensor(0.0)
    part_sums = x.new_full((PARTS, replicas, len(images)), -torch.inf, dtype=torch.float64)
    for block in range(-(-samples // SAMPLE_BLOCK)):
        count = min(SAMPLE_BLOCK, samples - block * SAMPLE_BLOCK)
        eta = x.new_empty(replicas, len(images), count, model.noise_dim)
        log_w = sampler(noise.image_normal_("test", images, block, eta)).double()
        sums = log_w.sum(2), log_w.logsumexp(2), (2 * log_w).logsumexp(2)
        if block == 0:
            total, log_sum, log_square_sum = sums
            about = log_w.mean(2)  # close to the mean, so that the sum of squares loses no digits
        else:
            total = total + sums[0]
            log_sum = torch.logaddexp(log_sum, sums[1])
            log_square_sum = torch.logaddexp(log_square_sum, sums[2])
        squares = squares + (log_w - about[:, :, None]).square().sum(2)
        for part, within in _parts_of(samples, block * SAMPLE_BLOCK, count):
            part_sums[part] = torch.logaddexp(part_sums[part], log_w[:, :, within].logsumexp(2))
    mean = total / samples
    variance = (squares - samples * (mean - about).square()) / (samples - 1) if samples > 1 else mean * torch.nan
    # The parts of a sum are summed in pairs for the halves; an NLL of a part is less log of its own samples.
    whole = math.log(samples // PARTS) if samples >= PARTS else torch.nan
    half_sums = torch.logaddexp(part_sums[0::2], part_sums[1::2])
    return ImageScores(
        neg_elbo=-mean.cpu(),
        nll=(math.log(samples) - log_sum).cpu(),
        effective_samples=(2 * log_sum - log_square_sum).exp().cpu(),
        variance=variance.cpu(),
        nll_half=(whole + math.log(PARTS / len(half_sums)) - half_sums.mean(0)).cpu(),
        nll_quarter=(whole - part_sums.mean(0)).cpu(),
    )


def _parts_of(samples: int, start: int, count: int) -> Iterator[tuple[int, slice]]:
    """(part, where in the block) of a block of samples that begins at `start`; what no equal part has is left out."""
    size = samples // PARTS
    for part in range(PARTS):
        low, high = max(part * size, start), min((part + 1) * size, start + count)
        if low < high:
            yield part, slice(low - start, high - start)


class Evaluator:
    """The evaluation of a model on the test set, in chunks of bounded memory; its state is the scores so far."""

    def __init__(
        self, model: Model, x: Float[Tensor, "N n"], seeds: Sequence[int], settings: EvaluationSettings
    ) -> None:
        self.model, self.x, self.precision = model, x, settings.precision
        exact = model.noise_dim == 0  # one log weight says all
        self.samples = 1 if exact else settings.importance_samples
        self.elbo_samples = 1 if exact else settings.elbo_samples
        self.noise = NoiseSource(seeds, x.device)
        self.scores = ImageScores.empty(len(seeds), len(x))
        nll_images = evenly_spaced(len(x), settings.nll_images).tolist()
        elbo_images = evenly_spaced(len(x), settings.elbo_images).tolist()
        rest = sorted(set(elbo_images) - set(nll_images))
        self.nll_images, self.images = nll_images, nll_images + rest
        self.chunks = self._split(nll_images, self.samples) + self._split(rest, self.elbo_samples)
        self.done = 0
        self.halvings = 0

    def _split(self, images: list[int], samples: int) -> list[tuple[list[int], int]]:
        size = images_in_chunk(self.model, len(self.noise.seeds), samples)
        return [(images[start : start + size], samples) for start in range(0, len(images), size)]

    def run_chunk(self) -> None:
        """Score the next chunk of images."""
        images, samples = self.chunks[self.done]
        with arithmetic(self.precision, self.x.device):
            scores = score_images(self.model, self.x[images], images, self.noise, samples)
        for name, values in vars(scores).items():
            getattr(self.scores, name)[:, images] = values
        self.done += 1

    def run(self, stop: Callable[[], bool], after_chunk: Callable[[], None]) -> bool:
        """Score all chunks; False when stopped before the end, after one chunk at least."""
        while self.done < len(self.chunks):
            try:
                self.run_chunk()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(self.chunks[self.done][0]) == 1:
                    raise
                self._halve_chunks()
                continue
            after_chunk()
            if self.done < len(self.chunks) and stop():
                return False
        return True

    def _halve_chunks(self) -> None:
        """Go on with half as many images at a time, which changes no number beyond rounding."""
        release_memory()
        left, self.chunks = self.chunks[self.done :], self.chunks[: self.done]
        for images, samples in left:
            middle = (len(images) + 1) // 2
            self.chunks += [(part, samples) for part in (images[:middle], images[middle:]) if part]
        self.halvings += 1

    @property
    def flags(self) -> list[str]:
        """Remarks for the readers of the records: that memory was short."""
        if not self.halvings:
            return []
        return [f"evaluated in chunks of 1/{2**self.halvings} of the images for want of memory; changes no number"]

    def metrics(self) -> list[dict[str, float]]:
        """Return the test metrics of each replica (see `summarise` and `elbo_standard_error`)."""
        metrics = [
            summarise(*scores, images=self.images, nll_images=self.nll_images, samples=self.samples)
            for scores in zip(self.scores.neg_elbo, self.scores.nll, self.scores.effective_samples, strict=True)
        ]
        if self.samples > 1:
            for own, variance in zip(metrics, self.scores.variance[:, self.nll_images], strict=True):
                error = elbo_standard_error(variance, self.samples, len(self.images), self.elbo_samples)
                own["neg_elbo_standard_error_nats"] = error
                level = elbo_standard_error(variance, math.inf, len(self.images), self.elbo_samples)
                own["nll_standard_error_nats"] = math.hypot(own["nll_standard_error_nats"], level)
        for name in ("nll_half", "nll_quarter"):
            means = getattr(self.scores, name)[:, self.nll_images].mean(1).tolist()
            for own, mean in zip(metrics, means, strict=True):
                if math.isfinite(mean):  # an exact density has no samples, an older checkpoint no such scores
                    own[f"{name}_samples_nats"] = mean
        return metrics

    def state(self) -> dict[str, Any]:
        """Return all that a continuation needs: the chunks that are left and the scores so far."""
        chunks = {"done": self.done, "chunks": self.chunks, "halvings": self.halvings}
        return {**chunks, **vars(self.scores)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, to continue from there."""
        self.done, self.chunks, self.halvings = state["done"], state["chunks"], state["halvings"]
        self.scores = ImageScores(**{name: state.get(name, empty) for name, empty in vars(self.scores).items()})


def elbo_standard_error(variance: Float[Tensor, " n"], samples: float, images: int, elbo_samples: int) -> float:
    """Standard error (nats) of a model's -ELBO on these test images, from the noise of the posterior's samples alone.

    `variance` is that of log w on the images with `samples` samples; the others of the `images` in all have
    `elbo_samples` each, and are taken to vary as much on average. With infinite `samples` it is what the others leave.
    """
    others = (images - len(variance)) * variance.mean() / elbo_samples
    return (variance.sum() / samples + others).sqrt().item() / images


def summarise(
    neg_elbo: Float[Tensor, " N"],
    nll: Float[Tensor, " N"],
    effective_samples: Float[Tensor, " N"],
    images: Sequence[int],
    nll_images: Sequence[int],
    samples: int,
) -> dict[str, float]:
    """Test metrics in nats an image from the scores of one model.

    -ELBO is the mean over all scored `images`. NLL is that mean minus the mean of (-ELBO - NLL) over `nll_images`, the
    images with K = `samples`: the gap varies far less between images than the level does, so a few hundred images
    fix it, and with all images it is the plain mean of the NLL (which `nll_images_nll_nats` gives in any case).

    The stated errors are of first order in 1/K (delta method): with effective sample size S, the log of the mean
    weight has variance 1/S - 1/K and is low by half of that, so NLL is high by `nll_bias_nats` on average;
    `nll_standard_error_nats` adds what taking the gap from some of the images leaves open. It is of the gap alone:
    `Evaluator.metrics` adds the noise of -ELBO on the images that have few samples. Where S is near 1 the first order
    says nothing, however little it states: verdicts judge by S, and by the NLL with a half and a quarter of K.
    """
    scored = neg_elbo[images]
    gap = neg_elbo[nll_images] - nll[nll_images]
    effective = effective_samples[nll_images]
    variance = (1 / effective - 1 / samples).clamp(min=0)
    unseen = 1 - len(gap) / len(scored)
    gap_variance = gap.var(correction=1) if len(gap) > 1 else torch.tensor(0.0)
    return {
        "neg_elbo_nats": scored.mean().item(),
        "nll_nats": (scored.mean() - gap.mean()).item(),
        "nll_images_neg_elbo_nats": neg_elbo[nll_images].mean().item(),
        "nll_images_nll_nats": nll[nll_images].mean().item(),
        "nll_standard_error_nats": ((variance.mean() + unseen * gap_variance) / len(gap)).sqrt().item(),
        "nll_bias_nats": 0.5 * variance.mean().item(),
        "effective_sample_size": effective.mean().item(),
    }
