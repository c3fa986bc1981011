"""The device that computes: its choice, its name, waiting for it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from vdae_bench.errors import UserError

Choice: TypeAlias = Literal["auto", "cpu", "cuda"]


def choose(name: Choice) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        UserError: there is no GPU.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("there is no CUDA device here; use --device cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def describe(device: torch.device) -> str:
    """`cpu`, or the GPU's model."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given: what a clock must do before it is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
