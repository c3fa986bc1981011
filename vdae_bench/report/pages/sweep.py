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
from vdae_bench.report.sections.estimates import ESTIMATES
from vdae_bench.report.sections.flags import FLAGS
from vdae_bench.report.sections.head import HEAD, SEARCH_HEAD
from vdae_bench.report.sections.limits import LIMITS
from vdae_bench.report.sections.noise import NOISE
from vdae_bench.report.sections.origin import ORIGIN
from vdae_bench.report.sections.records import RECORDS
from vdae_bench.report.sections.results.text import RESULTS
from vdae_bench.report.sections.samples.text import SAMPLES
from vdae_bench.report.sections.search.text import SEARCH
from vdae_bench.report.sections.variance import VARIANCE
from vdae_bench.report.style.section import Section

Page = dict[str, bytes]
"""The files of a page by their names: `<sweep>.md`, and those that lie beside it."""

SECTIONS: tuple[Section[Subject, Any], ...] = (
    HEAD,
    NOISE,
    RESULTS,
    SAMPLES,
    CLAIMS,
    ESTIMATES,
    VARIANCE,
    LIMITS,
    DEVIATIONS,
    SEARCH,
    CURVES,
    COMPUTE,
    COST,
    ORIGIN,
    FLAGS,
    RECORDS,
)
SEARCH_SECTIONS: tuple[Section[SearchSubject, Any], ...] = (SEARCH_HEAD, SEARCH)
"""The page of a sweep of which so far only the search has run."""


def sweep_page(subject: Subject) -> Page:
    """The page of a sweep that ran, and the files beside it."""
    return _page(subject, SECTIONS)


def search_page(subject: SearchSubject) -> Page:
    """The page of a sweep of which only the search has run, and the files beside it."""
    return _page(subject, SEARCH_SECTIONS)


S = TypeVar("S", bound=SearchSubject)


def _page(subject: S, sections: Sequence[Section[S, Any]]) -> Page:
    found = [(section, section.finds(subject)) for section in sections]
    standing = [(section, each) for section, each in found if each is not None]
    text = "\n\n".join(part for section, each in standing for part in _paragraphs(section, subject, each)) + "\n"
    files = {
        f"{subject.name}-{ending}": content
        for section, each in standing
        for ending, content in section.files(subject, each).items()
    }
    return {subject.path.name: text.encode(), **files}


def _paragraphs(section: Section[S, Any], subject: S, found: object) -> Iterator[str]:
    if section.title:
        yield f"## {section.title}"
    yield from section.text(subject, found)
