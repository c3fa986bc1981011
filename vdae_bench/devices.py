"""The device that computes: its choice, its name, waiting for it."""

from __future__ import annotations

import gc
import os
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


def group_bytes(device: torch.device) -> int:
    """What a replica group may take: a third of the device's memory, the same at every start."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 3
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the device or of the machine is full."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)  # torch's allocator on a CPU


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def wait(device: torch.device) -> None:
    """Until the device has done what it was given: what a clock must do before it is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
