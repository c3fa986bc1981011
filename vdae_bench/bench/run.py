"""Runs cases and keeps what they found: the raw file is replaced after every case."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click

from vdae_bench.bench import entries, peers
from vdae_bench.bench.cases import Case
from vdae_bench.bench.entries import Entry, Environment
from vdae_bench.bench.ours import Setting
from vdae_bench.errors import UserError
from vdae_bench.store.provenance import provenance
from vdae_bench.store.records import Store
from vdae_bench.system import devices
from vdae_bench.system.words import nearest


@dataclass
class BenchOutcome:
    """The raw file, and why entries were skipped."""

    path: Path
    skipped: list[str] = field(default_factory=list)


def environment_of(setting: Setting, now: datetime) -> Environment:
    """Machine, libraries and command of this run."""
    origin = provenance("", setting.data.images.sha256, now, setting.context.command)
    device, threads = devices.describe(setting.context.device), setting.context.threads
    on_processor = device == "cpu"
    words = origin["platform"].partition(", ")[2] if on_processor else device
    words = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", words.lower())
    slug = "-".join(re.findall(r"[a-z0-9]+", words)) or "machine"
    return Environment(
        machine=f"{slug}-{threads}-thread{'s' if threads > 1 else ''}" if on_processor else slug,
        threads=threads,
        device=device,
        data=setting.data.name,
        libraries=peers.versions(),
        **{name: origin[name] for name in ("platform", "torch", "python", "started_at", "command")},
        git_commit=origin["git_commit"],
        git_dirty=origin["git_dirty"],
    )


def chosen(cases: Sequence[Case], word: str | None, on_processor: bool) -> list[Case]:
    """The cases whose name or unit has a word in it; all without a word. On a GPU, those that say something about it.

    Raises:
        UserError: there is none.
    """
    found = [case for case in cases if word is None or word.lower() in f"{case.name}\n{case.per}".lower()]
    if not found:
        names = [case.name for case in cases]
        raise UserError(
            f"no case has {word!r} in its name or unit{nearest(str(word), names)}; the cases are {', '.join(names)}"
        )
    useful = [case for case in found if on_processor or case.on_gpu]
    if not useful:
        raise UserError(f"{', '.join(case.name for case in found)}: about processors only; use --device cpu")
    return useful


def run_cases(
    cases: Sequence[Case],
    setting: Setting,
    folder: Path,
    only: str | None = None,
    rounds: int | None = None,
    say: Callable[[str], object] = click.echo,
) -> BenchOutcome:
    """Run the cases that `only` names and write `<folder>/bench/<machine>.json` after each."""
    run = environment_of(setting, datetime.now(UTC))
    outcome = BenchOutcome(Store(folder).bench / f"{run.machine}.json")
    order = [case.name for case in cases]
    on_processor = setting.context.device.type == "cpu"
    for case in chosen(cases, only, on_processor):
        started = time.monotonic()
        devices.release_memory()  # the models of the case before
        found = case.run(setting, rounds, run)
        if not on_processor:  # targets are for two cores
            found = [entry.model_copy(update={"target": None}) for entry in found]
        entries.write_entries(outcome.path, entries.merged(entries.read_entries(outcome.path), found, order))
        outcome.skipped += [entry.skipped for entry in found if entry.skipped]
        say(f"{case.name} ({time.monotonic() - started:.0f} s)")
        for entry in found:
            say(f"  {line(entry)}")
    return outcome


def line(entry: Entry) -> str:
    """An entry for the terminal."""
    if entry.skipped:
        return f"{entry.name}: skipped, {entry.skipped}"
    if entry.noise:
        noise = entry.noise
        return f"{entry.name}: variance {entry.ratio:.3g} times, {noise.equal_flops:.3g} times for as many FLOPs"
    if entry.profile:
        return f"{entry.name}: {1 - entry.profile.matrix_products:.0%} outside matrix products"
    parts = [f"{entry.ours_seconds:.4g} s"]
    if entry.ratio is not None and entry.spread is not None:
        parts.append(f"{entry.peer}: {entry.peer_seconds:.4g} s")
        parts.append(f"ratio {entry.ratio:.2f} ({entry.spread[0]:.2f} to {entry.spread[1]:.2f})")
    if entry.peak_fraction is not None:
        parts.append(f"{entry.peak_fraction:.0%} of peak")
    if entry.target is not None:
        parts.append(f"target {entry.direction} {entry.target:g} {'met' if entry.met else 'MISSED'}")
    return f"{entry.name}: {', '.join(parts)}"
