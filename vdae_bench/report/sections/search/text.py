"""The search in a report: which rows use which winner, what each study found, its pictures; from winner files alone."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from vdae_bench.report.numbers.searches import Frozen, Progression, compared, current, importances, same_points
from vdae_bench.report.numbers.subject import SearchSubject
from vdae_bench.report.numbers.units import Unit
from vdae_bench.report.sections.search.figures import comparison_figure, study_figure
from vdae_bench.report.style.figure import drawn
from vdae_bench.report.style.markdown import as_pixels, code, escape, link, picture, table
from vdae_bench.report.style.section import Section
from vdae_bench.search.space import parameters_text
from vdae_bench.spec.file import Range

SUMMARY = ["study", "cells", "sampler", "trials", "asked at once", "trials an hour", "pruned", "diverged", "epochs"]
SUMMARY += ["best", "best tenth within", "file"]


def _text(subject: SearchSubject, here: Sequence[Frozen]) -> Iterator[str]:
    yield (
        "In each study, Optuna proposes trials in batches. A trial is trained on the training images, and its value is "
        "the -ELBO at beta = 1 on the validation images after the last epoch; lower is better. The test set is not "
        "used. The column of the best tenth has the distance of its worst value from the best, which shows how flat "
        "the optimum is. Trials an hour are computed from the training and "
        "validation time of these."
    )
    yield table(SUMMARY, [_summary(each, subject.path) for each in here], right=SUMMARY[3:11])
    for each in _own(here):
        yield from _study(each, f"{subject.name}-{figure_name(each)}")
    yield from _comparison(here, subject.name)
    yield from _fidelities(here)


def _own(here: Sequence[Frozen]) -> list[Frozen]:
    """The spec's own studies, without those that were compared with them."""
    return [each for each in here if not each.winner.label]


def _study(each: Frozen, name: str) -> Iterator[str]:
    yield f"### Search on {each.dataset}: {code(each.winner.cell)}"
    yield f"Chosen: {escape(parameters_text(each.winner.chosen))}."
    yield picture("Optimisation history, slices and importance", f"{name}.svg")
    yield (
        f"Values in {each.unit.name}; filled: trained to the end, hollow: pruned (the value at its last epoch), "
        f"crosses at the top: diverged or far above. {as_pixels(name)}."
    )
    if len(each.best_tenth) > 1:
        headers = ["hyper-parameter", "chosen", "in the best tenth", "importance"]
        yield table(headers, _flatness(each, importances(each)))


def figure_name(frozen: Frozen) -> str:
    """The name of a study's figure, after that of its page."""
    return f"search-{frozen.winner.cell}"


def comparison_name(frozen: Frozen) -> str:
    """The name of the figure of samplers compared on a cell, after that of its page."""
    return f"search-samplers-{frozen.winner.cell}"


def _files(subject: SearchSubject, here: Sequence[Frozen]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for each in _own(here):
        files |= drawn(figure_name(each), partial(study_figure, each))
    for group in compared(here):
        files |= drawn(comparison_name(group[0]), partial(comparison_figure, group))
    return files


def _summary(each: Frozen, path: Path) -> list[str]:
    winner = each.winner
    states = [trial.state for trial in winner.trials]
    seconds = sum(trial.seconds for trial in winner.trials)
    final = "" if winner.epochs == winner.final_epochs else f" (final {winner.final_epochs})"
    return [
        escape(each.name),
        str(len(winner.serves)) if winner.serves else "compared only",
        escape(winner.sampler),
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
        rows.append(
            [code(name), escape(shown), escape(among), f"{importance[name]:.2f}" if name in importance else "-"]
        )
    return rows


def _comparison(here: Sequence[Frozen], stem: str) -> Iterator[str]:
    for group in compared(here):
        runs = {(each.winner.sampler, each.winner.seed): Progression.of(each) for each in group}
        cost = min(run.costs[-1] for run in runs.values())
        first = group[0]
        name = f"{stem}-{comparison_name(first)}"
        yield f"### Samplers compared on {code(first.winner.cell)}"
        yield picture("Best value against cost, by sampler", f"{name}.svg")
        yield (
            f"The table has the best validation -ELBO ({first.unit.name}) after training worth {cost:.3g} full trials, "
            "as mean and standard deviation over search seeds, and compares it with random search of the same seed. "
            f"{as_pixels(name)}."
        )
        bests = {key: run.at(cost) for key, run in runs.items()}
        rows = [_sampler(sampler, bests, first.unit) for sampler in sorted({sampler for sampler, _ in runs})]
        headers = ["sampler", "search seeds", "best", "better than random", "mean difference"]
        yield table(headers, rows, right=headers[1:])


def _sampler(sampler: str, bests: Mapping[tuple[str, int], float], unit: Unit) -> list[str]:
    # Infinite where a study has no complete trial by then.
    own = {seed: best for (each, seed), best in sorted(bests.items()) if each == sampler and math.isfinite(best)}
    if not own:
        return [escape(sampler), "0", "-", "-", "-"]
    deviation = f" ± {statistics.stdev(own.values()):.{unit.decimals}f}" if len(own) > 1 else ""
    pairs = [
        (best, bests["random", seed])
        for seed, best in own.items()
        if sampler != "random" and math.isfinite(bests.get(("random", seed), math.inf))
    ]
    better = f"{sum(a < b for a, b in pairs)} of {len(pairs)}" if pairs else "-"
    gap = unit.show_difference(statistics.fmean(a - b for a, b in pairs)) if pairs else "-"
    return [escape(sampler), str(len(own)), unit.show(statistics.fmean(own.values())) + deviation, better, gap]


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
            "The same hyper-parameters and seeds were trained for fewer and for more epochs. The table has the rank "
            "correlation (Spearman) of the validation -ELBO, the rank in the long runs of the short runs' choice, and "
            "the cost of that choice."
        )
        headers = ["cell", "short", "long", "trials", "rank correlation", "rank of the choice", "its cost"]
        yield table(headers, rows, right=headers[1:])


SEARCH = Section("Hyper-parameter search", lambda subject: current(subject.searches) or None, _text, _files)
