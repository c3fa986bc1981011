"""Every two methods of a sweep beside each other: the user's own one beside the paper's, too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from vdae_bench.report.numbers.pairs import Pair
from vdae_bench.report.numbers.rows import title_of
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style import latex, terminal
from vdae_bench.report.style.csv import csv
from vdae_bench.report.style.markdown import escape, link, strong, table
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import counted

LEFT = ("data", "score", "first", "second", "answer")
HEADINGS = ("data", "m", "score", "first", "", "second", "", "first - second", "seeds", "answer")
FIRST_SCORE, SECOND_SCORE = 4, 6
HOW = (
    "A difference below zero means that the first method is better. Differences are paired by seed, because methods "
    "share the draws of validation and test, and each row uses the seeds that both methods have. Student's intervals "
    "hold at 95% for all pairs on the same data together (Bonferroni). The better of two is in bold only if its "
    "interval says so. In runs shorter than the paper's, another method may win in the end."
)

CAPTION = (
    "Scores are means and standard deviations over seeds. Differences are paired by seed; their intervals hold at 95% "
    "for all pairs on the same data together (Student's t, Bonferroni). The better score is in bold if its interval "
    "says so."
)
MOST = 300
"""Differences that a page shows, those that are decided first: a browser gives up on tens of thousands of rows."""


def _cells(pair: Pair) -> list[str]:
    """A pair as cells of a table."""
    both = zip((pair.first, pair.second), pair.scores, strict=True)
    names = [text for each, score in both for text in (title_of(each.cell), score.show(pair.unit) if score else "-")]
    difference = pair.unit.show_interval(pair.estimate.mean, pair.interval)
    place = [pair.first.cell.dataset, str(pair.first.cell.latents), f"{pair.score}, {pair.unit.name}"]
    of = f" of {pair.most}" if pair.most > pair.estimate.count else ""
    return [*place, *names, difference, f"{pair.estimate.count}{of}", pair.answer]


def _marked(pair: Pair) -> list[str]:
    """The same in Markdown, the better of two in bold."""
    return [strong(text) if place == _best(pair) else text for place, text in enumerate(map(escape, _cells(pair)))]


def _best(pair: Pair) -> int | None:
    """The place of the better score among the cells of a pair."""
    if pair.better is None:
        return None
    return FIRST_SCORE if pair.better is pair.first else SECOND_SCORE


def _text(subject: Subject, pairs: Sequence[Pair]) -> Iterator[str]:
    files = [subject.path.with_name(f"{subject.name}-pairs.{ending}") for ending in ("csv", "tex")]
    links = " and ".join(link(each, subject.path, each.suffix[1:]) for each in files)
    shown = sorted(pairs, key=lambda each: each.better is None)[:MOST] if len(pairs) > MOST else pairs
    left_out = f"; {len(pairs) - len(shown)} of them stand there alone" if len(shown) < len(pairs) else ""
    yield f"{HOW} {counted(len(pairs), 'difference')}, as {links} too{left_out}."
    yield table(HEADINGS, list(map(_marked, shown)), left=LEFT)


def _frame(pairs: Sequence[Pair]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": pair.first.cell.dataset,
            "latents": pair.first.cell.latents,
            "score": pair.metric,
            "unit": pair.unit.name,
            "first": pair.first.cell.slug,
            "second": pair.second.cell.slug,
            "difference": pair.estimate.mean,
            "difference_low": pair.interval[0] if pair.interval else None,
            "difference_high": pair.interval[1] if pair.interval else None,
            "pairs_sharing_the_level": pair.family if pair.interval else None,
            "seeds": pair.estimate.count,
            "better": pair.better.cell.slug if pair.better else None,
            "answer": pair.answer,
        }
        for pair in pairs
    )


def _files(subject: Subject, pairs: Sequence[Pair]) -> dict[str, bytes]:
    caption, label = f"Differences between methods. {subject.title}. {CAPTION}", f"{subject.name}-pairs"
    best = {(row, place) for row, pair in enumerate(pairs) if (place := _best(pair)) is not None}
    text = latex.environment(HEADINGS, list(map(_cells, pairs)), LEFT, caption, label, best)
    return {
        "pairs.csv": csv(_frame(pairs)).encode(errors="backslashreplace"),
        "pairs.tex": f"{latex.NEEDS}\n{text}".encode(errors="backslashreplace"),
    }


def _terminal(subject: Subject, pairs: Sequence[Pair]) -> Iterator[str]:
    """Each difference that is decided, the others by their number: the page has them all."""
    with_interval = [each for each in pairs if each.interval]
    if not with_interval:
        return
    decided = [each for each in with_interval if each.better]
    yield ""
    yield from terminal.wrap(
        "Any two methods, 95% intervals for all pairs on the same data together, "
        f"{len(decided) or 'none'} of {counted(len(with_interval), 'difference')} decided"
        f"{', first minus second:' if decided else '.'}"
    )
    several = len({each.first.cell.dataset for each in with_interval}) > 1
    for each in decided:
        shown = each.unit.show_interval(each.estimate.mean, each.interval)
        first, second = (title_of(cell.cell) for cell in (each.first, each.second))
        where = f", m = {each.first.cell.latents}{f', {each.first.cell.dataset}' if several else ''}"
        said = f"{each.score} {shown} {each.unit.name}, {first} minus {second}{where}: {each.answer}."
        yield from terminal.wrap(said, "  ")
    for answer, number in Counter(_reason(each) for each in with_interval if not each.better).items():
        yield from terminal.wrap(f"{counted(number, 'difference')}: {answer}.", "  ")


def _reason(pair: Pair) -> str:
    """Why neither of two is better, without the number of effective samples, which differs by pair."""
    return re.sub(r"with \d[\d.]* effective samples of K = \d+", "with few effective samples", pair.answer)


PAIRS = Section("Any two methods", lambda subject: subject.pairs or None, _text, _files, _terminal)
