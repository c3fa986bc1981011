"""The paper's claims that a sweep is evidence for, with their verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from vdae_bench.report.numbers.claims import Judgement
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.verdict import Verdict
from vdae_bench.report.style.markdown import escape, link, table
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import counted

STRONGEST = (
    Verdict.REPRODUCED,
    Verdict.NOT_REPRODUCED,
    Verdict.TOO_CLOSE,
    Verdict.NOT_COMPARABLE,
    Verdict.NOT_RUN,
)
"""Verdicts on parts of a claim: evidence of the first says the most."""
MOST = 2
"""Parts of a claim that its row shows with their numbers."""


def claims_table(judged: Collection[Judgement]) -> str:
    """Claim, verdict beside it, the evidence in short, and the place in the paper."""
    return table(["", "claim", "verdict", "evidence", "in the paper"], [claim_row(each) for each in judged])


def claim_row(each: Judgement) -> list[str]:
    """The cells of a claim in that table, in Markdown."""
    return [each.claim.id, escape(each.claim.text), in_bold(each.verdict), _short(each), each.claim.place]


def in_bold(verdict: Verdict) -> str:
    """A verdict, in bold where it decides something."""
    decided = verdict in (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED)
    return f"**{verdict}**" if decided else str(verdict)


def _short(each: Judgement) -> str:
    """Why, and the parts with the strongest evidence; where none has a number, one of those that decide."""
    deciding = [(label, finding) for label, finding in each.parts if finding.verdict is each.verdict]
    if each.claim.count or not deciding:
        return escape(each.why)
    measured = sorted(
        (part for part in each.parts if part[1].estimate), key=lambda part: STRONGEST.index(part[1].verdict)
    )
    shown = [f"{label}: {finding.verdict}, {finding.evidence}" for label, finding in measured[:MOST]]
    if not any(finding.verdict is each.verdict for _, finding in measured[:MOST]):
        label, finding = deciding[0]
        more = f", and {counted(len(deciding) - 1, 'part')} more" if len(deciding) > 1 else ""
        shown.append(f"{label}: {finding.evidence}{more}")
    return escape("; ".join(filter(None, [each.why, *shown])))


def _text(subject: Subject, judged: Sequence[Judgement]) -> Iterator[str]:
    yield f"All claims, part by part: {link(subject.claims, subject.path, 'claims.md')}."
    yield claims_table(judged)


CLAIMS = Section("The paper's claims", lambda subject: subject.judged or None, _text)
