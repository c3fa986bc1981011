"""Weights in half precision, small enough to lie in git beside their record: safetensors, read where no others are.

Matrices are float16, off by at most 0.05% in each weight; vectors and scalars, such as log sigma, stay float32.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vdae_bench.store.layout import half_weights_path
from vdae_bench.system import atomic
from vdae_bench.system.untrusted import LARGEST_TENSORS, Unfit, content_of


def write_half(record: Path, run_digest: str, state: dict[str, Tensor]) -> Path:
    """Put a run's parameters and buffers in place in half precision; return the file.

    Raises:
        EnvironmentFault: they cannot be written.
    """
    path = half_weights_path(record)
    content = {name: _halved(value).contiguous() for name, value in state.items()}
    atomic.write(path, save(content, {"run_digest": run_digest, "sha256": _sha256(content)}))
    return path


def read_half(path: Path) -> dict[str, Any]:
    """Read the run digest of weights in half precision, and their state as float32.

    Raises:
        Unfit: it was changed, or is no such file.
        OSError: it is not there or cannot be read.
    """
    content_of(path, LARGEST_TENSORS)  # a regular file
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            kept = file.metadata() or {}
    except SafetensorError:
        raise Unfit("not a file of tensors") from None
    if kept.get("sha256") != _sha256(state):
        raise Unfit("damaged, changed or of an older version")
    whole = {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}
    return {"run_digest": kept.get("run_digest"), "state": whole}


def _halved(value: Tensor) -> Tensor:
    if value.dtype != torch.float32 or min(value.shape[-2:], default=1) == 1:
        return value
    half = value.half()
    return half if half.isfinite().all() else value  # beyond 65504


def _sha256(state: dict[str, Tensor]) -> str:
    """Digest of all names and values, which safetensors has no checksum for."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {list(state[name].shape)}".encode())
        digest.update(state[name].numpy().tobytes())
    return digest.hexdigest()
