"""IDX files in folders: finding them, and telling the genuine from any other by SHA-256.

A file gets its canonical name in a folder only after its digest is right: `copy_checked` is the one way in.
"""

import hashlib
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO

from vdae_bench.data.idx import BROKEN_GZIP, open_idx
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


def content_sha256(path: Path, file: IdxFile) -> str | None:
    """Return the SHA-256 of the uncompressed content of `path`.

    None if it cannot be unpacked, or is longer than `file`: unpacking stops there, for gigabytes fit into
    a small .gz.
    """
    try:
        with open_idx(path) as stream:
            return _digest_while_copying(stream, file, None)
    except BROKEN_GZIP:
        return None


def is_complete(folder: Path, dataset: ImageFiles) -> bool:
    """Tell if `folder` has the four genuine files, uncompressed and under their canonical names.

    Always by digest (0.05 s for MNIST): a remembered "verified" would hide a file damaged since.
    """
    return all(
        (path := folder / file.name).is_file()
        and path.stat().st_size == file.size
        and content_sha256(path, file) == file.sha256
        for file in dataset.files
    )


def copy_checked(stream: BufferedIOBase, file: IdxFile, folder: Path, origin: str) -> None:
    """Copy the uncompressed `stream` to `folder`, where it gets the name of `file` if it is genuine.

    Raises:
        SourceError: it is damaged, too long or has another digest.
    """
    partial = folder / f"{file.name}.partial"
    try:
        with partial.open("wb") as sink:
            found = _digest_while_copying(stream, file, sink)
        _require_digest(found, file, origin)
        partial.replace(folder / file.name)
    except BROKEN_GZIP as fault:
        raise SourceError(f"{origin} is damaged or broke off ({fault})") from fault


def copy_folder(source: Path, dataset: ImageFiles, target: Path) -> None:
    """Copy those files of the data set that `target` lacks from the folder `source`, unpacked and checked.

    Raises:
        SourceError: a file is missing from `source`, or not genuine.
    """
    for file in missing_files(target, dataset):
        path = _require_file(source, file)
        with open_idx(path) as stream:
            copy_checked(stream, file, target, str(path))


def missing_files(folder: Path, dataset: ImageFiles) -> list[IdxFile]:
    """Return the files of the data set that `folder`, filled by `copy_checked`, does not have yet."""
    return [file for file in dataset.files if not (folder / file.name).is_file()]


def require_genuine(folder: Path, dataset: ImageFiles) -> None:
    """Check the four files in `folder`, under any accepted name, plain or gzip.

    Raises:
        SourceError: a file is missing, or not genuine.
    """
    for file in dataset.files:
        path = _require_file(folder, file)
        _require_digest(content_sha256(path, file), file, str(path))


def _require_file(folder: Path, file: IdxFile) -> Path:
    path = find_file(folder, file)
    if path is None:
        raise SourceError(f"{folder} has no {file.name} (nor {', '.join(file.accepted_names[1:])})")
    return path


def _require_digest(found: str | None, file: IdxFile, origin: str) -> None:
    if found is None:
        raise SourceError(f"{origin} is damaged or longer than the {file.size} bytes of {file.name}")
    if found != file.sha256:
        raise SourceError(f"{origin} is not the published {file.name}: SHA-256 expected {file.sha256}, found {found}")


def _digest_while_copying(stream: BufferedIOBase, file: IdxFile, sink: BinaryIO | None) -> str | None:
    """Hash (and copy) at most one byte more than `file` has; None if there is one."""
    checksum = hashlib.sha256()
    left = file.size + 1
    while left and (chunk := stream.read(min(BYTES_AT_A_TIME, left))):
        left -= len(chunk)
        checksum.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return checksum.hexdigest() if left else None
