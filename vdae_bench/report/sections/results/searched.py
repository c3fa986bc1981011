"""Notes on rows whose hyper-parameters were searched: which trial of which search they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vdae_bench.report.numbers.rows import Row, Sheet
from vdae_bench.report.numbers.searches import Frozen
from vdae_bench.report.style.markdown import bullets, code, escape, link
from vdae_bench.search.winner import Winner
from vdae_bench.spec.file import Choices
from vdae_bench.system.words import counted


def fidelity(winner: Winner) -> str:
    """How the epochs of the trials stand to those of the final runs; in bold where they are fewer.

    A rate that falls to zero has less time to learn in a short trial, so that the schedule is not judged there as it
    would be at full length ("Schedules in short trials" in the fidelity notes).
    """
    epochs = f"{counted(winner.epochs, 'epoch')} each"
    if winner.epochs == winner.final_epochs:
        return f"{epochs}, as in the final runs"
    relation = "fewer" if winner.epochs < winner.final_epochs else "more"
    favours = "; short trials favour a constant learning rate" if relation == "fewer" and _schedules(winner) else ""
    return f"{epochs}, **{relation} than the {winner.final_epochs} of the final runs**{favours}"


def _schedules(winner: Winner) -> bool:
    """True when the search chose between schedules."""
    space = winner.searched.get("schedule")
    return isinstance(space, Choices) and len(space.values) > 1


def row_notes(sheet: Sheet, searches: Sequence[Frozen]) -> list[tuple[str, str, Frozen | None]]:
    """(rows, what is said of their search, its winner), for each source that the rows' records name."""
    by_source = {each.winner.source: each for each in searches}
    found: dict[str, list[Row]] = {}
    for row in sheet.rows:
        sources = {str(run.record.hyperparameters.get("source")) for run in row.runs}
        for source in sorted(sources):
            if source.startswith("search"):
                found.setdefault(source, []).append(row)
    notes: list[tuple[str, str, Frozen | None]] = []
    for source, rows in found.items():
        names, frozen = "; ".join(escape(row.name) for row in rows), by_source.get(source)
        if frozen is None:
            notes.append((names, f"{code(source)}, whose file is not in the results folder", None))
            continue
        winner = frozen.winner
        said = (
            f"trial {winner.winner} of {len(winner.trials)} on {code(winner.cell)} ({escape(winner.sampler)}), "
            f"{fidelity(winner)}"
        )
        notes.append((names, said, frozen))
    return notes


def notes_for_table(sheet: Sheet, searches: Sequence[Frozen], page: Path) -> Iterator[str]:
    """The list under a table some of whose rows have searched hyper-parameters."""
    notes = row_notes(sheet, searches)
    if notes:
        searched = sum(names.count(";") + 1 for names, _, _ in notes)
        others = (
            "; the other rows have those of the spec"
            if searched < sum(row.ran is not None for row in sheet.rows)
            else ""
        )
        yield f"Hyper-parameters by search on validation -ELBO{others}:"
        yield bullets(
            [
                f"{names}: {said}" + (f" ({link(frozen.path, page, 'file')})" if frozen else "")
                for names, said, frozen in notes
            ]
        )
