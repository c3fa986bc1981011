"""The paper's claims judged from records: which runs are evidence for each, and what they say."""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vdae_bench.errors import UserError
from vdae_bench.paper.claims import CLAIMS, Claim, Inequality, Score, Term
from vdae_bench.paper.published import load_table
from vdae_bench.report.numbers.comparable import why_unequal
from vdae_bench.report.numbers.runs import Run, by_folder, select
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.report.numbers.verdict import PRECEDENCE, Finding, Summand, Verdict, judge_sum
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.shipped import PROTOCOLS, shipped_sweeps
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Quality, read_numbers
from vdae_bench.system.words import counted, nearest

SWEEPS = ("table1", "table2", "figure1", "figure2", "figure3", "figure4", "sample-arms", "section6")
"""The sweeps of claims: of several that have all cells of a part of a claim the first of these is taken."""

STRONGEST = (
    Verdict.REPRODUCED,
    Verdict.NOT_REPRODUCED,
    Verdict.TOO_CLOSE,
    Verdict.NOT_COMPARABLE,
    Verdict.NOT_RUN,
)
"""Verdicts on parts of a claim: evidence of the first says the most."""
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
    """The cells that ran under a protocol, and what was measured on their samples.

    `nearer` has the same of one sweep or folder each, in the order in which parts of claims look for all of their
    cells: those of one sweep share searches and code. Only a part whose cells lie apart is judged from the whole.
    """

    source: str
    """Where the records lie: a sweep and its protocol."""
    cells: Mapping[Cell, CellRuns]
    samples: Mapping[Cell, Sampled]
    left_out: Mapping[Cell, str]
    """Cells all of whose runs stand in no table with the others, and why."""
    nearer: tuple[ClaimEvidence, ...] = ()

    def by_seed(self, cell: Cell, score: Score) -> dict[int, float]:
        """A score of each seed; empty where the cell has none."""
        if score in SAMPLE_UNITS:
            found = self.samples[cell].qualities if cell in self.samples else {}
            return {seed: float(getattr(each, score)) for seed, each in found.items()}
        return self.cells[cell].by_seed(score, unit_of(cell.dataset)) if cell in self.cells else {}

    def runs(self, cell: Cell, score: Score) -> CellRuns:
        """The runs that a cell's scores are from."""
        return self.samples[cell].runs if score in SAMPLE_UNITS else self.cells[cell]

    def lacks(self, part: Inequality) -> list[Cell]:
        """The cells of a part that have no such score here."""
        return [cell for term in part.terms for cell in term.cells if not self.by_seed(cell, part.score)]


@functools.cache
def folder_of(sweep: str, protocol: str) -> str:
    """The folder of a shipped sweep under a protocol; a sweep may override the default protocol in its spec."""
    return load_spec(find_spec(sweep), protocol).protocol.name if protocol in PROTOCOLS else protocol


@functools.cache
def _claims_sweeps() -> dict[str, str]:
    """The sweeps of claims as records name them, and as `find_spec` does: those of `SWEEPS`, and the long runs."""
    words = [word for word in shipped_sweeps() if word.rpartition("/")[2] in SWEEPS or word.startswith("evidence/")]
    return {load_spec(find_spec(word)).name: word for word in words}


def claims_protocol(sweep: str, folder: str) -> str | None:
    """The protocol whose page of claims a folder of a sweep is evidence on.

    That is its own name, or the protocol that a sweep of the paper overrides in its spec. None for an override of
    another sweep: its records are evidence where it is asked for by its name, or where all are asked.
    """
    if folder in PROTOCOLS:
        return folder
    if sweep not in _claims_sweeps():
        return folder if sweep in SWEEPS else None
    word = _claims_sweeps()[sweep]
    return next((each for each in PROTOCOLS if folder_of(word, each) == folder), folder)


