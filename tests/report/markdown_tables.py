"""Reads a page's tables back, so that tests look at cells and not at spaces."""

from __future__ import annotations

import re


def read_tables(page: str) -> list[list[list[str]]]:
    """Each table as rows of cells, its headings first."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, flags=re.MULTILINE)
    return [[_cells(line) for line in block.splitlines() if not re.fullmatch(r"[|:-]+", line)] for block in blocks]


def table_with(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table that has a heading; of equal headings, the second is `<heading> 2`."""
    for headings, *rows in read_tables(page):
        if heading in headings:
            names = [f"{name} 2" if name in headings[:place] else name for place, name in enumerate(headings)]
            return [dict(zip(names, row, strict=True)) for row in rows]
    raise AssertionError(f"no table has a column {heading!r}")


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\*", "*") for cell in line.strip("|").split("|")]
