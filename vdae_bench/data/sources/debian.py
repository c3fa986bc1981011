"""The Debian package: as it is installed, else downloaded with apt and unpacked without installing it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from vdae_bench.data.files import SourceError, copy_folder
from vdae_bench.data.registry import ImageFiles
from vdae_bench.data.sources import Report, Source

INSTALLED = Path("/usr/share/datasets")
PROGRAMS = ("apt-get", "dpkg-deb")
PACKAGE_SECONDS = 300
IMPATIENT = ("Acquire::Retries=0", "Acquire::http::Timeout=10", "Acquire::https::Timeout=10")


def sources(dataset: ImageFiles) -> Iterator[Source]:
    """Yield the installed package, if it is there, and the Debian archive."""
    if dataset.debian_package is None:
        return
    if (INSTALLED / dataset.name).is_dir():
        yield Source(str(INSTALLED / dataset.name), partial(_take_installed, dataset))
    yield Source(f"Debian package {dataset.debian_package}", partial(_take_package, dataset))


def _take_installed(dataset: ImageFiles, folder: Path, report: Report) -> None:
    report(f"copying {INSTALLED / dataset.name}")
    copy_folder(INSTALLED / dataset.name, dataset, folder)


def _take_package(dataset: ImageFiles, folder: Path, report: Report) -> None:
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        raise SourceError(f"this system has no {' and no '.join(absent)}")
    report(f"downloading the Debian package {dataset.debian_package}")
    with TemporaryDirectory(dir=folder) as scratch:
        options = [word for option in IMPATIENT for word in ("-o", option)]
        _run(["apt-get", "-q", *options, "download", str(dataset.debian_package)], Path(scratch))
        archive = next(Path(scratch).glob("*.deb"), None)
        if archive is None:
            raise SourceError("apt-get downloaded nothing")
        _run(["dpkg-deb", "-x", archive.name, "content"], Path(scratch))
        copy_folder(Path(scratch, "content", *INSTALLED.parts[1:], dataset.name), dataset, folder)


def _run(command: list[str], folder: Path) -> None:
    """Run a program in `folder`; its last line is the reason if it fails."""
    # Into a file: after a time-out, a pipe would be waited for as long as a child of the program holds it.
    log = folder / "log"
    with log.open("wb") as sink:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=sink,
                env=os.environ | {"LC_ALL": "C"},
                timeout=PACKAGE_SECONDS,
            )
        except subprocess.TimeoutExpired as fault:
            raise SourceError(f"{command[0]} took more than {PACKAGE_SECONDS} s") from fault
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise SourceError(f"{command[0]} failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
