"""The printed job array on a real Slurm of one node, where there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest

from tests.support.runs import numbers, wait_for, working
from tests.support.specs import PAIR


def ask(*words: str) -> str:
    """What a command of Slurm prints; it fails for a job that is forgotten."""
    return subprocess.run(words, capture_output=True, text=True).stdout


def is_over(job: str) -> bool:
    time.sleep(0.2)  # not to weigh on the controller
    return not ask("squeue", "--noheader", "--jobs", job)


@pytest.fixture
def submit(shell, monkeypatch):
    if not shutil.which("sbatch") or len(set(ask("sinfo", "--noheader", "--Node", "--format=%N").split())) != 1:
        pytest.skip("needs a running Slurm of one node, which sees this folder")
    command = shell.folder / "vdae-bench"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m vdae_bench "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(shell.folder), prepend=":")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(shell.folder)
    jobs = []

    def submit(script: str) -> str:
        (shell.folder / "array.sh").write_text(script)
        jobs.append(ask("sbatch", "--parsable", "array.sh").strip())
        assert jobs[-1].isdecimal(), "not submitted"
        return jobs[-1]

    yield submit
    ask("scancel", *jobs)


@pytest.mark.slow
def test_a_job_array_that_is_requeued_at_its_limit_then_cancelled_then_finished(shell, submit):
    PAIR.but(protocol={"epochs": 40}).write(shell.folder)
    assert shell.run("sweep", "tiny.yaml", "--results", "whole", "-q", "--threads", "1").returncode == 0
    results = shell.folder / "results"

    printed = shell.run("plan", "tiny.yaml", "--format", "slurm", "--threads", "1", "--shards", "2").stdout
    job = submit(printed.replace("--time-limit 55m", "--time-limit 0.1s").replace("--array=1-2", "--array=1-1"))
    wait_for(lambda: "Restarts=1" in ask("scontrol", "show", "job", job))
    ask("scancel", job)  # Slurm holds what was requeued for two minutes
    wait_for(lambda: is_over(job))
    assert list(results.rglob("*.pt")) and not numbers(results)

    job = submit(printed)
    wait_for(lambda: working(results))
    ask("scancel", job)
    wait_for(lambda: is_over(job))
    assert not list(results.rglob("*.lease")), "killed before it had stopped"

    job = submit(printed)
    wait_for(lambda: is_over(job))
    assert numbers(results) == numbers(shell.folder / "whole")
