"""A job (a cell with all that determines its numbers but the seed) and a group of runs that train together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vdae_bench.data.registry import find_dataset, parse_dataset_id
from vdae_bench.data.views import View
from vdae_bench.evaluation.likelihood import EvaluationSettings
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.spec.hyperparameters import ADAM_BETA2, ADAM_EPS, LEARNING_RATE, SCHEDULE
from vdae_bench.spec.protocol import Protocol
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.records import RECORD_SCHEMA, ImageCounts, Record, Store
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import counted
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.checkpoint import SECONDS_BETWEEN, Checkpoint
from vdae_bench.training.trainer import TrainingSettings

MAX_REPLICAS = 32


GROUP_BYTES = 8 * 2**30
"""Parameters, gradients, moments and activations of a group stay below this, where no device says otherwise."""


@dataclass(frozen=True)
class Job:
    """One cell with everything that determines its numbers but the seed."""

    sweep: str
    cell: Cell
    protocol: Protocol
    hyperparameters: dict[str, Any]
    source: str = "spec"
    """Where the hyper-parameters are from, for the record; part of no identity."""

    @classmethod
    def of(cls, spec: SweepSpec, cell: Cell) -> Job:
        """The job of a cell of a spec."""
        return cls(spec.name, cell, spec.protocol, spec.resolved_hyperparameters(cell), spec.source(cell))

    @property
    def view(self) -> View:
        """How pixels are seen: `binary` or `continuous`."""
        return parse_dataset_id(self.cell.dataset)[0]  # type: ignore[return-value]

    @property
    def dataset(self) -> str:
        """Name of the data set behind the view, such as `mnist`."""
        return parse_dataset_id(self.cell.dataset)[1]

    @property
    def data_dim(self) -> int:
        """Number of pixels of an image (n in the paper)."""
        return find_dataset(self.dataset).data_dim

    @property
    def train_images(self) -> int:
        """Number of training images: what the protocol takes of those that the data set has."""
        there = find_dataset(self.dataset).counts["train"]
        return min(self.protocol.train_images or there, there)

    @property
    def images(self) -> ImageCounts:
        """How many images there are, and how many a run takes of them."""
        there = find_dataset(self.dataset).counts
        done = self.protocol.done_with(there)
        taken = {"trained": self.train_images, "validated": done.validation_images}
        return ImageCounts(**there, **taken, nll=done.nll_images, elbo=done.elbo_images)

    @property
    def own_protocol(self) -> Protocol:
        """The protocol, with the fields that the cell's options choose for the cell (`precision`, `log_det`)."""
        chosen = {name: value for name, value in self.cell.options if name in Protocol.model_fields}
        return self.protocol.model_copy(update=chosen)

    def run_digest(self, seed: int) -> str:
        """The identity of a run: what determines its numbers, nothing else."""
        return digest(
            {
                "schema": RECORD_SCHEMA,
                "cell": self.cell.as_record(),
                "seed": seed,
                "protocol": self.protocol.content(),
                "hyperparameters": self.hyperparameters,
                "dataset_sha256": find_dataset(self.dataset).identity,
                **get_method(self.cell.method).code_with(dict(self.cell.options)),
            }
        )

    @property
    def architecture(self) -> Job:
        """The job without the options that replicas of one model may differ in; a learned sigma stands for itself."""
        options = get_method(self.cell.method).options
        kept = tuple((name, value) for name, value in self.cell.options if not options[name].per_replica)
        varied = tuple((name, "fixed") for name, _ in self.cell.options if options[name].per_replica)
        return replace(self, cell=replace(self.cell, options=(*kept, *varied)))

    def problem(self, replicas: int, replica_options: tuple[dict[str, Any], ...] = ()) -> Problem:
        """Everything that the method builds its model from, for so many replicas."""
        return Problem(
            replicas=replicas,
            replica_options=replica_options,
            data_dim=self.data_dim,
            latents=self.cell.latents,
            view=self.view,
            hyperparameters=self.hyperparameters,
            options=dict(self.cell.options),
            log_det=self.own_protocol.log_det,
            image_shape=find_dataset(self.dataset).image_shape,
        )

    def training_settings(self) -> TrainingSettings:
        """Settings of the trainer; a method that does not train has no epochs and starts from data."""
        trains = get_method(self.cell.method).trains
        return TrainingSettings(
            epochs=self.protocol.epochs if trains else 0,
            batch_size=self.protocol.batch_size,
            scalar_rate=self.protocol.scalar_rate,
            initialisation=self.protocol.initialisation if trains else "data",
            log_det_rows=self.protocol.log_det_rows,
            validation_images=self.protocol.validation_images,
            precision=self.own_protocol.precision,
        )

    def evaluation_settings(self) -> EvaluationSettings:
        """Settings of the evaluation."""
        return EvaluationSettings(
            importance_samples=self.protocol.importance_samples,
            nll_images=self.protocol.nll_images,
            elbo_images=self.protocol.elbo_images,
            elbo_samples=self.protocol.elbo_samples,
            precision=self.own_protocol.precision,
        )

    @property
    def adam_settings(self) -> AdamSettings:
        """Adam's settings for each seed; the one place where named hyper-parameters become them."""
        return AdamSettings(
            learning_rate=LEARNING_RATE.of(self.hyperparameters),
            schedule=SCHEDULE.of(self.hyperparameters),
            adam_beta2=ADAM_BETA2.of(self.hyperparameters),
            adam_eps=ADAM_EPS.of(self.hyperparameters),
        )