def with_pages(runs: Iterable[Run]) -> list[str]:
    """The protocols that have a page of claims: those under which some cell ran that a claim compares."""
    compared = _cells(part for claim in CLAIMS if claim.parts for part in claim.parts())
    named = {claims_protocol(run.sweep, run.protocol) for run in runs if run.sweep in SWEEPS or run.cell in compared}
    return sorted(filter(None, named))


def protocols_of(runs: Iterable[Run]) -> list[str]:
    """The protocols under which there is evidence, the best last: the paper's, then shorter ones, then overrides."""
    found = {claims_protocol(run.sweep, run.protocol) or run.protocol: run for run in runs}

    def rank(name: str) -> tuple[int, int, int, str]:
        protocol = found[name].record.protocol
        base = str(protocol.get("base", ""))
        return (
            PROTOCOLS.index(name) if name in PROTOCOLS else -1,
            PROTOCOLS.index(base) if base in PROTOCOLS else -1,
            int(protocol.get("epochs", 0)),
            name,
        )

    return sorted(found, key=rank)


def evidence(runs: Iterable[Run], protocol: str) -> ClaimEvidence:
    """The runs that are evidence under a protocol, of all that there are, wherever they lie."""
    folders = {
        (folder, sweep): members
        for (folder, sweep), members in by_folder(runs).items()
        if protocol in (folder, claims_protocol(sweep, folder))
    }
    # First the folder of that name, then overrides; in each the paper's sweeps in their order, then others by name.
    order = sorted(folders, key=lambda each: (each[0] != protocol, each[0], _place(each[1])))
    each = [found for place in order if (found := _of_one(place, folders[place]))]
    return ClaimEvidence(
        protocol,
        {cell: ran for one in reversed(each) for cell, ran in one.cells.items()},
        {cell: ran for one in reversed(each) for cell, ran in one.samples.items()},
        {cell: why for one in each for cell, why in one.left_out.items() if not any(cell in o.cells for o in each)},
        tuple(each),
    )


def _place(sweep: str) -> tuple[int, str]:
    return SWEEPS.index(sweep) if sweep in SWEEPS else len(SWEEPS), sweep


def _of_one(place: tuple[str, str], runs: list[Run]) -> ClaimEvidence | None:
    """The evidence in one folder of a sweep; None where all of it is of another version of the package."""
    try:
        selection = select(runs)
    except UserError:
        return None
    cells = {each.cell: each for each in cells_of(selection)}
    samples = {cell: Sampled(each, qualities) for cell, each in cells.items() if (qualities := dict(_qualities(each)))}
    left_out = {each.run.cell: each.reason for each in selection.left_out if each.run.cell not in cells}
    return ClaimEvidence("/".join(reversed(place)), cells, samples, left_out)


def _qualities(cell: CellRuns) -> Iterator[tuple[int, Quality]]:
    for run in cell.completed:
        numbers = read_numbers(run.path, run.record.run_digest)
        if numbers and numbers.headline:
            yield run.seed, numbers.headline


def concerning(judged: Iterable[Judgement], cells: Collection[Cell]) -> list[Judgement]:
    """The claims that compare some of these cells."""
    return [each for each in judged if each.claim.parts and _cells(each.claim.parts()) & set(cells)]


def _cells(parts: Iterable[Inequality]) -> set[Cell]:
    return {cell for part in parts for term in part.terms for cell in term.cells}


def judge_claims(runs: Sequence[Run], protocol: str | None = None, claims: Sequence[Claim] = CLAIMS) -> list[Judgement]:
    """Claims, by default all, judged from the runs under a protocol; without one, from the best evidence under any.

    Raises:
        UserError: there is no such protocol.
    """
    known = protocols_of(runs)
    if protocol and protocol not in (*known, *PROTOCOLS, *(run.protocol for run in runs)):
        names = list(dict.fromkeys([*PROTOCOLS, *known]))
        raise UserError(
            f"there is no protocol {protocol!r}{nearest(protocol, names)}, nor a record of one; "
            f"use one of {', '.join(names)}"
        )
    under = [evidence(runs, name) for name in ([protocol] if protocol else reversed(known))]
    return [judge(claim, under) for claim in claims]


