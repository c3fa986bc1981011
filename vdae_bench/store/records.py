"""Records: one JSON a finished run, written atomically, found again by its run digest: a run is done when it exists.

`results/<sweep>/<protocol>/<cell>/seed-<k>.json`, with the fields of the contract; seconds in `cost` are the seed's
share of its group's wall time, so that they add up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vdae_bench.data.registry import dims_of
from vdae_bench.data.units import bits_per_dim
from vdae_bench.errors import EnvironmentFault
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.layout import Layout
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.atomic import is_plain
from vdae_bench.system.lease import alone_at
from vdae_bench.system.redact import redacted_command
from vdae_bench.system.untrusted import Unfit, content_of

RECORD_SCHEMA = 1
ROUNDING = 1e-5
"""Relative error that float32 sums leave in a score."""

_log = logging.getLogger(__name__)


def _plain(name: str) -> str:
    if not is_plain(name):
        raise ValueError("a record cannot have this name")
    return name


Name = Annotated[str, AfterValidator(_plain)]
"""Part of the name of a cell's folder."""


class RecordedCell(BaseModel):
    """The cell of a recorded run."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    dataset: Name
    """Id of the data set, as `binary-mnist`."""
    method: Name
    """Id of the method, as `lvdae`."""
    latents: int
    """Number m of latents."""
    options: dict[Name, Name | int | float | bool | None] = {}
    """Options that are not the default."""

    def as_cell(self, method_title: str = "") -> Cell:
        """The cell, with the title of its method where it is known."""
        return Cell(
            self.dataset, self.method, self.latents, tuple(sorted(self.options.items())), method_title=method_title
        )


class TestMetrics(BaseModel):
    """Test metrics; bits/dim only for continuous data, -ELBO only for methods that have one."""

    __test__ = False  # no test class, whatever pytest thinks of its name
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    neg_elbo_nats: float | None
    """-ELBO on the test images, in nats for each image; null for a flow, whose log p(x) is exact."""
    nll_nats: float
    """NLL in nats for each image: importance-sampled with K samples, or exact for a flow."""
    neg_elbo_bits_per_dim: float | None
    """The same -ELBO in bits for each pixel; null for binary data."""
    nll_bits_per_dim: float | None
    """The same NLL in bits for each pixel; null for binary data."""
    effective_sample_size: float
    """Effective number of the K samples, as a mean over images."""
    nll_standard_error_nats: float = 0.0
    """Standard error of the NLL over images."""
    nll_bias_nats: float = 0.0
    """First-order estimate of how much too high the NLL is because K is finite."""
    neg_elbo_standard_error_nats: float | None = None
    """Standard error of the -ELBO over images."""
    nll_standard_error_covers: Literal["gap", "level"] = "gap"
    """Contents of the NLL's standard error: that of the gap to -ELBO alone, in older records, or with that of the -ELBO
    it is taken from, on the images with few samples (`level`)."""
    nll_half_samples_nats: float | None = None
    """NLL on the images with K samples, with half of them, and (next) a quarter; older records have neither."""
    nll_quarter_samples_nats: float | None = None

    def faults(self, dataset: str) -> Iterator[str]:
        """Sentences on what these numbers cannot be: log p(x) is above its bound, and bits/dim are those of nats."""
        if self.neg_elbo_nats is not None:
            slack = 3 * self.nll_standard_error_nats + ROUNDING * (1 + abs(self.nll_nats))
            if self.nll_nats > self.neg_elbo_nats + slack:
                yield f"its NLL {self.nll_nats:g} is above its -ELBO {self.neg_elbo_nats:g}"
        dims = dims_of(dataset)
        for score in ("nll", "neg_elbo") if dims else ():
            nats, bits = getattr(self, f"{score}_nats"), getattr(self, f"{score}_bits_per_dim")
            if nats is None or bits is None:
                if nats is None and bits is not None:
                    yield f"its {score} has bits/dim but no nats"
            elif dims and abs(bits_per_dim(nats, dims) - bits) > ROUNDING * (1 + abs(bits)):
                yield f"its {score} of {nats:g} nats is not {bits:g} bits/dim"


class ValidationMetrics(BaseModel):
    """-ELBO on the validation images after the last epoch, and the (first) epoch at which it was lowest."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    neg_elbo_nats: float
    best_epoch: int
    """The first epoch with the lowest validation -ELBO."""


