"""Fetching the four files of a data set, verified, into a folder.

A folder the user names is used or refused. Otherwise the cache is used, filled if need be from the first of
`sources` that have the genuine files. Nothing enters it before all four are verified.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from vdae_bench.data.files import (
    SourceError,
    checksum_of,
    copy_folder,
    data_folder,
    find_file,
    is_complete,
    missing_files,
    require_genuine,
)
from vdae_bench.data.registry import ImageFiles, find_dataset
from vdae_bench.data.sources import Report, sources
from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.system.paths import cache_folder, user_path
from vdae_bench.system.redact import redacted

FOLDER_VARIABLE = "VDAE_BENCH_DATA"
LOCK_SECONDS = 120.0
LEFTOVER_SECONDS = 24 * 3600

_log = logging.getLogger(__name__)


class FileCheck(NamedTuple):
    """One file as `verify` found it: its path, whether it is genuine, its checksum if it could be read to its end."""

    file: Path
    ok: bool
    digest: str | None

    @property
    def there(self) -> bool:
        """True where there is such a file, genuine or not."""
        return self.file.is_file()

    @property
    def found(self) -> str:
        """Its checksum, or why it has none."""
        return self.digest or ("cut off, damaged or too long" if self.there else "missing")


def cache_path(name: str) -> Path:
    """Return the folder where the data set `name` is kept once fetched.

    Raises:
        UserError: there is no such data set.
    """
    dataset = find_dataset(name)
    # Two specs may call different images of a user's by one name.
    return cache_folder() / (f"own/{dataset.name}-{dataset.sha256[:16]}" if dataset.own else dataset.name)


def fetch(name: str, folder: Path | None = None, report: Report = _log.info) -> Path:
    """Return a folder that holds the four files of a data set, verified by checksum.

    Args:
        name: the data set, as `mnist`.
        folder: where the user has the files, plain or .gz; if None, the environment variable VDAE_BENCH_DATA
            may say. A folder named in either way is all there is: nothing is downloaded.
        report: takes a line about each thing that takes time.

    Raises:
        UserError: no such data set, or the user's folder does not have its four genuine files.
        EnvironmentFault: no source has them, or the cache cannot be written.
    """
    dataset = find_dataset(name)
    users = None if dataset.own else _users_folder(folder)
    if users is not None:
        with _explained_faults(users):
            return _from_users_folder(users, dataset)
    target = cache_path(name)
    with _explained_faults(target):
        if not is_complete(target, dataset):
            with _lock(target, report):
                # Another process may have fetched it while this one waited.
                if not is_complete(target, dataset):
                    _fill_from_sources(dataset, target, report)
    return target


def verify(name: str, folder: Path | None = None) -> list[FileCheck]:
    """Check each file of a data set where it is: in the user's folder, else in the cache. Fetches nothing.

    Raises:
        UserError: there is no such data set.
        EnvironmentFault: a file cannot be read.
    """
    dataset = find_dataset(name)
    users = None if dataset.own else _users_folder(folder)
    place = cache_path(name) if users is None else data_folder(users, dataset)
    checks = []
    with _explained_faults(place):
        for file in dataset.files:
            path = find_file(place, file)
            found = checksum_of(path, file) if path else None
            checks.append(FileCheck(path or place / file.kept_as, found == file.checksum, found))
    return checks


@contextmanager
def _explained_faults(place: Path) -> Iterator[None]:
    """Turn faults of this machine, at `place` unless they say where, into words."""
    try:
        yield
    except OSError as fault:
        raise EnvironmentFault(
            f"cannot read or write {fault.filename or place}: {fault.strerror or fault}; free space, change "
            "permissions, set XDG_CACHE_HOME to another folder, or give a data folder that has the files"
        ) from fault


def _users_folder(folder: Path | None) -> Path | None:
    named = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    return user_path(named) if named else None


def _from_users_folder(folder: Path, dataset: ImageFiles) -> Path:
    """Return the user's own folder if it can be read as it is, else the cache with the same content."""
    if not folder.is_dir():
        raise UserError(f"the data folder {folder} does not exist; give none, and {dataset.name} is downloaded")
    place = data_folder(folder, dataset)
    if is_complete(place, dataset):
        return place
    try:
        require_genuine(place, dataset)
        target = cache_path(dataset.name)
        if not is_complete(target, dataset):
            with _staging(target) as staging:
                copy_folder(place, dataset, staging)
                _publish(staging, dataset, target)
    except SourceError as fault:
        raise UserError(
            f"{fault}; give a data folder (--data, or {FOLDER_VARIABLE}) with the four files of {dataset.name}, "
            f"{'as published' if dataset.train_images.packed else 'plain or .gz'}, or none to download them"
        ) from fault
    return target


def _fill_from_sources(dataset: ImageFiles, target: Path, report: Report) -> None:
    _sweep(target)
    if target.is_dir():
        report(f"the copy of {dataset.name} in {target} is incomplete or damaged; downloading it again")
    reasons = []
    with _staging(target) as staging:
        for source in sources(dataset):
            try:
                source.take(staging, report)
            except SourceError as fault:
                reasons.append(redacted(f"{source.label}: {fault}"))
                report(reasons[-1])
            # What one source gave before it failed is verified, and kept for the next to complete.
            if not missing_files(staging, dataset):
                _publish(staging, dataset, target)
                return
    names = ", ".join(file.kept_as for file in dataset.files)
    plain = "" if any(file.packed for file in dataset.files) else "; plain or .gz"
    tried = "".join(f"\n  {line}" for line in reasons) or " nothing, because it has no source"
    raise EnvironmentFault(
        f"{dataset.name} cannot be downloaded: put its four files ({names}{plain}) into a folder "
        f"and give it as the data folder (--data, or {FOLDER_VARIABLE}). Tried:{tried}"
    )


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Make a folder beside `target`, so that a file is moved there by renaming; remove it afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.partial-"
    with TemporaryDirectory(prefix=prefix, dir=target.parent, ignore_cleanup_errors=True) as staging:
        yield Path(staging)


def _publish(staging: Path, dataset: ImageFiles, target: Path) -> None:
    """Move the four verified files into place.

    One by one, which needs no lock: whoever looks in between finds the folder incomplete, and another process
    doing the same puts the same bytes there.
    """
    target.mkdir(exist_ok=True)
    for file in dataset.files:
        (staging / file.kept_as).replace(target / file.kept_as)


def _sweep(target: Path) -> None:
    """Remove what killed processes left behind; nobody fetches for a day."""
    for leftover in target.parent.glob(f".{target.name}.partial-*"):
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _lock(target: Path, report: Report) -> Iterator[None]:
    """Let one process fetch while others wait, which spares the network.

    All is correct without it, so it is not waited for long. If its holder is killed, the system frees it.
    """
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(f"waiting for another process that is downloading {target.name}")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            report(f"that process is not done after {LOCK_SECONDS:g} s; downloading without waiting longer")
    try:
        yield
    finally:
        lock.release()
