"""Errors that reach the user: one clear sentence that says what to do, and an exit code."""

from __future__ import annotations


class VdaeBenchError(Exception):
    """Base of all errors with a message for the user, which `vdae-bench` prints without a traceback."""

    exit_code = 1


class UserError(VdaeBenchError):
    """Error in what the user gave: the words, the spec or the data."""

    exit_code = 2


class EnvironmentFault(VdaeBenchError):
    """The environment failed: no network, a full disk, a missing permission."""

    exit_code = 1


class Failed(VdaeBenchError):
    """Some runs of the command failed or diverged; the records of the others are in place."""

    exit_code = 1


class Stopped(VdaeBenchError):
    """A signal ended the run after a checkpoint, from which the same command continues."""

    def __init__(self, number: int, command: str) -> None:
        super().__init__(f"stopped after a checkpoint; the same command continues from it:\n  {command}")
        self.exit_code = 128 + number
