"""Streams that lose what cannot be written, so that a full disk or a closed pipe behind them stops no run."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TextIO, cast


class Forgiving:
    """A stream of text that passes everything on but the errors of writing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError, ValueError):  # the latter of a stream that is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def forgive(name: Literal["stdout", "stderr"]) -> None:
    """Have a standard stream of this process lose what it cannot write, from now on."""
    stream = getattr(sys, name)
    if not isinstance(stream, Forgiving):
        setattr(sys, name, cast(TextIO, Forgiving(stream)))


def prepare() -> None:
    """Set the standard streams up: all three are open, all words can be shown, and progress is lost at worst."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # a closed one would be the next file's number
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # words and names of files need not be text
    forgive("stderr")
