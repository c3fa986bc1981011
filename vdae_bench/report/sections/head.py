"""The head of a page: what it is about, whether it is complete, and whether its numbers mean anything."""

from __future__ import annotations

from collections.abc import Iterator

from vdae_bench.paper.published import table_names
from vdae_bench.report.numbers.rows import Row, Sheet
from vdae_bench.report.numbers.runs import Selection
from vdae_bench.report.numbers.settings import departures, has_fewer_images
from vdae_bench.report.numbers.subject import SearchSubject, Subject
from vdae_bench.report.style.markdown import code, escape
from vdae_bench.report.style.section import Section
from vdae_bench.report.style.terminal import plain, wrap
from vdae_bench.spec.protocol import NOT_IN_CONTENT, Protocol, few_steps
from vdae_bench.system.words import counted

LISTED = 12
"""Rows that the head of a page names; it counts what are more."""


def stamp(selection: Selection, sheets: list[Sheet]) -> str:
    """Complete or partial, and under which protocol; in bold what a reader must not miss."""
    protocol = selection.protocol
    rows = [row for sheet in sheets for row in sheet.everything if not row.of_others]
    parts = [_completeness(selection, rows, [row for sheet in sheets for row in sheet.baselines])]
    not_run = [escape(row.name) for row in rows if row.ran is None]
    if not_run:
        parts.append(f"Not run: {_listed(not_run)}.")
    short = [f"{escape(row.name)} ({row.finished} of {row.wanted})" for row in rows if row.ran and row.missing]
    if short:
        parts.append(f"Seeds missing: {_listed(short)}.")
    diverged = sum(row.ran.diverged for row in rows if row.ran)
    if diverged:
        parts.append(f"**{diverged} diverged** and are in no mean.")
    if selection.left_out:
        parts.append(f"**{len(selection.left_out)} left out** (see [Records](#records)).")
    parts.append(_protocol_sentence(protocol, selection.train_images))
    if few := few_steps(protocol, selection.train_images):
        parts.append(f"**These numbers mean nothing**: {few}.")
    return " ".join(parts)


def _listed(names: list[str]) -> str:
    """Some names; of a grid of noise levels the first, for the table has them all."""
    more = len(names) - LISTED
    return "; ".join(names) if more <= 1 else f"{'; '.join(names[:LISTED])} and {more} more"


def _completeness(selection: Selection, rows: list[Row], baselines: list[Row]) -> str:
    finished, missing = sum(row.finished for row in rows), sum(row.missing for row in rows)
    asked = selection.asked
    if asked and selection.superseded:
        since = sum(asked.wanted.values())
        return (
            f"**Superseded**: none of the {counted(since, 'run')} asked for since then has a record; "
            f"this page shows the {finished} before."
        )
    # Which cells a sweep of the user's own has is in its spec; without what was asked for, records alone do not say it.
    of = "" if asked or selection.sweep in table_names() else " of the cells that have records"
    wanted = sorted({row.wanted for row in rows if row.wanted and row not in baselines} or {1})
    seeds = " to ".join(map(str, dict.fromkeys((wanted[0], wanted[-1])))) + f" seed{'s'[: wanted[-1] != 1]} a row"
    more = f" (the spec has {asked.spec_seeds})" if asked and set(wanted) != {asked.spec_seeds} else ""
    runs = f"{finished} of {counted(finished + missing, 'run')}{of}"
    return f"**{'Partial' if missing else 'Complete'}**: {runs}, {seeds}{more}."


def _protocol_sentence(protocol: Protocol, images: int | None) -> str:
    """An override has its base's description, so that what was changed has to be said beside it."""
    described = f" ({escape(protocol.description)})" if protocol.description else ""
    changed = ", ".join(
        f"{code(name)} {escape(here)}{f' instead of {escape(there)}' if there else ''}"
        for name, here, there in departures(protocol, images)
    )
    if not changed:
        return f"Protocol {code(protocol.name)}{described}."
    if protocol.name == protocol.base and has_fewer_images(protocol):
        return f"Protocol {code(protocol.name)}{described}, with as many images as the data set has: {changed}."
    if protocol.name == protocol.base and not {name for name, *_ in departures(protocol)} - {*NOT_IN_CONTENT}:
        return f"Protocol {code(protocol.name)}{described} with {changed}."
    if protocol.name == protocol.base:
        return f"Protocol {code(protocol.name)}{described}, **not as it is today**: {changed}."
    return f"Protocol {code(protocol.name)}: {code(protocol.base)}{described} with {changed}."


def _text(subject: Subject, found: str) -> Iterator[str]:
    yield f"# {subject.title}"
    yield found


def _terminal(subject: Subject, found: str) -> Iterator[str]:
    yield subject.title
    yield from wrap(plain(found))


def _searched_alone(subject: SearchSubject, found: SearchSubject) -> Iterator[str]:
    yield f"# {subject.title}"
    yield "The search has finished; there is no final run yet."


HEAD = Section("", lambda subject: stamp(subject.selection, subject.sheets), _text, terminal=_terminal)
SEARCH_HEAD = Section("", lambda subject: subject, _searched_alone)
