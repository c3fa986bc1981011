"""Checkpoints: atomic, the previous one kept, loaded without executing code."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from vdae_bench.errors import EnvironmentFault

FORMAT = 2
"""Of what a checkpoint holds; one of another format is not used."""
SECONDS_BETWEEN = 60.0
COST_SHARE = 0.02
"""A checkpoint that takes long to write is written less often, so that writing costs about 2% at most."""


class Checkpoint:
    """The state of one replica group on disk, bound to the identity of what it trains.

    A file that is torn, or of another run or format, is set aside under another name, never used and never deleted.
    """

    def __init__(self, path: Path, identity: str, seconds_between: float = SECONDS_BETWEEN) -> None:
        self.path = path
        self.previous = path.with_suffix(".previous.pt")
        self.identity = identity
        self.seconds_between = seconds_between
        self._due = time.monotonic() + seconds_between

    @property
    def due(self) -> bool:
        """Whether it is time to write one."""
        return time.monotonic() >= self._due

    def save(self, state: dict[str, Any]) -> None:
        """Write the state beside the old one, then swap them: a kill at any moment leaves one that loads."""
        started = time.monotonic()
        temporary = self.path.with_suffix(f".tmp-{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save({"format": FORMAT, "identity": self.identity, "state": state}, file)
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                self.path.replace(self.previous)
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise EnvironmentFault(
                f"cannot write the checkpoint {self.path}: {error.strerror}; free space or choose --results"
            ) from error
        now = time.monotonic()
        self._due = now + max(self.seconds_between, (now - started) / COST_SHARE)

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole and of this identity, or None."""
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
                if (content["format"], content["identity"]) == (FORMAT, self.identity):
                    return content["state"]
            except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
                pass
            path.replace(path.with_name(f"{path.name}.unusable-{time.time_ns()}"))
        return None

    def remove(self) -> None:
        """Forget the state: its records are published."""
        self.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)
