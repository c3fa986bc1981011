"""The cost of a run: memory, parameters and FLOPs counted without data, seconds from a slice of it on this device."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vdae_bench.data.registry import find_dataset
from vdae_bench.evaluation.likelihood import SAMPLE_BLOCK, images_in_chunk
from vdae_bench.models.model import Model
from vdae_bench.models.registry import get_method
from vdae_bench.running.job import GROUP_BYTES, MAX_REPLICAS, Job, RunGroup
from vdae_bench.spec.hyperparameters import OPTIMISER_NAMES
from vdae_bench.system.devices import wait
from vdae_bench.system.strict_json import digest
from vdae_bench.training.trainer import MICRO_BATCH_ROWS

Counted = TypeVar("Counted")

LARGE = 2**28
"""Bytes of parameters above which a model is weighed on tensors without data."""


@dataclass(frozen=True)
class GroupLimit:
    """How many runs train together at most; the numbers are the same."""

    memory: int = GROUP_BYTES
    replicas: int = MAX_REPLICAS

    def fitting(self, job: Job) -> int:
        """How many replicas train together: as many as fit in memory, at least one."""
        return max(1, min(self.replicas, self.memory // max(1, train_bytes(job))))


def _size_of(job: Job) -> str:
    """Digest of what decides a job's cost: not its rates, nor the options that replicas may differ in."""
    sizes = {name: value for name, value in job.hyperparameters.items() if name not in OPTIMISER_NAMES}
    # What can be edited while the process lives, a plug-in and a user's own images, has costs of its own.
    code, data = get_method(job.cell.method).code_with(dict(job.cell.options)), find_dataset(job.dataset)
    images = [*data.image_shape, *data.counts.values()]
    return digest([job.architecture.cell.as_record(), sizes, job.protocol.content(), code, images])


_counting = threading.RLock()
"""Held while a job is counted: torch's forward mode is one for the process, and searches count in threads."""
_counts: dict[str, int] = {}


def train_bytes(job: Job) -> int:
    """Bytes that one seed of a job takes in training.

    They are parameters (now, and at the lowest validation), gradients, Adam's moments, and what a step keeps for its
    backward pass. That is weighed on forward passes of a few images: it grows with images, and with those that have a
    Jacobian. Most models make these passes, as tensors without data would load torch's compiler for them, and this
    comes before the first step; a large model is never built.
    """
    return _counted(_counts, job, _bytes_of_one)


def _counted(known: dict[str, Counted], job: Job, count: Callable[[Job], Counted]) -> Counted:
    """Return the price known of jobs of a size, else what counting says: once a process, and one at a time."""
    key = _size_of(job)
    if key not in known:
        with _counting:
            if key not in known:
                known[key] = count(job)
    return known[key]


def _bytes_of_one(job: Job) -> int:
    method = get_method(job.cell.method)
    with torch.device("meta"):
        model = method.model(job.problem(1))
    parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
    if not method.trains:
        return parameters
    if parameters <= LARGE:
        model = method.model(job.problem(1))
    return 5 * parameters + _kept_bytes(model, job)


def _kept_bytes(model: Model, job: Job) -> int:
    rows_each = model.log_det_image_rows
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.1, 0.1)  # none is zero, so that C = J J^T needs no jitter
    base, more_images, more_jacobians = (
        _weigh(model, job, images, rows) for images, rows in ((2, rows_each), (4, rows_each), (4, 2 * rows_each))
    )
    images = _micro_batch(model, job)
    jacobians = max(1, round(job.protocol.log_det_rows * images / rows_each)) if more_jacobians > more_images else 1
    return round(base + (images - 2) / 2 * (more_images - base) + (jacobians - 1) * (more_jacobians - more_images))


def _weigh(model: Model, job: Job, images: int, log_det_rows: int) -> int:
    """Bytes that a step on so many images keeps for its backward pass, parameters left out."""
    device = next(model.parameters()).device
    x, noise = (torch.zeros(1, images, dim, device=device) for dim in (job.data_dim, model.training_noise_dim))
    parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}  # held until they are counted, so that no place is given away twice

    def keep(tensor: Tensor) -> Tensor:
        # Detached: a tensor that its own graph keeps through Python is a circle, which nothing ever frees.
        if not tensor._is_zerotensor():  # the tangent of what has none, in forward mode: no storage
            kept[tensor.untyped_storage()._cdata] = tensor.detach()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.bound_terms(x, noise, log_det_rows)
    return sum(each.untyped_storage().nbytes() for place, each in kept.items() if place not in parameters)


