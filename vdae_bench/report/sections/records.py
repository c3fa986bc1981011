"""The records behind every number of a page, cell by cell, those that were left out, and what runs flagged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vdae_bench.report.numbers.runs import Run, Selection, grouped
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import anchor, bullets, code, escape, link
from vdae_bench.report.style.section import Section


def _flags(subject: Subject) -> dict[tuple[str, str], list[str]]:
    """The seeds that have a flag, by cell and flag."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in subject.selection.runs:
        for flag in run.record.flags:
            found.setdefault((run.cell.slug, flag), []).append(str(run.seed))
    return found


def _flags_text(subject: Subject, found: Mapping[tuple[str, str], list[str]]) -> Iterator[str]:
    items = [
        f"{code(slug)}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {escape(flag)}"
        for (slug, flag), seeds in found.items()
    ]
    yield bullets(items) or "None."


FLAGS = Section("Flags", _flags, _flags_text)


def _text(subject: Subject, selection: Selection) -> Iterator[str]:
    yield (
        "Every number of ours on this page is in one of these records, or is a mean or sum over some of them. Records "
        "without a command beside them come from the command under [Provenance](#provenance)."
    )
    path, cells = subject.path, grouped(selection.runs, lambda run: run.cell.slug)
    alike = len({run.command for run in selection.runs}) == 1
    yield bullets([_cell_records(runs, path, with_command=not alike) for runs in cells.values()])
    if selection.left_out:
        yield "These records are left out of everything above:"
        yield bullets(
            [f"{code(each.run.cell.slug)}: {_link(each.run, path)}, {each.reason}" for each in selection.left_out]
        )


def _cell_records(runs: Sequence[Run], path: Path, *, with_command: bool) -> str:
    commands = ", ".join(map(code, dict.fromkeys(run.command for run in runs))) if with_command else ""
    links = ", ".join(_link(run, path) for run in runs)
    slug = runs[0].cell.slug
    return f'<a id="{anchor(slug)}"></a>{code(slug)}: {links}{f"; by {commands}" if commands else ""}'


def _link(run: Run, path: Path) -> str:
    return f"{link(run.path, path, f'seed {run.seed}')}{'' if run.completed else ' (diverged)'}"


RECORDS = Section("Records", lambda subject: subject.selection, _text)
