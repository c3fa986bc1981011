"""What would run: replica groups, what of them is there already, and what they cost on this device.

The unit of work is a replica group: the seeds of one cell, trained together, checkpointed and published together.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vdae_bench.data.registry import find_dataset, parse_dataset_id
from vdae_bench.data.views import View
from vdae_bench.devices import wait
from vdae_bench.errors import UserError
from vdae_bench.evaluation import SAMPLE_BLOCK, EvaluationSettings, images_in_chunk
from vdae_bench.models.model import Model
from vdae_bench.models.registry import Problem, get_method, nearest
from vdae_bench.protocol import Protocol, digest
from vdae_bench.spec import Cell, SweepSpec
from vdae_bench.store import SCHEMA, Record, Store
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.engine import MAX_ROWS, TrainingSettings

MAX_REPLICAS = 32
GROUP_BYTES = 8 * 2**30
"""Parameters, gradients, moments and activations of a group stay below this, where no device says otherwise."""
TRAINING_IMAGES = 50_000


@dataclass(frozen=True)
class Job:
    """One cell with everything that determines its numbers but the seed."""

    sweep: str
    cell: Cell
    protocol: Protocol
    hyperparameters: dict[str, Any]
    source: str = "spec"
    """Where the hyper-parameters are from, for the record; part of no identity."""

    @property
    def view(self) -> View:
        """`binary` or `continuous`."""
        return parse_dataset_id(self.cell.dataset)[0]  # type: ignore[return-value]

    @property
    def dataset(self) -> str:
        """The data set behind the view."""
        return parse_dataset_id(self.cell.dataset)[1]

    @property
    def data_dim(self) -> int:
        """n."""
        rows, columns = find_dataset(self.dataset).image_shape
        return rows * columns

    @property
    def own_protocol(self) -> Protocol:
        """The protocol, with the fields that the cell's options choose for the cell (`precision`, `log_det`)."""
        chosen = {name: value for name, value in self.cell.options if name in Protocol.model_fields}
        return self.protocol.model_copy(update=chosen)

    def run_digest(self, seed: int) -> str:
        """The identity of a run: what determines its numbers, nothing else."""
        return digest(
            {
                "schema": SCHEMA,
                "cell": self.cell.as_record(),
                "seed": seed,
                "protocol": self.protocol.content(),
                "hyperparameters": self.hyperparameters,
                "dataset_sha256": find_dataset(self.dataset).sha256,
                "method_version": get_method(self.cell.method).version,
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
        """What the method builds its model from."""
        return Problem(
            replicas=replicas,
            replica_options=replica_options,
            data_dim=self.data_dim,
            latents=self.cell.latents,
            view=self.view,
            hyperparameters=self.hyperparameters,
            options=dict(self.cell.options),
            log_det=self.own_protocol.log_det,
        )

    def training_settings(self) -> TrainingSettings:
        """The protocol's part for the engine; a method that does not train has no epochs and starts from data."""
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
        """The protocol's part for the evaluation."""
        return EvaluationSettings(
            importance_samples=self.protocol.importance_samples,
            nll_images=self.protocol.nll_images,
            elbo_images=self.protocol.elbo_images,
            elbo_samples=self.protocol.elbo_samples,
            precision=self.own_protocol.precision,
        )

    def adam_settings(self, replicas: int) -> list[AdamSettings]:
        """The same optimiser for each seed."""
        names = ("learning_rate", "schedule", "adam_beta2", "adam_eps")
        return [AdamSettings(**{name: self.hyperparameters[name] for name in names})] * replicas


@dataclass(frozen=True)
class Group:
    """Runs that train together as replicas of one model: seeds of a job, or of jobs of one architecture."""

    runs: tuple[tuple[Job, int], ...]

    @property
    def job(self) -> Job:
        """The first job: what it says of architecture, protocol and data holds for all."""
        return self.runs[0][0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each replica."""
        return tuple(seed for _, seed in self.runs)

    @property
    def cells(self) -> list[Cell]:
        """The cells of the group, each once."""
        return list(dict.fromkeys(job.cell for job, _ in self.runs))

    @property
    def label(self) -> str:
        """Short name for people."""
        more = f" and {len(self.cells) - 1} more cells," if len(self.cells) > 1 else ""
        seeds = sorted(set(self.seeds))
        return f"{self.job.cell.slug}{more} seed{'s'[: len(seeds) - 1]} {', '.join(map(str, seeds))}"

    @property
    def identity(self) -> str:
        """Identity of the group's checkpoint: the runs in it."""
        return digest([job.run_digest(seed) for job, seed in self.runs])

    def halves(self) -> tuple[Group, Group]:
        """Two groups of half as many runs, for where there is not the memory for all; their numbers are the same."""
        middle = (len(self.runs) + 1) // 2
        return Group(self.runs[:middle]), Group(self.runs[middle:])

    def problem(self) -> Problem:
        """What the method builds the group's model from."""
        return self.job.problem(len(self.runs), tuple(dict(job.cell.options) for job, _ in self.runs))

    def checkpoint_path(self, store: Store) -> Path:
        """Where the group's checkpoint is while it runs."""
        return store.folder(self.job.sweep, self.job.protocol.name, "checkpoints") / f"{self.identity[:16]}.pt"

    def begun(self, store: Store) -> bool:
        """Whether there is a checkpoint to go on from."""
        checkpoint = Checkpoint(self.checkpoint_path(store), self.identity)
        return checkpoint.path.exists() or checkpoint.previous.exists()

    def records(self, store: Store) -> list[Record | None]:
        """The record of each run; None where there is none yet."""
        return [
            store.find(job.sweep, job.protocol.name, job.cell.slug, seed, job.run_digest(seed))
            for job, seed in self.runs
        ]


@dataclass(frozen=True)
class GroupLimit:
    """How many runs train together at most; the numbers are the same."""

    memory: int = GROUP_BYTES
    replicas: int = MAX_REPLICAS

    def of(self, job: Job) -> int:
        """As many as fit the memory; one in any case."""
        return max(1, min(self.replicas, self.memory // max(1, train_bytes(job))))


@dataclass(frozen=True)
class CellPlan:
    """A cell of a sweep: its job, the seeds that have a record, those that diverged, those that would run."""

    job: Job
    done: tuple[int, ...]
    diverged: tuple[int, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """All cells of a sweep, and the groups that would run."""

    cells: tuple[CellPlan, ...]
    groups: tuple[Group, ...]
    limit: GroupLimit = field(default_factory=GroupLimit)

    @property
    def done(self) -> set[tuple[Cell, int]]:
        """Cell and seed of each run that has a record."""
        return {(each.job.cell, seed) for each in self.cells for seed in each.done}

    @property
    def everything(self) -> list[Group]:
        """The groups of the sweep as if it started now, without any record."""
        return [group for alike in _alike(self.cells) for group in _whole(alike, self.limit)]


def plan(spec: SweepSpec, store: Store, limit: GroupLimit | None = None, only: Sequence[str] = ()) -> Plan:
    """What of a sweep is there, and what would run in groups of at most `limit`: of all cells, or those `only` names.

    Raises:
        UserError: a pattern is the name of no cell.
    """
    spec = replace(spec, cells=_named(spec.cells, only)) if only else spec
    limit, cells = limit or GroupLimit(), cell_plans(spec, store)
    return Plan(tuple(cells), tuple(_groups(cells, store, limit)), limit)


def _named(cells: Sequence[Cell], patterns: Sequence[str]) -> tuple[Cell, ...]:
    for pattern in patterns:
        if not any(fnmatchcase(cell.slug, pattern) for cell in cells):
            hint = nearest(pattern, [cell.slug for cell in cells])
            raise UserError(f"--only {pattern} names no cell{hint}; the cells are {', '.join(c.slug for c in cells)}")
    return tuple(cell for cell in cells if any(fnmatchcase(cell.slug, pattern) for pattern in patterns))


def cell_plans(spec: SweepSpec, store: Store) -> list[CellPlan]:
    """What of a sweep is there, cell by cell."""
    cells = []
    for cell in spec.cells:
        job = Job(spec.name, cell, spec.protocol, spec.resolved_hyperparameters(cell), spec.source(cell))
        wanted = range(spec.seeds if get_method(cell.method).trains else 1)
        records = {
            seed: store.find(spec.name, spec.protocol.name, cell.slug, seed, job.run_digest(seed)) for seed in wanted
        }
        cells.append(
            CellPlan(
                job=job,
                done=tuple(seed for seed, record in records.items() if record),
                diverged=tuple(seed for seed, record in records.items() if record and record.status == "diverged"),
                missing=tuple(seed for seed, record in records.items() if record is None),
            )
        )
    return cells


def _groups(cells: list[CellPlan], store: Store, limit: GroupLimit) -> Iterator[Group]:
    """The missing runs, those of one architecture together, as many as `limit` allows.

    A group that a kill stopped while it published has a checkpoint and some of its records: it goes on as it was.
    """
    for alike in _alike(cells):
        missing = {(each.job.cell, seed) for each in alike for seed in each.missing}
        if not missing:
            continue
        left = []
        for group in _whole(alike, limit):
            lacking = [(job, seed) for job, seed in group.runs if (job.cell, seed) in missing]
            if lacking and group.begun(store):
                yield group
            else:
                left += lacking
        yield from _of_size(limit.of(alike[0].job), left)


def _alike(cells: Sequence[CellPlan]) -> Iterable[list[CellPlan]]:
    """Cells whose runs may train together, as they are of one architecture."""
    by_architecture: dict[str, list[CellPlan]] = {}
    for each in cells:
        key = digest([each.job.architecture.cell.slug, each.job.hyperparameters])
        by_architecture.setdefault(key, []).append(each)
    return by_architecture.values()


def _whole(alike: list[CellPlan], limit: GroupLimit) -> Iterator[Group]:
    """All runs of such cells in groups, whether they have a record or not."""
    runs = [(each.job, seed) for each in alike for seed in sorted((*each.done, *each.missing))]
    return _of_size(limit.of(alike[0].job), runs)


def _of_size(size: int, runs: list[tuple[Job, int]]) -> Iterator[Group]:
    for start in range(0, len(runs), size):
        yield Group(tuple(runs[start : start + size]))


_counts: dict[str, int] = {}


def train_bytes(job: Job) -> int:
    """Memory of one seed of a job in training: parameters, gradients, Adam's moments, and what a step keeps for its
    backward pass. That is weighed on forward passes of a few images: it grows with images, and with those that have a
    Jacobian. `price` would load torch's compiler, and this comes before the first step.
    """
    key = digest([job.cell.as_record(), job.hyperparameters, job.protocol.content()])
    if key not in _counts:
        method = get_method(job.cell.method)
        model = method.build(job.problem(1))
        parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
        _counts[key] = 4 * parameters + _kept_bytes(model, job) if method.trains else parameters
    return _counts[key]


def _kept_bytes(model: Model, job: Job) -> int:
    latents = job.cell.latents
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.1, 0.1)  # none is zero, so that C = J J^T needs no jitter
    base, more_images, more_jacobians = (
        _weigh(model, job, images, rows) for images, rows in ((2, latents), (4, latents), (4, 2 * latents))
    )
    images = _micro_batch(model, job)
    jacobians = max(1, round(job.protocol.log_det_rows * images / latents)) if more_jacobians > more_images else 1
    return round(base + (images - 2) / 2 * (more_images - base) + (jacobians - 1) * (more_jacobians - more_images))


def _weigh(model: Model, job: Job, images: int, log_det_rows: int) -> int:
    """Bytes that a step on so many images keeps for its backward pass, parameters left out."""
    x, noise = torch.zeros(1, images, job.data_dim), torch.zeros(1, images, model.training_noise_dim)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}  # held until they are counted, so that no place is given away twice

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.bound_terms(x, noise, log_det_rows)
    return sum(each.untyped_storage().nbytes() for place, each in kept.items() if place not in parameters)


def _micro_batch(model: Model, job: Job) -> int:
    """How many images of a batch a step takes at a time (`training.engine`)."""
    return min(job.protocol.batch_size, max(1, MAX_ROWS // model.training_jacobian_rows))


@dataclass(frozen=True)
class Price:
    """What one seed of a job costs, counted on tensors without data: nothing is computed."""

    parameters: int
    train_flops: int
    evaluation_flops: int
    nll_flops: int
    """The part of the evaluation's on images that have K importance samples each."""

    @property
    def flops(self) -> int:
        """Of training and evaluation."""
        return self.train_flops + self.evaluation_flops

    @property
    def evaluation_share(self) -> float:
        """Of the FLOPs; 0 where there are none."""
        return self.evaluation_flops / (self.flops or 1)


_prices: dict[str, Price] = {}


def price(job: Job) -> Price:
    """Parameters and FLOPs (torch's counter: matrix products) of one seed of a job; counted once a process."""
    key = digest([job.cell.as_record(), job.hyperparameters, job.protocol.content()])
    if key not in _prices:
        _prices[key] = _count(job)
    return _prices[key]


def _count(job: Job) -> Price:
    protocol = job.protocol
    method = get_method(job.cell.method)
    images = min(protocol.train_images or TRAINING_IMAGES, TRAINING_IMAGES)
    with torch.device("meta"):
        model = method.build(job.problem(1))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        step = _step_flops(model, job) if method.trains else 0
        nll, elbo = _evaluation_flops(model, job)
    return Price(
        parameters=parameters,
        train_flops=round(step / protocol.batch_size * images * protocol.epochs),
        evaluation_flops=nll + elbo,
        nll_flops=nll,
    )


def _step_flops(model: Model, job: Job) -> int:
    batch = _micro_batch(model, job)
    x = torch.empty(1, batch, job.data_dim, device="meta")
    noise = torch.empty(1, batch, model.training_noise_dim, device="meta")
    with FlopCounterMode(display=False) as counter:
        terms = model.bound_terms(x, noise, round(job.protocol.log_det_rows * batch))
        (terms.reconstruction + terms.divergence).sum().backward()
    return round(counter.get_total_flops() * job.protocol.batch_size / batch)


def group_work(group: Group) -> float:
    """FLOPs of a group: what a share of a sweep and the progress display weigh it by."""
    return float(price(group.job).flops * len(group.runs)) or 1.0


@torch.no_grad()
def _evaluation_flops(model: Model, job: Job) -> list[int]:
    """Of the images with K samples each, and of the others."""
    protocol, parts = job.protocol, []
    nll_images = min(protocol.nll_images, protocol.elbo_images)
    exact = model.noise_dim == 0
    for images, samples in (
        (nll_images, protocol.importance_samples),
        (protocol.elbo_images - nll_images, protocol.elbo_samples),
    ):
        samples = 1 if exact else samples
        chunk, block = images_in_chunk(model, 1, samples), min(samples, SAMPLE_BLOCK)
        with FlopCounterMode(display=False) as condition:
            sampler = model.condition(torch.empty(1, chunk, job.data_dim, device="meta"), samples)
        with FlopCounterMode(display=False) as sample:
            sampler(torch.empty(1, chunk, block, model.noise_dim, device="meta"))
        flops = condition.get_total_flops() + sample.get_total_flops() * samples / block
        parts.append(round(images / chunk * flops))
    return parts


@dataclass(frozen=True)
class Calibration:
    """Seconds on a device, of a group or of one seed of it: measured on this one, or foretold for another."""

    epoch_seconds: float
    nll_seconds: float
    """Of the images that have K importance samples each."""
    elbo_seconds: float
    """Of the other test images."""
    samples_seconds: float = 0.0
    """Of the evidence of samples, where it was measured."""

    @property
    def evaluation_seconds(self) -> float:
        """Of the whole test."""
        return self.nll_seconds + self.elbo_seconds

    def per_seed(self, group: Group) -> Calibration:
        """The share of one run of the group."""
        runs = len(group.runs)
        return Calibration(*(seconds / runs for seconds in astuple(self)))


STEADY_SECONDS = 1.0
"""A first call this long is taken as it is: warming up is a small part of it."""


def foretell(group: Group, flops_per_second: float) -> Calibration:
    """The seconds of a group on a device that achieves that many FLOP/s."""
    cost, runs = price(group.job), len(group.runs)
    epochs = group.job.training_settings().epochs or 1
    nll = cost.nll_flops * runs / flops_per_second
    elbo = (cost.evaluation_flops - cost.nll_flops) * runs / flops_per_second
    return Calibration(cost.train_flops * runs / epochs / flops_per_second, nll, elbo)


def calibrate(group: Group, prepare: Callable[[Group], Any], steps: int = 3) -> Calibration:
    """Time a few real steps, a validation pass, a chunk of each kind of evaluation and the evidence of a group.

    `prepare` builds the group's workbench (see `runner.Workbench`); nothing is stored.
    """
    bench = prepare(group)
    trainer, evaluator, device = bench.trainer, bench.evaluator(), bench.data.device
    epoch = 0.0
    if trainer.steps:
        for _ in range(trainer.unsteady_steps):
            trainer.train_step()
        epoch = _steady_seconds(trainer.train_step, steps, device) * trainer.steps_per_epoch
        epoch += _steady_seconds(trainer.validate, 1, device)
    seconds = {True: 0.0, False: 0.0}  # whether a chunk is of the NLL's images
    nll_images = set(evaluator.nll_images)
    for is_nll in seconds:
        indices = [i for i, (images, _) in enumerate(evaluator.chunks) if (images[0] in nll_images) == is_nll]
        if indices:

            def chunk(first: int = indices[0]) -> None:
                evaluator.done = first
                evaluator.run_chunk()

            seconds[is_nll] = _steady_seconds(chunk, 1, device) * len(indices)
    references = bench.references()  # the classifier is trained here, if it never was on this machine
    samples = _seconds(lambda: bench.evidence([""] * len(group.runs), references), device)
    return Calibration(epoch, nll_seconds=seconds[True], elbo_seconds=seconds[False], samples_seconds=samples)


def _steady_seconds(work: Callable[[], Any], repetitions: int, device: torch.device) -> float:
    """Median seconds of a call once it is warm."""
    first = _seconds(work, device)
    return first if first > STEADY_SECONDS else statistics.median(_seconds(work, device) for _ in range(repetitions))


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started
