"""Markdown that reads well raw and rendered: padded tables, text with its special characters escaped."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import quote

from tabulate import tabulate

from vdae_bench.system.words import visible

MEANT = re.compile(
    r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)"  # anywhere
    r"|^\s*(?:#(?=#*(?:\s|$))|[+-](?=\s)|~(?=~~)|[=-](?=[=-]+$))|(?<=^\d)[.)](?=\s)"  # at the start of a line
)
"""Characters that a terminal or a page obeys and does not show."""


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str] = (),
    left: Collection[str] | None = None,
) -> str:
    """A table, padded so that it lines up as text; give the columns to align to the right, or all others (`left`)."""
    alignment = ["right" if (header in right if left is None else header not in left) else "left" for header in headers]
    cells = [[re.sub(r"(?<!\\)\|", r"\|", " ".join(cell.splitlines())) for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is, in one line. An underscore inside a word needs nothing.

    >>> escape("NICE **"), escape("# a&lt;b")
    ('NICE \\*\\*', '\\# a\\&lt;b')
    """
    return MEANT.sub(r"\\\g<0>", visible(text))


def strong(text: str) -> str:
    """Escaped text in bold."""
    return f"**{text}**"


def code(text: str) -> str:
    """Text in a code span; a fence longer than any run of backticks in it."""
    text = visible(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def bullets(items: Sequence[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def anchor(slug: str) -> str:
    """The name of the place on a page that lists a cell's records."""
    return slug.replace("+", "plus").replace(" ", "")


def picture(text: str, name: str) -> str:
    """A figure that lies beside the page; `text` is for those who do not see it."""
    return f"![{text}]({name})"


def as_pixels(name: str) -> str:
    """Where the same figure is as pixels: `name` is its file without the ending."""
    return f"As pixels: {beside(f'{name}.png')}"


def beside(name: str) -> str:
    """A link to a file that lies beside the page."""
    return f"[{name}]({name})"


def commit_in_short(commit: str | None, dirty: bool | None) -> str:
    """The commit behind raw figures, and whether the code was changed since."""
    return escape((commit or "no commit")[:12]) + (", changed since" if dirty else "")


def link(target: Path, page: Path, text: str) -> str:
    """A link from a page to a file."""
    return f"[{text}]({address(target, page)})"


def address(target: Path, page: Path) -> str:
    """The relative address of a file on a page, without a character that means anything."""
    path = Path(os.path.relpath(target, page.parent)).as_posix()
    return quote(path, safe="/+", errors="surrogateescape")
