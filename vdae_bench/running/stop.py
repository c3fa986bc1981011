"""Stop tokens: a signal, a time limit, or a file that says so to another process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from vdae_bench.errors import Stopped
from vdae_bench.running.orphan import orphaned
from vdae_bench.system import atomic
from vdae_bench.training.trainer import Interrupted

SECONDS_BETWEEN_LOOKS = 1.0


class StopFile:
    """The stop token of other processes, which look for a file, once a second at most."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._looked = -SECONDS_BETWEEN_LOOKS
        self._there = False

    def __call__(self) -> bool:
        """True once the stop file is there, or nobody is left to put it there."""
        now = time.monotonic()
        if not self._there and now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            with suppress(OSError):  # a folder that fails for a moment stops nobody
                self._there = self.path.exists()
        return self._there or orphaned.is_set()


@contextmanager
def stop_file(folder: Path, name: str) -> Iterator[Path]:
    """Path of a stop file, which is removed after the block."""
    path = folder / f"stop-{name}"
    try:
        yield path
    finally:
        atomic.discard(path)


class StopToken:
    """Asks a run to stop after its next checkpoint: set by SIGINT, SIGTERM or a time limit, which counts as SIGTERM.

    A second Ctrl-C ends it at once.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.signal: int | None = None
        self.told = False
        """True once a signal came, and not the end of the time."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def __call__(self) -> bool:
        """True once a signal came or the time is up."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.signal = self.signal or signal.SIGTERM
        return self.signal is not None

    @contextmanager
    def listening(self, command: str) -> Iterator[StopToken]:
        """Take SIGINT and SIGTERM as requests while the block runs (in the main thread only).

        Raises `Stopped`, which says how the command goes on, where the block ends with `Interrupted`: it has its
        checkpoint.
        """

        def receive(number: int, frame: FrameType | None) -> None:
            if self.signal is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.signal, self.told = number, True

        heard = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        before = {each: signal.signal(each, receive) for each in heard}
        try:
            yield self
        except Interrupted:
            assert self.signal is not None
            raise Stopped(self.signal, command) from None
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
