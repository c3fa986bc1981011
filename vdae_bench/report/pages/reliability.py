"""`reports/reliability.md`, from the raw files of `make chaos` alone: what was done to it, and what was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ValidationError

from vdae_bench.errors import UserError
from vdae_bench.report.style.markdown import code, commit_in_short, escape, table
from vdae_bench.store.layout import not_hidden
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.redact import redacted_command
from vdae_bench.system.words import counted

NAME = "reliability"


class ChaosRun(BaseModel):
    """A raw file, `results/chaos/<name>.json`: counts of what was done, and of faults found, which should all be 0."""

    title: str
    method: str
    done: dict[str, int]
    faults: dict[str, int]
    seconds: float
    started_at: str
    git_commit: str | None
    git_dirty: bool | None
    platform: str
    python: str
    torch: str
    command: Annotated[str, AfterValidator(redacted_command)]


def write(results: Path, name: str, run: ChaosRun) -> None:
    """Replace a raw file."""
    text = json.dumps(run.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    atomic.write(Store(results).chaos / f"{name}.json", text.encode())


def read(path: Path) -> ChaosRun:
    """The content of a raw file.

    Raises:
        UserError: it is no such file.
        EnvironmentFault: it cannot be read.
    """
    try:
        return ChaosRun.model_validate_json(atomic.read(path) or b"")
    except (ValueError, ValidationError) as error:
        raise UserError(
            f"{path} does not hold figures of `make chaos`; move the file away and run that command again"
        ) from error


def render_reliability(results: Path, reports: Path) -> dict[Path, bytes]:
    """The page by its path, with nothing written; nothing where there are no raw files."""
    runs = [read(path) for path in not_hidden(Store(results).chaos.glob("*.json"))]
    return {reports / f"{NAME}.md": page(runs).encode()} if runs else {}


LEFTOVERS = (
    "Checkpoints, leases and temporary files left over are counted after the command was given once more at the end, "
    "which clears what a kill after the last record left: before the checkpoint is removed, both it and the lease; "
    "after that, the lease; and where a waiting process took that lease over and found the records, the checkpoint "
    "alone. An early run that counted without that call had one left over; which of these it was was not recorded."
)
"""The limits of the count of leftovers."""


def page(runs: Sequence[ChaosRun]) -> str:
    """The page about these runs."""
    faults = sum(sum(each.faults.values()) for each in runs)
    verdict = "Nothing was lost, and nothing was wrong."
    if faults:
        verdict = f"**{counted(faults, 'fault')} {'was' if faults == 1 else 'were'} found.**"
    parts = [part for each in runs for part in _section(each)]
    return "\n\n".join(["# Reliability", verdict, LEFTOVERS, *parts]) + "\n"


def _section(run: ChaosRun) -> Iterator[str]:
    yield f"## {escape(run.title)}"
    yield escape(run.method)
    rows = [[escape(name), f"{count:,}"] for name, count in run.done.items()]
    rows += [[escape(name), f"**{count:,}**" if count else "0"] for name, count in run.faults.items()]
    yield table(["what", "count"], rows, right=["count"])
    commit = commit_in_short(run.git_commit, run.git_dirty)
    yield (
        f"{code(run.command)}, {run.seconds:.0f} s; {escape(run.started_at)}; {commit}; {escape(run.platform)}; "
        f"torch {escape(run.torch)}, Python {escape(run.python)}"
    )
