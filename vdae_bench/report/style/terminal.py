"""Plain text of at most 100 columns for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from vdae_bench.system.words import visible

WIDTH = 100


def wrap(text: str, start: str = "") -> list[str]:
    """A paragraph as lines that fit, or an item of a list that has a `start`."""
    return textwrap.wrap(visible(text), WIDTH, initial_indent=start, subsequent_indent=" " * len(start))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str] = (), *, dense: bool = False
) -> str:
    """A table with a line under its headers, or as narrow as it can be; the columns not in `left` go to the right."""
    rows = [["\n".join(map(visible, cell.split("\n"))) for cell in row] for row in rows]
    alignment = ["left" if header in left else "right" for header in headers]
    if dense:  # the headers are a row among the others: tabulate pads real headers, and the width is needed
        return tabulate([headers, *rows], tablefmt="plain", disable_numparse=True, colalign=alignment)
    return tabulate(rows, headers, disable_numparse=True, colalign=alignment)


def plain(markdown: str) -> str:
    """A sentence without its Markdown."""
    return markdown.replace("**", "").replace("`", "").replace("\\", "").replace("[Records](#records)", "Records")


def short(path: Path) -> str:
    """A path relative to the working directory where it lies inside."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path)
