"""Files that are there whole or not at all, whatever kills the process and whoever else writes them."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vdae_bench.errors import EnvironmentFault
from vdae_bench.system import processes
from vdae_bench.system.untrusted import LARGEST_JSON, content_of

SECONDS_TO_ABANDONMENT = 24 * 3600.0
"""A temporary file that is older by this than its neighbours may be left behind by another machine."""
SECONDS_OF_WATCH = 600.0
"""It is, where this process has known it for this long by its own clock; a write takes seconds."""


def temporary_beside(path: Path) -> Path:
    """Path beside `path` that no other process takes, here or on another machine that shares the folder."""
    return path.with_name(f"{path.name}.tmp-{_place()}-{os.getpid()}-{secrets.token_hex(4)}")


@functools.cache
def _place() -> str:
    return hashlib.sha256(processes.place().encode()).hexdigest()[:8]


def clear(folder: Path) -> None:
    """Remove the temporary files that dead processes left in a folder.

    On this machine they are known by the process in their names. Those of other machines are older by a day than the
    newest file there, and are still there after minutes of this process's own time: a clock that is days ahead makes
    files in use look old.
    """
    now = time.monotonic()
    _cleared[folder] = now
    times: dict[Path, float] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                times[path] = path.lstat().st_mtime
    for path, changed in times.items():
        owner = re.search(r"\.tmp-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}$", path.name)
        if owner:
            dead = owner[1] == _place() and processes.lives(int(owner[2]), None) is False
            old = max(times.values()) - changed > SECONDS_TO_ABANDONMENT
            if dead or (old and now - _seen.setdefault((path, changed), now) > SECONDS_OF_WATCH):
                discard(path)


_seen: dict[tuple[Path, float], float] = {}
"""When this process first saw an old temporary file of another machine, by its monotonic clock."""
_cleared: dict[Path, float] = {}
"""When it last looked through a folder."""


def stage(path: Path, content: bytes, option: str = "--results") -> Path:
    """Write `content` to a temporary file beside `path`, on the disk for good, and return its place.

    Raises:
        EnvironmentFault: it cannot be written; `option` is what names another folder on the command line.
    """
    temporary = temporary_beside(path)
    check_held(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_held(path)  # holds what may just have been made
        if time.monotonic() - _cleared.get(path.parent, -math.inf) > SECONDS_OF_WATCH:
            clear(path.parent)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            # Else a power cut after the renaming may leave a file of the right name that is empty.
            os.fsync(file.fileno())
    except OSError as error:
        discard(temporary)
        raise fault(path, error, option) from error
    return temporary


@dataclass
class _Held:
    descriptor: int | None = None
    """None until there is a folder; while it is open, the inode's number is not given away."""
    blocks: int = 0


_held: dict[Path, _Held] = {}
"""Folders that must stay where they are."""
_holding = threading.RLock()
"""Held while that changes or is looked through: several threads may work in one folder, and one ends before another."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have writing into a folder fail while the block runs if it is moved away; else a second one would be begun.

    One that is not there yet is made and held with its first file: a command that writes nothing leaves none.

    Raises:
        EnvironmentFault: it cannot be used as a folder.
    """
    place = folder.absolute()
    with _holding:
        there = _held.setdefault(place, _Held())
        there.blocks += 1
    try:
        check_held(place)
        yield
    finally:
        with _holding:
            there.blocks -= 1
            if not there.blocks:
                del _held[place]
                if there.descriptor is not None:
                    os.close(there.descriptor)


def check_held(path: Path) -> None:
    """Check that the folder that is held around a path is where it was.

    Raises:
        EnvironmentFault: it was moved away, or another lies in its place.
    """
    with _holding:
        for folder, there in _held.items():
            if not path.absolute().is_relative_to(folder):
                continue
            try:
                if there.descriptor is None:
                    there.descriptor = _opened(folder)
                    continue
                same = os.path.samestat(folder.stat(), os.fstat(there.descriptor))
            except (FileNotFoundError, NotADirectoryError):
                same = False
            except OSError as error:
                raise cannot_read(folder, error) from error
            if not same:
                raise EnvironmentFault(
                    f"{folder} was moved or replaced while this command worked in it; "
                    "move it back, and give the same command again"
                )


def _opened(folder: Path) -> int | None:
    """A descriptor of a folder; None where there is none yet, and where one that is in use cannot be moved."""
    if os.name == "nt":
        return None
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise fault(folder, error) from error


def write(path: Path, content: bytes, option: str = "--results") -> None:
    """Put a file in place at once; what was there is replaced.

    Raises:
        EnvironmentFault: it cannot be written, and nothing has changed.
    """
    temporary = stage(path, content, option)
    try:
        temporary.replace(path)
    except OSError as error:
        discard(temporary)
        raise fault(path, error, option) from error


def read(path: Path, largest: int = LARGEST_JSON) -> bytes | None:
    """Content of a file; None where there is none, which is another answer than that it cannot be read.

    Raises:
        Unfit: it is no regular file, or larger than that.
        EnvironmentFault: it is there and cannot be read, or nobody can say: of such a file nothing may be concluded.
    """
    try:
        return content_of(path, largest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise cannot_read(path, error) from error


def is_there(path: Path) -> bool:
    """Tell if there is a file; unlike `Path.exists` never False because nobody can say.

    Raises:
        EnvironmentFault: nobody can say.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise cannot_read(path, error) from error
    return True


def cannot_read(path: Path, error: OSError) -> EnvironmentFault:
    """The error that a user reads about a file that is there and cannot be read."""
    return EnvironmentFault(
        f"cannot read {path}: {error.strerror}; it stays as it is: change its permissions, or wait for the disk, "
        "and give the same command again"
    )


def discard(path: Path) -> None:
    """Remove a file, if it is there and can be."""
    with suppress(OSError):
        path.unlink()


def fault(path: Path, error: OSError, option: str = "--results") -> EnvironmentFault:
    """The error that a user reads about a file that cannot be written."""
    return EnvironmentFault(
        f"cannot write {path}: {error.strerror}; free space, change permissions, "
        f"or choose another folder for {option.removeprefix('--')}"
    )


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_plain(name: str) -> bool:
    """Tell if a name can be a folder's on any system: it is no path, and nothing that Windows reserves or cuts.

    >>> [name for name in ("table1", "quick+0a1b2c3d", "..", "a/b", "nul.x", "a.") if is_plain(name)]
    ['table1', 'quick+0a1b2c3d']
    """
    return bool(re.fullmatch(r"[\w+-][\w+. -]{0,199}(?<![. ])", name, re.ASCII)) and not _RESERVED.fullmatch(name)