@dataclass(frozen=True)
class RunGroup:
    """Runs that train together as replicas of one model: seeds of a job, or of jobs of one architecture."""

    runs: tuple[tuple[Job, int], ...]

    @property
    def job(self) -> Job:
        """The first job: what it says of architecture, protocol and data holds for all."""
        return self.runs[0][0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the group, one for each replica."""
        return tuple(seed for _, seed in self.runs)

    @property
    def cells(self) -> list[Cell]:
        """The cells of the group, each once."""
        return list(dict.fromkeys(job.cell for job, _ in self.runs))

    @cached_property
    def label(self) -> str:
        """Short name of a group for people: its cell and seeds."""
        more = f" and {counted(len(self.cells) - 1, 'more cell')}," if len(self.cells) > 1 else ""
        seeds = sorted(set(self.seeds))
        return f"{self.job.cell.slug}{more} seed{'s'[: len(seeds) - 1]} {', '.join(map(str, seeds))}"

    @cached_property
    def identity(self) -> str:
        """Digest of the runs in a group, which names its checkpoint."""
        return digest([job.run_digest(seed) for job, seed in self.runs])

    def halved(self) -> tuple[tuple[tuple[Job, int], ...], ...]:
        """The runs in two halves, as a group is divided that does not fit or is shared out; nothing of a single run."""
        middle = (len(self.runs) + 1) // 2
        return (self.runs[:middle], self.runs[middle:]) if len(self.runs) > 1 else ()

    def problem(self) -> Problem:
        """Everything that the method builds the group's model from."""
        return self.job.problem(len(self.runs), tuple(dict(job.cell.options) for job, _ in self.runs))

    def checkpoint_path(self, store: Store) -> Path:
        """Path of the group's checkpoint while it runs."""
        return store.checkpoints(self.job.sweep, self.job.protocol.name) / f"{self.identity[:16]}.pt"

    def checkpoint(self, store: Store, seconds_between: float = SECONDS_BETWEEN) -> Checkpoint:
        """Checkpoint of the group: its state on disk while it runs."""
        return Checkpoint(self.checkpoint_path(store), self.identity, seconds_between)

    def begun(self, store: Store) -> bool:
        """True where there is a checkpoint to go on from."""
        return self.checkpoint(store).is_there

    def records(self, store: Store) -> list[Record | None]:
        """Records of the group's runs, in their order; None for a run that has none yet."""
        return [
            store.find(job.sweep, job.protocol.name, job.cell.slug, seed, job.run_digest(seed))
            for job, seed in self.runs
        ]
