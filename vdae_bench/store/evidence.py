"""Evidence: what is kept of a run's samples beside its record, so that figures are drawn without the model.

`results/<sweep>/<protocol>/samples/<cell>-seed<k>.npz` has small arrays, `.json` the numbers with the SHA-256 of the
arrays and the digest of the run. A pair that is torn or of another run counts as absent; a record needs none.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt, ValidationError

from vdae_bench.data.views import View
from vdae_bench.store.layout import evidence_paths
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.untrusted import LARGEST_TENSORS
from vdae_bench.system.words import first_line

EVIDENCE_SCHEMA = 1

_log = logging.getLogger(__name__)
IMAGE_ARRAYS = ("data", "means", "drawn", "interpolations", "reconstructions")


class Numbers(BaseModel):
    """The JSON of a run's evidence.

    `quality` is by kind of image: `means` are E[x|z], `drawn` are x ~ p(x|z). `active_units` is of `latents` latents,
    None for models without a posterior, `mean_absolute_correlation` that of L-VDAE's C.
    """

    model_config = ConfigDict(extra="allow")

    schema_version: int = EVIDENCE_SCHEMA
    run_digest: str
    arrays_sha256: str = ""
    quality: dict[Kind, Quality] = {}
    scales: dict[str, float] = {}
    """log sigma and log lambda after training."""
    latents: int | None = None
    active_units: int | None = None
    mean_absolute_correlation: float | None = None
    image_shape: tuple[PositiveInt, PositiveInt]
    seconds: float
    """This seed's share of the wall time that the evidence took, in none of the record's costs."""

    @property
    def headline(self) -> Quality | None:
        """The quality that claims are judged by: of the mean images, of a flow that of its images."""
        return self.quality.get("means") or self.quality.get("drawn")


@dataclass(frozen=True)
class Evidence:
    """Evidence of one run's samples: its numbers, and its arrays by name.

    Images are uint8 of n pixels: `data`, `means`, `drawn` (N, n), `interpolations` (pairs, steps, n), `reconstructions`
    (N, levels, n). `unit_variances` is float32 (m,), `correlation` int8 (m, m) in 1/127, where there are any.
    """

    numbers: Numbers
    arrays: dict[str, NDArray[Any]]

    @property
    def fits(self) -> bool:
        """True where all that figures need is there, and all images have the shape that the numbers say."""
        pixels = math.prod(self.numbers.image_shape)
        there = [self.arrays[name] for name in IMAGE_ARRAYS if name in self.arrays]
        return {"data", "drawn"} <= self.arrays.keys() and all(each.shape[-1:] == (pixels,) for each in there)


def write_evidence(record: Path, evidence: Evidence) -> None:
    """Put the evidence of the run with that record in place: the arrays first, then the numbers that vouch for them.

    Evidence that would not be read again is left out with a warning.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **evidence.arrays)
    arrays = buffer.getvalue()
    numbers = evidence.numbers.model_copy(update={"arrays_sha256": hashlib.sha256(arrays).hexdigest()})
    try:
        text = json.dumps(strict_json.sealed(numbers.model_dump()), indent=1, allow_nan=False) + "\n"
        Numbers.model_validate(strict_json.unsealed(text))
    except ValueError as error:  # samples that are not finite, say; the run itself is whole
        _log.warning("%s: its samples leave no evidence: %s", record, first_line(error))
        return
    for path, written in zip(evidence_paths(record), (arrays, text.encode()), strict=True):
        atomic.write(path, written)


def read_evidence(record: Path, run_digest: str) -> Evidence | None:
    """The evidence of the run with that record and identity; None where there is none, or not all of it."""
    numbers = read_numbers(record, run_digest)
    if numbers is None:
        return None
    try:
        content = atomic.read(evidence_paths(record)[0], LARGEST_TENSORS) or b""
        if hashlib.sha256(content).hexdigest() != numbers.arrays_sha256:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = Evidence(numbers, dict(arrays))
        return found if found.fits else None
    except (ValueError, KeyError, zipfile.BadZipFile):
        return None


def read_numbers(record: Path, run_digest: str) -> Numbers | None:
    """Numbers of a run's evidence, without the arrays; None where there are none of that run."""
    try:
        text = atomic.read(evidence_paths(record)[1]) or b""
        numbers = Numbers.model_validate(strict_json.unsealed(text))
    except (ValueError, ValidationError):
        return None
    return numbers if numbers.run_digest == run_digest and numbers.schema_version == EVIDENCE_SCHEMA else None


Kind = Literal["means", "drawn"]
"""Which image of a latent: E[x|z], or a draw from p(x|z)."""


class Quality(BaseModel):
    """The quality of a model's samples of one kind; entropies in nats, errors are standard errors of the samples."""

    model_config = ConfigDict(extra="allow")

    samples: int
    view: View
    """View of the test images that samples are compared with; mean images are grey, and compared with grey ones."""
    frechet: float
    frechet_error: NonNegativeFloat
    frechet_floor: float
    frechet_floor_error: NonNegativeFloat
    classifier_entropy: float
    classifier_entropy_error: NonNegativeFloat
    class_entropy: float
    class_entropy_error: NonNegativeFloat
    data_classifier_entropy: float
    data_class_entropy: float
    classifier_accuracy: float
    """Accuracy of the classifier on the test images under that view."""
    classifier: str
    """Digest of the classifier's weights."""
