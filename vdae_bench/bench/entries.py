"""The raw file of a machine, `results/bench/<machine>.json`: a list of entries, replaced after every case.

Its first seven fields are a contract; the others say how they came about.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from vdae_bench.errors import UserError
from vdae_bench.models.precision import Precision
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.redact import redacted_command
from vdae_bench.system.untrusted import content_of


class Environment(BaseModel):
    """Where an entry was measured: one value for all entries of a run."""

    model_config = ConfigDict(extra="allow")

    machine: str
    threads: int
    device: str = "cpu"
    """Model of the GPU that computed, or `cpu`."""
    platform: str
    torch: str
    python: str
    started_at: str
    git_commit: str | None
    git_dirty: bool | None
    command: Annotated[str, AfterValidator(redacted_command)]
    data: str
    libraries: dict[str, str | None]
    """Versions of the peers; null where one is not installed."""


class Profile(BaseModel):
    """Where a step's time goes, as parts of it: matrix products, operations outside them, the rest (Python)."""

    matrix_products: float
    outside: dict[str, float]
    rest: float


class Noise(BaseModel):
    """Noise of an estimated gradient of log det C of one image, variances over the square of the mean gradient."""

    latents: int
    lanczos_steps: int
    trained_steps: int
    images: int
    images_variance: float
    """Total variance of the exact gradient between images."""
    probe_variance: float
    """Variance that a probe of `lanczos` adds to that."""
    images_deviation_nats: float
    """Standard deviation of log det C itself between images."""
    probe_deviation_nats: float
    """Root mean square of the error of a probe's log det C."""
    equal_flops: float
    """Variance of `lanczos` over that of `subset` for as many FLOPs; the entry's ratio is for as many rows."""
    bias_nats: float
    condition: float
    """Median over the images of the condition of C."""


class Entry(BaseModel):
    """One line of the raw file; seconds are medians over rounds of one `per`."""

    model_config = ConfigDict(extra="allow")

    name: str
    ours_seconds: float | None = None
    peer: str | None = None
    peer_seconds: float | None = None
    ratio: float | None = None
    """peer / ours where `direction` is `at least`: how many times faster; ours / peer where it is `at most`."""
    target: float | None = None
    peak_fraction: float | None = None
    """Achieved FLOP/s over those of a plain matrix product of the same precision in the same rounds."""

    case: str
    subject: str
    """Name of the thing that is timed: VAE, L-VDAE, NICE, start-up."""
    per: str
    precision: Precision = "float32"
    measure: Literal["ratio", "peak_fraction", "ours_seconds"] = "ratio"
    """The field that the target is for."""
    direction: Literal["at least", "at most"] = "at least"
    spread: tuple[float, float] | None = None
    """Lowest and highest ratio of a round."""
    ours_rounds: tuple[float, ...] = ()
    peer_rounds: tuple[float, ...] = ()
    flops: float | None = None
    peer_flops: float | None = None
    peak_flops_per_second: float | None = None
    axis: str | None = None
    position: float | None = None
    """Place on an axis of growth, such as m."""
    memory_bytes: int | None = None
    profile: Profile | None = None
    noise: Noise | None = None
    skipped: str | None = None
    """Reason why nothing was measured; None where something was."""
    run: Environment

    @property
    def value(self) -> float | None:
        """The number that the target is for."""
        return {"ratio": self.ratio, "peak_fraction": self.peak_fraction, "ours_seconds": self.ours_seconds}[
            self.measure
        ]

    @property
    def met(self) -> bool | None:
        """True where the target is met; None where there is none, or no number."""
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.direction == "at least" else self.value <= self.target


def read_entries(path: Path) -> list[Entry]:
    """The entries of a raw file, none where there is no file.

    Raises:
        UserError: it is no such file.
    """
    try:
        return [Entry.model_validate(each) for each in strict_json.loads(content_of(path))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, ValidationError) as error:
        raise UserError(
            f"{path} does not hold results of `vdae-bench bench`; move the file away and run that command again"
        ) from error


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Replace a raw file: whole or not at all."""
    text = json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1, allow_nan=False) + "\n"
    atomic.write(path, text.encode())


def merged(old: Sequence[Entry], new: Sequence[Entry], order: Collection[str]) -> list[Entry]:
    """New entries in place of old ones of the same name, in the order of their cases.

    A measurement is never replaced by one that was skipped. Cases that are no longer declared go.
    """
    by_name = {entry.name: entry for entry in old}
    for entry in new:
        if not (entry.skipped and entry.name in by_name):
            by_name[entry.name] = entry
    places = {case: place for place, case in enumerate(order)}
    return sorted((entry for entry in by_name.values() if entry.case in places), key=lambda entry: places[entry.case])
