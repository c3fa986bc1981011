"""A page: one sweep under one protocol, in Markdown; each number of ours traceable to records.

The page is what `SECTIONS` say: a section is added by one file in `sections/` and one line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from vdae_bench.report.numbers.subject import SearchSubject, Subject
from vdae_bench.report.sections.claims import CLAIMS
from vdae_bench.report.sections.compute import COMPUTE
from vdae_bench.report.sections.cost import COST
from vdae_bench.report.sections.curves import CURVES
from vdae_bench.report.sections.deviations import DEVIATIONS
from vdae_bench.report.sections.encoders import ENCODERS
from vdae_bench.report.sections.estimates import ESTIMATES
from vdae_bench.report.sections.forest import FOREST
from vdae_bench.report.sections.head import HEAD, SEARCH_HEAD
from vdae_bench.report.sections.limits import LIMITS
from vdae_bench.report.sections.noise import NOISE
from vdae_bench.report.sections.origin import ORIGIN
from vdae_bench.report.sections.overfitting import OVERFITTING
from vdae_bench.report.sections.pairs import PAIRS
from vdae_bench.report.sections.records import FLAGS, RECORDS
from vdae_bench.report.sections.representations import REPRESENTATIONS
from vdae_bench.report.sections.results.text import RESULTS
from vdae_bench.report.sections.samples.text import SAMPLES
from vdae_bench.report.sections.search.text import SEARCH
from vdae_bench.report.sections.variance import VARIANCE
from vdae_bench.report.style.section import Section
from vdae_bench.report.style.terminal import short

Page = dict[str, bytes]
"""The files of a page by their names: `<sweep>.md`, and those that lie beside it."""

SECTIONS: tuple[Section[Subject, Any], ...] = (
    HEAD,
    FOREST,
    NOISE,
    RESULTS,
    REPRESENTATIONS,
    ENCODERS,
    PAIRS,
    SAMPLES,
    CLAIMS,
    ESTIMATES,
    VARIANCE,
    LIMITS,
    DEVIATIONS,
    SEARCH,
    CURVES,
    OVERFITTING,
    COMPUTE,
    COST,
    ORIGIN,
    FLAGS,
    RECORDS,
)
TERMINAL: tuple[Section[Subject, Any], ...] = (HEAD, RESULTS, PAIRS, NOISE, COST, LIMITS)
"""The sections that the terminal shows at the end of a run, in its order."""
SEARCH_SECTIONS: tuple[Section[SearchSubject, Any], ...] = (SEARCH_HEAD, SEARCH)
"""The page of a sweep of which so far only the search has run."""


def sweep_page(subject: Subject) -> Page:
    """The page of a sweep that ran, and the files beside it."""
    return _page(subject, SECTIONS)


def search_page(subject: SearchSubject) -> Page:
    """The page of a sweep of which only the search has run, and the files beside it."""
    return _page(subject, SEARCH_SECTIONS)


def console_text(subject: Subject) -> str:
    """The lines that the terminal prints at the end of a run: paper beside ours, ending in where the page is."""
    lines = [line for section, found in _standing(subject, TERMINAL) for line in section.terminal(subject, found)]
    return "\n".join([*lines, f"Report: {short(subject.path)}"])


S = TypeVar("S", bound=SearchSubject)


def _standing(subject: S, sections: Sequence[Section[S, Any]]) -> Iterator[tuple[Section[S, Any], Any]]:
    """The sections that find something to show, with what they found."""
    for section in sections:
        if (found := section.finds(subject)) is not None:
            yield section, found


def _page(subject: S, sections: Sequence[Section[S, Any]]) -> Page:
    paragraphs: list[str] = []
    files: dict[str, bytes] = {}
    for section, found in _standing(subject, sections):
        paragraphs += [f"## {section.title}"] if section.title else []
        paragraphs += section.text(subject, found)
        files |= {f"{subject.name}-{ending}": content for ending, content in section.files(subject, found).items()}
    return {subject.path.name: ("\n\n".join(paragraphs) + "\n").encode(errors="backslashreplace"), **files}
