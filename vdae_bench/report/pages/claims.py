"""The board of all claims of the paper under a protocol: a page, JSON, and lines for the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.report.numbers.claims import Judgement, for_and_against
from vdae_bench.report.numbers.verdict import Verdict
from vdae_bench.report.sections.claims import claims_table, in_bold
from vdae_bench.report.style.markdown import bullets, escape, table
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.words import counted

FILE = "claims.json"
REASONS = 2
"""Why parts are undecided: so many different reasons the terminal shows of a claim."""
UNDECIDED = 3
"""Parts that have numbers and are undecided all the same: so many of a claim the terminal shows."""

HOW = (
    "A difference is taken within each seed, because cells share the validation and test draws, and the seed fixes the "
    "order and noise of training. The mean over seeds has a 95% Student interval. A difference speaks for its part if "
    "it is below 0, or below the bound that the fidelity notes name for the claim. The row of a claim shows the part "
    "with the strongest evidence for it and the one with the strongest against it, or two if all are on one side: a "
    "verdict that decides is stronger, then a difference that lies more half-widths of its interval from the bound. A "
    "claim of several parts is reproduced if all parts are, and not reproduced if one part is against it (with the "
    "level shared among the parts). If a part takes the best of several cells, all of them have to have records, and "
    "the level for `reproduced` is shared among them. Cells are compared only if no seed diverged, under one protocol, "
    "with equal hyper-parameters or with those that one sweep's searches chose. Samples are compared in equal numbers "
    "and by one classifier. An NLL with ten effective samples or fewer decides nothing. Only runs as long as the "
    "paper's, in epochs and in steps, can decide a claim, or runs whose validation curve leaves less than a quarter of "
    "the difference open. What a curve leaves open is nine times its range over the last tenth of the learning rate "
    "spent, as if its excess fell as one over that."
)


def claims_page(judged: Sequence[Judgement], protocol: str) -> str:
    """The page of all claims under a protocol, each with its parts."""
    sections = [f"# The paper's claims, {protocol} protocol", in_short(judged), HOW, claims_table(judged)]
    for each in judged:
        if each.parts:
            sections.append(f"## Claim {each.claim.id}: {escape(each.claim.text)}")
            sections += [escape(each.why)] if each.why else []
            rows = [
                [escape(label), in_bold(finding.verdict), escape(finding.evidence)] for label, finding in each.parts
            ]
            sections.append(table(["part", "verdict", "evidence"], rows))
    return "\n\n".join(sections) + "\n"


def in_short(judged: Sequence[Judgement]) -> str:
    """How many claims have which verdict."""
    counts = Counter(each.verdict for each in judged)
    return bullets(
        [f"{verdict}: {', '.join(e.claim.id for e in judged if e.verdict is verdict)}" for verdict in counts]
    )


def claims_json(judged: Sequence[Judgement], protocol: str | None) -> str:
    """The verdicts as JSON, null for all protocols; numbers to six digits, so that another machine writes the same."""
    content = {"protocol": protocol, "claims": [_content(each) for each in judged]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _content(each: Judgement) -> dict[str, Any]:
    parts = []
    for label, finding in each.parts:
        part: dict[str, Any] = {"part": label, "verdict": finding.verdict, "reason": finding.reason}
        part |= {"records": finding.source} if finding.source else {}
        if finding.estimate and finding.unit:
            interval = finding.estimate.interval()
            part |= {
                "unit": finding.unit.name,
                "difference": _rounded(finding.estimate.mean),
                "interval": [_rounded(end) for end in interval] if interval else None,
                "seeds": finding.estimate.count,
            }
        parts.append(part)
    claim = {"claim": each.claim.id, "text": each.claim.text, "place": each.claim.place}
    return {**claim, "verdict": each.verdict, "why": each.why, "parts": parts}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def changed_verdicts(judged: Sequence[Judgement], committed: Path) -> list[str]:
    """A line for each claim whose verdict differs from the committed file's.

    Raises:
        UserError: the file is damaged.
        EnvironmentFault: it cannot be read.
    """
    try:
        content = atomic.read(committed)
        before = {each["claim"]: each["verdict"] for each in strict_json.loads(content)["claims"]} if content else {}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{committed} is damaged; write it anew with `vdae-bench report`") from None
    now = {each.claim.id: str(each.verdict) for each in judged}
    return [
        f"claim {id_}: {before.get(id_, 'nothing')} committed, {now.get(id_, 'nothing')} now"
        for id_ in {**now, **before}
        if before.get(id_) != now.get(id_)
    ]


def claims_text(judged: Sequence[Judgement]) -> str:
    """The verdicts for the terminal: each claim with parts that have numbers, decided or not, others by the reason."""
    lines = []
    for each in judged:
        lines.append(f"{each.claim.id:>3}  {each.verdict:<18} {each.claim.text}")
        lines += [f"     {line}" for line in _lines(each)]
    return "\n".join(lines)


def _lines(each: Judgement) -> Iterator[str]:
    if each.why:
        yield each.why
    undecided = (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE)
    decided = [part for part in each.parts if part[1].verdict not in undecided]
    others = [part for part in each.parts if part[1].verdict in undecided]
    measured = for_and_against(others)
    reasons = Counter(finding.reason for _, finding in others if not finding.estimate)
    for label, finding in (*decided, *measured[:UNDECIDED]):
        yield f"{label}: {finding.verdict}, {finding.evidence}"
    if len(measured) > UNDECIDED:
        yield f"and {counted(len(measured) - UNDECIDED, 'more part')} with numbers that decide nothing"
    for reason, count in list(reasons.items())[:REASONS]:
        yield f"{reason} ({count} of {len(each.parts)} parts)" if len(each.parts) > 1 else reason
    if len(reasons) > REASONS:
        yield f"and {counted(len(reasons) - REASONS, 'more such reason')}"
