"""The limits of a page's protocol: what it cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import bullets, escape
from vdae_bench.report.style.section import Section
from vdae_bench.report.style.terminal import wrap


def _text(subject: Subject, limits: Sequence[str]) -> Iterator[str]:
    yield bullets([escape(each) for each in limits]) or "Nothing is noted."


def _terminal(subject: Subject, limits: Sequence[str]) -> Iterator[str]:
    if limits:
        yield "This protocol cannot show"
        for each in limits:
            yield from wrap(each, start="- ")


def _limits(subject: Subject) -> Sequence[str]:
    return subject.selection.protocol.cannot_show


LIMITS = Section("What this protocol cannot show", _limits, _text, terminal=_terminal)
