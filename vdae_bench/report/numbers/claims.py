"""The paper's claims judged from records: which runs are evidence for each, and what they say."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vdae_bench.errors import UserError
from vdae_bench.paper.claims import CLAIMS, Claim, Inequality, Score, Term
from vdae_bench.paper.published import load_table
from vdae_bench.report.numbers.runs import Run, grouped, select
from vdae_bench.report.numbers.statistics import CellRuns, cells_of, mean_of
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.report.numbers.verdict import Finding, Verdict, below, why_not_comparable
from vdae_bench.spec.check import find_spec, load_spec, shipped_sweeps
from vdae_bench.spec.protocol import PROTOCOLS
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Quality, read_numbers

SWEEPS = ("table1", "table2", "figure1", "figure2", "figure3", "figure4", "sample-arms")
"""Where evidence is looked for; a cell that several of them have counts from the first."""

SAMPLE_UNITS = {"frechet": Unit("Fréchet distance", "", 2), "classifier_entropy": Unit("nats of entropy", "", 3)}


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict, why, and what is found of each of its parts."""

    claim: Claim
    verdict: Verdict
    why: str
    parts: tuple[tuple[str, Finding], ...]


@dataclass(frozen=True)
class Sampled:
    """The runs of a cell whose samples were measured, and the quality of each seed's."""

    runs: CellRuns
    qualities: Mapping[int, Quality]


@dataclass(frozen=True)
class ClaimEvidence:
    """The cells that ran under a protocol, and what was measured on their samples."""

    cells: Mapping[Cell, CellRuns]
    samples: Mapping[Cell, Sampled]
    left_out: Mapping[Cell, str]
    """Cells all of whose runs stand in no table with the others, and why."""

    def by_seed(self, cell: Cell, score: Score) -> dict[int, float]:
        """A score of each seed; empty where the cell has none."""
        if score in SAMPLE_UNITS:
            found = self.samples[cell].qualities if cell in self.samples else {}
            return {seed: float(getattr(each, score)) for seed, each in found.items()}
        return self.cells[cell].by_seed(score, unit_of(cell.dataset)) if cell in self.cells else {}

    def runs(self, cell: Cell, score: Score) -> CellRuns:
        """The runs that a cell's scores are from."""
        return self.samples[cell].runs if score in SAMPLE_UNITS else self.cells[cell]


@functools.cache
def folder_of(sweep: str, protocol: str) -> str:
    """The folder of a shipped sweep under a protocol; a sweep may override the default protocol in its spec."""
    return load_spec(find_spec(sweep), protocol).protocol.name if protocol in PROTOCOLS else protocol


def claims_protocol(sweep: str, folder: str) -> str | None:
    """Under which protocol a folder of a sweep is evidence; None for a sweep that is not the paper's."""
    if sweep not in SWEEPS:
        return None
    if sweep not in shipped_sweeps() or folder in PROTOCOLS:
        return folder
    return next((each for each in PROTOCOLS if folder_of(sweep, each) == folder), folder)


def evidence(runs: Iterable[Run], protocol: str) -> ClaimEvidence:
    """The runs that are evidence under a protocol, of all that there are."""
    cells: dict[Cell, CellRuns] = {}
    samples: dict[Cell, Sampled] = {}
    left_out: dict[Cell, str] = {}
    folders = grouped(runs, lambda run: (run.sweep, run.protocol))
    for sweep in SWEEPS:
        # Its folder under the protocol, else that of the override which the sweep's own spec makes.
        under = [protocol, *([folder_of(sweep, protocol)] if sweep in shipped_sweeps() else [])]
        found = next((folders[sweep, name] for name in under if (sweep, name) in folders), [])
        try:
            selection = select(found) if found else None
        except UserError:  # records of another version of the package alone
            selection = None
        if selection is None:
            continue
        left_out |= {each.run.cell: each.reason for each in selection.left_out}
        for each in cells_of(selection):
            if qualities := dict(_qualities(each)):
                samples.setdefault(each.cell, Sampled(each, qualities))
            cells.setdefault(each.cell, each)
    return ClaimEvidence(cells, samples, {cell: reason for cell, reason in left_out.items() if cell not in cells})


def _qualities(cell: CellRuns) -> Iterator[tuple[int, Quality]]:
    for run in cell.completed:
        numbers = read_numbers(run.path, run.record.run_digest)
        if numbers and numbers.headline:
            yield run.seed, numbers.headline


