"""Leases say which process works on what, so that several on one results folder take different things first.

A lease is taken by creating a file that must not exist. That is atomic on network file systems too, where locks are not
to be trusted. The owner's beats show that it lives: a waiter watches them by its own clock, so that no two clocks need
to agree.

A lease only saves work. Where one is broken in error, both processes do the same, and publishing is idempotent. Only on
a file system without hard links does a lease guard a record: of two different runs that are put in one place at once,
one may then be lost if its process stops for `SECONDS_TO_DEATH` in that very block, or if several break a dead one's
lease.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vdae_bench.errors import EnvironmentFault, VdaeBenchError
from vdae_bench.system import atomic, processes
from vdae_bench.system.untrusted import LARGEST_LEASE, content_of

SECONDS_BETWEEN_BEATS = 10.0
SECONDS_TO_DEATH = 90.0
"""Time without a beat after which an owner is dead: a network file system shows an old state of a file for 60 s."""
SECONDS_BETWEEN_TRIES = 0.01
"""Time between two tries of a process that waits for a block of milliseconds."""

_seen: dict[Path, tuple[dict[str, Any], float]] = {}
"""The last content of others' leases, and when it was new, by this process's monotonic clock."""


class Held(VdaeBenchError):
    """The lease is another process's; `lives` says if that one is known to live, or has to be waited for."""

    def __init__(self, message: str, lives: bool) -> None:
        super().__init__(message)
        self.lives = lives


class Lease:
    """The right of one process to work on one thing, as a file that others see."""

    def __init__(self, path: Path) -> None:
        self.path = path
        number = os.getpid()
        self._own = {
            "host": processes.place(),
            "process": number,
            "started": processes.started(number),
            "token": secrets.token_hex(8),
        }
        self._beats = 0
        self.note: dict[str, Any] = {}
        """The owner's progress, for others to show; on disk with the next beat."""

    def take(self) -> None:
        """Take the lease, if nobody has it or the owner is dead.

        Raises:
            Held: somebody else has it; ask again from time to time.
            EnvironmentFault: the folder cannot be written.
        """
        if self._create():
            return
        other = _read(self.path)
        lives = self._lives(other)
        if lives is False:
            self._break(other)
            if self._create():
                return
        raise Held(self._holder(other), lives is True)

    def _holder(self, other: dict[str, Any]) -> str:
        number, place = other.get("process", "?"), str(other.get("host", "another machine")).partition(" ")[0]
        if self._is_here(other) and processes.is_stopped(number):
            return (
                f"process {number} on {place} holds it and is stopped; `kill -CONT {number}` lets it continue, "
                f"`kill -KILL {number}` frees its work"
            )
        return f"process {number} on {place} works on it"

    def _is_here(self, other: dict[str, Any]) -> bool:
        return other.get("host") == self._own["host"] and isinstance(other.get("process"), int)

    def is_dead(self) -> bool:
        """True where the owner is known to be gone."""
        return self._lives(_read(self.path)) is False

    def clear(self) -> None:
        """Remove what a dead owner left behind."""
        other = _read(self.path)
        if self._lives(other) is False:
            self._break(other)

    @contextmanager
    def kept(self, seconds_between_beats: float = SECONDS_BETWEEN_BEATS) -> Iterator[None]:
        """Keep a lease that was taken alive while the block runs, then give it back."""
        over = threading.Event()
        heart = threading.Thread(target=self._beat, args=(over, seconds_between_beats), daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()
            if self._is_own():
                atomic.discard(self.path)

    def _content(self) -> bytes:
        return json.dumps({**self._own, "beats": self._beats, **({"note": self.note} if self.note else {})}).encode()

    def read_note(self) -> dict[str, Any] | None:
        """Return the owner's last note, with its host and process; None where there is no owner, or no note."""
        content = _read(self.path)
        note = content.get("note")
        if not isinstance(note, dict) or not all(isinstance(note.get(name), str) for name in ("label", "phase")):
            return None
        if not isinstance(note.get("fraction"), int | float | None):
            return None
        stopped = self._is_here(content) and processes.is_stopped(content["process"])
        host = str(content.get("host", "")).partition(" ")[0]
        return {**note, "host": host, "process": content.get("process"), "stopped": stopped}

    def _create(self) -> bool:
        temporary = atomic.stage(self.path, self._content())
        try:
            os.link(temporary, self.path)  # whole at once, unlike a file that is opened and then written
        except FileExistsError:
            return self._is_own()  # where the answer to the first try was lost on a network
        except OSError:
            return self._create_without_links()
        finally:
            atomic.discard(temporary)
        return True

    def _create_without_links(self) -> bool:
        try:
            with self.path.open("xb") as file:
                file.write(self._content())
        except FileExistsError:
            return False
        except OSError as error:
            raise atomic.fault(self.path, error) from error
        return True

    def _lives(self, other: dict[str, Any]) -> bool | None:
        """Tell if the owner lives; None where that is not known yet.

        It is dead if its process is gone from this machine, or if its beats have stopped for long.
        """
        start = other.get("started")
        if self._is_here(other):
            lives = processes.lives(other["process"], start if isinstance(start, int | float) else None)
            if lives is not None:
                return lives
        # The time of the last change is this process's own: the file's times are by another machine's clock.
        before, since = _seen.get(self.path, (None, 0.0))
        if before != other:
            _seen[self.path] = (other, time.monotonic())
            return True if before else None
        return False if time.monotonic() - since > SECONDS_TO_DEATH else None

    def _break(self, dead: dict[str, Any]) -> None:
        """Take a dead owner's file away; of several processes that do this, one finds it."""
        # Renamed and not deleted: a process that read the dead owner's file may come after another that has broken it
        # and taken the lease. It sees in the grave that the file was another's, and puts it back.
        grave = atomic.temporary_beside(self.path)
        with suppress(OSError):
            self.path.rename(grave)
            if _read(grave) != dead:
                with suppress(OSError):
                    os.link(grave, self.path)
            atomic.discard(grave)

    def _is_own(self) -> bool:
        # A lease that cannot be read at the moment is not lost: nobody else has been seen to have it.
        return _read(self.path, self._own).get("token") == self._own["token"]

    def _beat(self, over: threading.Event, seconds_between: float) -> None:
        while not over.wait(seconds_between) and self._is_own():
            self._beats += 1
            with suppress(EnvironmentFault):  # a full disk ends the work elsewhere, with a sentence
                atomic.write(self.path, self._content())


@contextmanager
def alone_at(path: Path) -> Iterator[None]:
    """Run a block of milliseconds while no other process is in such a block for the same file."""
    lease = Lease(path.with_name(f"{path.name}.lease"))
    while True:
        try:
            lease.take()
            break
        except Held:
            time.sleep(SECONDS_BETWEEN_TRIES)
    with lease.kept():
        yield


def _read(path: Path, unreadable: dict[str, Any] | None = None) -> dict[str, Any]:
    """The content of a lease; empty where there is none, or it is torn; `unreadable` where it cannot be read."""
    try:
        content = json.loads(content_of(path, LARGEST_LEASE))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    except OSError:
        return unreadable or {}
    return content if isinstance(content, dict) else {}
