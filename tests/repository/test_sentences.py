"""Sentences of the package: a number before a noun in the plural may be 1, so that `counted` writes both."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import vdae_bench

PACKAGE = Path(vdae_bench.__file__).parent
NOUNS = """
cell run group seed trial epoch thread record file comparison image sample value step task worker test finding processor
fault method
"""
COUNTED = re.compile(rf"^ (?:more )?(?:(?:{'|'.join(NOUNS.split())})s|studies)\b")
ALWAYS_MANY = {
    "cells.py": {"count"},
    "check.py": {"studies"},
    "estimates.py": {"FEW_SAMPLES", "k", "elbo_images", "nll_images"},
    "text.py": {"paper.runs", "samples", "cost"},
    "pools.py": {"workers", "wanted"},
    "claims.py": {"' and '.join(map(str, numbers))"},
}
"""Numbers that are never 1 by what they mean, or said in the singular beside it, by the file."""


def test_no_sentence_says_1_cells():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                for value, after in pairwise(node.values):
                    if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                        said = ast.unparse(value.value)
                        if COUNTED.match(str(after.value)) and said not in ALWAYS_MANY.get(path.name, ()):
                            found.append(f"{path.name}, line {node.lineno}: {said}{after.value}")
    assert not found
