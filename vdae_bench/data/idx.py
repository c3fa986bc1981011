"""The IDX format of the MNIST files: a header of big-endian 32-bit words, then the values, row by row.

The first word is 00 00 <type> <dimensions>, type 0x08 for unsigned bytes; a word for each dimension follows.
"""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdae_bench.errors import UserError
from vdae_bench.system.words import counted

UNSIGNED_BYTE = 0x08
TYPES: dict[int, np.dtype[Any]] = {UNSIGNED_BYTE: np.dtype("u1"), 0x0C: np.dtype(">i4")}
"""Types of values that are read: images and most labels are bytes, QMNIST's labels whole numbers."""
GZIP_MAGIC = b"\x1f\x8b"

# Deflate cannot expand further than this, so a header that promises more of a .gz is wrong before it is read.
MAX_DEFLATE_RATIO = 1032

BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
"""Errors that reading a truncated or damaged .gz raises."""


def decompressed(stream: io.BufferedReader) -> io.BufferedIOBase:
    """Return the content of `stream`, unpacked if it is gzip.

    Decided by the first bytes, never by the name: browsers and web servers unpack a .gz without renaming it.
    """
    if stream.peek(2)[:2] == GZIP_MAGIC:
        return gzip.GzipFile(fileobj=stream)
    return stream


@contextmanager
def open_idx(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a plain or gzip file for reading its uncompressed bytes."""
    with path.open("rb") as stream:
        yield decompressed(stream)


def read_idx(path: Path) -> NDArray[Any]:
    """Read an IDX file of bytes or whole numbers, plain or gzip, as a writable array of its own shape.

    Raises:
        UserError: the file is no such IDX file, or its length contradicts its header.
        OSError: the file cannot be read.
    """
    try:
        with open_idx(path) as stream:
            kind, shape = _read_header(stream, path)
            count = math.prod(shape)
            size = count * kind.itemsize
            on_disk = path.stat().st_size
            if size > on_disk * (1 if isinstance(stream, io.BufferedReader) else MAX_DEFLATE_RATIO):
                raise UserError(f"{path} is truncated: its header promises {counted(count, 'value')}; obtain it again")
            values = bytearray(stream.read(size + 1))
    except BROKEN_GZIP as fault:
        raise UserError(f"{path} is a damaged gzip file ({fault}); obtain it again") from fault
    if len(values) != size:
        length = "is truncated" if len(values) < size else "has bytes after its end"
        raise UserError(f"{path} {length}: its header promises {counted(count, 'value')}; obtain it again")
    try:
        return np.frombuffer(values, dtype=kind).reshape(shape)
    except ValueError:  # more dimensions than NumPy has, or a size beyond its numbers beside a size of 0
        raise UserError(f"{path} has a shape that images cannot have: {'x'.join(map(str, shape))}") from None


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array of unsigned bytes as an IDX file; gzip if the name ends in `.gz`.

    The same array gives the same bytes: no time stamp, no file name inside.

    Raises:
        UserError: the array does not hold unsigned bytes, or has no dimension or more than 255.
    """
    content = idx_content(array, path)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def idx_content(array: NDArray[np.uint8], name: object) -> bytes:
    """The content of the IDX file of an array; `name` is what an error calls it.

    Raises:
        UserError: the array does not hold unsigned bytes, or has no dimension or more than 255.
    """
    if array.dtype != np.uint8 or not 1 <= array.ndim <= 255:
        raise UserError(f"{name}: IDX needs a uint8 array of 1 to 255 dimensions, not {array.dtype}{array.shape}")
    return struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape) + array.tobytes()


def _read_header(stream: io.BufferedIOBase, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[3] == 0:
        raise UserError(f"{path} is not an IDX file: it starts with {magic.hex(' ') or 'nothing'}")
    if magic[2] not in TYPES:
        known = "only unsigned bytes (0x08) and whole numbers of four bytes (0x0c) are supported"
        raise UserError(f"{path} holds IDX type 0x{magic[2]:02x}: {known}")
    words = stream.read(4 * magic[3])
    if len(words) < 4 * magic[3]:
        raise UserError(f"{path} is truncated inside its header; obtain it again")
    return TYPES[magic[2]], struct.unpack(f">{magic[3]}I", words)
