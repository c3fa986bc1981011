"""Adam (Kingma & Ba, 2014) with a learning rate, beta2, epsilon and schedule for each replica.

The parameters of all replicas move into one buffer of shape (R, P), gradients and moments into others, and torch's
fused kernel makes one pass over each replica's contiguous row. The modules' parameters and the gradients are views
into the buffers. torch's functional form is used: the class `torch.optim.Adam` loads torch's compiler, a second.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam

from vdae_bench.models.model import Model
from vdae_bench.spec.hyperparameters import Schedule
from vdae_bench.training.schedules import learning_rate

ALIGNMENT = 16  # floats: each parameter starts on a cache line


@dataclass(frozen=True)
class AdamSettings:
    """The optimiser's hyper-parameters for one replica; beta1 is 0.9 (Appendix D)."""

    learning_rate: float
    schedule: Schedule
    adam_beta2: float
    adam_eps: float


class ReplicaAdam:
    """Adam for R replicas, which owns the model's parameters as rows of a buffer (Kingma & Ba, 2014, arXiv:1412.6980).

    Args:
        model: its parameters become views into the buffer.
        settings: the hyper-parameters of each replica.
        scalar_rate: factor of the rate for scalars and NICE's s.
    """

    def __init__(self, model: Model, settings: Sequence[AdamSettings], scalar_rate: float) -> None:
        self.settings = tuple(settings)
        scalars, penalties = model.scalar_parameters(), model.l2_penalties()

        def kind(name: str) -> tuple[float, float]:
            """Return rate factor and L2 weight: the parameters that share them lie side by side."""
            return (scalar_rate if name in scalars else 1.0), penalties.get(name, 0.0)

        named = sorted(model.named_parameters(), key=lambda item: kind(item[0]))
        sizes = [-(-parameter[0].numel() // ALIGNMENT) * ALIGNMENT for _, parameter in named]
        starts = [0, *itertools.accumulate(sizes)]
        self.parameters = named[0][1].new_zeros(len(settings), starts[-1], requires_grad=False)
        self.gradients, self.mean, self.mean_square = (torch.zeros_like(self.parameters) for _ in range(3))
        self._model_parameters = [parameter for _, parameter in named]
        self._gradients: list[Tensor] = []  # views of `gradients`, in the order of the model's parameters
        self._parts: dict[tuple[float, float], slice] = {}
        for start, size, (name, parameter) in zip(starts[:-1], sizes, named, strict=True):
            place = slice(start, start + parameter[0].numel())
            view = self.parameters[:, place].unflatten(1, parameter.shape[1:])
            view.copy_(parameter.detach())
            parameter.data = view
            self._gradients.append(self.gradients[:, place].unflatten(1, parameter.shape[1:]))
            first = self._parts[kind(name)].start if kind(name) in self._parts else start
            self._parts[kind(name)] = slice(first, start + size)
        self.updates = self.parameters.new_zeros(len(settings), len(self._parts))
        self._rates = torch.zeros_like(self.updates)

    def differentiate(self, loss: Float[Tensor, " R"], *, accumulate: bool) -> None:
        """Take the gradients of the replicas' losses, in place of the last ones or added to them."""
        new = torch.autograd.grad(loss.sum(), self._model_parameters, materialize_grads=True)
        (torch._foreach_add_ if accumulate else torch._foreach_copy_)(self._gradients, new)

    def set_rates(self, step: int, steps: int) -> None:
        """Schedule the rates for that step."""
        for own, rates in zip(self.settings, self._rates, strict=True):
            for (factor, _), rate in zip(self._parts, rates, strict=True):
                rate.fill_(factor * learning_rate(step, steps, own.learning_rate, own.schedule))

    @torch.no_grad()
    def update(self) -> None:
        """Move the parameters at the rates that are set."""
        for replica, own in enumerate(self.settings):
            for kind, ((_, l2), part) in enumerate(self._parts.items()):
                adam(
                    [self.parameters[replica, part]],
                    [self.gradients[replica, part]],
                    [self.mean[replica, part]],
                    [self.mean_square[replica, part]],
                    [],
                    [self.updates[replica, kind]],
                    lr=self._rates[replica, kind],
                    beta1=0.9,
                    beta2=own.adam_beta2,
                    eps=own.adam_eps,
                    weight_decay=2 * l2,  # adds 2 l2 p to the gradient: that of l2 * sum p^2 in the loss
                    amsgrad=False,
                    maximize=False,
                    fused=True,
                )

    def step(self, step: int, steps: int) -> None:
        """One update at the rates of that step."""
        self.set_rates(step, steps)
        self.update()

    def state(self) -> dict[str, Tensor]:
        """Return parameters, moments and numbers of updates for a checkpoint, a row a replica."""
        return {name: getattr(self, name) for name in ("parameters", "mean", "mean_square", "updates")}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned, to continue from there."""
        for name, value in state.items():
            getattr(self, name).copy_(value)
