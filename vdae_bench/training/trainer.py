"""The trainer, which trains the R replicas of one group together, one pure step after the other.

A step is a function of (parameters, optimiser state, batch, noise, step number) and nothing else. Batch order, data
noise and posterior noise come from (seed, stream, step), so a run that stops anywhere continues with the same bits.
All that changes from step to step is written into tensors that stay, and the rest of a step waits for nothing: so a GPU
can replay it from a recording (`replay.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.noise import NoiseSource, initial_generators
from vdae_bench.data.views import PixelStatistics, ViewedImages, evenly_spaced
from vdae_bench.models.likelihoods import SCALAR_FLOOR
from vdae_bench.models.model import BoundTerms, Model
from vdae_bench.models.precision import Precision, arithmetic
from vdae_bench.system.devices import wait
from vdae_bench.system.words import counted
from vdae_bench.training.adam import AdamSettings, ReplicaAdam
from vdae_bench.training.overfitting import rise_since_lowest
from vdae_bench.training.replay import WARM_UP, Replay
from vdae_bench.training.schedules import kl_weight

MICRO_BATCH_ROWS = 16384
"""Rows of a replica that a step or a validation pass works on at a time, whatever trains beside it: the memory bound.

What a step keeps for its backward pass at this many rows, counted at m = 128 with H = 256: 0.9 GiB for a VAE, 1.7 GiB
for L-VDAE with `subset`, 0.3 GiB with `exact`; with H = 1024 and B = 3, 4.3 GiB for a VAE.
"""
VALIDATION_LOG_DET_ROWS = 6.0
"""Jacobian rows for each validation image but after the last epoch, where L-VDAE's C is taken on a part of the images.

Six times training's, still below 5% of the training cost at `paper`.
"""


@dataclass(frozen=True)
class TrainingSettings:
    """The protocol's part on training."""

    epochs: int
    batch_size: int
    scalar_rate: float
    initialisation: str
    log_det_rows: float
    validation_images: int
    precision: Precision = "float32"


class ValidationPoint(NamedTuple):
    """One point of the validation curve: -ELBO at beta = 1, in nats an image, and its standard error.

    The error is of the images whose Jacobian was left out, against all validation images: 0 where none was.
    """

    neg_elbo: Float[Tensor, " R"]
    standard_error: Float[Tensor, " R"]


class Lowest:
    """The lowest validation -ELBO of each replica so far, the (first) epoch that had it, and the parameters then."""

    def __init__(self, parameters: Float[Tensor, "R P"]) -> None:
        self.neg_elbo = torch.full((len(parameters),), torch.inf, dtype=torch.float64, device=parameters.device)
        self.epoch = torch.zeros_like(self.neg_elbo, dtype=torch.int64)
        self.parameters = parameters.clone()

    def take(self, epoch: int, neg_elbo: Float[Tensor, " R"], parameters: Float[Tensor, "R P"]) -> None:
        """Keep the parameters of the replicas whose point is the lowest."""
        lower = neg_elbo < self.neg_elbo
        self.neg_elbo = torch.where(lower, neg_elbo, self.neg_elbo)
        self.epoch.masked_fill_(lower, epoch)
        self.parameters[lower] = parameters[lower]


class Interrupted(Exception):
    """Training stopped on request, after a checkpoint."""


