"""Records: one JSON a finished run, written atomically, found again by its run digest. The only memory there is.

`results/<sweep>/<protocol>/<cell>/seed-<k>.json`, with the fields of the contract; seconds in `cost` are the seed's
share of its group's wall time, so that they add up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vdae_bench.errors import EnvironmentFault

SCHEMA = 1


class RecordedCell(BaseModel):
    """Which cell of which table."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    method: str
    latents: int
    options: dict[str, Any] = {}


class TestMetrics(BaseModel):
    """Test metrics; bits/dim only for continuous data, -ELBO only for methods that have one."""

    __test__ = False  # no test class, whatever pytest thinks of its name
    model_config = ConfigDict(extra="allow")

    neg_elbo_nats: float | None
    nll_nats: float
    neg_elbo_bits_per_dim: float | None
    nll_bits_per_dim: float | None
    effective_sample_size: float
    nll_standard_error_nats: float = 0.0
    nll_bias_nats: float = 0.0


class ValidationMetrics(BaseModel):
    """-ELBO on the validation images after the last epoch, and the (first) epoch at which it was lowest."""

    model_config = ConfigDict(extra="allow")

    neg_elbo_nats: float
    best_epoch: int


class Metrics(BaseModel):
    """What was measured; `test` is missing from a run that diverged."""

    model_config = ConfigDict(extra="allow")

    test: TestMetrics | None
    validation: ValidationMetrics | None


class Curve(BaseModel):
    """-ELBO at beta = 1 by epoch (1, 2, ...), in nats an image; null where it was not finite."""

    model_config = ConfigDict(extra="allow")

    epoch: list[int]
    train_neg_elbo_nats: list[float | None]
    validation_neg_elbo_nats: list[float | None]


class Cost(BaseModel):
    """Price of the run: this seed's share of its group's wall time, and FLOPs by torch's counter."""

    model_config = ConfigDict(extra="allow")

    train_seconds: float
    evaluation_seconds: float
    train_flops: int
    validation_seconds: float = 0.0
    evaluation_flops: int = 0
    parameters: int = 0
    device: str
    threads: int
    replicas: int


class Record(BaseModel):
    """One run."""

    model_config = ConfigDict(extra="allow")

    schema_: int
    status: Literal["completed", "diverged"]
    cell: RecordedCell
    seed: int
    protocol: dict[str, Any]
    hyperparameters: dict[str, Any]
    metrics: Metrics
    curve: Curve
    flags: list[str]
    cost: Cost
    provenance: dict[str, Any]

    @property
    def run_digest(self) -> str:
        """The identity of the run."""
        return str(self.provenance["run_digest"])


def to_json(record: Record) -> str:
    """The record as the text of its file."""
    content = record.model_dump()
    return json.dumps({"schema": content.pop("schema_"), **content}, indent=1, allow_nan=False) + "\n"


def parse(text: str) -> Record:
    """The record in the text of a file; `ValueError` when it is none."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError("not a record of a known schema")
    content["schema_"] = content.pop("schema")
    return Record.model_validate(content)


class Store:
    """A results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, sweep: str, protocol: str, cell: str) -> Path:
        """Where the runs of a cell are."""
        return self.root / sweep / protocol / cell

    def path(self, sweep: str, protocol: str, cell: str, seed: int) -> Path:
        """Where a run's record is."""
        return self.folder(sweep, protocol, cell) / f"seed-{seed}.json"

    def read(self, path: Path) -> Record | None:
        """The record in a file; None when there is none or it is not whole."""
        try:
            return parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, ValidationError, RecursionError):
            return None

    def find(self, sweep: str, protocol: str, cell: str, seed: int, run_digest: str) -> Record | None:
        """The record of a run, if it is there and of that identity."""
        record = self.read(self.path(sweep, protocol, cell, seed))
        return record if record and record.provenance.get("run_digest") == run_digest else None

    def publish(self, records: list[tuple[Path, Record]]) -> None:
        """Write the records of a group to their paths: all to temporary files first, then each renamed into place.

        What lies there under another identity (an older spec or method version) or torn is set aside, never deleted.
        """
        written = []
        try:
            for path, record in records:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(f".json.tmp-{os.getpid()}")
                with temporary.open("w", encoding="utf-8") as file:
                    file.write(to_json(record))
                    file.flush()
                    os.fsync(file.fileno())
                written.append(temporary)
            for (path, record), temporary in zip(records, written, strict=True):
                self._set_aside(path, record.run_digest)
                temporary.replace(path)
        except OSError as error:
            raise EnvironmentFault(
                f"cannot write records under {self.root}: {error.strerror}; free space or choose another --results"
            ) from error

    def _set_aside(self, path: Path, run_digest: str) -> None:
        if not path.exists():
            return
        old = self.read(path)
        if old and old.run_digest == run_digest:
            return
        label = old.run_digest[:8] if old else "unreadable"
        path.replace(path.with_name(f"{path.stem}.superseded-{label}.json"))

    def records(self, protocol: str | None = None, sweep: str | None = None) -> Iterator[tuple[Path, Record]]:
        """All readable records, in the order of their paths, of one protocol or sweep where asked."""
        for path in sorted(self.root.glob(f"{sweep or '*'}/{protocol or '*'}/*/seed-*.json")):
            if path.stem.removeprefix("seed-").isdigit():
                record = self.read(path)
                if record:
                    yield path, record
