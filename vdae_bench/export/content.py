"""The content of a run as dashboards take it: identity, settings, origin, metrics, curves and sheets of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdae_bench.report.numbers.runs import Run, left_out_of, runs_there
from vdae_bench.report.style.sheet import sheet
from vdae_bench.store.evidence import IMAGE_ARRAYS, Evidence, read_evidence
from vdae_bench.store.records import Store
from vdae_bench.system.strict_json import digest

PROSE = ("description", "cannot_show")
Scalar = str | int | float | bool


@dataclass(frozen=True)
class ExportedRun:
    """A run as it is exported; names of metrics end in their units."""

    run: Run
    left_out: str
    """The reason why no table of a report has it; empty where one does."""
    root: Path
    """The results folder."""

    @property
    def id(self) -> str:
        """The id of the run, the same at every export: a digest of its place and identity."""
        return digest(
            [self.run.sweep, self.run.protocol, self.run.cell.slug, self.run.seed, self.run.record.run_digest]
        )[:16]

    @property
    def name(self) -> str:
        """Its cell and seed."""
        return f"{self.run.cell.slug}-seed{self.run.seed}"

    @property
    def group(self) -> str:
        """Its sweep and protocol."""
        return f"{self.run.sweep}/{self.run.protocol}"

    @property
    def started(self) -> float:
        """Seconds since 1970 at its start; 0 where the record does not say."""
        return datetime.fromisoformat(self.run.started_at).timestamp() if self.run.started_at else 0.0

    @property
    def settings(self) -> dict[str, Scalar]:
        """Cell, seed, protocol, hyper-parameters and numbers of images, by dotted names; null is a word."""
        record = self.run.record
        protocol = {name: value for name, value in record.protocol.items() if name not in PROSE}
        parts = {"cell": record.cell.model_dump(), "protocol": protocol, "hyperparameters": record.hyperparameters}
        parts |= {"images": record.images.model_dump()} if record.images else {}
        return {"sweep": self.run.sweep, "seed": record.seed, **dict(_flat(parts, "."))}

    @property
    def origin(self) -> dict[str, str]:
        """Status, flags and provenance, by dotted names; the command without this machine's paths."""
        record = self.run.record
        provenance = {**record.provenance, "command": self.run.command}
        said = {"status": record.status, "left_out": self.left_out, "flags": "; ".join(record.flags)}
        return {**said, **{name: str(value) for name, value in _flat({"provenance": provenance}, ".")}}

    @property
    def metrics(self) -> dict[str, float]:
        """Test and validation metrics and cost, by names such as `test/nll_nats` and `cost/train_seconds`."""
        parts = {**self.run.record.metrics.model_dump(), "cost": self.run.record.cost.model_dump()}
        return {name: float(value) for name, value in _flat(parts, "/") if _is_number(value)}

    @property
    def series(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The curve: each epoch with its -ELBO in nats an image, by names such as `train/neg_elbo_nats`."""
        curve = self.run.record.curve
        columns = {"train/neg_elbo_nats": curve.train_neg_elbo_nats}
        columns |= {"validation/neg_elbo_nats": curve.validation_neg_elbo_nats}
        columns |= {"validation/standard_error_nats": curve.validation_standard_error_nats or [None] * len(curve.epoch)}
        for epoch, *values in zip(curve.epoch, *columns.values(), strict=True):
            yield epoch, {name: value for name, value in zip(columns, values, strict=True) if value is not None}

    @cached_property
    def evidence(self) -> Evidence | None:
        """Its samples; None where it left none."""
        return read_evidence(self.run.path, self.run.record.run_digest)

    @property
    def sheets(self) -> dict[str, NDArray[np.uint8]]:
        """Its samples as grey pictures (rows, columns), one for each kind: data, means, drawn, ..."""
        if self.evidence is None:
            return {}
        arrays, shape = self.evidence.arrays, self.evidence.numbers.image_shape
        return {name: sheet(arrays[name], shape) for name in IMAGE_ARRAYS if name in arrays}


def exported_runs(store: Store, protocol: str | None, sweep: str | None) -> list[ExportedRun]:
    """The runs of a results folder, or of one protocol or sweep, in the order of reports.

    Raises:
        UserError: there are records, and none of that protocol or sweep.
    """
    runs = runs_there(store, protocol, sweep)
    left_out = left_out_of(runs)
    return [ExportedRun(run, left_out.get(run.path, ""), store.root) for run in runs]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(content: Mapping[str, Any], between: str, above: str = "") -> Iterator[tuple[str, Scalar]]:
    """The single values in nested mappings, by the names on the way to them."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, between, f"{above}{name}{between}")
        elif value is None and between == ".":
            yield f"{above}{name}", "null"
        elif value is not None:
            yield f"{above}{name}", value if isinstance(value, str | int | float) else str(value)
