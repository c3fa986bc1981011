"""The paper's claims that a sweep is evidence for, with their verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from vdae_bench.report.numbers.claims import Judgement
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.verdict import Verdict
from vdae_bench.report.style.markdown import escape, link, table
from vdae_bench.report.style.section import Section


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
    """Why, or the evidence of the part that decides; where none of these has a number, one that has as well."""
    deciding = [part for part in each.parts if part[1].verdict is each.verdict]
    if each.claim.count or not deciding:
        return escape(each.why)
    label, finding = deciding[0]
    more = f", and {len(deciding) - 1} more" if len(deciding) > 1 else ""
    shown = [each.why, f"{label}: {finding.evidence}{more}"]
    measured = [(label, finding) for label, finding in each.parts if finding.estimate]
    if measured and not any(finding.estimate for _, finding in deciding):
        shown.append(f"{measured[0][0]}: {measured[0][1].verdict}, {measured[0][1].evidence}")
    return escape("; ".join(filter(None, shown)))


def _text(subject: Subject, judged: Sequence[Judgement]) -> Iterator[str]:
    yield f"All claims, part by part: {link(subject.claims, subject.path, 'claims.md')}."
    yield claims_table(judged)


CLAIMS = Section("The paper's claims", lambda subject: subject.judged or None, _text)
