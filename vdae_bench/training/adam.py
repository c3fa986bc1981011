"""Adam (Kingma & Ba, 2014) with a learning rate, beta2, epsilon and schedule for each replica.

torch's Adam takes one rate a parameter group, so the parameters of all replicas move into one buffer of shape (R, P)
and each replica's row becomes a group: torch's fused kernel then makes one pass over a contiguous row. The modules'
parameters and gradients are views into the buffers.
"""

from __future__ import annotations

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
        self.scalar_rate = scalar_rate
        scalar_names = model.scalar_parameters()
        named = sorted(model.named_parameters(), key=lambda item: item[0] in scalar_names)
        starts, size = [], 0
        split = None
        for name, parameter in named:
            if name in scalar_names and split is None:
                split = size
            starts.append(size)
            size += -(-parameter[0].numel() // ALIGNMENT) * ALIGNMENT
        self.parameters = named[0][1].new_zeros(len(settings), size)
        gradients = torch.zeros_like(self.parameters)
        self._model_parameters = [parameter for _, parameter in named]
        self._gradients: list[Tensor] = []  # views of `gradients`, in the order of the model's parameters
        for start, (_, parameter) in zip(starts, named, strict=True):
            place = slice(start, start + parameter[0].numel())
            view = self.parameters[:, place].unflatten(1, parameter.shape[1:])
            view.copy_(parameter.detach())
            parameter.data = view
            self._gradients.append(gradients[:, place].unflatten(1, parameter.shape[1:]))
        self._optimiser = torch.optim.Adam(self._groups(gradients, split, size), fused=True)

    def _groups(self, gradients: Tensor, split: int | None, size: int) -> list[dict[str, Any]]:
        groups = []
        parts = [(slice(0, split), 1.0)] + ([(slice(split, size), self.scalar_rate)] if split is not None else [])
        for part, factor in parts:
            for row, gradient, each in zip(self.parameters, gradients, self.settings, strict=True):
                leaf = row[part].detach().requires_grad_()
                leaf.grad = gradient[part]
                groups.append(
                    {
                        "params": [leaf],
                        "lr": each.learning_rate,
                        "betas": (0.9, each.adam_beta2),
                        "eps": each.adam_eps,
                        "factor": factor,
                        "settings": each,
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
