"""Checkpoints: atomic, the previous one kept, checked by their SHA-256, loaded without executing code."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from vdae_bench.errors import EnvironmentFault
from vdae_bench.system import atomic
from vdae_bench.system.devices import is_out_of_memory
from vdae_bench.system.untrusted import LARGEST_TENSORS, Unfit

FORMAT = 7
"""Number of the format of a checkpoint's content; one of another format is not used."""
SECONDS_BETWEEN = 60.0
COST_SHARE = 0.02
"""A checkpoint that takes long to write is written less often, so that writing costs about 2% at most."""
DIGEST_BYTES = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


class Checkpoint:
    """The checkpoint of one replica group on disk, bound to the identity of what it trains.

    The file is torch's, followed by the SHA-256 of it. One that is torn, changed, or of another run or format is set
    aside under another name, never used and never deleted.
    """

    def __init__(self, path: Path, identity: str, seconds_between: float = SECONDS_BETWEEN) -> None:
        self.path = path
        self.previous = path.with_suffix(".previous.pt")
        self.identity = identity
        self.seconds_between = seconds_between
        self._due = time.monotonic() + seconds_between

    @property
    def due(self) -> bool:
        """True when it is time to write a checkpoint."""
        return time.monotonic() >= self._due

    def save(self, state: dict[str, Any]) -> None:
        """Write the state beside the old one, then swap them: a kill at any moment leaves one that loads.

        Raises:
            EnvironmentFault: it cannot be written; the one before is still there.
        """
        started = time.monotonic()
        buffer = io.BytesIO()  # torch reports a full disk in words of its own
        torch.save({"format": FORMAT, "identity": self.identity, "state": state}, buffer)
        content = buffer.getvalue()
        # The new state is whole on the disk before the old one moves, and the old one is kept: between the two renames
        # there is no file under the first name, and `load` takes the previous one.
        temporary = atomic.stage(self.path, content + hashlib.sha256(content).digest())
        try:
            with suppress(FileNotFoundError):  # the first, or another process has just moved it
                self.path.replace(self.previous)
            temporary.replace(self.path)
        except OSError as error:
            atomic.discard(temporary)
            raise atomic.fault(self.path, error) from error
        now = time.monotonic()
        self._due = now + max(self.seconds_between, (now - started) / COST_SHARE)

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that is whole and of this identity, or None.

        Raises:
            EnvironmentFault: there is one that cannot be read, which says nothing against it.
        """
        for path in (self.path, self.previous):
            try:
                if state := read_state(path, self.identity):
                    return state
            except Unusable as error:
                _set_aside(path, error)
        return None

    @property
    def is_there(self) -> bool:
        """True where there is a state to go on from."""
        return atomic.is_there(self.path) or atomic.is_there(self.previous)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Set a checkpoint aside whose state the block cannot take over, because it is of another form.

        Raises:
            EnvironmentFault: it was.
        """
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            path = self.path if atomic.is_there(self.path) else self.previous
            _set_aside(path, Unusable("of another form"))
            raise EnvironmentFault(
                f"{path} has another format and was set aside; give the same command again"
            ) from error

    def remove(self) -> None:
        """Remove the files, once the records of the runs are published."""
        atomic.discard(self.path)
        atomic.discard(self.previous)


class Unusable(Exception):
    """A file that is no checkpoint of this run, and the reason."""


def _set_aside(path: Path, reason: Exception) -> None:
    aside = path.with_name(f"{path.name}.unusable-{time.time_ns()}")
    with suppress(FileNotFoundError):
        path.replace(aside)
        _log.warning("%s is not used, because it is %s; it is kept as %s", path, reason, aside.name)


def peek_state(path: Path) -> dict[str, Any] | None:
    """Look at the state in a checkpoint: tensors stay on the disk, and nothing is checked but the format.

    It says what there is to go on from; whoever goes on from it reads it by `Checkpoint.load`. None where no file is.

    Raises:
        Unusable: the file is none, or of another format.
    """
    if not path.is_file():
        return None
    return _state_in(path, mmap=True)


def read_state(path: Path, identity: str | None = None) -> dict[str, Any] | None:
    """Read the state in a checkpoint, of that identity or of any; None where there is no file.

    Raises:
        Unusable: the file is none, or of another identity or format.
        EnvironmentFault: it cannot be read.
    """
    try:
        file = atomic.read(path, LARGEST_TENSORS)
    except Unfit as error:
        raise Unusable(str(error)) from None
    if file is None:
        return None
    content, checksum = file[:-DIGEST_BYTES], file[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        raise Unusable("damaged, changed or of an older version")
    return _state_in(io.BytesIO(content), identity)


def _state_in(file: Path | io.BytesIO, identity: str | None = None, *, mmap: bool = False) -> dict[str, Any]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
        found, state = (loaded["format"], loaded["identity"]), dict(loaded["state"])
    except Exception as error:  # of what is no checkpoint; on hostile files torch's reader fails in any way
        if is_out_of_memory(error):
            raise
        raise Unusable("no checkpoint") from None
    if found[0] != FORMAT or identity not in (None, found[1]):
        raise Unusable("of another run or version")
    return state
