"""The raw files of `make chaos`."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from vdae_bench.report.pages.reliability import ChaosRun, write
from vdae_bench.store.provenance import code_state

RESULTS = Path("results")


def keep(
    name: str, title: str, method: str, done: dict[str, int], faults: dict[str, int], started: datetime, command: str
) -> None:
    """Write the figures of one chaos run, with the commit and the command."""
    commit, dirty = code_state()
    ended = datetime.now(UTC)
    chaos_run = ChaosRun(
        title=title,
        method=method,
        done=done,
        faults=faults,
        seconds=(ended - started).total_seconds(),
        started_at=started.isoformat(timespec="seconds"),
        git_commit=commit,
        git_dirty=dirty,
        platform=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        command=command,
    )
    write(RESULTS, name, chaos_run)


def keep_inputs(tried: dict[str, int], started: datetime) -> None:
    """What `pytest tests/chaos` tried; it fails, and nothing is kept, where any of them gets through."""
    keep(
        "inputs",
        "Hostile inputs",
        "Valid specs, records, results folders, checkpoints, data files and command lines with parts replaced, "
        "removed, repeated, cut or flipped, and plain rubbish (Hypothesis). Each has to end in success, or in an exit "
        "code and a sentence; what is torn is set aside whole; a checkpoint with any bit changed is not used; where "
        "one file of a results folder is hostile, the others are reported all the same, and nothing there is changed.",
        {f"hostile {kind}": count for kind, count in sorted(tried.items())} | {"in all": sum(tried.values())},
        {"tracebacks, partial writes, or files used that should not be": 0},
        started,
        "VDAE_BENCH_CHAOS=1 python -m pytest tests/chaos",
    )
