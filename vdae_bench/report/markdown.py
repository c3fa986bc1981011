"""Markdown that reads well raw and rendered: padded tables, text with its special characters escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate


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
