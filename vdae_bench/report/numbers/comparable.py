"""Reasons why records do not decide a question, and remarks on those that do.

Records decide a question only if what they leave open is well below the gap in question:

- `smoke`, and training on a part of the training images, decide nothing;
- runs as long as the paper's, in epochs and in steps, or runs whose validation curve has flattened: it leaves less than
  `WELL_BELOW` of the gap open;
- for the NLL, more than `FEW_SAMPLES` effective samples; then the paper's K on all test images, or bias and standard
  error of the estimate below the same share;
- a comparison of cells needs one protocol and one state of the data for all of them, no diverged seed, and
  hyper-parameters that came to all in the same way.

A schedule that falls to zero flattens any curve in the end, so flatness is measured in learning rate spent u, not in
epochs: over the last tenth of it, which with the `linear` schedule is the last third of the epochs. That a curve moves
little there does not say how far it would still go: of an excess that falls as 1 / u, the last tenth takes a ninth of
what is left. So nine times the range over that stretch is taken as left open; a curve slower than 1 / u leaves more, as
on the plateau that comes first, where a model draws the mean image. So what has spent less learning rate than any run
of the paper's can have is too short to say.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.report.numbers.runs import Run, counts_of, grouped, is_asked_for, protocol_of, steps_an_epoch
from vdae_bench.report.numbers.settings import declared_by
from vdae_bench.report.numbers.statistics import CellRuns
from vdae_bench.report.numbers.units import unit_of
from vdae_bench.search.winner import Winner, all_winners
from vdae_bench.spec.hyperparameters import OPTIMISER
from vdae_bench.spec.protocol import PAPER_EPOCHS, Protocol, load_protocol
from vdae_bench.store.records import Store
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import counted

LAST = 0.1
"""Part of the learning rate spent over which a curve has to be flat."""
WELL_BELOW = 0.25
"""The share of the gap in question that the curve, or the estimate of the NLL, may leave open."""
FEW_SAMPLES = 10.0
"""Effective samples up to which an NLL is an upper bound and nothing more."""
FEW_IMAGES = 100
"""Test images from which a part of them may stand for all; intervals over seeds, which share them, do not say it."""
BY_MEAN, BY_INVERSE = "effective samples, mean of S", "effective samples, 1 / mean of 1 / S"
"""Headings of the two numbers of effective samples that pages show; the second is that of the rule."""
LOWEST_RATE = 1e-5
"""The lowest learning rate of Appendix D: at a lower one a curve is flat because nothing is learned."""
LEAST_SPENT = LOWEST_RATE * PAPER_EPOCHS * 50 / 2
"""Learning rate times steps that the paper's 1000 epochs of 50 steps spend at least: with `linear` at that rate."""
LEFT_AT_MOST = (1 - LAST) / LAST
"""How many times its last fall a curve, or an NLL as K is doubled, is taken to have yet to fall at most."""


def why_not_comparable(cells: Sequence[CellRuns], score: str, gap: float, true_nll: bool = False) -> str:
    """Why records of these cells decide no question about a gap (in their unit); "" if they do.

    With `true_nll` the question is one of the likelihood itself, so that the paper's K excuses no bias.
    """
    runs = [run for each in cells for run in each.completed]
    protocols = [protocol for run in runs if (protocol := protocol_of(run))]
    if len({digest(protocol.content()) for protocol in protocols}) > 1:
        return "the cells ran under different protocols"
    protocol, paper = protocols[0], load_protocol("paper")
    if why := meaningless(protocol):
        return why
    if protocol.train_images is not None:
        return f"trained on {protocol.train_images} of the training images"
    if protocol.elbo_images < paper.elbo_images:
        return f"{protocol.elbo_images} of {paper.elbo_images} test images"
    unit = unit_of(cells[0].cell.dataset)
    bar = WELL_BELOW * abs(gap)
    if overfitted := [run for run in runs if run.overfits and not run.record.metrics.test_at_best_epoch]:
        best = overfitted[0].record.metrics.validation
        return f"it overfits: validation was lowest after epoch {best.best_epoch if best else '?'}"
    few = few_samples(cells) if score == "nll" else ""
    if length := shorter(cells):
        open_ = max(_left_open_by_curve(each) for each in cells)
        if not open_ < bar:
            state = f"leaves {unit.show(open_)} {unit.name} open" if math.isfinite(open_) else "is too short to say"
            return "; ".join(filter(None, [f"{length}, and the validation curve {state}", few]))
    if score != "nll" or few:
        return few
    estimated = [each for each in cells if not each.exact]
    as_paper = protocol.importance_samples >= paper.importance_samples and protocol.nll_images >= paper.nll_images
    if estimated and (true_nll or not as_paper):
        open_ = max(_left_open_by_estimate(each) for each in estimated)
        if not open_ < bar:
            return f"the NLL with K = {protocol.importance_samples} is only known to {unit.show(open_)} {unit.name}"
    return ""


