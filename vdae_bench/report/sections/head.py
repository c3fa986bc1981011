"""The head of a page: what it is about, whether it is complete, and whether its numbers mean anything."""

from __future__ import annotations

from vdae_bench.paper.published import load_table, table_names
from vdae_bench.report.numbers.rows import Sheet
from vdae_bench.report.numbers.runs import Selection
from vdae_bench.report.sections.deviations import departures
from vdae_bench.report.style.markdown import code, escape, label
from vdae_bench.spec.protocol import Protocol


def title(selection: Selection) -> str:
    """What the page is about."""
    if selection.sweep in table_names():
        table = load_table(selection.sweep)
        return f"{table.title} ({table.unit}), {selection.protocol.name} protocol"
    return f"Sweep {selection.sweep}, {selection.protocol.name} protocol"


def stamp(selection: Selection, sheets: list[Sheet]) -> str:
    """Complete or partial, and under which protocol; in bold what a reader must not miss."""
    protocol = selection.protocol
    rows = [row for sheet in sheets for row in (*sheet.rows, *sheet.baselines) if not row.quoted]
    finished, missing = sum(row.finished for row in rows), sum(row.missing for row in rows)
    state = "Partial" if missing else "Complete"
    seeds = "1 seed" if protocol.seeds == 1 else f"{protocol.seeds} seeds"
    # Which cells a sweep of the user's own has is in its spec, not in the records.
    of = "" if selection.sweep in table_names() else " of the cells that have records"
    parts = [f"**{state}**: {finished} of {finished + missing} runs{of}, {seeds} a row."]
    not_run = [label(row) for row in rows if row.ran is None]
    if not_run:
        parts.append(f"Not run: {'; '.join(not_run)}.")
    short = [f"{label(row)} ({row.finished} of {row.wanted})" for row in rows if row.ran and row.missing]
    if short:
        parts.append(f"Seeds missing: {'; '.join(short)}.")
    diverged = sum(row.ran.diverged for row in rows if row.ran)
    if diverged:
        parts.append(f"**{diverged} diverged**, and in no mean.")
    if selection.left_out:
        parts.append(f"**{len(selection.left_out)} left out** (see [Records](#records)).")
    parts.append(_protocol_sentence(protocol))
    if protocol.base == "smoke":
        parts.append("**These numbers mean nothing**: `smoke` tests the machinery.")
    return " ".join(parts)


def _protocol_sentence(protocol: Protocol) -> str:
    """An override has its base's description, so that what was changed has to be said beside it."""
    described = f" ({escape(protocol.description)})" if protocol.description else ""
    changed = departures(protocol)
    if not changed:
        return f"Protocol {code(protocol.name)}{described}."
    if protocol.name == protocol.base:
        return f"Protocol {code(protocol.name)}{described}, **not as it is today**: {changed}."
    return f"Protocol {code(protocol.name)}: {code(protocol.base)}{described} with {changed}."
