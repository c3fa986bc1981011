"""The precision of arithmetic, a named choice that records keep; parameters and Adam are float32 in both.

`mixed` multiplies matrices with bfloat16 operands and float32 accumulation. A product comes out in bfloat16, and so
does what a network adds to products alone: biases, and the residual blocks of a ResNet after its first projection
(`paper/README.md` has what that costs). Sums with the network's own input, as in a NICE coupling, and everything
outside of networks stay float32: likelihood, prior, sums over pixels and images, the Cholesky factor.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["float32", "mixed"]


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context in which a model trains and is evaluated; torch's autocast chooses the operations that `mixed` takes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "mixed")


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context inside `arithmetic` for what bfloat16 would spoil."""
    # Tensors without data, on which `plan` counts, have no autocast.
    return torch.autocast(device.type, enabled=False) if device.type != "meta" else nullcontext()