def few_samples(cells: Sequence[CellRuns]) -> str:
    """How few effective samples an NLL of these cells rests on, where these are too few for it; else ""."""
    estimated = [run for each in cells if not each.exact for run in each.completed]
    fewest = min(estimated, key=lambda run: run.effective_samples, default=None)
    if fewest is None or fewest.effective_samples > FEW_SAMPLES:
        return ""
    samples = fewest.record.protocol.get("importance_samples")
    return f"the NLL with {fewest.effective_samples:.1f} effective samples of K = {samples} is an upper bound only"


def few_images(cells: Sequence[CellRuns], score: str) -> str:
    """How few of the test images a score of these cells is of, where that is too few to stand for all; else ""."""
    names = ["elbo" if score == "neg_elbo" or each.exact else "nll" for each in cells]
    fewest = min(_part_scored(run, name) for each, name in zip(cells, names, strict=True) for run in each.completed)
    return f"scored on {counted(int(fewest), 'test image')}" if fewest < FEW_IMAGES else ""


def _part_scored(run: Run, name: str) -> float:
    """How many test images a score is of; infinite where it is of all that there are."""
    images = run.record.images
    count = getattr(images, name) if images else int(run.record.protocol[f"{name}_images"])
    return math.inf if images and count == images.test else float(count)


def shorter(cells: Sequence[CellRuns]) -> str:
    """How long runs are that are shorter than the paper's, in epochs or in steps; "" where they are not."""
    run = cells[0].completed[0]
    protocol = protocol_of(run)
    assert protocol is not None
    counts = counts_of(cells[0].completed)
    steps, papers = (steps_an_epoch(each, counts) for each in (protocol, load_protocol("paper")))
    if protocol.epochs >= PAPER_EPOCHS and protocol.epochs * steps >= PAPER_EPOCHS * papers:
        return ""
    length = f"{counted(protocol.epochs, 'epoch')} of {counted(steps, 'step')}"
    return f"{length} (the paper: {counted(PAPER_EPOCHS, 'epoch')} of {papers})"


def _left_open_by_curve(cell: CellRuns) -> float:
    """How much further validation would fall, mean over seeds; infinite if it cannot be told."""
    if not cell.trained:
        return 0.0
    nats = statistics.fmean(_range_at_the_end(run) for run in cell.completed) * LEFT_AT_MOST
    return unit_of(cell.cell.dataset).of_nats(nats, cell.cell.dataset)


def _range_at_the_end(run: Run) -> float:
    """The range of the validation curve, in nats, over the last part of the learning rate spent."""
    curve, linear = run.record.curve.validation_neg_elbo_nats, run.record.hyperparameters.get("schedule") == "linear"
    rate, protocol = float(run.record.hyperparameters.get("learning_rate") or LOWEST_RATE), protocol_of(run)
    steps = protocol.epochs * steps_an_epoch(protocol, counts_of([run])) if protocol else 0
    if rate < LOWEST_RATE or rate * steps / (2 if linear else 1) < LEAST_SPENT:
        return math.inf
    # The rate of `linear` at time t of 1 is 1 - t: the stretch that spends LAST of it all is sqrt(LAST) long.
    stretch = max(1, round(len(curve) * (math.sqrt(LAST) if linear else LAST)))
    if len(curve) <= stretch:
        return math.inf
    last = [math.inf if value is None else value for value in curve[-1 - stretch :]]
    return max(last) - min(last) if all(map(math.isfinite, last)) else math.inf


