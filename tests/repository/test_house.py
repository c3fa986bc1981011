"""The rooms of the package: each imports only from rooms below it, modules import each other in no circle."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import vdae_bench

PACKAGE = Path(vdae_bench.__file__).parent
FLOORS = (
    ("__main__",),
    ("cli",),
    ("api", "bench", "export", "illustration", "site"),
    ("report",),
    ("search",),
    ("running",),
    ("evaluation", "paper"),
    ("training", "store"),
    ("spec",),
    ("models",),
    ("data",),
    ("system",),
    ("errors",),
)
"""The rooms from the top down; rooms of one floor do not know each other."""
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {
        ".".join(("vdae_bench", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The package's modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


KNOWN = modules()


@functools.cache
def arrows() -> list[tuple[str, str]]:
    """Every import of one module of the package by another."""
    return sorted(
        {(module, target) for module, path in KNOWN.items() for target in imports(path, KNOWN) if target != module}
    )


def room(module: str) -> str:
    """The room of a module: its folder, or its own name at the top."""
    return module.partition(".")[2].partition(".")[0]


def test_every_module_is_in_a_room():
    assert {room(module) for module in KNOWN} - {""} == set(FLOOR_OF)


def test_rooms_import_only_from_rooms_below_them():
    upwards = [
        f"{module} imports {target}"
        for module, target in arrows()
        if room(target) and room(module) != room(target) and FLOOR_OF[room(module)] >= FLOOR_OF[room(target)]
    ]
    assert not upwards


def test_no_modules_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for module, target in arrows():
        if not module.startswith(f"{target}."):  # a package's face that imports its own modules is no circle
            graph.setdefault(module, set()).add(target)
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_store_alone_knows_how_the_results_folder_is_laid_out():
    """Names of its folders, and patterns over it, stand in `store.layout` and nowhere else."""
    kinds = re.compile(r"""/ ?f?["'](checkpoints|search|samples|models|budgets|bench|chaos)["'/]|seed-\{|\*/\*/""")
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "store" / "layout.py"
        for line in path.read_text().splitlines()
        if kinds.search(line)
    ]
    assert not found


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every docstring of a file: of the module, classes, functions and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = node.body if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else []
        for before, each in pairwise([None, *body]):
            documents = before is None or isinstance(before, ast.Assign | ast.AnnAssign)
            value = each.value if documents and isinstance(each, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield each.lineno, value.value


def test_a_docstring_makes_sense_without_what_is_above_it():
    found = [(path, line, text) for path in PACKAGE.rglob("*.py") for line, text in docstrings(path)]
    assert len(found) > 50
    wrong = [each for each in found if re.match(r"(Of|What|Whether)\b", each[2])]
    assert not [f"{path}:{line}: {text}" for path, line, text in wrong]


def test_no_two_public_classes_have_one_name():
    classes = Counter(
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in classes.items() if count > 1]


def test_what_the_guide_for_contributors_names_is_there():
    top = PACKAGE.parent
    guide = (top / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:tests|vdae_bench)/[\w/]+\.?\w*)`", guide))
    named |= {f"vdae_bench/{path}" for path in re.findall(r"`((?:running|cli|store|report)/[\w/]+\.?\w*)`", guide)}
    assert len(named) > 20
    assert not [path for path in sorted(named) if not (top / path).exists()]
    assert len(guide.encode()) <= 9600
