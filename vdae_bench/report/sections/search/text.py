"""The search in a report: which rows use which winner, what each study found, its pictures; from winner files alone."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from vdae_bench.report.numbers.rows import Row, Sheet
from vdae_bench.report.numbers.searches import Frozen, Progression, compared, current, importances, same_points
from vdae_bench.report.style.markdown import bullets, code, escape, label, link, table
from vdae_bench.search.space import in_words
from vdae_bench.search.winner import Winner
from vdae_bench.spec.file import Choices, Range


def fidelity(winner: Winner) -> str:
    """How the epochs of the trials stand to those of the final runs; in bold where they are fewer.

    A rate that falls to zero has less time to learn in a short trial, so that the schedule is not judged there as it
    would be at full length ("Schedules in short trials" in the fidelity notes).
    """
    epochs = f"{winner.epochs} epoch{'s'[: winner.epochs != 1]} each"
    if winner.epochs == winner.final_epochs:
        return f"{epochs}, as in the final runs"
    relation = "fewer" if winner.epochs < winner.final_epochs else "more"
    favours = "; short trials favour a constant learning rate" if relation == "fewer" and _schedules(winner) else ""
    return f"{epochs}, **{relation} than the {winner.final_epochs} of the final runs**{favours}"


def _schedules(winner: Winner) -> bool:
    """Whether the search chose between schedules."""
    space = winner.searched.get("schedule")
    return isinstance(space, Choices) and len(space.values) > 1


def row_notes(sheet: Sheet, searches: Sequence[Frozen]) -> list[tuple[str, str, Frozen | None]]:
    """(rows, what is said of their search, its winner), for each source that the rows' records name."""
    by_source = {each.winner.source: each for each in searches}
    found: dict[str, list[Row]] = {}
    for row in sheet.rows:
        sources = {str(run.record.hyperparameters.get("source")) for run in (row.ran.runs if row.ran else ())}
        for source in sorted(sources):
            if source.startswith("search"):
                found.setdefault(source, []).append(row)
    notes: list[tuple[str, str, Frozen | None]] = []
    for source, rows in found.items():
        names, frozen = "; ".join(label(row) for row in rows), by_source.get(source)
        if frozen is None:
            notes.append((names, f"{code(source)}, whose file is not in the results folder", None))
            continue
        winner = frozen.winner
        said = (
            f"trial {winner.winner} of {len(winner.trials)} on {code(winner.cell)} ({winner.sampler}), "
            f"{fidelity(winner)}"
        )
        notes.append((names, said, frozen))
    return notes


def notes_for_table(sheet: Sheet, searches: Sequence[Frozen], page: Path) -> Iterator[str]:
    """What stands under a table of which some rows have searched hyper-parameters."""
    notes = row_notes(sheet, searches)
    if notes:
        searched = sum(names.count(";") + 1 for names, _, _ in notes)
        others = "; the other rows have those of the spec" if searched < len(sheet.rows) else ""
        yield f"Hyper-parameters by search on validation -ELBO{others}:"
        yield bullets(
            [
                f"{names}: {said}" + (f" ({link(frozen.path, page, 'file')})" if frozen else "")
                for names, said, frozen in notes
            ]
        )


def section(searches: Sequence[Frozen], path: Path) -> Iterator[str]:
    """The section of a page at `path`; the figures of `report.search_figures` lie beside it."""
    here = current(searches)
    own = [each for each in here if not each.winner.label]
    if not here:
        return
    yield (
        "Each study: trials asked in batches by Optuna, trained on the training images, valued by -ELBO at beta = 1 on "
        "the validation images after the last epoch; lower is better. The test set takes no part. Best tenth: how far "
        "its worst value is above the best, which says how flat the optimum is. Trials an hour: at the training and "
        "validation time of these."
    )
    headers = [
        "study",
        "cells",
        "sampler",
        "trials",
        "asked at once",
        "trials an hour",
        "pruned",
        "diverged",
        "epochs",
        "best",
        "best tenth within",
        "file",
    ]
    yield table(headers, [_summary(each, path) for each in here], right=headers[3:11])
    for each in own:
        name = figure_name(path.stem, each)
        yield f"### Search on {each.dataset}: {code(each.winner.cell)}"
        yield f"Chosen: {escape(in_words(each.winner.chosen))}."
        yield f"![Optimisation history, slices and importance]({name}.svg)"
        yield (
            "Values in "
            + each.unit.name
            + "; filled: trained to the end, hollow: pruned (the value at its last epoch), "
            f"crosses at the top: diverged or far above. As pixels: [{name}.png]({name}.png)."
        )
        if len(each.best_tenth) > 1:
            yield table(
                ["hyper-parameter", "chosen", "in the best tenth", "importance"], _flatness(each, importances(each))
            )
    yield from _comparison(here, path)
    yield from _fidelities(here)


def figure_name(stem: str, frozen: Frozen) -> str:
    """Of a study's figure, without its ending."""
    return f"{stem}-search-{frozen.winner.cell}"


