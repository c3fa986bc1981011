"""The device that computes: its choice and name, the memory and processors that may be used, waiting for it."""

from __future__ import annotations

import ctypes
import functools
import gc
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

import psutil
import torch

from vdae_bench.errors import UserError

CONTROL_GROUPS = Path("/sys/fs/cgroup")
MEMORY_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Files with a container's limit of memory and its use, in control groups 2 and 1."""

Choice: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]


def choose(name: Choice) -> torch.device:
    """The device to compute on, by its name; `auto` is a CUDA GPU where there is one, and no other.

    Raises:
        UserError: there is no such GPU, or it cannot do what is needed.
    """
    if name == "mps":
        raise UserError("Apple's GPU has no float64, which losses and scores need; use the device cpu")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("this machine has no CUDA device; use the device cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def prepare(threads: int) -> None:
    """Set this process up for that many threads."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # Adam's moments of dead weights would become slow denormal numbers


def describe(device: torch.device) -> str:
    """Name of a device for the records: `cpu`, or the GPU's model."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)


def has_bfloat16_units() -> bool:
    """True where the processor multiplies bfloat16 matrices in hardware, as far as torch can tell."""
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def usable_processors() -> int:
    """How many processors this process may use: its affinity, and no more than the container's share of time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = container_share()
    return min(allowed, max(1, math.ceil(share))) if share else allowed


THREADS_VARIABLE = "OMP_NUM_THREADS"


def default_threads() -> int:
    """How many threads a process takes where nobody says: OMP_NUM_THREADS, and no more than it may use."""
    asked = os.environ.get(THREADS_VARIABLE, "").partition(",")[0].strip()  # "4,2": of nested regions
    usable = usable_processors()
    return min(int(asked), usable) if asked.isascii() and asked.isdigit() and int(asked) else usable


def container_share() -> float | None:
    """How many processors a container's CPU limit comes to (control groups 2, then 1); None without a limit."""
    limit = _words(CONTROL_GROUPS / "cpu.max") or [
        *_words(CONTROL_GROUPS / "cpu" / "cpu.cfs_quota_us"),
        *_words(CONTROL_GROUPS / "cpu" / "cpu.cfs_period_us"),
    ]
    if len(limit) == 2 and all(word.isdigit() for word in limit) and int(limit[1]):
        return int(limit[0]) / int(limit[1])
    return None


def available_memory() -> int:
    """Bytes of memory that are free for this process: the machine's, and no more than the container's limit leaves."""
    free: list[int] = [psutil.virtual_memory().available]
    for limit, used in MEMORY_FILES:
        words = [*_words(CONTROL_GROUPS / limit), *_words(CONTROL_GROUPS / used)]
        if len(words) == 2 and all(word.isdigit() for word in words):
            free.append(max(0, int(words[0]) - int(words[1])))
    return min(free)


def group_bytes(device: torch.device) -> int:
    """Bytes of memory that a replica group may take: a third of the device's, the same at every start."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 3
    return total_memory() // 3


def total_memory() -> int:
    """Bytes of memory of the machine, or of the container where that has a limit."""
    machine: int = psutil.virtual_memory().total
    return min([machine, *(int(w) for name, _ in MEMORY_FILES for w in _words(CONTROL_GROUPS / name) if w.isdigit())])


def is_out_of_memory(error: BaseException) -> bool:
    """Tell if an error says that the memory of the device or of the machine is full."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)  # torch's allocator on a CPU


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt: how much free memory it keeps, and from which size on a block is the system's."""


@functools.cache
def keep_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors for the next ones.

    Dask starts its workers with a setting that gives it back each time, which made groups a fifth slower.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library; Windows has none by no name
        for parameter, size in ((TRIM_THRESHOLD, 2**30), (MMAP_THRESHOLD, 2**25)):
            ctypes.CDLL(None).mallopt(parameter, size)


def release_memory() -> None:
    """Give back the memory that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given, as one must before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []
