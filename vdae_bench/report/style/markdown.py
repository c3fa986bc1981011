"""Markdown that reads well raw and rendered: padded tables, text with its special characters escaped."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from vdae_bench.report.numbers.rows import Row
from vdae_bench.report.numbers.runs import Run


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """A table with the columns named in `right` aligned to the right, padded so that it lines up as text."""
    alignment = ["right" if header in right else "left" for header in headers]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is. An underscore inside a word needs nothing.

    >>> escape("NICE **")
    'NICE \\*\\*'
    """
    return re.sub(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def code(text: str) -> str:
    """Text in a code span; a fence longer than any run of backticks in it."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def bullets(items: Sequence[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def portable(command: str) -> str:
    """A command without the places of the machine that it ran on: an absolute path is cut to its last part.

    >>> portable("vdae-bench sweep /home/me/mini.yaml --results=/scratch/r --scheduler tcp://host:8786")
    'vdae-bench sweep .../mini.yaml --results=.../r --scheduler tcp://host:8786'
    """
    return re.sub(r"(?<![\w.~:/-])~?/(?:[^\s/'\"]+/)*([^\s/'\"]+)/?", r".../\1", command)


def anchor(run: Run) -> str:
    """What a page calls the list of a cell's records."""
    return run.cell.slug.replace("+", "-")


def link(target: Path, page: Path, text: str) -> str:
    """A link from a page to a file."""
    return f"[{text}]({Path(os.path.relpath(target, page.parent)).as_posix().replace(' ', '%20')})"


def label(row: Row) -> str:
    """A row in a sentence."""
    return f"{escape(row.method)} {row.latents}"
