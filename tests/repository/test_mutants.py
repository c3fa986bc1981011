"""The list of mutants does not rot: each still breaks the code it was written for, and nothing else."""

from __future__ import annotations

import ast
import functools

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant, failures, files, parse


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_python_that_says_something_else(mutant: Mutant) -> None:
    """`apply` fails unless the old text occurs exactly once; comments and docstrings are no code."""
    assert what_it_says(mutant.apply(ROOT)) != what_it_says((ROOT / "vdae_bench" / mutant.module).read_text())


@functools.cache
def what_it_says(code: str) -> str:
    """The syntax tree without docstrings of code that can be compiled."""
    compile(code, "", "exec")
    return ast.dump(without_docstrings(ast.parse(code)))


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ]
    return tree


def test_names_tell_mutants_apart() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_each_mutant_has_tests_to_try_first_that_exist() -> None:
    for mutant in MUTANTS:
        order = files(ROOT, mutant.nearest)
        assert order[: len(mutant.nearest)] == mutant.nearest and len(set(order)) == len(order) > 10
        assert mutant.nearest and all((ROOT / name).is_file() for name in order)


def test_what_is_no_error_is_refused() -> None:
    with pytest.raises(ValueError, match="not an error"):
        list(parse("=== units.py tests/evaluation/test_evaluation.py\na name without a change\n"))


def test_only_failed_tests_catch() -> None:
    """By pytest's summary; a test file that cannot be imported catches nothing."""
    output = (
        "FAILED tests/a/test_b.py::test_c[two words] - AssertionError: 1 - 2\n"
        "ERROR tests/test_d.py::test_e - fixture\n"
        "FAILED tests/test_f.py::test_g\n"
        "ERROR tests/test_h.py - ImportError: no module named x\n"
        "1 passed, 2 failed\n"
    )
    assert failures(output) == [
        "tests/a/test_b.py::test_c[two words]",
        "tests/test_d.py::test_e",
        "tests/test_f.py::test_g",
    ]