def concerning(judged: Iterable[Judgement], cells: Collection[Cell]) -> list[Judgement]:
    """The claims that compare some of these cells."""
    return [each for each in judged if each.claim.parts and _cells(each.claim.parts(())) & set(cells)]


def _cells(parts: Iterable[Inequality]) -> set[Cell]:
    return {cell for part in parts for term in part.terms for cell in term.cells}


def judge_claims(runs: Iterable[Run], protocol: str) -> list[Judgement]:
    """Every claim, judged from those of the runs that ran under a protocol."""
    known = evidence(runs, protocol)
    return [judge(claim, known) for claim in CLAIMS]


def judge(claim: Claim, known: ClaimEvidence) -> Judgement:
    """One claim: reproduced when all parts are, not reproduced when one part is against it."""
    if claim.settled_by:
        return Judgement(claim, Verdict.REPRODUCED, f"a theorem, held by the test {claim.settled_by}", ())
    if claim.count:
        return _verdict(claim, _counted(claim.count), "counted on the models of protocol paper")
    assert claim.parts is not None
    parts = claim.parts(known.samples)
    return _verdict(claim, [(part.label, find(part, known, len(parts))) for part in parts])


def _counted(what: str) -> Sequence[tuple[str, Finding]]:
    from vdae_bench.report.numbers import counts

    count: Callable[[], list[tuple[str, Finding]]] = getattr(counts, what)
    return count()


def _verdict(claim: Claim, parts: Sequence[tuple[str, Finding]], why: str = "") -> Judgement:
    counts = Counter(finding.verdict for _, finding in parts)
    order = (Verdict.NOT_REPRODUCED, Verdict.NOT_RUN, Verdict.NOT_COMPARABLE, Verdict.TOO_CLOSE, Verdict.REPRODUCED)
    verdict = next(each for each in order if counts[each])
    tally = ", ".join(f"{counts[each]} of {len(parts)} {each}" for each in reversed(order) if counts[each])
    return Judgement(claim, verdict, why or (tally if len(counts) > 1 else ""), tuple(parts))


def find(part: Inequality, known: ClaimEvidence, alternatives: int) -> Finding:
    """The finding on one part, by t interval of its weighted sum over the seeds that all its cells share."""
    chosen = [_best(term, part.score, known) for term in part.terms]
    choices = math.prod(sum(bool(known.by_seed(cell, part.score)) for cell in term.cells) for term in part.terms)
    cells = [cell for cell in chosen if cell]
    if len(cells) < len(part.terms):
        missing = next(term for term, cell in zip(part.terms, chosen, strict=True) if cell is None)
        if reason := known.left_out.get(missing.cells[0]):
            return Finding(Verdict.NOT_COMPARABLE, reason=f"{missing.cells[0].slug}: {reason}")
        of = "samples of " if part.score in SAMPLE_UNITS else ""
        return Finding(Verdict.NOT_RUN, reason=f"no {of}{missing.cells[0].slug}")
    scores = [known.by_seed(cell, part.score) for cell in cells]
    seeds = sorted(set.intersection(*map(set, scores)))
    if not seeds:
        return Finding(Verdict.NOT_RUN, reason="no seed that all cells have")
    sums = [sum(term.weight * of[seed] for term, of in zip(part.terms, scores, strict=True)) for seed in seeds]
    unit = SAMPLE_UNITS.get(part.score) or unit_of(cells[0].dataset)
    estimate = mean_of(sums)
    ran = [known.runs(cell, part.score) for cell in cells]
    # Learning curves are of -ELBO: samples are comparable where it has stopped moving by as much as matters.
    gap = _margin(cells[0]) if part.score in SAMPLE_UNITS else estimate.mean - part.bound
    reason = why_not_comparable(ran, part.score, gap)
    if reason:
        return Finding(Verdict.NOT_COMPARABLE, unit, estimate, reason)
    reason = "one seed has no interval" if len(seeds) == 1 else ""
    return Finding(below(estimate, part.bound, alternatives, choices), unit, estimate, reason)


def _best(term: Term, score: Score, known: ClaimEvidence) -> Cell | None:
    means = {cell: sum(of.values()) / len(of) for cell in term.cells if (of := known.by_seed(cell, score))}
    return min(means, key=lambda cell: means[cell]) if means else None


def _margin(cell: Cell) -> float:
    return load_table("table2" if cell.dataset.startswith("binary-") else "table1").margin