def _micro_batch(model: Model, job: Job) -> int:
    """How many images of a batch a step takes at a time (`training.trainer`)."""
    return min(job.protocol.batch_size, max(1, MICRO_BATCH_ROWS // model.training_jacobian_rows))


@dataclass(frozen=True)
class Price:
    """Parameters and FLOPs of one seed of a job, counted on tensors without data: nothing is computed."""

    parameters: int
    train_flops: int
    evaluation_flops: int
    nll_flops: int
    """The part of the evaluation's on images that have K importance samples each."""

    @property
    def flops(self) -> int:
        """FLOPs of training plus evaluation, for one seed."""
        return self.train_flops + self.evaluation_flops

    @property
    def evaluation_share(self) -> float:
        """The evaluation's share of the FLOPs; 0 where there are none."""
        return self.evaluation_flops / (self.flops or 1)


_prices: dict[str, Price] = {}


def price(job: Job) -> Price:
    """Parameters and FLOPs (torch's counter: matrix products) of one seed of a job; counted once a process."""
    return _counted(_prices, job, _count)


def known_prices() -> dict[str, Price]:
    """The prices that this process has counted, for another that would load torch's compiler to count them."""
    return dict(_prices)


def learn_prices(prices: Mapping[str, Price]) -> None:
    """Take over the prices that another process has counted."""
    _prices.update(prices)


def _count(job: Job) -> Price:
    method = get_method(job.cell.method)
    with torch.device("meta"):
        model = method.model(job.problem(1))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        step = _step_flops(model, job) if method.trains else 0
        nll, elbo = _evaluation_flops(model, job)
    return Price(
        parameters=parameters,
        train_flops=round(step / job.protocol.batch_size * job.train_images * job.protocol.epochs),
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
    flops: int = counter.get_total_flops()
    return round(flops * job.protocol.batch_size / batch)


def group_work(group: RunGroup) -> float:
    """FLOPs of a group: what a share of a sweep and the progress display weigh it by."""
    return float(price(group.job).flops * len(group.runs)) or 1.0


@torch.no_grad()
def _evaluation_flops(model: Model, job: Job) -> list[int]:
    """FLOPs of the images with K samples each, and of the others."""
    protocol, parts = job.protocol.done_on(find_dataset(job.dataset)), []
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
    """Seconds on a device, of a group or of one seed of it: measured on this one, or predicted for another."""

    epoch_seconds: float
    nll_seconds: float
    """Seconds of evaluating the images that have K importance samples each."""
    elbo_seconds: float
    """Seconds of evaluating the other test images."""
    samples_seconds: float = 0.0
    """Seconds of gathering the evidence of samples, where that was measured."""

    @property
    def evaluation_seconds(self) -> float:
        """Seconds of evaluating all test images."""
        return self.nll_seconds + self.elbo_seconds

    def per_seed(self, group: RunGroup) -> Calibration:
        """One run's share of a group's seconds."""
        runs = len(group.runs)
        return Calibration(*(seconds / runs for seconds in astuple(self)))


STEADY_SECONDS = 1.0
"""A first call this long is taken as it is: warming up is a small part of it."""


def predict_seconds(group: RunGroup, flops_per_second: float) -> Calibration:
    """The seconds of a group on a device that achieves that many FLOP/s."""
    cost, runs = price(group.job), len(group.runs)
    epochs = group.job.training_settings().epochs or 1
    nll = cost.nll_flops * runs / flops_per_second
    elbo = (cost.evaluation_flops - cost.nll_flops) * runs / flops_per_second
    return Calibration(cost.train_flops * runs / epochs / flops_per_second, nll, elbo)


def calibrate(group: RunGroup, prepare: Callable[[RunGroup], Any], steps: int = 3) -> Calibration:
    """Time a few real steps, a validation pass, a chunk of each kind of evaluation and the evidence of a group.

    `prepare` builds the group's workbench (see `workbench.Workbench`); nothing is stored.
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
