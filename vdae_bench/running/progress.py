"""Progress of a sweep: a live display on a terminal, plain lines elsewhere, silence on request."""

from __future__ import annotations

import functools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

from vdae_bench.data.registry import dims_of
from vdae_bench.data.units import score_text
from vdae_bench.spec.sweep import Cell
from vdae_bench.system.words import counted, duration


def scores_text(scores: Iterable[tuple[Cell, float | None]]) -> str:
    """A score of some runs in the unit of the tables: the mean over seeds of a cell, of several the best and worst."""
    by_cell: dict[Cell, list[float]] = {}
    for cell, nats in scores:
        if nats is not None and math.isfinite(nats):
            by_cell.setdefault(cell, []).append(nats)
    if not by_cell:
        return "not finite"
    dataset = next(iter(by_cell)).dataset
    means = [statistics.fmean(values) for values in by_cell.values()]
    best, worst = (
        score_text(each, dataset.partition("-")[0], dims_of(dataset) or 1) for each in (min(means), max(means))
    )
    return best if len(means) == 1 else f"{best.partition(' ')[0]} to {worst} over {counted(len(means), 'cell')}"


class Progress:
    """Plain lines: one when a group starts, one at most every few seconds (of each in turn), one when it ends."""

    SECONDS_BETWEEN = 10.0

    def __init__(self, total: Callable[[], float]) -> None:
        """`total` says the work of all groups, in any unit (FLOPs); not asked before there is something to show."""
        self._reckon = total
        self.before = 0.0
        self.started = self._heard = time.monotonic()
        self._first: float | None = None
        """Work done when it was first heard of: the speed is that from then on."""
        self._last: dict[str, float] = {}
        """When something was last printed of each group."""
        self._running: dict[str, float] = {}
        """Work done so far of each group that runs, by its label."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the display; plain lines have nothing to close."""

    @functools.cached_property
    def total(self) -> float:
        """Work of all groups of the sweep."""
        return max(self._reckon(), 1e-9)

    def say(self, line: str) -> None:
        """Print a line of its own; one that cannot be printed is lost, and no run with it."""
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)

    def group_started(self, label: str, number: int, groups: int) -> None:
        """Say that a group begins."""
        self.say(f"[{number}/{groups}] {label}")

    def update(self, label: str, phase: str, work: float, fraction: float | None) -> None:
        """Show how far a group is; `fraction` is None in a phase that is no part of its work, as the classifier."""
        within = self._within(label, work, fraction)
        now = time.monotonic()
        if now - self._last.get(label, 0.0) >= self.SECONDS_BETWEEN * len(self._running):
            self._last[label] = now
            self.say(f"  {label}: {phase}, {self.time_left(within)}")

    def group_ended(self, label: str, outcome: str, work: float) -> None:
        """Say how a group ended, and count its work as done."""
        self.before += work
        self._running.pop(label, None)
        self.say(f"  {label}: {outcome}")

    def _within(self, label: str, work: float, fraction: float | None) -> float:
        """Work done of all that runs; the time of what is part of no work does not count as time of it."""
        now = time.monotonic()
        if fraction is None:
            self.started += now - self._heard
        self._heard = now
        self._running[label] = work if fraction is None else work * fraction
        within = sum(self._running.values())
        if self._first is None:  # so that the start of workers is no time of it either
            self.started, self._first = now, self.before + within
        return within

    def time_left(self, within: float) -> str:
        """Estimate of the time left, at the speed so far."""
        done = min(self.total, self.before + within)
        gained, elapsed = done - (self._first or 0.0), time.monotonic() - self.started
        if gained < 0.01 * self.total or elapsed < 2:
            return "time left unknown"
        left = elapsed * (self.total - done) / gained
        return f"about {duration(left)} left" if round(left) else "almost done"


class QuietProgress(Progress):
    """Progress that prints only what a user must know."""

    def group_started(self, label: str, number: int, groups: int) -> None:
        """Print nothing."""

    def update(self, label: str, phase: str, work: float, fraction: float | None) -> None:
        """Print nothing."""

    def group_ended(self, label: str, outcome: str, work: float) -> None:
        """Print only a group that went wrong."""
        if "diverged" in outcome or "failed" in outcome:
            self.say(f"{label}: {outcome}")


class LiveProgress(Progress):
    """Bars: the sweep with the time left, and each group that runs with its epoch and -ELBO."""

    def __init__(self, total: Callable[[], float]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        super().__init__(total)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._sweep = self._bars.add_task("sweep", total=None, note="")
        self._groups: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(line, highlight=False, markup=False)

    def group_started(self, label: str, number: int, groups: int) -> None:
        """Add a bar for the group."""
        self._bars.update(self._sweep, description=f"sweep {number}/{groups}")
        self._groups[label] = self._bars.add_task(label, total=1.0, note="")

    def update(self, label: str, phase: str, work: float, fraction: float | None) -> None:
        """Move the bars of the group and of the sweep."""
        within = self._within(label, work, fraction)
        self._bars.update(self._groups[label], completed=1.0 if fraction is None else fraction, note=phase)
        self._bars.update(self._sweep, total=self.total, completed=self.before + within, note=self.time_left(within))

    def group_ended(self, label: str, outcome: str, work: float) -> None:
        """Replace the group's bar by a line."""
        if label in self._groups:
            self._bars.remove_task(self._groups.pop(label))
        super().group_ended(label, outcome, work)
        self._bars.update(
            self._sweep, total=self.total, completed=self.before, note=self.time_left(sum(self._running.values()))
        )


def choose_progress(total: Callable[[], float], quiet: bool) -> Progress:
    """The display that fits: silent, live on a terminal, else plain lines."""
    if quiet:
        return QuietProgress(total)
    return LiveProgress(total) if sys.stderr.isatty() else Progress(total)
