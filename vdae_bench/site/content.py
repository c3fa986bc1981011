"""The content of the home page: a card a sweep, claims, a row a cell, and all that is known of each run."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdae_bench.errors import UserError
from vdae_bench.paper.published import find_published
from vdae_bench.report.numbers.claims import Judgement, protocols_of
from vdae_bench.report.numbers.comparable import few_samples
from vdae_bench.report.numbers.pairs import has_pairs
from vdae_bench.report.numbers.rows import METHODS, SCORES, place_of, title_of
from vdae_bench.report.numbers.runs import (
    Run,
    Selection,
    by_folder,
    grouped,
    left_out_of,
    select,
    total_seconds,
)
from vdae_bench.report.numbers.settings import in_words
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.numbers.units import curve_unit, in_curve_unit, unit_of
from vdae_bench.report.numbers.verdict import judge_cell
from vdae_bench.report.sections.claims import claim_row
from vdae_bench.report.style.figure import own_styles
from vdae_bench.report.style.markdown import address
from vdae_bench.site.pictures import Album
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import read_evidence
from vdae_bench.store.layout import evidence_paths
from vdae_bench.system.words import counted, rough_duration

POINTS = 200
"""Points of a curve on the page: more than a screen shows of it."""

Place = tuple[str, str]
"""Protocol and sweep."""


@dataclass(frozen=True)
class Card:
    """A sweep under a protocol in short."""

    sweep: str
    protocol: str
    words: str
    """The protocol for people: its base, and what it changes."""
    about: str
    """Epochs, and on which data."""
    there: str
    """How many of the runs asked for."""
    last: str
    """The day of the latest run, and the time that all took."""
    paired: bool
    """True where its page compares any two methods."""


@dataclass(frozen=True)
class ClaimLine:
    """A row of the claims board: Markdown, and the places whose records are its evidence."""

    number: str
    text: str
    place: str
    verdict: str
    evidence: str
    decided: bool
    sources: Sequence[Place]


@dataclass(frozen=True)
class ShownCell:
    """A cell of a sweep under a protocol: the runs that its numbers are from, and those that stand in no table."""

    protocol: str
    sweep: str
    cell: Cell
    ran: CellRuns | None
    wanted: int
    runs: Sequence[Run]

    @property
    def id(self) -> str:
        """Its name in addresses on the page."""
        return f"{self.sweep}/{self.protocol}/{self.cell.slug}"

    @property
    def row(self) -> dict[str, Any]:
        """Its row of the table, as text; numbers are means over seeds in the unit of the data set."""
        unit, done = unit_of(self.cell.dataset), len(self.ran.completed) if self.ran else 0
        published = find_published(self.cell)
        shown: dict[str, Any] = {
            "id": self.id,
            "title": title_of(self.ran.cell if self.ran else self.cell),
            "method": self.cell.method,
            "dataset": self.cell.dataset,
            "m": self.cell.latents,
            "sweep": self.sweep,
            "protocol": self.protocol,
            "data": f"{self.cell.dataset} ({unit.name})",
            "unit": unit.name,
            "bound": few_samples([self.ran]) if self.ran else "",
            "seeds": f"{done} of {self.wanted}" if self.ran else f"0; {len(self.runs)} in no table",
            "curve": any(run.record.curve.epoch for run in self.runs),
        }
        verdicts: dict[str, str] = {}
        for name, score in SCORES:
            summary = self.ran.score(score, unit) if self.ran else None
            printed = getattr(published, score) if published else None
            finding = judge_cell(self.ran, score) if self.ran and done else None
            shown[name] = summary.show(unit) if summary else "diverged" if self.ran and not done else "-"
            shown[f"{name} paper"] = str(printed) if printed else "-"
            verdicts |= {name: str(finding.verdict)} if finding else {}
        shown["NLL"] = f"≤ {shown['NLL']}" if shown["bound"] else shown["NLL"]
        alike = len(set(verdicts.values())) == 1
        said = set(verdicts.values()) if alike else [f"{name}: {verdict}" for name, verdict in verdicts.items()]
        return {**shown, "verdict": "; ".join(said) or "-"}


def shown_cells(runs: Sequence[Run]) -> list[ShownCell]:
    """Every cell that has a record, those of the best protocols first."""
    return [each for place, members in _best_first(runs) for each in _cells_of(place, members)]


def _best_first(runs: Sequence[Run]) -> list[tuple[Place, list[Run]]]:
    """The runs of each sweep under each protocol, the best protocols first."""
    best = list(reversed(protocols_of(runs)))
    rank = {protocol: place for place, protocol in enumerate(best)}
    return sorted(by_folder(runs).items(), key=lambda item: (rank.get(item[0][0], len(best)), item[0]))


def _cells_of(place: Place, members: list[Run]) -> Iterator[ShownCell]:
    selection = selection_of(members)
    ran = {each.cell: each for each in cells_of(selection)} if selection else {}
    wanted = selection.wanted if selection else {}
    by_cell = grouped(members, lambda run: run.cell)
    for cell in sorted(by_cell, key=lambda each: (each.dataset, place_of(each))):
        yield ShownCell(*place, cell, ran.get(cell), wanted.get(cell, 0), by_cell[cell])


def selection_of(members: list[Run]) -> Selection | None:
    """The runs that may stand in one table; None where all are of another version of the package."""
    try:
        return select(members)
    except UserError:
        return None


def cards(runs: Sequence[Run]) -> list[Card]:
    """A card for each sweep under each protocol, the best protocols first."""
    return [_card(*place, members) for place, members in _best_first(runs)]


def _card(protocol: str, sweep: str, members: list[Run]) -> Card:
    selection = selection_of(members)
    wanted = sum(selection.wanted.values()) if selection else 0
    kept = selection.runs if selection else ()
    epochs = selection.protocol.epochs if selection else 0
    datasets = ", ".join(sorted({run.cell.dataset for run in members}))
    apart = len(members) - len(kept)
    return Card(
        sweep,
        protocol,
        words=in_words(selection.protocol, selection.train_images) if selection else protocol,
        about=f"{counted(epochs, 'epoch')} on {datasets}",
        there=f"{len(kept)} of {counted(wanted, 'run')}" + (f", {apart} more in no table" if apart else ""),
        last=f"{max(run.started_at for run in members)[:10]}, {rough_duration(total_seconds(members))}",
        paired=has_pairs(cells_of(selection)) if selection else False,
    )


def claim_lines(judged: Iterable[Judgement], there: Iterable[Place]) -> list[ClaimLine]:
    """The claims board, each claim with the places of its evidence that are on the page."""
    known = set(there)
    lines = []
    for each in judged:
        sources = dict.fromkeys(finding.source for _, finding in each.parts if finding.source)
        places = [(protocol, sweep) for sweep, _, protocol in (source.partition("/") for source in sources)]
        number, text, verdict, evidence, place = claim_row(each)
        shown = [each for each in places if each in known]
        lines.append(ClaimLine(number, text, place, verdict, evidence, verdict.startswith("**"), shown))
    return lines


def tally(lines: Sequence[ClaimLine]) -> list[tuple[str, list[str]]]:
    """(verdict, numbers of the claims that have it), those that decide first."""
    found = grouped(sorted(lines, key=lambda each: not each.decided), lambda each: each.verdict)
    return [(verdict, [each.number for each in members]) for verdict, members in found.items()]


def styles_of(cells: Sequence[ShownCell]) -> dict[str, str]:
    """The colour of each method, as in the figures."""
    return {name: style.colour for name, style in own_styles(METHODS, {each.cell.method for each in cells}).items()}


def details_of(cells: Sequence[ShownCell], page: Path, root: Path) -> Iterator[str]:
    """All that is known of the runs of each cell, in its order: JSON, gzipped, as text.

    They are unpacked when somebody looks at the cell, so that a page of many opens at once. First seeds come first
    where there is no room for the pictures of all.
    """
    reasons = left_out_of([run for each in cells for run in each.runs])
    album, pictures = Album(), {}
    for run in sorted((run for each in cells for run in each.runs), key=lambda run: (run.path in reasons, run.seed)):
        pictures[run.path] = album.of(read_evidence(run.path, run.record.run_digest))
    for each in cells:
        runs = [
            {**_details(run), "left_out": reasons.get(run.path, ""), "pictures": pictures[run.path]}
            | {
                "record": address(run.path, page),
                "evidence": evidence_paths(run.path)[0].relative_to(root).as_posix(),
            }
            for run in each.runs
        ]
        content = json.dumps(runs, separators=(",", ":"), allow_nan=False).encode(errors="backslashreplace")
        yield base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _details(run: Run) -> dict[str, Any]:
    record = run.record
    parts = {
        "Metrics": record.metrics.model_dump(),
        "Hyper-parameters": record.hyperparameters,
        "Protocol": record.protocol,
        "Cost": record.cost.model_dump(),
        "Provenance": {**record.provenance, "command": run.command},
    }
    return {
        "seed": run.seed,
        "status": record.status,
        "flags": record.flags,
        "parts": {name: list(_flat(content)) for name, content in parts.items()},
        "unit": curve_unit(run.cell.dataset).name,
        "curve": curve_of(
            run.cell.dataset,
            record.curve.epoch,
            record.curve.train_neg_elbo_nats,
            record.curve.validation_neg_elbo_nats,
        ),
    }


def curve_of(
    dataset: str, epoch: Sequence[int], train: Sequence[float | None], validation: Sequence[float | None]
) -> dict[str, list[Any]]:
    """A curve in its unit, thinned to what a screen shows; its last point is always there."""
    every = -(-len(epoch) // POINTS) or 1
    kept = [place for place in range(len(epoch)) if (len(epoch) - 1 - place) % every == 0]

    def column(values: Sequence[float | None]) -> list[float | None]:
        chosen = in_curve_unit(np.array([values[place] for place in kept], dtype=np.float64), dataset)
        return [None if math.isnan(each) else float(f"{each:.6g}") for each in chosen]

    return {"epoch": [epoch[place] for place in kept], "train": column(train), "validation": column(validation)}


def _flat(content: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of the single values in nested mappings and lists."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in pairs:
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{above}{name}", "; ".join(map(str, value)) or "-"
        else:
            yield f"{above}{name}", "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