class Metrics(BaseModel):
    """Measured numbers of a run; `test` is missing where it diverged."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    test: TestMetrics | None
    """Metrics on the test images with the parameters after the last epoch; null where the run diverged."""
    validation: ValidationMetrics | None
    """Metrics on the validation images; null where the run diverged."""
    test_at_best_epoch: TestMetrics | None = None
    """Test metrics with the parameters of the lowest validation -ELBO; only in a run that overfits."""


class Curve(BaseModel):
    """-ELBO at beta = 1 by epoch (1, 2, ...), in nats for each image; null if it was not finite.

    The Jacobians of L-VDAE's validation points are of a part of the images: of one that moves on from epoch to epoch,
    and of all after the last (`rotating`), or in older records of the same in every epoch (`fixed`).
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    epoch: list[int]
    train_neg_elbo_nats: list[float | None]
    validation_neg_elbo_nats: list[float | None]
    validation_part: Literal["fixed", "rotating"] = "fixed"
    validation_standard_error_nats: list[float | None] | None = None
    """Standard error of each point from the images without a Jacobian: 0 where every image has one."""

    @model_validator(mode="after")
    def _of_one_length(self) -> Curve:
        columns = [self.train_neg_elbo_nats, self.validation_neg_elbo_nats]
        columns += [] if self.validation_standard_error_nats is None else [self.validation_standard_error_nats]
        if any(len(column) != len(self.epoch) for column in columns):
            raise ValueError("its columns have different lengths")
        return self


class Cost(BaseModel):
    """Price of the run: this seed's share of its group's wall time, and FLOPs by torch's counter."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    train_seconds: float = Field(ge=0)
    """Seconds of training by the clock, without validation."""
    evaluation_seconds: float = Field(ge=0)
    """Seconds of the test by the clock."""
    train_flops: int = Field(ge=0)
    """FLOPs of training, counting matrix products and convolutions."""
    validation_seconds: float = Field(default=0.0, ge=0)
    """Seconds of validation during training by the clock."""
    evaluation_flops: int = Field(default=0, ge=0)
    """FLOPs of the test."""
    parameters: int = 0
    """How many numbers the model trains."""
    device: str
    """The processor or GPU."""
    threads: int
    """Threads of the process."""
    replicas: int
    """Runs that trained together in its group."""

    @property
    def seconds(self) -> float:
        """Seconds of all that the run did, its share of its group's, so that those of runs add up."""
        return self.train_seconds + self.validation_seconds + self.evaluation_seconds

    @property
    def flops(self) -> int:
        """FLOPs of training and, where it is recorded, of the test."""
        return self.train_flops + self.evaluation_flops


class ImageCounts(BaseModel):
    """How many images there are and how many a run took: the protocol has what was asked for, which may be more."""

    model_config = ConfigDict(extra="allow")

    train: int = Field(ge=1)
    """Images of the data set to train on."""
    validation: int = Field(ge=1)
    """Images of the data set that are held out for validation."""
    test: int = Field(ge=1)
    """Images of the data set's test set."""
    trained: int = Field(ge=1)
    """Images that the run trained on."""
    validated: int = Field(ge=1)
    """Images behind a point of its validation curve."""
    nll: int = Field(ge=1)
    """Test images with K samples."""
    elbo: int = Field(ge=1)
    """Test images for the -ELBO, all those with K samples among them."""

    @property
    def there(self) -> dict[str, int]:
        """How many images each split of the data set has."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


class Record(BaseModel):
    """The record of one finished run."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    schema_: int
    """Version of this format."""
    status: Literal["completed", "diverged"]
    """`diverged` if the loss was not finite; a flag then says at which step."""
    cell: RecordedCell
    """Data set, method, latents and options."""
    seed: int
    """Seed of the initial parameters, the order of the images and all noise."""
    protocol: dict[str, Any]
    """The resolved protocol, field by field."""
    hyperparameters: dict[str, str | int | float | bool | None]
    """Values that the run trained with; `source` says where they come from: the spec, or a search by its digest."""
    metrics: Metrics
    """Scores."""
    curve: Curve
    """-ELBO by epoch."""
    flags: list[str]
    """Sentences on anything unusual: a jitter, a floor that was reached, a change of code during the run."""
    cost: Cost
    """Time, FLOPs and machine."""
    provenance: dict[str, Any]
    """Origin of the run: commit, libraries, machine, data checksum, command, start, and its identity, `run_digest`."""
    method_version: int | None = None
    """The version of the method that ran, which is also part of the identity; older records do not have it."""
    method_title: str | None = None
    """The title of the method at the time of the run; None in older records."""
    images: ImageCounts | None = None
    """How many images there were and were taken; None in older records."""

    @model_validator(mode="after")
    def _of_this_world(self) -> Record:
        for each in (self.metrics.test, self.metrics.test_at_best_epoch):
            if fault := next(each.faults(self.cell.dataset), "") if each else "":
                raise ValueError(fault)
        return self

    @property
    def run_digest(self) -> str:
        """The identity of the run; empty where a record by hand has none."""
        return str(self.provenance.get("run_digest", ""))


