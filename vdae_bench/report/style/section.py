"""A section as a value: a page is a tuple of these, and whoever draws the page walks the tuple."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Subject = TypeVar("Subject", contravariant=True)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Section(Generic[Subject, Found]):
    """One part of a page: what it finds to show, its heading, its text, its files and what the terminal says of it.

    `finds` returns the numbers to show, or None: then the section does not stand on the page. The rest are functions
    of the page's subject and of those numbers. `text` gives paragraphs and tables in Markdown; `files` gives contents
    by the end of the file's name (`curves.svg` becomes `<page>-curves.svg`); `terminal` gives lines of plain text.
    With the title "" it follows the section above it.
    """

    title: str
    finds: Callable[[Subject], Found | None]
    text: Callable[[Subject, Found], Iterable[str]]
    files: Callable[[Subject, Found], Mapping[str, bytes]] = lambda subject, found: {}
    terminal: Callable[[Subject, Found], Iterable[str]] = lambda subject, found: ()
