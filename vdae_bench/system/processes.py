"""Processes of this machine: where their numbers are unique, and which of them are gone."""

from __future__ import annotations

import functools
import platform
from contextlib import suppress
from pathlib import Path

import psutil

CLOCK_SECONDS = 2.0
"""Largest difference between two readings of a process's start."""


@functools.cache
def place() -> str:
    """The place in which process numbers are unique: a machine, since it was started, or a container of it."""
    known = [platform.node() or "unknown"]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(known)


def started(number: int) -> float | None:
    """Time at which a process of this place started, in seconds since the boot; None where that is not known."""
    with suppress(psutil.Error, ValueError, OverflowError):
        return _started(psutil.Process(number))
    return None


def _started(process: psutil.Process) -> float:
    # Since the boot, and not since 1970: whoever sets the clock would else have killed every process for us.
    created: float = process.create_time() - psutil.boot_time()
    return created


def is_stopped(number: int) -> bool:
    """Tell if a process of this place is stopped, by SIGSTOP, Ctrl-Z or a debugger: it lives and does nothing."""
    with suppress(psutil.Error, ValueError, OverflowError):
        return psutil.Process(number).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def lives(number: int, start: float | None) -> bool | None:
    """Tell if the process of this place with that number and start lives; None where that is not known.

    A process that was killed and that its parent does not ask after (a zombie) is dead, and so is one whose number
    another has by now.
    """
    if number <= 0:
        return False  # the number of no process, but of a group of them to `os.kill`
    try:
        process = psutil.Process(number)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        found = _started(process)
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.AccessDenied:
        return None
    return None if start is None else abs(found - start) < CLOCK_SECONDS
