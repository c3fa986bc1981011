"""Weights that are kept of a run, where `--keep-checkpoints` asks for them, and the model made of them again."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch

from vdae_bench.errors import UserError
from vdae_bench.models.model import Model
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.store.layout import weights_path
from vdae_bench.system import atomic


def save_model(record: Path, run_digest: str, model: Model, replica: int) -> None:
    """Put one replica's parameters and buffers in place, each of shape (1, ...).

    Raises:
        EnvironmentFault: they cannot be written.
    """
    path = weights_path(record)
    state = {name: value[replica : replica + 1].cpu().clone() for name, value in model.state_dict().items()}
    buffer = io.BytesIO()  # torch reports a full disk in words of its own
    torch.save({"run_digest": run_digest, "state": state}, buffer)
    atomic.write(path, buffer.getvalue())


def load_model(record: Path, run_digest: str, method: str, problem: Problem) -> Model:
    """Load the model of a run, with one replica, from its kept weights.

    Raises:
        UserError: its weights were not kept, or are those of another run.
    """
    path = weights_path(record)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        kept = content["run_digest"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
        raise UserError(f"there are no weights in {path}; run its sweep with --keep-checkpoints") from None
    if kept != run_digest:
        raise UserError(f"the weights in {path} are of another run than the record; run its sweep again")
    model = get_method(method).model(problem)
    model.load_state_dict(content["state"])
    return model.eval().requires_grad_(False)
