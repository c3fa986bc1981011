"""The Debian package, with stand-ins for apt-get and dpkg-deb on the path."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.images import TinySet
from vdae_bench.data.fetch import cache_path, fetch
from vdae_bench.data.sources import debian
from vdae_bench.errors import EnvironmentFault

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts here")


@pytest.fixture
def programs(tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the path hold a working apt-get and dpkg-deb of the test's, and sh, alone."""
    tiny.use(debian_package="dataset-tiny")
    monkeypatch.setattr(debian, "INSTALLED", tmp_path / "usr" / "share" / "datasets")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sleep", "mkdir", "cp"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    inner = f"content/{(tmp_path / 'usr/share/datasets/tiny').relative_to('/')}"
    program(folder / "apt-get", 'for package; do :; done; echo deb > "${package}_1_all.deb"')
    program(folder / "dpkg-deb", f'[ "$1" = -x ] && mkdir -p {inner} && cp {tiny.folder}/* {inner}')
    return folder


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def is_genuine(tiny: TinySet) -> bool:
    return all((cache_path("tiny") / file.name).read_bytes() == tiny.plain(file) for file in tiny.files.files)


@pytest.mark.usefixtures("programs")
def test_the_package_is_downloaded_and_unpacked_not_installed(tiny: TinySet, tmp_path: Path) -> None:
    fetch("tiny")
    assert is_genuine(tiny)
    assert not debian.INSTALLED.exists()


def test_an_installed_package_needs_no_program(tiny: TinySet, programs: Path) -> None:
    for name in debian.PROGRAMS:
        (programs / name).unlink()
    installed = debian.INSTALLED / "tiny"
    installed.mkdir(parents=True)
    for file in tiny.files.files:
        (installed / f"{file.name}.gz").write_bytes(tiny.zipped(file))
    fetch("tiny")
    assert is_genuine(tiny)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("apt-get", None, "this system has no apt-get"),
        ("dpkg-deb", None, "this system has no dpkg-deb"),
        (
            "apt-get",
            "echo W: noise >&2; echo 'E: Unable to locate package' >&2; exit 100",
            "E: Unable to locate package",
        ),
        ("apt-get", "exit 3", "apt-get failed: exit status 3"),
        ("apt-get", "exit 0", "apt-get downloaded nothing"),
        ("dpkg-deb", "mkdir content", "has no train-images-idx3-ubyte"),
    ],
)
def test_what_fails_is_named(tiny: TinySet, programs: Path, name: str, body: str | None, words: str) -> None:
    (programs / name).unlink()
    if body is not None:
        program(programs / name, body)
    with pytest.raises(EnvironmentFault, match=f"Debian package dataset-tiny: .*{words}"):
        fetch("tiny")
    assert not cache_path("tiny").exists()


def test_a_program_that_hangs_is_ended_though_its_child_lives_on(
    tiny: TinySet, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "PACKAGE_SECONDS", 0.3)
    program(programs / "apt-get", "sleep 3 & wait")
    start = time.perf_counter()
    with pytest.raises(EnvironmentFault, match=r"apt-get took more than 0\.3 s"):
        fetch("tiny")
    assert time.perf_counter() - start < 2


def test_the_package_is_asked_for_without_long_waits(tiny: TinySet, programs: Path, tmp_path: Path) -> None:
    program(programs / "apt-get", f'echo "$@" "$LC_ALL" > {tmp_path}/words; exit 1')
    with pytest.raises(EnvironmentFault):
        fetch("tiny")
    words = (tmp_path / "words").read_text().split()
    assert words[-3:] == ["download", "dataset-tiny", "C"]
    assert "Acquire::Retries=0" in words and os.environ.get("LC_ALL") != "C"
