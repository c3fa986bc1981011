"""Paths that a user gives, and the folder in which the package keeps what it can make again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from vdae_bench.errors import UserError


def user_path(word: str | os.PathLike[str]) -> Path:
    """A path as a user means it: `~` is the home folder also where no shell has put it in (`--results=~/x`).

    Raises:
        UserError: there is no such home folder, or no such path on any system.
    """
    if "\0" in os.fspath(word):
        raise UserError(f"{os.fspath(word)!r} has a null character, which no path has; give a path without it")
    try:
        return Path(word).expanduser()
    except RuntimeError:
        raise UserError(f"{os.fspath(word)}: there is no such home folder; set HOME, or write the whole path") from None


def cache_folder() -> Path:
    """The folder of this package in the user's cache.

    Raises:
        UserError: the user has no home folder, so that there is no cache.
    """
    with suppress(RuntimeError):  # so says a newer platformdirs, where an older one leaves the `~`
        folder = user_cache_path("vdae-bench", appauthor=False).expanduser()
        if folder.is_absolute():
            return folder
    raise UserError("there is no folder for the cache; set HOME, or set XDG_CACHE_HOME to the whole path of a folder")
