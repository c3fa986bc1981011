"""The processes at work now, by leases and checkpoints alone: no training waits for it, and no number depends on it."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
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
from vdae_bench.system.words import counted, duration
from vdae_bench.training.checkpoint import Unusable, read_state

LARGEST_CHECKPOINT = 256 * 2**20
"""Bytes of a checkpoint whose curve is read: a larger one would take memory from the training."""
SHARE = 0.05
"""Share of the time that drawing the page anew may take: where it takes long it is done less often."""
LINES = 8
"""Curves of a process at most."""

Place = tuple[str, str]
"""Sweep and protocol."""
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

    `place` is the sweep and protocol whose processes are shown; None for all.
    """

    store: Store
    place: Place | None = None
    _page: str = ""
    _version: str = ""
    _runs: list[Run] = field(default_factory=list)
    _due: float = 0.0
    _paces: dict[tuple[Path, int], _Pace] = field(default_factory=dict)
    _states: dict[Path, tuple[tuple[int, int], dict[str, Any] | None]] = field(default_factory=dict)
    _drawing: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def page(self) -> str:
        """The page as it was drawn last."""
        return self._page

    def draw(self) -> None:
        """Draw the page anew where there are other records than on it, unless that was done just now."""
        if not self._drawing.acquire(blocking=False):
            return
        try:
            version = _version_of(self.store)
            if (self._page and version == self._version) or time.monotonic() < self._due:
                return
            began = time.monotonic()
            runs = load_runs(self.store)
            page = home_page(runs, self.store.root / "index.html", self.store.root, live=version)
            self._page, self._runs, self._version = page, runs, version
            self._due = time.monotonic() + (time.monotonic() - began) / SHARE
        finally:
            self._drawing.release()

    def now(self) -> dict[str, Any]:
        """The processes and their curves, for the page; `version` says which page is there to be loaded."""
        with self._looking:
            places = [self.place] if self.place else self.store.places()
            processes, said = [], []
            for place in places:
                found = list(at_work(self.store, *place))
                asked = read_asked(self.store, *place)
                shown = [self._process(place, each, asked) for each in found]
                processes += shown
                if shown or self.place:
                    said.append(self._said(place, asked, [each for each in found if not each.gone], shown))
            return {"version": self._version, "said": " ".join(said) or "Nothing runs.", "processes": processes}

    def _said(self, place: Place, asked: Asked | None, found: Sequence[AtWork], shown: Sequence[dict[str, Any]]) -> str:
        """How many runs of a sweep are there, and when it will be through at the speed of those."""
        sweep, protocol = place
        own = [replace(run, asked=asked) for run in self._runs if (run.sweep, run.protocol) == place]
        there = [run for run in own if is_asked_for(run)] if asked else own
        wanted = sum(asked.wanted.values()) if asked else len(there)
        runs = f"{len(there)} of {counted(wanted, 'run')} there, " if wanted else ""  # a search asks for none
        words = f"{sweep}, {protocol}: {runs}{_count(found)} at work"
        trained = [run for run in there if run.record.curve.epoch]
        if not (found and trained and len(there) < wanted):
            return f"{words}."
        begun = sum((each["share"] or 0.0) * max(1, len(each["curves"])) for each in shown)
        seconds = total_seconds(trained) / len(trained) * max(0.0, wanted - len(there) - begun) / len(found)
        return f"{words}, about {duration(seconds)} left by the runs that are there."

    def _process(self, place: Place, each: AtWork, asked: Asked | None) -> dict[str, Any]:
        left, now = None, time.monotonic()
        if each.fraction is not None and not each.gone:
            pace = self._paces.setdefault((each.lease, each.process), _Pace(now, each.fraction, now, each.fraction))
            left = pace.left(now, each.fraction)
        unit, curves = "", list[dict[str, Any]]()
        try:
            unit, curves = _curves(each.label, self._state(each.checkpoints), asked)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:  # of another version
            _log.debug("%s has no curve that is read: %s", each.lease, error)
        return {
            "id": f"{'/'.join(place)}/{each.lease.stem}",
            "where": f"{'/'.join(place)}, {each.name}",
            "label": each.label,
            "at": each.at,
            "share": each.fraction,
            "left": "" if left is None else f"about {duration(left)} left",
            "unit": unit,
            "curves": curves,
        }

    def _state(self, paths: Iterable[Path]) -> dict[str, Any] | None:
        """The content of the first checkpoint that can be read, which is read once."""
        for path in paths:
            try:
                status = path.stat()
                mark = (status.st_mtime_ns, status.st_size)
                if status.st_size > LARGEST_CHECKPOINT:
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


def _version_of(store: Store) -> str:
    """A digest of which records there are, without reading them."""
    digest = hashlib.sha256()
    for path in store.record_paths():
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(f"{path}\0{status.st_mtime_ns}\0{status.st_size}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _curves(label: str, state: dict[str, Any] | None, asked: Asked | None) -> tuple[str, list[dict[str, Any]]]:
    """(unit, validation curve of each run or trial) in a checkpoint."""
    if not state or not state["curve"] or not state["curve"]["validation"]:
        return "", []
    known = dict(_known(asked))
    names = [known.get(str(each), "a run") for each in state["runs"] or ()]
    names += [f"trial {number}" for number in state["alive"] or ()]
    dataset, epochs = label.removeprefix("search ").partition("_")[0], state["curve"]["validation"]
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


def _count(found: Sequence[AtWork]) -> str:
    return counted(len(found), "process", "processes")
