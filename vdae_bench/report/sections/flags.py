"""What runs flagged about themselves while they trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import bullets, code, escape
from vdae_bench.report.style.section import Section


def flags_of(subject: Subject) -> dict[tuple[str, str], list[str]]:
    """The seeds that have a flag, by cell and flag."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in subject.selection.runs:
        for flag in run.record.flags:
            found.setdefault((run.cell.slug, flag), []).append(str(run.seed))
    return found


def _text(subject: Subject, found: Mapping[tuple[str, str], list[str]]) -> Iterator[str]:
    items = [
        f"{code(slug)}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {escape(flag)}"
        for (slug, flag), seeds in found.items()
    ]
    yield bullets(items) or "None."


FLAGS = Section("Flags", flags_of, _text)
