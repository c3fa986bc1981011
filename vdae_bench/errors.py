"""Errors that reach the user: one clear sentence that says what to do, and the exit code that goes with it."""


class VdaeBenchError(Exception):
    """Base of all errors with a message meant for the user; `vdae-bench` prints it without a traceback."""

    exit_code = 1


class UserError(VdaeBenchError):
    """The words, the spec or the data are wrong."""

    exit_code = 2


class EnvironmentFault(VdaeBenchError):
    """The surroundings failed: no network, a full disk, a missing permission."""

    exit_code = 1
