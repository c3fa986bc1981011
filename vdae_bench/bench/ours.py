"""Our side: models, trainers and evaluators as a sweep builds them, protocol `paper` unless a case says otherwise.

A step is measured in three lengths: `gradients` (forward and backward on a batch at hand, for peers that do no more),
`update` (that and Adam) and `whole_step` (`Trainer.train_step`: fresh noise and data, gradients, Adam, floors).
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.bench.data import BenchData
from vdae_bench.bench.timing import LEAST_SECONDS, Contestant, Work, count_flops, peak_memory
from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.views import View, ViewedImages
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.precision import Precision
from vdae_bench.models.registry import get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.job import Job, RunGroup
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.check import apply_overrides
from vdae_bench.spec.hyperparameters import hyperparameters_of
from vdae_bench.spec.protocol import Protocol, load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.system import devices
from vdae_bench.training.trainer import Trainer


@functools.cache
def _paper() -> Protocol:
    return load_protocol("paper")


@dataclass(frozen=True)
class Sizes:
    """Sizes that all cases share: Appendix D's networks, the numbers of images and samples."""

    batch: int = 1000
    hidden: int = 256
    blocks: int = 1
    coupling_hidden: int = 1024
    couplings: int = 4
    coupling_layers: int = 5
    train_images: int = 50_000
    samples: int = 5000
    nll_images: int = 16
    peer_nll_images: int = 4


@dataclass(frozen=True)
class Setting:
    """Where and on what the bench runs."""

    context: RunContext
    data: BenchData
    sizes: Sizes = Sizes()
    least_seconds: float = LEAST_SECONDS

    @property
    def data_dim(self) -> int:
        """Number of pixels of an image (n in the paper)."""
        rows, columns = self.data.images.shape
        return rows * columns

    def batch(self, view: View) -> Float[Tensor, "N n"]:
        """The first training images, noise drawn once: the batch of all steps that are given one."""
        viewed = ViewedImages(self.data.images, view, self.context.device)
        size, device = self.sizes.batch, self.context.device
        uniform = torch.empty(1, size, self.data_dim, device=device)
        NoiseSource((0,), device).uniform_("data", 0, uniform)
        return viewed.training_batch(torch.arange(size, device=device)[None], uniform)[0]

    def noise(self, stream: str, dims: int) -> Float[Tensor, "N d"]:
        """Standard normal noise for that batch."""
        device = self.context.device
        out = torch.empty(1, self.sizes.batch, dims, device=device)
        return NoiseSource((0,), device).normal_(stream, 0, out)[0]

    def clock(self) -> float:
        """Seconds, read when the device has done all that it was given."""
        devices.wait(self.context.device)
        return time.perf_counter()


@dataclass(frozen=True)
class Timed:
    """A model of ours to time: a method on a view, by default the ResNets with the sizes of `Sizes`."""

    method: str
    latents: int
    view: View = "binary"
    precision: Precision = "float32"
    replicas: int = 1
    changes: tuple[tuple[str, Any], ...] = ()
    """Protocol fields and hyper-parameters that differ."""

    def job(self, setting: Setting) -> Job:
        """Job of the model: its cell under protocol `paper`."""
        sizes = setting.sizes
        fields: dict[str, Any] = {
            "precision": self.precision,
            "batch_size": sizes.batch,
            "train_images": sizes.train_images,
            "validation_images": 1,
            "importance_samples": sizes.samples,
            "nll_images": sizes.nll_images,
            "elbo_images": sizes.nll_images,
        }
        hyper = {
            "hidden_size": sizes.hidden,
            "residual_blocks": sizes.blocks,
            "coupling_hidden_size": sizes.coupling_hidden,
            "couplings": sizes.couplings,
            "coupling_layers": sizes.coupling_layers,
        }
        changes = dict(self.changes)
        own = defaults(hyperparameters_of(get_method(self.method)).values())
        hyper = {name: changes.pop(name, hyper.get(name, value)) for name, value in own.items()}
        protocol = apply_overrides(_paper(), {**fields, **changes})
        cell = Cell(f"{self.view}-{setting.data.name}", self.method, self.latents)
        return Job("bench", cell, protocol, hyper)

    def workbench(self, setting: Setting) -> Workbench:
        """Data, model and trainer, ready to step: what a sweep would run."""
        job = self.job(setting)
        return Workbench(RunGroup(tuple((job, seed) for seed in range(self.replicas))), setting.context)

    def parameters(self, setting: Setting) -> int:
        """How many parameters a replica has; nothing is drawn."""
        with torch.device("meta"):
            model = get_method(self.method).build(self.job(setting).problem(1))
        return sum(parameter.numel() for parameter in model.parameters())


def gradients(setting: Setting, subject: Timed, adam: bool = False) -> Contestant:
    """Forward and backward on the common batch, as `Trainer.train_step` does them; with `adam` the update too."""
    trainer = subject.workbench(setting).trainer
    x = setting.batch(subject.view)[None]
    noise = setting.noise("posterior", trainer.model.training_noise_dim)[None]

    def work() -> None:
        terms = trainer.bound(x, noise, trainer.settings.log_det_rows)
        trainer.optimiser.differentiate(terms.reconstruction + terms.divergence, accumulate=False)
        if adam:
            trainer.optimiser.step(1, trainer.steps)

    return Contestant(work, precision=subject.precision, flops=count_flops(work))


def whole_step(setting: Setting, subject: Timed, memory: bool = False) -> Contestant:
    """`Trainer.train_step`; with `memory`, what the trainer and two steps hold at their peak is measured first."""

    def two_steps() -> Work:
        trainer = subject.workbench(setting).trainer

        def work() -> None:
            trainer.train_step()
            trainer.train_step()

        return work

    held = None
    if memory:
        two_steps()()  # so that what is loaded on first use is not taken for a replica's
        held = peak_memory(two_steps, setting.context.device)
    trainer = subject.workbench(setting).trainer
    flops = _flops_of_a_step(trainer)
    return Contestant(trainer.train_step, precision=subject.precision, flops=flops, memory_bytes=held)


def _flops_of_a_step(trainer: Trainer) -> float:
    """FLOPs of a step; takes so many that those to come are as quick as the device is."""
    flops = count_flops(trainer.train_step)
    for _ in range(trainer.unsteady_steps):
        trainer.train_step()
    return flops


def epoch(setting: Setting, subject: Timed) -> Contestant:
    """All training images once, validation aside."""
    trainer = subject.workbench(setting).trainer
    steps = trainer.steps_per_epoch

    def work() -> None:
        for _ in range(steps):
            trainer.train_step()

    flops = _flops_of_a_step(trainer) * steps
    return Contestant(
        work, precision=subject.precision, flops=flops, warm_up=trainer.train_step, warm_up_share=1 / steps
    )


def nll(setting: Setting, subject: Timed) -> Contestant:
    """Importance-sampled NLL of a few test images, one chunk of the evaluator after the other."""
    evaluator = subject.workbench(setting).evaluator()

    def work() -> None:
        evaluator.done = 0
        evaluator.run(stop=lambda: False, after_chunk=lambda: None)

    return Contestant(work, len(evaluator.images), subject.precision, flops=count_flops(work))