def comparison_name(stem: str, frozen: Frozen) -> str:
    """Of the figure of samplers compared on a cell, without its ending."""
    return f"{stem}-search-samplers-{frozen.winner.cell}"


def _summary(each: Frozen, path: Path) -> list[str]:
    winner = each.winner
    states = [trial.state for trial in winner.trials]
    seconds = sum(trial.seconds for trial in winner.trials)
    final = "" if winner.epochs == winner.final_epochs else f" (final {winner.final_epochs})"
    return [
        escape(each.name),
        str(len(winner.serves)) if winner.serves else "compared only",
        winner.sampler,
        str(len(states)),
        str(winner.batch),
        f"{3600 * len(states) / seconds:.0f}" if seconds else "-",
        str(states.count("pruned")),
        str(states.count("diverged")),
        f"{winner.epochs}{final}",
        f"{each.text(winner.value)} {each.unit.name}",
        each.unit.show(each.spread),
        link(each.path, path, "JSON"),
    ]


def _flatness(each: Frozen, importance: dict[str, float]) -> list[list[str]]:
    rows = []
    for name, chosen in each.winner.chosen.items():
        values = [trial.parameters[name] for trial in each.best_tenth]
        space = each.winner.searched[name]
        at_the_edge = isinstance(space, Range) and any(math.isclose(chosen, end) for end in (space.min, space.max))
        if isinstance(space, Range):
            among = f"{min(values):.3g} to {max(values):.3g}"
        else:
            among = ", ".join(f"{value} ({values.count(value)})" for value in sorted(set(values), key=str))
        shown = f"{chosen:.4g}" if isinstance(chosen, float) else str(chosen)
        shown += " (the end of its interval)" if at_the_edge else ""
        rows.append([code(name), shown, among, f"{importance[name]:.2f}" if name in importance else "-"])
    return rows


def _comparison(here: Sequence[Frozen], path: Path) -> Iterator[str]:
    for group in compared(here):
        runs = {(each.winner.sampler, each.winner.seed): Progression.of(each) for each in group}
        cost = min(run.costs[-1] for run in runs.values())
        first = group[0]
        yield f"### Samplers compared on {code(first.winner.cell)}"
        name = comparison_name(path.stem, first)
        yield f"![Best value against cost, by sampler]({name}.svg)"
        yield (
            f"Best validation -ELBO ({first.unit.name}) after training worth {cost:.3g} full trials, mean and standard "
            "deviation over search seeds; beside random search with the same seed. "
            f"As pixels: [{name}.png]({name}.png)."
        )
        rows = []
        for sampler in sorted({sampler for sampler, _ in runs}):
            seeds = sorted(seed for each, seed in runs if each == sampler)
            values = [runs[sampler, seed].at(cost) for seed in seeds]
            deviation = f" ± {statistics.stdev(values):.{first.unit.decimals}f}" if len(values) > 1 else ""
            pairs = [
                (runs[sampler, seed].at(cost), runs["random", seed].at(cost))
                for seed in seeds
                if sampler != "random" and ("random", seed) in runs
            ]
            better = f"{sum(a < b for a, b in pairs)} of {len(pairs)}" if pairs else "-"
            gap = first.unit.show_difference(statistics.fmean(a - b for a, b in pairs)) if pairs else "-"
            rows.append([sampler, str(len(seeds)), first.unit.show(statistics.fmean(values)) + deviation, better, gap])
        headers = ["sampler", "search seeds", "best", "better than random", "mean difference"]
        yield table(headers, rows, right=headers[1:])


def _fidelities(here: Sequence[Frozen]) -> Iterator[str]:
    """How well a short trial ranks what a long one does."""
    from scipy.stats import spearmanr

    rows = []
    ordered = sorted(here, key=lambda each: each.winner.epochs)
    for short, long in itertools.combinations(ordered, 2):
        pairs = same_points(short, long)
        if len(pairs) > 2:
            correlation = float(spearmanr([a for a, _ in pairs], [b for _, b in pairs]).statistic)
            chosen = min(pairs)[1]
            regret = short.shown(chosen) - short.shown(min(b for _, b in pairs))
            rank = 1 + sum(b < chosen for _, b in pairs)
            rows.append(
                [
                    code(short.winner.cell),
                    str(short.winner.epochs),
                    str(long.winner.epochs),
                    str(len(pairs)),
                    f"{correlation:.2f}",
                    f"{rank} of {len(pairs)}",
                    f"{short.unit.show(regret)} {short.unit.name}",
                ]
            )
    if rows:
        yield "### Short trials beside long ones"
        yield (
            "The same hyper-parameters and seeds trained for fewer and for more epochs: rank correlation (Spearman) of "
            "the validation -ELBO, the long run's rank of what the short runs would choose, and what that choice costs."
        )
        headers = ["cell", "short", "long", "trials", "rank correlation", "rank of the choice", "its cost"]
        yield table(headers, rows, right=headers[1:])
