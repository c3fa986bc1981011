"""The paper's claims that a sweep is evidence for, with their verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from vdae_bench.report.numbers.claims import Judgement, for_and_against
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.verdict import Verdict
from vdae_bench.report.style.markdown import escape, link, table
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import counted

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
    """Why, the strongest evidence for the claim and against it, a part with its verdict, and how many parts are left.

    Where no part has a number, one of those with the claim's verdict stands for them.
    """
    if each.claim.count or not each.parts:
        return escape(each.why)
    ordered = for_and_against(each.parts)
    shown = ordered[:MOST]
    if not any(finding.verdict is each.verdict for _, finding in shown):
        shown += [part for part in (*ordered, *each.parts) if part[1].verdict is each.verdict][:1]
    said = [
        f"{label}: {f'{finding.verdict}, ' if finding.estimate else ''}{finding.evidence}" for label, finding in shown
    ]
    left = len(each.parts) - len(shown)
    more = f", and {counted(left, 'part')} more" if left else ""
    return escape("; ".join(filter(None, [each.why, *said])) + more)


def _text(subject: Subject, judged: Sequence[Judgement]) -> Iterator[str]:
    yield f"All claims, part by part: {link(subject.claims, subject.path, 'claims.md')}."
    yield claims_table(judged)


CLAIMS = Section("The paper's claims", lambda subject: subject.judged or None, _text)
