"""The processes at work now, by leases and checkpoints alone: no training waits for it, and no number depends on it."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vdae_bench.errors import VdaeBenchError
from vdae_bench.report.numbers.runs import Run, is_asked_for, load_runs, total_seconds
from vdae_bench.report.numbers.units import curve_unit
from vdae_bench.report.style.figure import STYLES
from vdae_bench.running.at_work import AtWork, at_work
from vdae_bench.site.content import curve_of
from vdae_bench.site.home import home_page
from vdae_bench.store.asked import Asked, read_asked
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted, duration, visible
from vdae_bench.training.checkpoint import Unusable, read_state

LARGEST_CHECKPOINT = 256 * 2**20
"""Bytes of a checkpoint whose curve is read: a larger one would take memory from the training."""
SHARE = 0.05
"""Share of the time that drawing the page anew may take: where it takes long it is done less often."""
LONGEST_PAUSE = 60.0
"""Seconds between two drawings at most, however slow the first was on a busy machine."""
SEARCH = "search "
"""Begin of the label of a group of trials."""
LINES = 8
"""Curves of a process at most."""

Place = tuple[str, str]
"""Sweep and protocol."""
Mark = tuple[int, int]
"""Time and size by which a file is known to be the same."""
_log = logging.getLogger(__name__)


@dataclass
class _Pace:
    """A task as it was first seen, and when it was seen to move last, to tell the time left by."""

    since: float
    begun: float
    moved_at: float
    fraction: float

    def left(self, now: float, fraction: float) -> float | None:
        """Seconds left at the speed up to its last move, less those since; None before it has moved."""
        if fraction != self.fraction:
            self.moved_at, self.fraction = now, fraction
        moved = self.fraction - self.begun
        if moved <= 0:
            return None
        return max(0.0, (1 - fraction) * (self.moved_at - self.since) / moved - (now - self.moved_at))


@dataclass
class Watch:
    """The page of a results folder, drawn again when there are new records, and what runs now.

    `place` is the sweep and protocol whose processes are shown; None for all. What is said of now counts the files that
    are there now, each read once, whatever the page shows.
    """

    store: Store
    place: Place | None = None
    _page: str = ""
    _version: str = ""
    _due: float = 0.0
    _busy: bool = False
    _runs: dict[Path, tuple[Mark, Run | None]] = field(default_factory=dict)
    _paces: dict[tuple[Path, int], _Pace] = field(default_factory=dict)
    _states: dict[Path, tuple[Mark, dict[str, Any] | None]] = field(default_factory=dict)
    _drawing: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def page(self) -> str:
        """The page as it was drawn last."""
        return self._page

    def draw(self) -> None:
        """Draw the page anew where there are other records than on it, unless that was done just now for trainings."""
        if not self._drawing.acquire(blocking=False):
            return
        try:
            marks = _marks_of(self.store)
            version = hashlib.sha256(repr(sorted(marks.items())).encode(errors="surrogateescape")).hexdigest()
            if (self._page and version == self._version) or (self._busy and time.monotonic() < self._due):
                return
            began = time.monotonic()
            runs = load_runs(self.store)
            page = home_page(runs, self.store.root / "index.html", self.store.root, live=version)
            self._page, self._version = page, version
            self._runs |= {run.path: (marks[run.path], run) for run in runs if run.path in marks}
            took = time.monotonic() - began
            self._due = time.monotonic() + min(took / SHARE, LONGEST_PAUSE)
        finally:
            self._drawing.release()

    def now(self) -> dict[str, Any]:
        """The processes and their curves, for the page; `version` says which page is there to be loaded."""
        try:
            return self._now()
        except (VdaeBenchError, OSError) as error:  # a record of another user, say, that cannot be read at the moment
            return {"version": self._version, "said": visible(str(error)), "processes": []}

    def _now(self) -> dict[str, Any]:
        with self._looking:
            processes, said, busy = list[dict[str, Any]](), list[str](), False
            marks = _marks_of(self.store)
            for place in [self.place] if self.place else self.store.places():
                found, kept = list(at_work(self.store, *place)), list(self.store.checkpoint_paths(*place))
                if not (found or kept or self.place):
                    continue
                asked = read_asked(self.store, *place)
                there = list(self._there(place, asked, marks))
                shown = [self._process(place, each, asked) for each in found]
                working = [each for each in found if not each.gone]
                stopped = not working and self._is_stopped(kept, asked, there)
                if shown or stopped or self.place:
                    said.append(self._said(place, asked, there, working, shown, stopped))
                processes, busy = processes + shown, busy or bool(working)
            self._busy = busy
            return {"version": self._version, "said": " ".join(said) or "Nothing runs.", "processes": processes}

    def _there(self, place: Place, asked: Asked | None, marks: Mapping[Path, Mark]) -> Iterator[Run]:
        """The runs asked for that have a record now; all that have one where nothing says which were asked for."""
        for path, mark in marks.items():
            if self.store.place(path)[:2] != place:
                continue
            if self._runs.get(path, (None,))[0] != mark:
                record = self.store.read(path)
                self._runs[path] = mark, Run(path, *place, record) if record else None
            run = self._runs[path][1]
            if run and (asked is None or is_asked_for(replace(run, asked=asked))):
                yield run

    def _is_stopped(self, kept: Iterable[Path], asked: Asked | None, there: Iterable[Run]) -> bool:
        """True where a checkpoint has a run asked for without a record: the same command goes on from it."""
        wanted = {digest for each in (asked.cells if asked else ()) for digest in each.run_digests[: each.seeds]}
        missing = wanted - {run.record.run_digest for run in there}
        states = (self._state([path], largest=math.inf) for path in (kept if missing else ()))  # no training waits
        return any(missing & set(map(str, state["runs"] or ())) for state in states if state)

    def _said(
        self,
        place: Place,
        asked: Asked | None,
        there: Sequence[Run],
        working: Sequence[AtWork],
        shown: Sequence[dict[str, Any]],
        stopped: bool,
    ) -> str:
        """How many runs of a sweep are there, and when it will be through at the speed of those."""
        wanted = sum(asked.wanted.values()) if asked else len(there)
        runs = f"{len(there)} of {counted(wanted, 'run')} there, " if wanted else ""  # a search asks for none
        words = f"{', '.join(place)}: {runs}"
        if stopped:
            return f"{words}stopped after a checkpoint; repeat the command."
        words += f"{counted(len(working), 'process', 'processes')} at work"
        trained = [run for run in there if run.record.curve.epoch]
        if not (working and trained and len(there) < wanted):
            return f"{words}."
        begun = sum((each["share"] or 0.0) * each["runs"] for each in shown)
        seconds = total_seconds(trained) / len(trained) * max(0.0, wanted - len(there) - begun) / len(working)
        return f"{words}, about {duration(seconds)} left by the runs that are there."

    def _process(self, place: Place, each: AtWork, asked: Asked | None) -> dict[str, Any]:
        left, now = None, time.monotonic()
        if each.fraction is not None and not each.gone:
            pace = self._paces.setdefault((each.lease, each.process), _Pace(now, each.fraction, now, each.fraction))
            left = pace.left(now, each.fraction)
        unit, curves, state = "", list[dict[str, Any]](), self._state(each.checkpoints) or {}
        try:
            unit, curves = _curves(each.label, state, asked)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:  # of another version
            _log.debug("%s has no curve that is read: %s", each.lease, error)
        return {
            "id": f"{'/'.join(place)}/{each.lease.stem}",
            "where": f"{'/'.join(place)}, {each.name}",
            "label": each.label,
            "at": each.at,
            "share": each.fraction,
            "runs": len(state.get("runs") or ()) or (0 if each.label.startswith(SEARCH) else 1),
            "left": "" if left is None else f"about {duration(left)} left",
            "unit": unit,
            "curves": curves,
        }

    def _state(self, paths: Iterable[Path], largest: float = LARGEST_CHECKPOINT) -> dict[str, Any] | None:
        """The content of the first checkpoint that can be read, which is read once."""
        for path in paths:
            try:
                mark = _mark_of(path)
                if mark[1] > largest:
                    return None
                if self._states.get(path, (None,))[0] != mark:
                    state = read_state(path) or {}
                    kept = {name: state.get(name) for name in ("runs", "alive")}
                    kept["curve"] = (state.get("trainer") or {}).get("curve")
                    self._states[path] = mark, kept
                return self._states[path][1]
            except (OSError, Unusable, VdaeBenchError):
                continue
        return None


def _mark_of(path: Path) -> Mark:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _marks_of(store: Store) -> dict[Path, Mark]:
    """The records that are there, without reading them."""
    marks = {}
    for path in store.record_paths():
        with suppress(OSError):
            marks[path] = _mark_of(path)
    return marks


def _curves(label: str, state: dict[str, Any] | None, asked: Asked | None) -> tuple[str, list[dict[str, Any]]]:
    """(unit, validation curve of each run or trial) in a checkpoint."""
    if not state or not state["curve"] or not state["curve"]["validation"]:
        return "", []
    known = dict(_known(asked))
    names = [known.get(str(each), "a run") for each in state["runs"] or ()]
    names += [f"trial {number}" for number in state["alive"] or ()]
    dataset, epochs = label.removeprefix(SEARCH).partition("_")[0], state["curve"]["validation"]
    lines = []
    for replica, name in list(enumerate(names))[:LINES]:
        values = [float(each[replica]) for each in epochs]
        finite = [value if math.isfinite(value) else None for value in values]
        curve = curve_of(dataset, range(1, len(finite) + 1), finite, finite)
        lines.append(
            {"label": name, "colour": STYLES[replica % len(STYLES)].colour}
            | {"epoch": curve["epoch"], "validation": curve["validation"]}
        )
    return curve_unit(dataset).name, lines


def _known(asked: Asked | None) -> Iterator[tuple[str, str]]:
    """(identity, name) of each run asked for."""
    for each in asked.cells if asked else ():
        for seed, digest in enumerate(each.run_digests):
            yield digest, f"{each.key.slug}, seed {seed}"
