"""The processes that work in a results folder, by the notes in their leases: nothing is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vdae_bench.store.records import Store
from vdae_bench.system.lease import Lease


@dataclass(frozen=True)
class AtWork:
    """A process and its task, as it stood at its last beat."""

    lease: Path
    host: str
    process: int
    label: str
    phase: str
    fraction: float | None
    stopped: bool
    gone: bool

    @property
    def name(self) -> str:
        """The process for people."""
        return f"process {self.process} on {self.host}"

    @property
    def at(self) -> str:
        """Its phase and share of the task that is done."""
        share = "" if self.fraction is None else f", {self.fraction:.0%}"
        at = f"{self.phase}{share}" if self.phase else "starts"
        at += ", and is stopped" if self.stopped else ""
        return at + (" (left over: that process is gone)" if self.gone else "")

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """The files in which its task may be kept, the newest first."""
        return self.lease.with_suffix(".pt"), self.lease.with_suffix(".previous.pt")


def at_work(store: Store, sweep: str, protocol: str) -> Iterator[AtWork]:
    """Every process that has a task of a sweep under a protocol; one that is gone may have left its lease."""
    for path in store.lease_paths(sweep, protocol):
        if note := Lease(path).read_note():
            fraction = note["fraction"]
            yield AtWork(
                path,
                host=str(note["host"]),
                process=note["process"],
                label=str(note["label"]),
                phase=str(note["phase"]),
                fraction=float(fraction) if isinstance(fraction, int | float) else None,
                stopped=bool(note["stopped"]),
                gone=Lease(path).is_dead(),
            )
