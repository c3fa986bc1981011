"""The jobs of docs/contributing, carried out: each page's change applies, and its commands show what it promises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shell import ROOT, blocks

FOLDER = ROOT / "docs" / "contributing"
JOBS = sorted(page.stem for page in FOLDER.glob("*.md") if page.stem != "index")
SHIM = f'#!/bin/sh\nexec {sys.executable} -m vdae_bench "$@"\n'


def changed_copy(job: str, folder: Path) -> None:
    """The package with the change of a job, in a folder where it finds the records of this one."""
    for name in ("vdae_bench", "sweeps"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests" / "support").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "support" / "models.py", folder / "tests" / "support")
    (diff,) = blocks("diff", FOLDER / f"{job}.md")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    done = subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "results").mkdir()
    (folder / "results" / "continuous").symlink_to(ROOT / "results" / "continuous")


def test_seven_jobs_have_a_page() -> None:
    index = (FOLDER / "index.md").read_text()
    assert len(JOBS) == 6 and all(f"({job}.md)" in index for job in JOBS) and "how-to/data.md" in index


@pytest.mark.parametrize("job", JOBS)
def test_the_page_of_a_job_is_a_page(job: str) -> None:
    assert len((FOLDER / f"{job}.md").read_text().splitlines()) < 120


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("job", JOBS)
def test_a_job_does_what_its_page_says(job: str, tmp_path: Path) -> None:
    changed_copy(job, tmp_path)
    shim = tmp_path / "bin" / "vdae-bench"
    shim.parent.mkdir()
    shim.write_text(SHIM)
    shim.chmod(0o755)
    (commands,) = blocks("sh", FOLDER / f"{job}.md")
    (expected,) = blocks("text", FOLDER / f"{job}.md")
    path = f"{shim.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place = 0
    for line in expected.rstrip("\n").split("\n"):
        place = done.stdout.find(line, place)
        assert place >= 0, f"{line!r} is not in\n{done.stdout}"
        place += len(line)
