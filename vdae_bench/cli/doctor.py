"""Checks of this machine before a run starts, each with what to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vdae_bench.data.fetch import verify
from vdae_bench.errors import UserError, VdaeBenchError
from vdae_bench.system import atomic
from vdae_bench.system.devices import (
    THREADS_VARIABLE,
    available_memory,
    container_share,
    default_threads,
    has_bfloat16_units,
    usable_processors,
)
from vdae_bench.system.paths import cache_folder
from vdae_bench.system.words import counted

TRIED = ("Linux",)
"""Systems on which the whole test suite has run, by their names in `platform.system()`."""
State = Literal["ok", "note", "wrong"]
LEAST_DISK, LEAST_MEMORY = 2**30, 2 * 2**30
"""Bytes: protocol `quick` leaves some 20 MiB of results and takes at most 1 GiB."""


@dataclass(frozen=True)
class Check:
    """One checked need of a run. `wrong` stops a run; a `note` does not."""

    name: str
    state: State
    found: str
    remedy: str = ""


def examine(results: Path, reports: Path, data: Path | None) -> Iterator[Check]:
    """Check everything that a run needs, the quick checks first."""
    yield _system()
    yield _libraries()
    yield _threads()
    yield _memory()
    yield _device()
    for name, folder, option in (("results", results, "--results"), ("reports", reports, "--reports")):
        yield _folder(name, folder, f"choose another {option}")
    yield _cache()
    yield _data(data)


def _system() -> Check:
    found = f"{platform.system() or 'unknown'} {platform.release()}, {platform.machine()}".strip()
    if platform.system() in TRIED:
        return Check("system", "ok", f"{found}; tested and supported")
    return Check(
        "system", "note", f"{found}; only {' and '.join(TRIED)} is tested", "report to the project whether it works"
    )


def _libraries() -> Check:
    import torch

    return Check("libraries", "ok", f"torch {torch.__version__}, Python {platform.python_version()}")


def _threads() -> Check:
    machine, usable, share = os.cpu_count() or 1, usable_processors(), container_share()
    threads = default_threads()
    found = f"{counted(threads, 'thread')} by default, of {counted(machine, 'processor')}"
    if share is not None:
        found += f"; the container's limit is {share:g}"
    if threads < usable:
        asked = os.environ[THREADS_VARIABLE]
        return Check("threads", "note", f"{found}; {THREADS_VARIABLE}={asked}", "unset it, or give --threads")
    return Check("threads", "ok", found)


def _memory() -> Check:
    free = available_memory()
    if free < LEAST_MEMORY:
        return Check("memory", "note", f"{_gib(free)} free", "close other programs, or lower batch_size with --set")
    return Check("memory", "ok", f"{_gib(free)} free")


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Check("device", "ok", f"{properties.name}, {_gib(properties.total_memory)}")
    remedy = "protocol paper needs a GPU; if this machine has one, install a torch for CUDA"
    if has_bfloat16_units():
        return Check(
            "device", "ok", "cpu with bfloat16 units", f"{remedy}, or use paper-mixed, which takes half of the time"
        )
    return Check("device", "ok", "cpu", remedy)


def _folder(name: str, folder: Path, elsewhere: str) -> Check:
    """Check that a file can be written into a folder, or into one that would be made, and the space there."""
    there = folder.absolute()
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(20, f"{there} is a file")
        trial = atomic.temporary_beside(there / "doctor")
        trial.write_bytes(b"0")
        trial.unlink()
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(
            name, "wrong", f"{folder} cannot be written: {error.strerror}", f"change its permissions, or {elsewhere}"
        )
    if free < LEAST_DISK:
        return Check(name, "wrong", f"{folder} has only {_gib(free)} left", f"free some space, or {elsewhere}")
    return Check(name, "ok", f"{folder} can be written, {_gib(free)} left")


def _cache() -> Check:
    try:
        return _folder("cache", cache_folder(), "set XDG_CACHE_HOME to another folder")
    except UserError as error:
        return Check(
            "cache", "note", str(error), "without a cache, give --data; every run will train the classifier anew"
        )


def _data(folder: Path | None) -> Check:
    try:
        checks = verify("mnist", folder)
    except VdaeBenchError as error:
        return Check("data", "wrong", str(error))
    wrong = [str(check.file) for check in checks if check.there and not check.ok]
    missing = [check.file.name for check in checks if not check.there]
    if wrong:
        return Check(
            "data",
            "wrong",
            f"not the genuine files: {', '.join(wrong)}",
            "delete them, or give another folder with --data",
        )
    if missing and folder:
        return Check(
            "data", "wrong", f"{folder} lacks {', '.join(missing)}", "put the files there, or leave out --data"
        )
    if missing:
        return Check(
            "data", "note", "MNIST is not in the cache", "the first run downloads it; or give its folder with --data"
        )
    return Check("data", "ok", f"MNIST in {checks[0].file.parent}")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
