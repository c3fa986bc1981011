"""The jobs of docs/contributing, carried out: each page's change applies, and its commands show what it promises."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.support.shell import ROOT, Forked, blocks, run_verb_of

FOLDER = ROOT / "docs" / "contributing"
JOBS = sorted(page.stem for page in FOLDER.glob("*.md") if page.stem != "index")


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


def output_of(line: str, copy: Path) -> str:
    """What a line of a page prints, where `vdae-bench` is a copy of the package."""
    name, *words = shlex.split(line)
    if name != "vdae-bench":
        return subprocess.run(["bash", "-c", line], cwd=copy, text=True, capture_output=True, check=True).stdout
    process = Forked(partial(run_verb_of, copy, *words), copy, {"PYTHONPATH": str(copy)})
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def test_seven_jobs_have_a_page() -> None:
    index = (FOLDER / "index.md").read_text()
    assert len(JOBS) == 6 and all(f"({job}.md)" in index for job in JOBS) and "how-to/data.md" in index


@pytest.mark.parametrize("job", JOBS)
def test_the_page_of_a_job_is_a_page(job: str) -> None:
    assert len((FOLDER / f"{job}.md").read_text().splitlines()) < 120


@pytest.mark.parametrize("job", JOBS)
def test_the_change_of_a_job_applies(job: str) -> None:
    (diff,) = blocks("diff", FOLDER / f"{job}.md")
    done = subprocess.run(["git", "apply", "--check", "-"], cwd=ROOT, input=diff, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("job", JOBS)
def test_a_job_does_what_its_page_says(job: str, tmp_path: Path) -> None:
    changed_copy(job, tmp_path)
    (commands,) = blocks("sh", FOLDER / f"{job}.md")
    (expected,) = blocks("text", FOLDER / f"{job}.md")
    said = "".join(output_of(line, tmp_path) for line in commands.splitlines())
    place = 0
    for line in expected.rstrip("\n").split("\n"):
        place = said.find(line, place)
        assert place >= 0, f"{line!r} is not in\n{said}"
        place += len(line)