def judge(claim: Claim, known: Sequence[ClaimEvidence]) -> Judgement:
    """One claim: reproduced when all parts are, not reproduced when one part is against it, not run when none ran."""
    if claim.settled_by:
        return Judgement(claim, Verdict.REPRODUCED, f"a theorem, held by the test {claim.settled_by}", ())
    if claim.count:
        return _verdict(claim, _counted(claim.count), "counted on the models of protocol paper")
    assert claim.parts is not None
    parts = claim.parts()
    return _verdict(claim, [(part.label, _best(part, known, len(parts))) for part in parts])


def for_and_against(parts: Iterable[tuple[str, Finding]]) -> list[tuple[str, Finding]]:
    """The parts that have a number, the strongest first, those for the claim and those against it in turn."""
    measured = sorted((part for part in parts if part[1].estimate), key=lambda part: _weakness(part[1]))
    one = [part for part in measured if _is_for(part[1]) is _is_for(measured[0][1])]
    other = [part for part in measured if _is_for(part[1]) is not _is_for(measured[0][1])]
    return [part for both in itertools.zip_longest(one, other) for part in both if part]


def _is_for(finding: Finding) -> bool:
    return bool(finding.estimate and finding.estimate.mean < finding.bound)


def _weakness(finding: Finding) -> tuple[int, float]:
    """A key that puts decided findings first, then those that are many half-widths of their interval from the bound."""
    interval = finding.estimate.interval() if finding.estimate else None
    if finding.estimate is None or interval is None:
        return STRONGEST.index(finding.verdict), 0.0
    half, distance = (interval[1] - interval[0]) / 2, abs(finding.estimate.mean - finding.bound)
    return STRONGEST.index(finding.verdict), -distance / half if half else -math.inf


def _counted(what: str) -> Sequence[tuple[str, Finding]]:
    from vdae_bench.report.numbers import counts

    count: Callable[[], list[tuple[str, Finding]]] = getattr(counts, what)
    return count()


def _verdict(claim: Claim, parts: Sequence[tuple[str, Finding]], why: str = "") -> Judgement:
    counts = Counter(finding.verdict for _, finding in parts)
    verdict = next(each for each in PRECEDENCE if counts[each])
    if verdict is Verdict.NOT_RUN and any(finding.estimate for _, finding in parts):
        verdict = Verdict.NOT_COMPARABLE  # some of it ran: not all that the claim is about
    tally = ", ".join(f"{counts[each]} of {len(parts)} {each}" for each in reversed(PRECEDENCE) if counts[each])
    return Judgement(claim, verdict, why or (tally if len(counts) > 1 else ""), tuple(parts))


def _best(part: Inequality, known: Sequence[ClaimEvidence], alternatives: int) -> Finding:
    """The finding under the first protocol whose records decide, else the first that has any: never by what it says."""
    by_lack = sorted(enumerate(known), key=lambda item: len(item[1].lacks(part)))
    found = {rank: find(part, each, alternatives) for rank, each in by_lack}
    for undecided in ((Verdict.NOT_RUN, Verdict.NOT_COMPARABLE), (Verdict.NOT_RUN,), ()):
        for rank, each in found.items():
            if each.verdict not in undecided:
                better = [found[other] for other in range(rank)]
                refused = [other for other in better if other.verdict is Verdict.NOT_COMPARABLE]
                passed = [f"passed over: {other.reason} ({other.source})" for other in refused]
                return replace(each, reason="; ".join(filter(None, [each.reason, *passed])))
    return Finding(Verdict.NOT_RUN, reason="there are no records")


