"""Report is rooms with one direction: a module of it imports what lies below its room, and nothing beside it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import vdae_bench.report
from vdae_bench.report.pages import sweep
from vdae_bench.report.style.section import Section

ROOT = Path(vdae_bench.report.__file__).parent
PREFIX = "vdae_bench.report"
BELOW = {
    "numbers": {"numbers"},
    "style": {"style"},
    "sections": {"numbers", "style"},
    "pages": {"numbers", "style", "sections"},
    "compare": {"numbers", "style"},
    "explain": {"numbers", "style", "sections"},
    "build": {"numbers", "style", "sections", "pages"},
}
"""What each room may import; besides, a section and a page of several files may import its own."""


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"
            yield from (f"{node.module}.{each.name}" for each in node.names)


def place(parts: tuple[str, ...]) -> tuple[str, str]:
    """(room, the section or page in it): a section or page is a file, or a folder of files."""
    room, *rest = parts
    return room, rest[0] if rest else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_what_lies_below_it(path: Path) -> None:
    room, own = place(path.relative_to(ROOT).with_suffix("").parts)
    for name in imported(path):
        if name.startswith(f"{PREFIX}."):
            other, part = place(tuple(name.removeprefix(f"{PREFIX}.").split(".")))
            itself = (other, part) == (room, own)
            assert itself or other in BELOW[room], f"{room} may not import {name}"


def test_every_section_has_its_place_on_a_page() -> None:
    there = set(sweep.SECTIONS) | set(sweep.SEARCH_SECTIONS)
    for path in (ROOT / "sections").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT.parent.parent).with_suffix("").parts)
        for value in vars(importlib.import_module(name)).values():
            assert not isinstance(value, Section) or value in there, f"{name} has a section that no page shows"


def test_these_are_all_the_rooms() -> None:
    there = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__"} == set(BELOW)


def test_what_others_draw_with_is_the_style_alone() -> None:
    for path in (ROOT.parent / "bench").rglob("*.py"):
        names = [name for name in imported(path) if name.startswith(PREFIX)]
        assert [name for name in names if not name.startswith(f"{PREFIX}.style.")] == []
