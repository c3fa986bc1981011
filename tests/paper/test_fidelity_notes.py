"""The fidelity notes name tests and code that exist."""

from __future__ import annotations

import re
from pathlib import Path

import vdae_bench
from vdae_bench.bench.entries import read_entries

NOTES = Path(vdae_bench.__file__).parent / "paper" / "README.md"
TESTS = Path(__file__).parents[1]


def test_the_noise_of_the_stochastic_log_determinant_is_what_bench_measured():
    notes, rows = NOTES.read_text(), 0
    for path in (TESTS.parent / "results" / "bench").glob("*.json"):
        for entry in read_entries(path):
            if noise := entry.noise:
                measured = (noise.images_variance, noise.probe_variance, entry.ratio, noise.equal_flops)
                numbers = " | ".join(f"{each:.3g}" for each in measured)
                assert f"| {noise.latents} | {noise.lanczos_steps} | {numbers} |" in notes
                rows += 1
    assert rows == 6


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
