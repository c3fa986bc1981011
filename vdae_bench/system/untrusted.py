"""Files that somebody else may have put there: regular ones of bounded size alone, and content that has a checksum.

A named pipe in a record's place would be waited on for ever, and a link to a device read until the memory is full.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

LARGEST_JSON = 64 * 2**20
"""Bytes of a file of JSON at most: ten times a search of 10,000 trials."""
LARGEST_LEASE = 64 * 2**10
LARGEST_SPEC = 256 * 2**10
"""Bytes of a sweep or protocol at most: a hundred times the longest that is shipped."""
LARGEST_CODE = 4 * 2**20
"""Bytes of a file of Python at most."""
LARGEST_CERTIFICATES = 4 * 2**20
LARGEST_TENSORS = 64 * 2**30
"""Bytes of weights, checkpoints or arrays at most."""
CHECKSUM_BYTES = hashlib.sha256().digest_size


class Unfit(ValueError):
    """A file that nobody here wrote: no regular file, too large, or not what its checksum says."""


def content_of(path: Path, largest: int = LARGEST_JSON) -> bytes:
    """The content of a regular file.

    Raises:
        Unfit: it is a pipe, device, socket or folder, or larger than that.
        OSError: it is not there or cannot be read.
    """
    _require(path.stat(), largest)  # not even opened: that alone may wait, or do something
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  (a number, no path)
        status = os.fstat(file.fileno())
        _require(status, largest)
        return file.read(status.st_size)


def _require(status: os.stat_result, largest: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unfit("it is a folder, pipe or device and not a regular file: remove it")
    if status.st_size > largest:
        raise Unfit(f"it has {status.st_size:,} bytes, more than the limit of {largest:,}")


def with_checksum(content: bytes) -> bytes:
    """The content, followed by its SHA-256."""
    return content + hashlib.sha256(content).digest()


def without_checksum(file: bytes) -> bytes:
    """The content of a file that `with_checksum` made.

    Raises:
        Unfit: it is torn or changed, by as little as a bit, or has no checksum.
    """
    content, checksum = file[:-CHECKSUM_BYTES], file[-CHECKSUM_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        raise Unfit("damaged, changed or of an older version")
    return content