def _left_open_by_estimate(cell: CellRuns) -> float:
    error = cell.metric("nll_standard_error_nats")
    nats = (error.mean if error else math.inf) + statistics.fmean(map(nll_bias, cell.completed))
    return unit_of(cell.cell.dataset).of_nats(nats, cell.cell.dataset)


def nll_bias(run: Run) -> float:
    """By how many nats an NLL is too high at most, as far as its own samples tell; infinite with too few effective.

    The first order 0.5 (1/S - 1/K) is below half a nat whatever the posterior, so it is raised by S / (S - 10): to
    infinity at `FEW_SAMPLES`, where it says nothing. Newer records have the NLL with K/4 and K/2 samples too. If each
    doubling takes a share r of what the one before took, what is left is r / (1 - r) times the last fall; at most
    `LEFT_AT_MOST` times, where the falls hardly shrink.

    A Gaussian posterior half as wide as the true one in 16 dimensions, with K = 1000, has S = 10.5 as a mean over
    images, 4.5 by the mean of 1/S, and a first order of 0.11 nats: its NLL is 1.4 to 1.5 nats too high.
    """
    test, effective = run.test, run.effective_samples
    if test is None or effective <= FEW_SAMPLES:
        return math.inf
    bias = test.nll_bias_nats * effective / (effective - FEW_SAMPLES)
    half, quarter = test.nll_half_samples_nats, test.nll_quarter_samples_nats
    if half is None or quarter is None:
        return bias
    last, before = half - float(getattr(test, "nll_images_nll_nats", test.nll_nats)), quarter - half
    times = last / (before - last) if before > last else math.inf
    return max(bias, last * min(times, LEFT_AT_MOST))


# -- cells beside each other -----------------------------------------------------------------------------------------


def meaningless(protocol: Protocol | None) -> str:
    """Why no score of the protocol says anything of a method; "" where it may."""
    return "smoke only tests that everything runs" if protocol and protocol.base == "smoke" else ""


def why_unequal(cells: Sequence[CellRuns], alike: Sequence[str] = ()) -> str:
    """Why these cells may not be compared with each other, whatever their numbers are; "" where they may.

    `alike` are hyper-parameters in which they may not differ even where a search chose them for each.
    """
    for each in cells:
        if each.diverged:
            return f"{each.diverged} of {counted(len(each.runs), 'seed')} of {each.cell.slug} diverged"
    runs = [run for each in cells for run in each.completed]
    for dataset, members in grouped(runs, lambda run: run.cell.dataset).items():
        if len({run.origin("dataset_sha256") for run in members}) > 1:
            return f"{dataset} is not of the same data in all cells"
    apart = (_apart(cells, name) for name in alike)
    return _other_versions(runs) or _other_hyperparameters(cells) or next(filter(None, apart), "")


def _other_versions(runs: Sequence[Run]) -> str:
    for method, members in grouped(runs, lambda run: run.cell.method).items():
        versions = {run.record.method_version for run in members if run.record.method_version is not None}
        if len(versions) > 1:
            return f"{method} ran in versions {' and '.join(map(str, sorted(versions)))}"
        if len({run.record.provenance.get("plugin_sha256") for run in members}) > 1:
            return f"{method} is from plug-ins of different bytes"
    return ""


def _other_hyperparameters(cells: Sequence[CellRuns]) -> str:
    """How hyper-parameters came to the cells in different ways, or differ although no search chose them."""
    runs = [run for each in cells for run in each.completed]
    searched = [run for run in runs if run.searched]
    if not searched:
        return _set_apart(cells) if cells else ""
    if len(searched) < len(runs):
        own = next(run for run in runs if not run.searched)
        return f"hyper-parameters of {searched[0].cell.slug} were searched, those of {own.cell.slug} were not"
    if len({(run.sweep, run.protocol) for run in searched}) > 1:
        return "hyper-parameters are from searches of different sweeps"
    sizes = {(len(winner.trials), winner.epochs) for each in cells for winner in _winners(each)}
    if len(sizes) > 1:
        shown = (f"{counted(trials, 'trial')} of {counted(epochs, 'epoch')}" for trials, epochs in sorted(sizes))
        return f"searches of {' and '.join(shown)}"
    winners = [_winners(each) for each in cells]
    if not all(winners):  # `remarks` says so: what was searched is not known
        return ""
    return _set_apart(cells, {name for each in winners for winner in each for name in winner.chosen})


