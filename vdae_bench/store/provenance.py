"""Where a number comes from: the code's commit, the libraries, the machine, the command."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from vdae_bench import __version__
from vdae_bench.system.redact import redacted_command

PACKAGE = Path(__file__).parents[1]
OUTSIDE_RESULTS = ("--", ":/", ":!/results", ":!/reports")

Part = Mapping[str, Any]
"""The code, libraries, machine, device and threads of a part of a run, and the step that it began at."""


def _git(*words: str) -> str | None:
    try:
        # A changed file may hold any bytes.
        how: Any = {"encoding": "utf-8", "errors": "surrogateescape"}
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, timeout=10, check=True, **how
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
    changes = _git("status", "--porcelain", "--untracked-files=no", *OUTSIDE_RESULTS)
    code_changes()
    return (commit or "").strip() or None, None if changes is None else bool(changes.strip())


@functools.cache
def code_changes() -> str | None:
    """Digest of what was changed in this checkout after its commit, which tells two dirty states apart."""
    changes = _git("diff", "HEAD", *OUTSIDE_RESULTS)
    return hashlib.sha256(changes.encode(errors="surrogateescape")).hexdigest()[:12] if changes else None


def origin_of_code() -> dict[str, Any]:
    """The code and the libraries of this process, and the machine that it runs on."""
    import torch

    commit, dirty = code_state()
    return {
        "package_version": __version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "torch": str(torch.__version__),  # a class of its own, which a checkpoint would not load
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {_processor()}",
    }


def provenance(
    run_digest: str, dataset_sha256: str, started_at: datetime, command: str, parts: Sequence[Part] = ()
) -> dict[str, Any]:
    """The `provenance` entry of a record; `command` is the line that made it.

    Where several codes or machines took `parts` in a run, each is listed; the entry's own fields are the last one's.
    """
    return {
        **origin_of_code(),
        "dataset_sha256": dataset_sha256,
        "run_digest": run_digest,
        "started_at": started_at.astimezone(UTC).isoformat(timespec="seconds"),
        "command": redacted_command(command),
        **({"parts": list(parts)} if len(parts) > 1 else {}),
    }


def this_part(device: str, threads: int) -> Part:
    """The part that this process takes in a run, from its first step on."""
    return {**origin_of_code(), "git_changes": code_changes(), "device": device, "threads": threads, "from_step": 0}


def continued(parts: Sequence[Part], now: Part, step: int) -> list[Part]:
    """The parts of a run that goes on at a step: one more, unless the same code goes on on the same machine."""
    return list(parts) if not _differing(parts[-1], now) else [*parts, {**now, "from_step": step}]


def foreign_parts(parts: Sequence[Part], steps: int) -> Iterator[str]:
    """A remark on each part of a run but the last: its steps, and in what it differs from the last."""
    for part, following in pairwise(parts):
        first, last = part["from_step"] + 1, following["from_step"]
        done = f"steps {first} to {last} of {steps}" if first <= last else f"a part of the evaluation after step {last}"
        differing = [f"{name} {part[name]} (then {parts[-1].get(name)})" for name in _differing(part, parts[-1])]
        if differing:  # else it came back to where it began
            yield f"{done}: with {', '.join(differing)}"


def _differing(part: Part, other: Part) -> list[str]:
    return [name for name in part if name != "from_step" and part[name] != other.get(name)]


@functools.cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"
