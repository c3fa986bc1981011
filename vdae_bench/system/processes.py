"""Processes of this machine: where their numbers are unique, and which of them are gone."""

from __future__ import annotations

import functools
import os
import platform
from contextlib import suppress
from pathlib import Path


@functools.cache
def place() -> str:
    """Where process numbers are unique: a machine, since it was started, or a container of it."""
    known = [platform.node() or "unknown"]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(known)


def started(number: int) -> int | None:
    """When a process of this place started, by its system's own count; None where that is not known."""
    return _state_and_start(number)[1]


def lives(number: int, start: int | None) -> bool | None:
    """Whether the process of this place that has the number and started then lives; None where that is not known.

    One that was killed and that its parent does not ask after (a zombie) is dead; so is one whose number another has.
    """
    if number <= 0:
        return False  # the number of no process, but of a group of them to `os.kill`
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    state, found = _state_and_start(number)
    if state in ("Z", "X"):
        return False
    return None if start is None or found is None else start == found


def _state_and_start(number: int) -> tuple[str, int | None]:
    try:  # the name before the last bracket may have spaces and brackets
        words = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return words[0], int(words[19])
    except (OSError, ValueError, IndexError):
        return "", None
