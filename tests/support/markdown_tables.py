"""Reads a page's tables back, so that tests look at cells and not at spaces."""

from __future__ import annotations

import re


def read_tables(page: str) -> list[list[list[str]]]:
    """Each table as rows of cells, its headings first."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, flags=re.MULTILINE)
    return [[_cells(line) for line in block.splitlines() if not re.fullmatch(r"[|:-]+", line)] for block in blocks]


def table_with(page: str, heading: str, place: int = 0) -> list[dict[str, str]]:
    """The rows of the first table that has a heading, or of a later one; equal headings get a 2: `<heading> 2`."""
    matching = [table for table in read_tables(page) if heading in table[0]]
    assert len(matching) > place, f"no table has a column {heading!r}"
    headings, *rows = matching[place]
    names = [f"{name} 2" if name in headings[:column] else name for column, name in enumerate(headings)]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    """Text of the cells: the words of a link within the page, without where it leads."""
    cells = (cell.strip().replace("\\*", "*") for cell in line.strip("|").split("|"))
    return [re.sub(r"^\[(.*)\]\(#.*\)$", r"\1", cell) for cell in cells]
