"""What the terminal prints at the end of a run: paper beside ours, in plain text of at most 100 columns."""

from __future__ import annotations

from typing import Any

from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.sections.cost import COST
from vdae_bench.report.sections.head import HEAD
from vdae_bench.report.sections.limits import LIMITS
from vdae_bench.report.sections.noise import NOISE
from vdae_bench.report.sections.results.text import RESULTS
from vdae_bench.report.style.section import Section
from vdae_bench.report.style.terminal import short

SECTIONS: tuple[Section[Subject, Any], ...] = (HEAD, RESULTS, NOISE, COST, LIMITS)


def console_text(subject: Subject) -> str:
    """What the terminal says of a sweep, ending in where its page is."""
    found = [(section, section.finds(subject)) for section in SECTIONS]
    lines = [line for section, each in found if each is not None for line in section.terminal(subject, each)]
    return "\n".join([*lines, f"Report: {short(subject.path)}"])