def _winners(cell: CellRuns) -> list[Winner]:
    """The searches that chose a cell's hyper-parameters, where their files are there."""
    run = cell.completed[0]
    if len(run.path.parents) < 4:
        return []
    known = all_winners(Store(run.path.parents[3]), run.sweep, run.protocol)
    return [winner for _, winner in known if winner.source == run.record.hyperparameters.get("source")]


def _set_apart(cells: Sequence[CellRuns], searched: Collection[str] = ()) -> str:
    """A hyper-parameter that the cells share and not all have alike, though not each at its method's default."""
    for name in sorted(set.intersection(*map(_names, cells)) - {"source", *searched}):
        if (said := _apart(cells, name)) and not all(_used(each, name) == _default(each, name) for each in cells):
            return said
    return ""


def _apart(cells: Sequence[CellRuns], name: str) -> str:
    """A sentence where the cells do not have one value of a hyper-parameter; "" where they do."""
    values = [_used(each, name) for each in cells]
    if len(set(map(str, values))) < 2:
        return ""
    return (
        f"unequal {name}: {', '.join(f'{each.cell.slug} {value}' for each, value in zip(cells, values, strict=True))}"
    )


def _names(cell: CellRuns) -> set[str]:
    """The hyper-parameters of a cell, those too that its record does not say."""
    return {*cell.completed[0].record.hyperparameters, *(each.name for each in _declared(cell))}


def _used(cell: CellRuns, name: str) -> Any:
    """The value that a cell ran with: an older record than the hyper-parameter had its default."""
    used = cell.completed[0].record.hyperparameters
    return used[name] if name in used else _default(cell, name)


def _declared(cell: CellRuns) -> tuple[Hyperparameter[Any], ...]:
    """Hyper-parameters that a cell's method declares; none of a plug-in's, as no page may hang on its being loaded."""
    return (*OPTIMISER, *declared_by(cell.cell.method, dict(cell.cell.options)))


def _default(cell: CellRuns, name: str) -> Any:
    return next((each.default for each in _declared(cell) if each.name == name), None)


def remarks(cells: Sequence[CellRuns]) -> list[str]:
    """Remarks on records that decide: their length, searches, origins that differ, records that are not among them."""
    said = [length] if any(each.trained for each in cells) and (length := shorter(cells)) else []
    runs = [run for each in cells for run in each.completed]
    if len(cells) > 1 and all(run.searched for run in runs):
        lost = [each.cell.slug for each in cells if not _winners(each)]
        lacks = f" (no file of a search of {lost[0]})" if lost else ""
        said.append(f"hyper-parameters searched for each method{lacks}")
    return [*said, *doubts(cells)]


def doubts(cells: Sequence[CellRuns]) -> list[str]:
    """Remarks on where records are from: origins that differ, code that was changed, records that are left out."""
    said = []
    runs = [run for each in cells for run in each.completed]
    parts = [part for run in runs for part in run.parts]
    for name, value in ORIGINS:
        values = sorted({value(part) for part in parts})
        if len(values) > 1 or any(each.endswith(CHANGED) for each in values):
            several = len(values) > 1
            names = f"{'records of ' * several}{name}{'s' * (several and name != 'torch')}"
            said.append(f"{names} {' and '.join(values)}")
    for each in cells:
        for reason, count in Counter(other.reason for other in each.left_out).items():
            said.append(f"{counted(count, 'seed')} of {each.cell.slug} left out: {reason}")
    if any(run.asked and not is_asked_for(run) for run in runs):
        said.append("superseded: other runs were asked for since")
    return said


CHANGED = " with changes"


def _commit(part: Mapping[str, Any]) -> str:
    return str(part.get("git_commit") or "unknown")[:8] + (CHANGED if part.get("git_dirty") else "")


ORIGINS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("commit", _commit),
    ("torch", lambda part: str(part.get("torch") or "unknown")),
    ("device", lambda part: str(part.get("device"))),
)
"""Origins that records are told to differ in, or to be in doubt by, which refuses none of them."""
