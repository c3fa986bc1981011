"""Two results folders side by side: which cells moved, by how much, with intervals over seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.report.numbers.rows import SCORES
from vdae_bench.report.numbers.runs import Run, by_folder, grouped, load_runs, name_what_is_not_read, select
from vdae_bench.report.numbers.statistics import LEVEL, CellRuns, Estimate, mean_of
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.report.style.terminal import table
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted


@dataclass(frozen=True)
class Move:
    """A score of a cell in both folders: the second - the first, paired by the seeds that both have.

    `scores` is how many are compared at once. The intervals of all together hold all true changes with 95%: each is
    at the level 1 - 0.05 / `scores` (Bonferroni), or of 42 scores that chance alone moves some would count as moved.
    """

    place: str
    score: str
    unit: Unit
    first: float
    second: float
    change: Estimate
    scores: int = 1

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the change, corrected for the number of scores."""
        return self.change.interval(1 - (1 - LEVEL) / self.scores)

    @property
    def state(self) -> str:
        """`same` to the last digit, `moved` when the interval excludes 0, else `unclear`."""
        interval = self.interval
        if self.change.mean == 0 and not self.change.standard_error:
            return "same"
        if interval and not interval[0] <= 0 <= interval[1]:
            return "moved"
        return "unclear"


@dataclass(frozen=True)
class Comparison:
    """The scores that two folders share, and the cells that only one of them has."""

    moves: tuple[Move, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    left_out: tuple[str, ...]
    """Runs that no table shows and nothing here counts, with the reason."""
    diverged: tuple[str, ...] = ()
    """Cells of both with seeds that have no scores, in one folder or both."""


def compare(first: Store, second: Store) -> Comparison:
    """Compare the cells of two results folders, each sweep and protocol for itself.

    Raises:
        UserError: a folder has no records.
    """
    (here, out_here), (there, out_there) = _cells(first), _cells(second)
    moves = [move for place in here if place in there for move in _moves(place, here[place], there[place])]
    # One seed has no interval, and takes part in no error.
    compared = max(1, sum(move.change.interval() is not None for move in moves))
    return Comparison(
        tuple(replace(move, scores=compared) for move in moves),
        tuple(place for place in here if place not in there),
        tuple(place for place in there if place not in here),
        (*(f"A: {each}" for each in out_here), *(f"B: {each}" for each in out_there)),
        tuple(
            f"{place}: {_diverged(here[place])} in A, {_diverged(there[place])} in B"
            for place in here
            if place in there and (here[place].diverged or there[place].diverged)
        ),
    )


def _diverged(cell: CellRuns) -> str:
    return f"{cell.diverged} of {counted(len(cell.runs), 'seed')}"


def _cells(store: Store) -> tuple[dict[str, CellRuns], list[str]]:
    """The cells of a folder by their place, of the runs that reports show, and a line for each of the others."""
    name_what_is_not_read(store)
    runs = load_runs(store)
    if not runs:
        raise UserError(f"there are no records in {store.root}; give two results folders")
    shown: list[Run] = []
    left_out: list[str] = []
    for members in by_folder(runs).values():
        try:
            selection = select(members)
        except UserError:  # all of another version of the package: what it reported is compared all the same
            shown += members
        else:
            shown += selection.runs
            left_out += [f"{each.run.path.relative_to(store.root)}, {each.reason}" for each in selection.left_out]
    return {place: CellRuns(of[0].cell, tuple(of)) for place, of in grouped(shown, _place).items()}, left_out


def _place(run: Run) -> str:
    return f"{run.sweep}/{run.protocol}/{run.cell.slug}"


def _moves(place: str, first: CellRuns, second: CellRuns) -> list[Move]:
    unit = unit_of(first.cell.dataset)
    moves = []
    for name, score in SCORES:
        before, after = first.by_seed(score, unit), second.by_seed(score, unit)
        seeds = sorted(before.keys() & after.keys())
        if seeds:
            change = mean_of([after[seed] - before[seed] for seed in seeds])
            means = [sum(of[seed] for seed in seeds) / len(seeds) for of in (before, after)]
            moves.append(Move(place, name, unit, means[0], means[1], change))
    return moves


def compare_text(found: Comparison) -> str:
    """The comparison as text for the terminal."""
    rows = [
        [
            move.place,
            move.score,
            move.unit.show(move.first),
            move.unit.show(move.second),
            f"{move.unit.show_interval(move.change.mean, move.interval)} {move.unit.name}",
            str(move.change.count),
            move.state,
        ]
        for move in found.moves
    ]
    headers = ["cell", "score", "A", "B", "B - A, 95% interval for all together", "seeds", ""]
    moved = len({move.place for move in found.moves if move.state == "moved"})
    lines = [table(headers, rows, left=("cell", "score", ""))] if rows else []
    lines += [f"only in A: {place}" for place in found.only_first]
    lines += [f"only in B: {place}" for place in found.only_second]
    lines += [f"diverged, and in no score: {each}" for each in found.diverged]
    lines += [f"left out of {each}" for each in found.left_out]
    places, scores = len({move.place for move in found.moves}), found.moves[0].scores if found.moves else 0
    lines.append(
        f"{moved} of {counted(places, 'cell')} moved; differences are paired by seed, with intervals corrected for "
        f"{counted(scores, 'score')} (Bonferroni), so that chance alone "
        "moves any of them in one comparison of twenty at most"
    )
    return "\n".join(lines)


def compare_content(found: Comparison) -> dict[str, Any]:
    """The comparison as content for JSON."""
    return {
        "moves": [
            {
                "cell": move.place,
                "score": move.score,
                "unit": move.unit.name,
                "first": move.first,
                "second": move.second,
                "change": move.change.mean,
                "interval": move.interval,
                "scores": move.scores,
                "seeds": move.change.count,
                "state": move.state,
            }
            for move in found.moves
        ],
        "only_first": list(found.only_first),
        "only_second": list(found.only_second),
        "left_out": list(found.left_out),
        "diverged": list(found.diverged),
    }