class Trainer:
    """The training of one replica group: its state, and the loop that takes it to the end.

    Args:
        model: not yet initialised.
        data: the images, in the model's view.
        seeds: one a replica; each has its own initial parameters, batches and noise.
        optimisers: the optimiser's hyper-parameters of each replica.
        settings: the protocol's part on training.
        dtype: of parameters and data.
    """

    def __init__(
        self,
        model: Model,
        data: ViewedImages,
        seeds: Sequence[int],
        optimisers: Sequence[AdamSettings],
        settings: TrainingSettings,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.data, self.settings = model, data, settings
        self._kl_weight = torch.as_tensor(model.kl_weight, dtype=dtype, device=data.device)
        self.noise = NoiseSource(seeds, data.device)
        model.to(dtype=dtype)
        model.initialise(initial_generators(seeds))
        if settings.initialisation == "data":
            # On the CPU, as all of the start is: so every device starts alike, and no method mixes two of them.
            model.initialise_from_data(PixelStatistics(*(each.cpu() for each in data.statistics(model.space))))
        model.to(data.device)
        self.optimiser = ReplicaAdam(model, optimisers, settings.scalar_rate)
        replicas, size, device = len(seeds), settings.batch_size, data.device
        self._data_noise = torch.empty(replicas, size, data.data_dim, dtype=dtype, device=device)
        self._posterior_noise = torch.empty(replicas, size, model.training_noise_dim, dtype=dtype, device=device)
        self._indices = torch.zeros(replicas, size, dtype=torch.int64, device=device)
        self._beta = torch.zeros_like(self._kl_weight)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._replay = Replay(lambda: self._train_on(size), device)
        self._order = torch.empty(0)
        self._order_epoch = -1
        held_out = data.held_out("validation", dtype)
        images = evenly_spaced(len(held_out), settings.validation_images)
        self._validation = held_out[images].expand(replicas, -1, -1)

        self.step = 0
        self.seconds = {"train": 0.0, "validation": 0.0}
        self.lowest = Lowest(self.optimiser.parameters)
        self._last: Tensor | None = None
        """The parameters after the last step, while the model has those of its lowest validation."""
        self.curve: dict[str, list[list[float]]] = {"train": [], "validation": [], "validation_error": []}
        self._epoch_sum = torch.zeros(replicas, dtype=torch.float64, device=device)
        self._diverged_at = torch.full((replicas,), -1, device=device)
        self._held = {name: parameter.detach() for name, parameter in model.floored_parameters().items()}
        self._floored = {name: torch.zeros(replicas, dtype=torch.bool, device=device) for name in self._held}
        jittered = model.jittered
        self._jittered = torch.zeros_like(self._diverged_at) if jittered is None else jittered

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch, the short last one included."""
        return -(-len(self.data.train) // self.settings.batch_size)

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return self.settings.epochs * self.steps_per_epoch

    @property
    def unsteady_steps(self) -> int:
        """How many of the first steps take longer than the others on this device."""
        return WARM_UP + 1 if self.data.device.type == "cuda" else 0

    def _prepare(self) -> int:
        """Write the step's inputs, which follow from its number, where the step reads them; returns how many images."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._order_epoch != epoch:
            self._order = self.noise.permutations("shuffle", epoch, len(self.data.train))
            self._order_epoch = epoch
        size = self.settings.batch_size
        indices = self._order[:, position * size : (position + 1) * size]
        images = indices.shape[1]
        self._indices[:, :images] = indices
        self.noise.uniform_("data", self.step, self._data_noise[:, :images])
        self.noise.normal_("posterior", self.step, self._posterior_noise[:, :images])
        torch.mul(self._kl_weight, kl_weight(self.step, self.steps), out=self._beta)
        self._step.fill_(self.step)
        self.optimiser.set_rates(self.step, self.steps)
        return images

    def bound(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"], log_det_rows: float) -> BoundTerms:
        """Return the two parts of the model's -ELBO, with `log_det_rows` Jacobian rows an image."""
        with arithmetic(self.settings.precision, x.device):
            return self.model.bound_terms(x, noise, round(log_det_rows * x.shape[1]))

    def train_step(self) -> None:
        """Train on one batch: gradients (in micro-batches where the Jacobians would not fit), Adam, floors."""
        images = self._prepare()
        if images == self.settings.batch_size:
            self._replay()
        else:
            self._train_on(images)
        self.step += 1

    def _train_on(self, images: int) -> None:
        """Take the step on the first so many images of the batch that `_prepare` wrote."""
        x = self.data.training_batch(self._indices[:, :images], self._data_noise[:, :images])
        noise = self._posterior_noise[:, :images]
        part = max(1, MICRO_BATCH_ROWS // self.model.training_jacobian_rows)
        neg_elbo = torch.zeros_like(self._epoch_sum)
        # The bound is on the rows of one replica, not of the group: where a batch is cut decides which images the
        # log-determinant is taken on, and so a replica's numbers would change with what trains beside it.
        for index, (x_part, noise_part) in enumerate(zip(x.split(part, 1), noise.split(part, 1), strict=True)):
            terms = self.bound(x_part, noise_part, self.settings.log_det_rows)
            weight = x_part.shape[1] / images
            loss = weight * (terms.reconstruction + self._beta * terms.divergence)
            self.optimiser.differentiate(loss, accumulate=index > 0)
            neg_elbo += weight * terms.neg_elbo.detach()
        self.optimiser.update()
        for name, value in self._held.items():
            self._floored[name] |= (value <= SCALAR_FLOOR).flatten(1).any(1)
            value.clamp_(min=SCALAR_FLOOR)
        self._epoch_sum += neg_elbo * images
        new = ~torch.isfinite(neg_elbo) & (self._diverged_at < 0)
        self._diverged_at.copy_(torch.where(new, self._step, self._diverged_at))

    @torch.no_grad()
    def validate(self) -> ValidationPoint:
        """Return -ELBO on the validation images as the model is now: one sample an image, the same noise at each epoch.

        Where the Jacobian of an image costs m rows, it is taken on a part of the images, and after the last epoch on
        all of them.
        """
        replicas, images = self._validation.shape[:2]
        noise = self._validation.new_empty(replicas, images, self.model.training_noise_dim)
        self.noise.normal_("validation", 0, noise)
        x, epoch, rows = self._validation, self.step // self.steps_per_epoch, self.model.jacobian_rows(1)
        if epoch == self.settings.epochs:
            log_det_rows, part = float(rows), MICRO_BATCH_ROWS // rows
        else:
            log_det_rows, part = VALIDATION_LOG_DET_ROWS, MICRO_BATCH_ROWS // self.model.training_jacobian_rows
        if log_det_rows < rows:
            # The part moves on from epoch to epoch and comes round: one fixed part is one draw, and put the whole curve
            # off by up to a few tenths of a nat.
            begin = -epoch * round(log_det_rows * images / rows)
            x, noise = x.roll(begin, 1), noise.roll(begin, 1)
        total, variance = torch.zeros_like(self._epoch_sum), torch.zeros_like(self._epoch_sum)
        part = max(1, part)
        for x_part, noise_part in zip(x.split(part, 1), noise.split(part, 1), strict=True):
            terms = self.bound(x_part, noise_part, log_det_rows)
            total += terms.neg_elbo * x_part.shape[1]
            variance += terms.variance * x_part.shape[1] ** 2
        return ValidationPoint(total / images, variance.sqrt() / images)

    def _end_epoch(self) -> None:
        started = time.perf_counter()
        self.curve["train"].append((self._epoch_sum / len(self.data.train)).tolist())
        point = self.validate()
        self.curve["validation"].append(point.neg_elbo.tolist())
        self.curve["validation_error"].append(point.standard_error.tolist())
        self.lowest.take(self.step // self.steps_per_epoch, point.neg_elbo, self.optimiser.parameters)
        self._epoch_sum.zero_()
        self.seconds["validation"] += time.perf_counter() - started

    def run(
        self,
        save: Callable[[dict[str, Any]], None],
        due: Callable[[], bool],
        stop: Callable[[], bool],
        progress: Callable[[Trainer], None],
    ) -> None:
        """Train to the end; `save` the state when `due` or when asked to `stop`, which raises `Interrupted`.

        At least one step is taken: a time limit shorter than the start of a process would else never come further.
        """
        started = time.perf_counter()

        def clock() -> None:
            nonlocal started
            wait(self.data.device)
            now = time.perf_counter()
            self.seconds["train"] += now - started
            started = now

        while self.step < self.steps:
            self.train_step()
            if self.step % self.steps_per_epoch == 0:
                clock()
                self._end_epoch()
                started = time.perf_counter()
            progress(self)
            stopped = stop()
            if stopped or due():
                clock()
                save(self.state())
            if stopped:
                raise Interrupted
        clock()

    def flags(self) -> list[list[str]]:
        """Remarks on each replica for the readers of its record: floors that were touched, jitter that was needed."""
        flags = []
        for replica, jittered in enumerate(self._jittered.tolist()):
            floored = [name for name, hit in self._floored.items() if hit[replica]]
            flags.append([f"{name} reached its floor of {SCALAR_FLOOR}" for name in floored])
            if jittered:
                flags[-1].append(
                    f"C = J J^T of {counted(jittered, 'image')} in training was not positive definite: it got jitter"
                )
        return flags

    def overfitted(self) -> list[bool]:
        """Which replicas overfit by now (`rise_since_lowest`); one that has diverged has no best epoch."""
        replicas = range(len(self.lowest.epoch))
        curve, errors = self.curve["validation"], self.curve["validation_error"]
        points = (([row[each] for row in curve], [row[each] for row in errors]) for each in replicas)
        rises = [rise_since_lowest(*each) is not None for each in points]
        return [rise and lost is None for rise, lost in zip(rises, self.diverged_at(), strict=True)]

    @contextmanager
    def at_its_lowest(self) -> Iterator[None]:
        """Give the model the parameters of its lowest validation -ELBO while the block runs; `state` keeps the last."""
        last = self._last = self.optimiser.parameters.clone()
        self.optimiser.parameters.copy_(self.lowest.parameters)
        try:
            yield
        finally:
            self.optimiser.parameters.copy_(last)
            self._last = None

    def diverged_at(self) -> list[int | None]:
        """Return each replica's first step with a loss that is not finite; None where there is none."""
        return [step if step >= 0 else None for step in self._diverged_at.tolist()]

    def state(self) -> dict[str, Any]:
        """Return all that a continuation needs; noise and order follow from the step."""
        optimiser = self.optimiser.state()
        if self._last is not None:
            optimiser["parameters"] = self._last
        return {
            "step": self.step,
            "optimiser": optimiser,
            "curve": self.curve,
            "seconds": self.seconds,
            "lowest": vars(self.lowest),
            "epoch_sum": self._epoch_sum,
            "diverged_at": self._diverged_at,
            "floored": self._floored,
            "jittered": self._jittered,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, to continue from there."""
        self.step = state["step"]
        self.optimiser.load_state(state["optimiser"])
        self.curve, self.seconds = state["curve"], state["seconds"]
        for name, value in state["lowest"].items():
            getattr(self.lowest, name).copy_(value)
        self._epoch_sum.copy_(state["epoch_sum"])
        self._diverged_at.copy_(state["diverged_at"])
        self._jittered.copy_(state["jittered"])
        for name, flags in state["floored"].items():
            self._floored[name].copy_(flags)


def keep_replicas(state: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The part of `Trainer.state()` that belongs to the replicas at the positions `kept`, in that order.

    A trainer built with those replicas' seeds and settings continues from it as the whole group would have.
    """
    rows = list(kept)
    return {
        "step": state["step"],
        "optimiser": {name: value[rows] for name, value in state["optimiser"].items()},
        "curve": {
            split: [[values[row] for row in rows] for values in epochs] for split, epochs in state["curve"].items()
        },
        "seconds": dict(state["seconds"]),
        "lowest": {name: value[rows] for name, value in state["lowest"].items()},
        "epoch_sum": state["epoch_sum"][rows],
        "diverged_at": state["diverged_at"][rows],
        "jittered": state["jittered"][rows],
        "floored": {name: flags[rows] for name, flags in state["floored"].items()},
    }
