"""The records behind every number of a page, cell by cell, and those that were left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vdae_bench.report.numbers.runs import Run, Selection, grouped
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import anchor, bullets, code, link
from vdae_bench.report.style.section import Section


def _text(subject: Subject, selection: Selection) -> Iterator[str]:
    yield (
        "Every number of ours on this page is in one of these, or a mean or sum over some of them. Where no command "
        "stands beside them, all are by the one under [Provenance](#provenance)."
    )
    path, cells = subject.path, grouped(selection.runs, lambda run: run.cell.slug)
    alike = len({run.command for run in selection.runs}) == 1
    yield bullets([_cell_records(runs, path, with_command=not alike) for runs in cells.values()])
    if selection.left_out:
        yield "Left out of everything above:"
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
