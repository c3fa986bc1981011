"""Files of tensors: torch's own, followed by their SHA-256, read without executing code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vdae_bench.system import atomic
from vdae_bench.system.untrusted import LARGEST_TENSORS, Unfit, content_of, with_checksum, without_checksum


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Put a file in place at once.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    buffer = io.BytesIO()  # torch reports a full disk in words of its own
    torch.save(content, buffer)
    atomic.write(path, with_checksum(buffer.getvalue()))


def read_tensors(path: Path) -> dict[str, Any]:
    """Read what `write_tensors` wrote.

    Raises:
        Unfit: it was changed by as little as a bit, or is no such file.
        OSError: it is not there or cannot be read.
    """
    content = without_checksum(content_of(path, LARGEST_TENSORS))
    try:
        return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception:  # on hostile files torch's reader fails in any way
        raise Unfit("not a file of tensors") from None


def load_if_fitting(module: nn.Module, state: Any) -> bool:
    """Give a module the tensors of a state, if there is one of each name and shape and all are finite."""
    own = module.state_dict()
    if not isinstance(state, dict) or state.keys() != own.keys():
        return False
    if not all(
        isinstance(each, torch.Tensor) and each.shape == own[name].shape and bool(each.isfinite().all())
        for name, each in state.items()
    ):
        return False
    module.load_state_dict(state)
    return True
