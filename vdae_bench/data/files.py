"""IDX files in folders: finding them, and telling the genuine from any other by checksum.

A file gets its canonical name in a folder only after its checksum is right: `copy_checked` is the one way in.
"""

import hashlib
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import BinaryIO

from vdae_bench.data.idx import BROKEN_GZIP, decompressed
from vdae_bench.data.registry import IdxFile, ImageFiles

BYTES_AT_A_TIME = 1 << 20


class SourceError(Exception):
    """A file or a place that cannot be used, in words that `fetch` puts into its message to the user."""


def find_file(folder: Path, file: IdxFile) -> Path | None:
    """Return `file` in `folder` under the first of its accepted names, plain before gzip, or None."""
    return next((path for name in file.accepted_names if (path := folder / name).is_file()), None)


def data_folder(folder: Path, dataset: ImageFiles) -> Path:
    """Return the subfolder named after the data set if it holds any of its files, else `folder` itself."""
    inner = folder / dataset.name
    return inner if any(find_file(inner, file) for file in dataset.files) else folder


def checksum_of(path: Path, file: IdxFile) -> str | None:
    """Return the checksum of `path` of the kind that `file` has: of the uncompressed content, or of a .gz as it is.

    None if it cannot be unpacked, or is longer than `file`: unpacking stops there, for gigabytes fit into
    a small .gz.
    """
    try:
        with path.open("rb") as stream:
            return _digest_while_copying(_as_verified(stream, file), file, None)
    except BROKEN_GZIP:
        return None


def _as_verified(stream: BufferedReader, file: IdxFile) -> BufferedIOBase:
    return stream if file.packed else decompressed(stream)


def is_complete(folder: Path, dataset: ImageFiles) -> bool:
    """Tell if `folder` has the four genuine files as the cache keeps them.

    Always by checksum (0.05 s for MNIST): a remembered "verified" would hide a file damaged since.
    """
    return all(
        (path := folder / file.kept_as).is_file()
        and (file.packed or path.stat().st_size == file.size)
        and checksum_of(path, file) == file.checksum
        for file in dataset.files
    )


def copy_checked(stream: BufferedReader, file: IdxFile, folder: Path, origin: str) -> None:
    """Copy a stream, unpacked unless `file` is kept packed, to `folder`, where it gets its name if it is genuine.

    Raises:
        SourceError: it is damaged, too long or has another digest.
    """
    partial = folder / f"{file.name}.partial"
    try:
        with partial.open("wb") as sink:
            found = _digest_while_copying(_as_verified(stream, file), file, sink)
        _require_checksum(found, file, origin)
        partial.replace(folder / file.kept_as)
    except BROKEN_GZIP as fault:
        raise SourceError(f"{origin} is damaged or incomplete ({fault})") from fault


def copy_folder(source: Path, dataset: ImageFiles, target: Path) -> None:
    """Copy those files of the data set that `target` lacks from the folder `source`, unpacked and checked.

    Raises:
        SourceError: a file is missing from `source`, or not genuine.
    """
    for file in missing_files(target, dataset):
        path = _require_file(source, file)
        with path.open("rb") as stream:
            copy_checked(stream, file, target, str(path))


def missing_files(folder: Path, dataset: ImageFiles) -> list[IdxFile]:
    """Return the files of the data set that `folder`, filled by `copy_checked`, does not have yet."""
    return [file for file in dataset.files if not (folder / file.kept_as).is_file()]


def require_genuine(folder: Path, dataset: ImageFiles) -> None:
    """Check the four files in `folder`, under any accepted name.

    Raises:
        SourceError: a file is missing, or not genuine.
    """
    for file in dataset.files:
        path = _require_file(folder, file)
        _require_checksum(checksum_of(path, file), file, str(path))


def _require_file(folder: Path, file: IdxFile) -> Path:
    path = find_file(folder, file)
    if path is None:
        first, *others = file.accepted_names
        more = f" (nor {', '.join(others)})" if others else ""
        raise SourceError(f"{folder} has no {first}{more}")
    return path


def _require_checksum(found: str | None, file: IdxFile, origin: str) -> None:
    if found is None:
        raise SourceError(f"{origin} is damaged or longer than the {file.size} bytes of {file.name}")
    if found != file.checksum:
        kind = "MD5" if file.packed else "SHA-256"
        raise SourceError(
            f"{origin} is not the published {file.kept_as}: {kind} expected {file.checksum}, found {found}"
        )


def _digest_while_copying(stream: BufferedIOBase, file: IdxFile, sink: BinaryIO | None) -> str | None:
    """Hash (and copy) at most one byte more than `file` can have; None if there is one."""
    checksum = hashlib.md5(usedforsecurity=False) if file.packed else hashlib.sha256()
    left = file.most_bytes + 1
    while left and (chunk := stream.read(min(BYTES_AT_A_TIME, left))):
        left -= len(chunk)
        checksum.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return checksum.hexdigest() if left else None
