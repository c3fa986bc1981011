"""Weights that are kept of a run, where `--keep-checkpoints` asks for them, and the model made of them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.models.model import Model
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.store.half_weights import read_half, write_half
from vdae_bench.store.layout import half_weights_path, weights_path
from vdae_bench.system import atomic
from vdae_bench.system.tensor_file import load_if_fitting, read_tensors, write_tensors
from vdae_bench.system.untrusted import Unfit

AGAIN = "vdae-bench sweep SPEC --train-again, with the options of the run's command, trains the run once more"


def save_model(record: Path, run_digest: str, model: Model, replica: int) -> None:
    """Put one replica's parameters and buffers in place, each of shape (1, ...).

    Raises:
        EnvironmentFault: they cannot be written.
    """
    path = weights_path(record)
    state = {name: value[replica : replica + 1].cpu().clone() for name, value in model.state_dict().items()}
    write_tensors(path, {"run_digest": run_digest, "state": state})


def has_weights(record: Path) -> bool:
    """True where there are files of weights beside a record, in full or in half precision; they are not read."""
    return atomic.is_there(weights_path(record)) or atomic.is_there(half_weights_path(record))


def has_weights_of(record: Path, run_digest: str) -> bool:
    """True where the weights that `load_model` would read are whole and of that run.

    Raises:
        EnvironmentFault: they cannot be read.
    """
    path, half = _place(record)
    try:
        _state(path, run_digest, half=half)
    except UserError:
        return False
    return True


def share_model(record: Path, run_digest: str) -> Path:
    """Put the kept weights of a run in place in half precision too, small enough for git; return the file.

    Raises:
        UserError: its weights were not kept, are those of another run, or not what was written.
        EnvironmentFault: they cannot be written.
    """
    there = half_weights_path(record)
    if not atomic.is_there(weights_path(record)) and atomic.is_there(there):
        raise UserError(f"the run is shared already, by {there}, which `load` reads; its full weights are not here")
    return write_half(record, run_digest, _state(weights_path(record), run_digest, half=False))


def load_model(record: Path, run_digest: str, method: str, problem: Problem) -> Model:
    """Load the model of a run, with one replica, from its kept weights, else from those in half precision.

    Raises:
        UserError: its weights were not kept, are those of another run, or not what was written.
        EnvironmentFault: they cannot be read.
    """
    path, half = _place(record)
    model = get_method(method).model(problem)
    if not load_if_fitting(model, _state(path, run_digest, half=half)):
        raise UserError(f"the weights in {path} belong to another network, or are not finite; {AGAIN}")
    return model.eval().requires_grad_(False)


def _place(record: Path) -> tuple[Path, bool]:
    """The file of a run's weights, and whether it is that in half precision: only where there is no other."""
    path, half = weights_path(record), half_weights_path(record)
    return (half, True) if not atomic.is_there(path) and atomic.is_there(half) else (path, False)


def _state(path: Path, run_digest: str, *, half: bool) -> Any:
    """The parameters and buffers in a file of a run's weights."""
    try:
        content = read_half(path) if half else read_tensors(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there are no weights in {path}, which only training can keep; {AGAIN}") from None
    except OSError as error:
        raise atomic.cannot_read(path, error) from error
    except Unfit as error:
        raise UserError(f"{path} is not used, because it is {error}; {AGAIN}") from None
    if content.get("run_digest") != run_digest:
        raise UserError(f"the weights in {path} belong to another run than the record; {AGAIN}")
    return content.get("state")
