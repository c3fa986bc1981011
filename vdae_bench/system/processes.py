"""Processes of this machine: where their numbers are unique, and which of them are gone."""

from __future__ import annotations

import functools
import platform
from contextlib import suppress
from pathlib import Path

import psutil

CLOCK_SECONDS = 2.0
"""How far two readings of a process's start may be apart: it is reckoned from the time of day, which may be set."""


@functools.cache
def place() -> str:
    """Where process numbers are unique: a machine, since it was started, or a container of it."""
    known = [platform.node() or "unknown"]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(known)


def started(number: int) -> float | None:
    """When a process of this place started, in seconds since 1970; None where that is not known."""
    with suppress(psutil.Error, ValueError, OverflowError):
        return psutil.Process(number).create_time()
    return None


def lives(number: int, start: float | None) -> bool | None:
    """Whether the process of this place that has the number and started then lives; None where that is not known.

    One that was killed and that its parent does not ask after (a zombie) is dead; so is one whose number another has.
    """
    if number <= 0:
        return False  # the number of no process, but of a group of them to `os.kill`
    try:
        process = psutil.Process(number)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        found = process.create_time()
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.AccessDenied:
        return None
    return None if start is None else abs(found - start) < CLOCK_SECONDS