def to_content(record: Record) -> dict[str, Any]:
    """The record as the content of its file, with a digest of it."""
    content = record.model_dump()
    return strict_json.sealed({"schema": content.pop("schema_"), **content})


def to_json(record: Record) -> str:
    """The record as the text of its file."""
    return json.dumps(to_content(record), indent=1, allow_nan=False) + "\n"


def to_checked_json(record: Record) -> str:
    """The record as the text of its file, once it was read as a later call will read it.

    Raises:
        EnvironmentFault: it would not be found again.
    """
    text = to_json(record)
    try:
        parse(text)
    except ValueError as error:
        raise EnvironmentFault(
            f"the record of {record.cell.as_cell().slug}, seed {record.seed}, could not be read again "
            f"({_reason(error)}); change what causes this in the command, the spec or the plug-in"
        ) from None
    return text


def parse(text: str) -> Record:
    """The record in the text of a file; `ValueError` when it is none, or of a schema that this version does not know.

    A record is read whatever later versions added to it: what they do not know they keep. Raise `RECORD_SCHEMA` only
    where the meaning of a field changes, and read the older here: a test holds a sample of each.
    """
    content = strict_json.unsealed(text)
    if "schema" not in content:
        raise ValueError("it is not a record")
    schema = content.pop("schema")
    if schema != RECORD_SCHEMA or isinstance(schema, bool):
        raise ValueError(
            f"its schema is {schema!r}, this version knows {RECORD_SCHEMA}: read it with the vdae-bench that wrote it"
        )
    record = Record.model_validate({**content, "schema_": schema})
    if isinstance(command := record.provenance.get("command"), str):  # versions before this wrote it as it was typed
        record.provenance["command"] = redacted_command(command)
    return record