def find(part: Inequality, known: ClaimEvidence, alternatives: int) -> Finding:
    """The finding on one part, by t interval of its weighted sum over the seeds that all its cells share."""
    whole = [each for each in known.nearer if not each.lacks(part)]
    if whole:
        known = whole[0]
    elif missing := known.lacks(part):
        return _not_run(part, known, missing)
    scores = [term.score or part.score for term in part.terms]
    chosen = [_lowest(term, score, known) for term, score in zip(part.terms, scores, strict=True)]
    unit = SAMPLE_UNITS.get(part.score) or unit_of(chosen[0].dataset)
    summands = [
        Summand(term.weight, known.runs(cell, score), known.by_seed(cell, score))
        for term, cell, score in zip(part.terms, chosen, scores, strict=True)
    ]
    sampled = part.score in SAMPLE_UNITS
    finding = judge_sum(
        summands,
        part.score,
        unit,
        bound=part.bound,
        # Learning curves are of -ELBO: samples are comparable where it has stopped moving by as much as matters.
        gap=_margin(chosen[0]) if sampled else None,
        alternatives=alternatives,
        choices=math.prod(len(term.cells) for term in part.terms),
        alike=part.alike,
        true_nll=part.true_nll,
    )
    every = [cell for term in part.terms for cell in term.cells]  # those that were not the lowest too
    reason = _unlike([known.samples[cell] for cell in every]) if sampled else ""
    reason = reason or why_unequal([known.runs(cell, part.score) for cell in every])
    if sampled and not reason and finding.verdict is not Verdict.NOT_COMPARABLE:
        reason = _overfits(every, known)
    if finding.estimate and reason:
        finding = replace(finding, verdict=Verdict.NOT_COMPARABLE, reason=reason)
    return replace(finding, source=known.source)


def _not_run(part: Inequality, known: ClaimEvidence, missing: Sequence[Cell]) -> Finding:
    if reasons := [f"{cell.slug}: {known.left_out[cell]}" for cell in missing if cell in known.left_out]:
        return Finding(Verdict.NOT_COMPARABLE, reason=reasons[0], source=known.source)
    lacking, verb = ("no samples", "have them") if part.score in SAMPLE_UNITS else ("not run", "ran")
    cells = sum(len(term.cells) for term in part.terms)
    diverged = [cell for cell in missing if cell in known.cells and not known.cells[cell].completed]
    if diverged:
        return Finding(Verdict.NOT_COMPARABLE, reason=f"all seeds of {diverged[0].slug} diverged", source=known.source)
    more = f" and {counted(len(missing) - 1, 'more cell')}" if len(missing) > 1 else ""
    there = f"; {cells - len(missing)} of {counted(cells, 'cell')} {verb}" if len(missing) < cells else ""
    have = "have" if more else "has"
    reason = f"{missing[0].slug}{more} {have} {lacking}{there}"
    return Finding(Verdict.NOT_RUN, reason=reason, source=known.source if there else "")


def _unlike(sampled: Sequence[Sampled]) -> str:
    """Why measures of samples are not of one kind: the Frechet distance falls with their number, whatever they are."""
    every = [quality for each in sampled for quality in each.qualities.values()]
    numbers = sorted({each.samples for each in every})
    if len(numbers) > 1:
        return f"measured on {' and '.join(map(str, numbers))} samples"
    if len({each.classifier for each in every}) > 1:
        return "measured by classifiers with different weights"
    if len({each.view for each in every}) > 1:
        return "measured beside different views of the test images"
    return ""


def _overfits(cells: Sequence[Cell], known: ClaimEvidence) -> str:
    """A cell with a run that overfits: only its scores are known at its best epoch, and not its samples."""
    lost = next((cell for cell in cells if any(run.overfits for run in known.cells[cell].completed)), None)
    return f"{lost.slug} overfits, and its samples are those of the last epoch" if lost else ""


def _lowest(term: Term, score: Score, known: ClaimEvidence) -> Cell:
    means = {cell: statistics.fmean(known.by_seed(cell, score).values()) for cell in term.cells}
    return min(means, key=lambda cell: means[cell])


def _margin(cell: Cell) -> float:
    return load_table("table2" if cell.dataset.startswith("binary-") else "table1").margin
