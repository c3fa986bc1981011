"""Where a number comes from: the code's commit, the libraries, the machine, the command."""

from __future__ import annotations

import functools
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vdae_bench import __version__
from vdae_bench.system.redact import redacted_command

PACKAGE = Path(__file__).parents[1]


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


@functools.cache
def code_state() -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout that this code was imported from; (None, None) for an installed copy.

    Dirty looks at tracked files outside results/ and reports/. Called once at start-up and cached: what counts is the
    code that was imported, not what the tree became since.
    """
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/results", ":!/reports")
    return (commit or "").strip() or None, None if changes is None else bool(changes.strip())


def provenance(run_digest: str, dataset_sha256: str, started_at: datetime, command: str) -> dict[str, Any]:
    """The `provenance` entry of a record; `command` is the line that made it."""
    import torch

    commit, dirty = code_state()
    return {
        "package_version": __version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {_processor()}",
        "dataset_sha256": dataset_sha256,
        "run_digest": run_digest,
        "started_at": started_at.astimezone(UTC).isoformat(timespec="seconds"),
        "command": redacted_command(command),
    }


@functools.cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"
