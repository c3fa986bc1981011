"""The shape of the tests: what test modules share is in tests/support, and their folders are the package's rooms."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import vdae_bench

TESTS = Path(__file__).parents[1]
PACKAGE = Path(vdae_bench.__file__).parent
PROGRAMS = ("mutants.py", "chaos/kills.py")
"""Run by `make` and not collected."""
BESIDES = {"chaos", "mathematics", "repository", "support"}
"""Folders that are of no one room: faults on purpose, the paper's mathematics, this repository, what tests share."""
FILES = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py"))}


def shared(name: str) -> bool:
    """True for a module that others may import."""
    return name.startswith("support/") or name in PROGRAMS


@cache
def imported(path: Path) -> set[str]:
    """Files in tests/ that a file imports, by their paths there."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"
            modules = [str(node.module), *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            modules = [each.name for each in node.names]
        else:
            continue
        found |= {
            f"{module.removeprefix('tests.').replace('.', '/')}.py" for module in modules if module.startswith("tests")
        }
    return found & FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_what_a_module_imports_from_here_is_meant_to_be_shared(name: str) -> None:
    assert [each for each in imported(FILES[name]) if not shared(each)] == []


def test_no_helper_lies_among_the_tests() -> None:
    others = [name for name, path in FILES.items() if not path.name.startswith("test_") and path.name != "conftest.py"]
    assert [name for name in others if not shared(name)] == []


def test_everything_shared_is_used() -> None:
    used = {each for path in FILES.values() for each in imported(path)}
    assert {name for name in FILES if name.startswith("support/")} <= used


def test_tests_lie_in_folders_named_as_the_rooms_are() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir()}
    folders = {name.partition("/")[0] for name in FILES if "/" in name}
    assert folders <= rooms | BESIDES
    assert [name for name in FILES if "/" not in name] == ["conftest.py", "mutants.py"]
