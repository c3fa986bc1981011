"""The paper's claims judged from records: verdicts with their evidence, as a table, a page, JSON."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vdae_bench import strict_json
from vdae_bench.errors import UserError
from vdae_bench.paper.claims import CLAIMS, Claim, Comparison, Score, Term
from vdae_bench.paper.published import load_table
from vdae_bench.protocol import PROTOCOLS
from vdae_bench.report.markdown import bullets, escape, table
from vdae_bench.report.runs import Run, grouped, select
from vdae_bench.report.statistics import CellRuns, cells_of, mean_of
from vdae_bench.report.units import Unit, unit_of
from vdae_bench.report.verdict import Finding, Verdict, below, why_not_comparable
from vdae_bench.samples.evidence import read_numbers
from vdae_bench.samples.quality import Quality
from vdae_bench.spec import Cell, find_spec, load_spec, shipped_sweeps

SWEEPS = ("table1", "table2", "figure1", "figure2", "figure3", "figure4", "sample-arms")
"""Where evidence is looked for; a cell that several of them have counts from the first."""
SAMPLE_UNITS = {"frechet": Unit("Fréchet distance", "", 2), "classifier_entropy": Unit("nats of entropy", "", 3)}
FILE = "claims.json"
REASONS = 2
"""Why parts are undecided: so many different reasons the terminal shows of a claim."""


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
class Evidence:
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


def evidence(runs: Iterable[Run], protocol: str) -> Evidence:
    """Of all runs, those that are evidence under a protocol."""
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
    return Evidence(cells, samples, {cell: reason for cell, reason in left_out.items() if cell not in cells})


def _qualities(cell: CellRuns) -> Iterator[tuple[int, Quality]]:
    for run in cell.completed:
        numbers = read_numbers(run.path, run.record.run_digest)
        if numbers and numbers.headline:
            yield run.seed, numbers.headline


def concerning(judged: Iterable[Judgement], cells: Collection[Cell]) -> list[Judgement]:
    """The claims that compare some of these cells."""
    return [each for each in judged if each.claim.parts and _cells(each.claim.parts(())) & set(cells)]


def _cells(parts: Iterable[Comparison]) -> set[Cell]:
    return {cell for part in parts for term in part.terms for cell in term.cells}


def judge_claims(runs: Iterable[Run], protocol: str) -> list[Judgement]:
    """Every claim, judged from those of the runs that ran under a protocol."""
    known = evidence(runs, protocol)
    return [judge(claim, known) for claim in CLAIMS]


def judge(claim: Claim, known: Evidence) -> Judgement:
    """One claim: reproduced when all parts are, not reproduced when one part is against it."""
    if claim.settled_by:
        return Judgement(claim, Verdict.REPRODUCED, f"a theorem, held by the test {claim.settled_by}", ())
    if claim.count:
        return _verdict(claim, _counted(claim.count), "counted on the models of protocol paper")
    assert claim.parts is not None
    parts = claim.parts(known.samples)
    return _verdict(claim, [(part.label, find(part, known, len(parts))) for part in parts])


def _counted(what: str) -> Sequence[tuple[str, Finding]]:
    from vdae_bench.report import counts  # builds models: slow, and most tables need none

    count: Callable[[], list[tuple[str, Finding]]] = getattr(counts, what)
    return count()


def _verdict(claim: Claim, parts: Sequence[tuple[str, Finding]], why: str = "") -> Judgement:
    counts = Counter(finding.verdict for _, finding in parts)
    order = (Verdict.NOT_REPRODUCED, Verdict.NOT_RUN, Verdict.NOT_COMPARABLE, Verdict.TOO_CLOSE, Verdict.REPRODUCED)
    verdict = next(each for each in order if counts[each])
    tally = ", ".join(f"{counts[each]} of {len(parts)} {each}" for each in reversed(order) if counts[each])
    return Judgement(claim, verdict, why or (tally if len(counts) > 1 else ""), tuple(parts))


def find(part: Comparison, known: Evidence, alternatives: int) -> Finding:
    """What records say of one part, by t interval of its weighted sum over the seeds that all its cells share."""
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


def _best(term: Term, score: Score, known: Evidence) -> Cell | None:
    means = {cell: sum(of.values()) / len(of) for cell in term.cells if (of := known.by_seed(cell, score))}
    return min(means, key=lambda cell: means[cell]) if means else None


def _margin(cell: Cell) -> float:
    return load_table("table2" if cell.dataset.startswith("binary-") else "table1").margin


def claims_table(judged: Collection[Judgement]) -> str:
    """Claim, place in the paper, verdict, and the evidence in short."""
    rows = [
        [each.claim.id, escape(each.claim.text), each.claim.place, _bold(each.verdict), _short(each)] for each in judged
    ]
    return table(["", "claim", "in the paper", "verdict", "evidence"], rows)


def _bold(verdict: Verdict) -> str:
    decided = verdict in (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED)
    return f"**{verdict}**" if decided else str(verdict)


def _short(each: Judgement) -> str:
    """Why, or the evidence of the part that decides."""
    deciding = [f"{label}: {finding.evidence}" for label, finding in each.parts if finding.verdict is each.verdict]
    if each.claim.count or not deciding:
        return escape(each.why)
    more = f", and {len(deciding) - 1} more" if len(deciding) > 1 else ""
    return escape("; ".join(filter(None, [each.why, f"{deciding[0]}{more}"])))


HOW = (
    "A difference is a sum of scores within each seed (cells share the validation and test draws; order and noise of "
    "training come from the seed), then a mean over seeds with its 95% Student interval. A claim of several parts is "
    "reproduced when all are, and not reproduced when one is against it (with the level shared among the parts). Where "
    "the best of several cells is taken, the level for `reproduced` is shared among them. Only runs as long as the "
    "paper's decide, or runs whose validation curve leaves less than a quarter of the difference open: nine times what "
    "it ranged over the last tenth of the learning rate spent, as if its excess fell as one over that."
)


def claims_page(judged: Sequence[Judgement], protocol: str) -> str:
    """The page of all claims under a protocol, each with its parts."""
    sections = [f"# The paper's claims, {protocol} protocol", in_short(judged), HOW, claims_table(judged)]
    for each in judged:
        if each.parts:
            sections.append(f"## Claim {each.claim.id}: {escape(each.claim.text)}")
            sections += [escape(each.why)] if each.why else []
            rows = [[escape(label), _bold(finding.verdict), escape(finding.evidence)] for label, finding in each.parts]
            sections.append(table(["part", "verdict", "evidence"], rows))
    return "\n\n".join(sections) + "\n"


def in_short(judged: Sequence[Judgement]) -> str:
    """How many claims have which verdict."""
    counts = Counter(each.verdict for each in judged)
    return bullets(
        [f"{verdict}: {', '.join(e.claim.id for e in judged if e.verdict is verdict)}" for verdict in counts]
    )


def claims_json(judged: Sequence[Judgement], protocol: str) -> str:
    """The same for programs; numbers to six digits, so that another machine writes the same text."""
    content = {"protocol": protocol, "claims": [_content(each) for each in judged]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _content(each: Judgement) -> dict[str, Any]:
    parts = []
    for label, finding in each.parts:
        part: dict[str, Any] = {"part": label, "verdict": finding.verdict, "reason": finding.reason}
        if finding.estimate and finding.unit:
            interval = finding.estimate.interval()
            part |= {
                "unit": finding.unit.name,
                "difference": _rounded(finding.estimate.mean),
                "interval": [_rounded(end) for end in interval] if interval else None,
                "seeds": finding.estimate.count,
            }
        parts.append(part)
    claim = each.claim
    return {
        "claim": claim.id,
        "text": claim.text,
        "place": claim.place,
        "verdict": each.verdict,
        "why": each.why,
        "parts": parts,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def changed_verdicts(judged: Sequence[Judgement], committed: Path) -> list[str]:
    """A line for each claim whose verdict differs from the committed file's.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = strict_json.loads(committed.read_bytes())
        before = {each["claim"]: each["verdict"] for each in content["claims"]}
    except FileNotFoundError:
        before = {}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{committed} is damaged; write it anew with `vdae-bench report`") from None
    now = {each.claim.id: str(each.verdict) for each in judged}
    return [
        f"claim {id_}: {before.get(id_, 'nothing')} committed, {now.get(id_, 'nothing')} now"
        for id_ in {**now, **before}
        if before.get(id_) != now.get(id_)
    ]


def claims_text(judged: Sequence[Judgement]) -> str:
    """For the terminal: each claim with the parts that have numbers, the others by their reasons."""
    lines = []
    for each in judged:
        lines.append(f"{each.claim.id:>3}  {each.verdict:<18} {each.claim.text}")
        lines += [f"     {line}" for line in _lines(each)]
    return "\n".join(lines)


def _lines(each: Judgement) -> Iterator[str]:
    if each.why:
        yield each.why
    undecided = (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE)
    reasons = Counter(finding.reason for _, finding in each.parts if finding.verdict in undecided)
    for label, finding in each.parts:
        if finding.verdict not in undecided:
            yield f"{label}: {finding.verdict}, {finding.evidence}"
    for reason, count in list(reasons.items())[:REASONS]:
        yield f"{reason} ({count} of {len(each.parts)} parts)" if len(each.parts) > 1 else reason
    if len(reasons) > REASONS:
        yield f"and {len(reasons) - REASONS} more such reasons"