class Store(Layout):
    """A results folder: its records, read and put in place."""

    def read(self, path: Path) -> Record | None:
        """The record in a file; None when there is none or it is not whole.

        Raises:
            EnvironmentFault: it cannot be read; it may be whole, and the run is not to be done again.
        """
        try:
            content = atomic.read(path)
        except Unfit:
            return None
        return None if content is None else _record(content)

    def find(self, sweep: str, protocol: str, cell: str, seed: int, run_digest: str) -> Record | None:
        """The record of a run, if it is there and of that identity."""
        record = self.read(self.path(sweep, protocol, cell, seed))
        return record if record and record.run_digest == run_digest else None

    def publish(self, records: list[tuple[Path, Record]]) -> None:
        """Write the records of a group to their paths: all to temporary files first, then each put in place at once.

        Of two processes that publish the same run the later yields. What lies there under another identity (an older
        spec or method version) or torn is set aside, never deleted.

        Raises:
            EnvironmentFault: the disk is full, say; no record is there in part. Or one is not found where it was put.
        """
        staged: list[tuple[Path, Record, Path]] = []
        try:
            for path, record in records:
                staged.append((path, record, atomic.stage(path, to_checked_json(record).encode())))
            for path, record, temporary in staged:
                self._put(path, record, temporary)
            for path, record, _ in staged:
                if not self._is_kept(path, record):
                    raise EnvironmentFault(
                        f"{path} was written and is no longer there; find out what else writes or moves {self.root}, "
                        "and give the same command again"
                    )
        finally:
            for _, _, temporary in staged:
                atomic.discard(temporary)

    def _is_kept(self, path: Path, record: Record) -> bool:
        """True where a record lies in its place, or beside it where another run has set it aside since."""
        for wait in (0.0, 0.1, 0.5):  # it is nowhere for an instant while another run takes its place
            time.sleep(wait)
            for each in (path, *path.parent.glob(f"{path.stem}.*{path.suffix}")):
                there = self.read(each)
                if there and there.run_digest == record.run_digest:
                    return True
        return False

    def _put(self, path: Path, record: Record, temporary: Path) -> None:
        try:
            while not _put_where_nothing_is(path, temporary):
                old = self.read(path)
                if old and old.run_digest == record.run_digest:
                    return
                _move_aside(path, record.run_digest)
        except OSError as error:
            raise atomic.fault(path, error) from error

    def records(self, protocol: str | None = None, sweep: str | None = None) -> Iterator[tuple[Path, Record]]:
        """All records that are whole, in the order of their paths, of one protocol or sweep where asked.

        Raises:
            EnvironmentFault: one cannot be read; pages without it would be wrong in silence.
        """
        for path in self.record_paths(protocol, sweep):
            record = self.read(path)
            if record:
                yield path, record

    def unreadable(self, protocol: str | None = None, sweep: str | None = None) -> Iterator[tuple[Path, str]]:
        """The files in the places of records that are none, and why."""
        for path in self.record_paths(protocol, sweep):
            try:
                parse((atomic.read(path) or b"").decode())
            except (EnvironmentFault, ValueError) as error:
                yield path, _reason(error)


def _record(content: bytes) -> Record | None:
    try:
        return parse(content.decode())
    except ValueError:
        return None


def _put_where_nothing_is(path: Path, staged: Path) -> bool:
    """Put a staged file in place, unless another is there already: whether it is there now."""
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    except OSError:  # without hard links nothing puts a whole file in place and fails where one is
        with alone_at(path):
            if atomic.is_there(path):
                return False
            staged.replace(path)
    return True


def _move_aside(path: Path, run_digest: str) -> None:
    """Take away what lies in a record's place, and keep it unless it is of the same run.

    Moved first and looked at then: whatever another process puts there at the same moment is kept as well.
    """
    moved = path.with_name(f"{path.stem}.superseded-{secrets.token_hex(8)}{path.suffix}")
    try:
        path.rename(moved)
    except FileNotFoundError:  # another process was faster
        return
    try:
        content = content_of(moved)
    except Unfit as error:
        _log.warning("%s is not used, because %s; it is kept as %s", path, error, moved.name)
        return
    except OSError:  # then back with it: it may be a good one
        if _put_where_nothing_is(path, moved):
            atomic.discard(moved)
        raise
    old = _record(content)
    if not old or old.run_digest != run_digest:
        moved.replace(_aside(path, content, old.run_digest[:8] if old else "unreadable"))
    else:
        moved.unlink()


def keep_aside(path: Path, label: str) -> None:
    """Keep a copy of a file that is about to be replaced under a name of its own, which says what it was."""
    try:
        content = content_of(path)
    except Unfit:  # a pipe, say, has no copy
        path.rename(_aside(path, secrets.token_bytes(8), label))
    else:
        atomic.write(_aside(path, content, label), content)


def _aside(path: Path, content: bytes, label: str) -> Path:
    """A name that goes with the content, so that two processes keep the same under the same."""
    label = label if label.isalnum() else "unnamed"  # a digest that a hostile record has may be a path
    aside = path.with_name(f"{path.stem}.superseded-{label}-{hashlib.sha256(content).hexdigest()[:8]}{path.suffix}")
    _log.warning("%s belongs to another run, spec or version, or is damaged: it is kept as %s", path, aside.name)
    return aside


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])).replace('schema_', 'schema')}: {first['msg']}"
    return str(error)
