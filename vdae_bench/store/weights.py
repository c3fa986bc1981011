"""Weights that are kept of a run, where `--keep-checkpoints` asks for them, and the model made of them again."""

from __future__ import annotations

from pathlib import Path

from vdae_bench.errors import UserError
from vdae_bench.models.model import Model
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.store.layout import weights_path
from vdae_bench.system.tensor_file import load_if_fitting, read_tensors, write_tensors
from vdae_bench.system.untrusted import Unfit


def save_model(record: Path, run_digest: str, model: Model, replica: int) -> None:
    """Put one replica's parameters and buffers in place, each of shape (1, ...).

    Raises:
        EnvironmentFault: they cannot be written.
    """
    path = weights_path(record)
    state = {name: value[replica : replica + 1].cpu().clone() for name, value in model.state_dict().items()}
    write_tensors(path, {"run_digest": run_digest, "state": state})


def load_model(record: Path, run_digest: str, method: str, problem: Problem) -> Model:
    """Load the model of a run, with one replica, from its kept weights.

    Raises:
        UserError: its weights were not kept, are those of another run, or not what was written.
    """
    path = weights_path(record)
    try:
        content = read_tensors(path)
    except OSError:
        raise UserError(f"there are no weights in {path}; run its sweep with --keep-checkpoints") from None
    except Unfit as error:
        raise UserError(f"{path} is not used, for it is {error}; run its sweep again") from None
    if content.get("run_digest") != run_digest:
        raise UserError(f"the weights in {path} are of another run than the record; run its sweep again")
    model = get_method(method).build(problem)
    if not load_if_fitting(model, content.get("state")):
        raise UserError(f"the weights in {path} are of another network, or not finite; run its sweep again")
    return model.eval().requires_grad_(False)
