"""Weights that are kept of a run, where `--keep-checkpoints` asks for them, and the model made of them again."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch
from torch import Tensor

from vdae_bench.errors import UserError
from vdae_bench.models.model import Model
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.store.half_weights import read_half, write_half
from vdae_bench.store.layout import half_weights_path, weights_path
from vdae_bench.system import atomic

AGAIN = "move the record away and give the command in it again with --keep-checkpoints, which trains the run anew"


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


def has_weights(record: Path) -> bool:
    """True where there are weights of the run with that record, whole or in half precision."""
    return weights_path(record).is_file() or half_weights_path(record).is_file()


def share_model(record: Path, run_digest: str) -> Path:
    """Put the kept weights of a run in place in half precision too, small enough for git; return the file.

    Raises:
        UserError: its weights were not kept, or are those of another run.
        EnvironmentFault: they cannot be written.
    """
    return write_half(record, run_digest, _kept(record, run_digest))


def load_model(record: Path, run_digest: str, method: str, problem: Problem) -> Model:
    """Load the model of a run, with one replica, from its kept weights, else from those in half precision.

    Raises:
        UserError: its weights were not kept, or are those of another run.
    """
    half = None if weights_path(record).is_file() else read_half(record)
    if half and half[0] != run_digest:
        raise UserError(f"the weights in {half_weights_path(record)} are of another run than the record; delete them")
    model = get_method(method).build(problem)
    model.load_state_dict(half[1] if half else _kept(record, run_digest))
    return model.eval().requires_grad_(False)


def _kept(record: Path, run_digest: str) -> dict[str, Tensor]:
    """The parameters and buffers in the kept weights of a run."""
    path = weights_path(record)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        kept, state = content["run_digest"], dict(content["state"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
        raise UserError(f"there are no weights in {path}, which only a run in training keeps; {AGAIN}") from None
    if kept != run_digest:
        raise UserError(f"the weights in {path} are of another run than the record; {AGAIN}")
    return state
