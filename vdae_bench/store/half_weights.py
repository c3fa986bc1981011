"""Weights in half precision, small enough to lie in git beside their record: safetensors, read where no others are.

Matrices are float16, off by at most 0.05% in each weight; vectors and scalars, such as log sigma, stay float32.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vdae_bench.store.layout import half_weights_path
from vdae_bench.system import atomic


def write_half(record: Path, run_digest: str, state: dict[str, Tensor]) -> Path:
    """Put a run's parameters and buffers in place in half precision; return the file.

    Raises:
        EnvironmentFault: they cannot be written.
    """
    path = half_weights_path(record)
    content = {name: _halved(value).contiguous() for name, value in state.items()}
    atomic.write(path, save(content, {"run_digest": run_digest}))
    return path


def read_half(record: Path) -> tuple[str, dict[str, Tensor]] | None:
    """(run digest, parameters and buffers as float32) of the weights in half precision; None where there are none."""
    try:
        with safe_open(half_weights_path(record), "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            kept = (file.metadata() or {}).get("run_digest", "")
    except (OSError, SafetensorError):
        return None
    return kept, {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}


def _halved(value: Tensor) -> Tensor:
    if value.dtype != torch.float32 or min(value.shape[-2:], default=1) == 1:
        return value
    half = value.half()
    return half if half.isfinite().all() else value  # beyond 65504
