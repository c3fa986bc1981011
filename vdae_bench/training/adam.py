"""Adam (Kingma & Ba, 2014) with a learning rate, beta2, epsilon and schedule for each replica.

torch's Adam takes one rate a parameter group, so the parameters of all replicas move into one buffer of shape (R, P)
and each replica's row becomes a group: torch's fused kernel then makes one pass over a contiguous row. The modules'
parameters and gradients are views into the buffers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.models.model import Model
from vdae_bench.training.schedules import learning_rate

ALIGNMENT = 16  # floats: each parameter starts on a cache line


@dataclass(frozen=True)
class AdamSettings:
    """The optimiser's hyper-parameters of one replica; beta1 is 0.9 (Appendix D)."""

    learning_rate: float
    schedule: Literal["linear", "none"]
    adam_beta2: float
    adam_eps: float


class ReplicaAdam:
    """Owns the model's parameters as rows of a buffer; scalars and NICE's s train at `scalar_rate` times the rate."""

    def __init__(self, model: Model, settings: Sequence[AdamSettings], scalar_rate: float) -> None:
        self.settings = tuple(settings)
        scalars, penalties = model.scalar_parameters(), model.l2_penalties()

        def kind(name: str) -> tuple[float, float]:
            """Rate factor and L2 weight: parameters that share them lie side by side and make one group a replica."""
            return (scalar_rate if name in scalars else 1.0), penalties.get(name, 0.0)

        named = sorted(model.named_parameters(), key=lambda item: kind(item[0]))
        sizes = [-(-parameter[0].numel() // ALIGNMENT) * ALIGNMENT for _, parameter in named]
        starts = [0, *itertools.accumulate(sizes)]
        self.parameters = named[0][1].new_zeros(len(settings), starts[-1])
        gradients = torch.zeros_like(self.parameters)
        self._model_parameters = [parameter for _, parameter in named]
        self._gradients: list[Tensor] = []  # views of `gradients`, in the order of the model's parameters
        parts: dict[tuple[float, float], slice] = {}
        for start, size, (name, parameter) in zip(starts[:-1], sizes, named, strict=True):
            place = slice(start, start + parameter[0].numel())
            view = self.parameters[:, place].unflatten(1, parameter.shape[1:])
            view.copy_(parameter.detach())
            parameter.data = view
            self._gradients.append(gradients[:, place].unflatten(1, parameter.shape[1:]))
            first = parts[kind(name)].start if kind(name) in parts else start
            parts[kind(name)] = slice(first, start + size)
        self._optimiser = torch.optim.Adam(self._groups(gradients, parts), fused=True)

    def _groups(self, gradients: Tensor, parts: dict[tuple[float, float], slice]) -> list[dict[str, Any]]:
        groups = []
        for (factor, l2), part in parts.items():
            for row, gradient, own in zip(self.parameters, gradients, self.settings, strict=True):
                leaf = row[part].detach().requires_grad_()
                leaf.grad = gradient[part]
                groups.append(
                    {
                        "params": [leaf],
                        "lr": own.learning_rate,
                        "betas": (0.9, own.adam_beta2),
                        "eps": own.adam_eps,
                        "weight_decay": 2 * l2,  # adds 2 l2 p to the gradient: that of l2 * sum p^2 in the loss
                        "factor": factor,
                        "settings": own,
                    }
                )
        return groups

    def differentiate(self, loss: Float[Tensor, " R"], *, accumulate: bool) -> None:
        """Take the gradients of the replicas' losses, in place of the last ones or on top of them."""
        new = torch.autograd.grad(loss.sum(), self._model_parameters, materialize_grads=True)
        (torch._foreach_add_ if accumulate else torch._foreach_copy_)(self._gradients, new)

    def step(self, step: int, steps: int) -> None:
        """One update at the rates of that step."""
        for group in self._optimiser.param_groups:
            own: AdamSettings = group["settings"]
            rate = learning_rate(step, steps, own.learning_rate, own.schedule)
            group["lr"] = rate * group["factor"]
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Parameters and moments, ready for a checkpoint."""
        moments = [self._optimiser.state[group["params"][0]] for group in self._optimiser.param_groups]
        return {"parameters": self.parameters, "moments": [dict(each) for each in moments]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.parameters.copy_(state["parameters"])
        for group, moments in zip(self._optimiser.param_groups, state["moments"], strict=True):
            device = self.parameters.device
            self._optimiser.state[group["params"][0]] = {
                name: value.to(device) if isinstance(value, Tensor) else value for name, value in moments.items()
            }
