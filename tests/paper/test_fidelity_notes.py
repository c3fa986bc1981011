"""The fidelity notes name tests and code that exist."""

from __future__ import annotations

import re
from pathlib import Path

import vdae_bench

NOTES = Path(vdae_bench.__file__).parent / "paper" / "README.md"
TESTS = Path(__file__).parents[1]


def test_every_test_named_in_the_notes_exists():
    named = 0
    for line in NOTES.read_text().splitlines():
        source = ""
        for word in re.findall(r"`([^`]+)`", line.rpartition("|")[0].rpartition("|")[2]):
            if word.endswith(".py"):
                source = (TESTS / word).read_text()
            elif source:
                assert f"def test_{word}(" in source, word
                named += 1
    assert named > 40
