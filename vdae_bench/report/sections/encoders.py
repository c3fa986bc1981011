"""Section 6: encoders that are stronger flows, or see x, beside the plainest one, at equal epochs and operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from vdae_bench.paper.claims import ADDITIVE, ADDITIVE_SEES_X, AFFINE, CONVOLUTIONAL, DIAGONAL, SEES_X, encoders
from vdae_bench.report.numbers.comparable import BY_INVERSE, FEW_SAMPLES, few_samples, why_unequal
from vdae_bench.report.numbers.compute import AXES, UNFINISHED, Contest, Course, at_equal_cost, course_of, differences
from vdae_bench.report.numbers.statistics import CellRuns, mean_of
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.figure import STYLES, canvas, drawn, fit, marks
from vdae_bench.report.style.markdown import as_pixels, escape, picture, table
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import flops

STYLE_OF = dict(zip((ADDITIVE, AFFINE, CONVOLUTIONAL, DIAGONAL, SEES_X, ADDITIVE_SEES_X), STYLES, strict=False))
OPERATIONS, EPOCHS = 0, 2
"""Places in `compute.AXES`."""
TITLE = "Encoders: stronger flows, and f that sees x"
HOW = (
    "Section 6 conjectures that stronger flows, and a map f that sees x, improve the posterior. With m = 784 the rows "
    "of a data set have the same decoder, prior and start, and differ only in the encoder: f(x + eps) with additive "
    "couplings (NICE), with affine ones, or with affine ones and 1 x 1 convolutions (Glow), or f(eps; x), which "
    "without couplings is mu(x) + s(x) eps. With fewer latents, a flow of the pixels cannot be the encoder, and the "
    f"rows are compared with the VAE. -ELBO - NLL is the mean KL(q || p(z given x)). With {FEW_SAMPLES:.0f} effective "
    "samples or fewer an NLL is an upper bound (≤), and that KL is at least what is shown (≥). For this rule they are "
    "counted as one over the mean of 1 / S over images, where S is the number of one image, and the fewest of a row's "
    "seeds are shown. The last two columns have the validation -ELBO minus that of the first row: after the same "
    "epochs, and after the first row's operations. An encoder that needs more operations is taken before its end "
    f"there, and one that needs fewer at its end. {UNFINISHED} This favours the first row. Differences are paired by "
    "seed, with 95% intervals if there are two seeds or more; below 0 is better."
)


def contests_of(cells: Sequence[CellRuns]) -> list[Contest]:
    """The encoders of each data set and number of latents, where there are some beside the plainest."""
    ran = {each.cell: each for each in cells if each.completed and each.trained}
    contests = []
    for dataset, latents in sorted({(cell.dataset, cell.latents) for cell in ran}):
        found = {label: ran[cell] for label, cell in encoders(dataset, latents).items() if cell in ran}
        if len(found) > 1:
            first, *others = (course_of(label, each) for label, each in found.items())
            contests.append(Contest(dataset, latents, first, tuple(others), timed=False))
    return contests


def _figure(contests: Sequence[Contest]) -> Figure:
    figure = canvas(max(2.4 * len(contests), 5.4), 4.8)
    places = figure.subplots(2, len(contests), squeeze=False)
    for column, contest in enumerate(contests):
        courses = (contest.reference, *contest.others)
        for axes, axis in zip(places[:, column], (EPOCHS, OPERATIONS), strict=True):
            for place, course in enumerate(courses):
                x, y = (np.mean(list(of.values()), axis=0) for of in (course.costs[axis], course.values))
                look = {**STYLE_OF[course.label].marked(), "markevery": marks(len(x), place, len(courses))}
                axes.plot(x, y, label=course.label, **look)
            fit(axes, [value for each in courses for of in each.values.values() for value in of[len(of) // 5 :]])
            axes.set_xlabel(AXES[axis][0])
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_ylabel(f"validation -ELBO ({contest.unit.name})")
        places[0, column].set_title(f"{contest.dataset}, m = {contest.latents}", loc="left")
    lines = {line.get_label(): line for axes in places.flat for line in axes.lines}
    ordered = [label for label in STYLE_OF if label in lines]
    figure.legend([lines[label] for label in ordered], ordered, loc="outside upper left", ncols=3, handlelength=3.4)
    return figure


def _row(contest: Contest, course: Course) -> list[str]:
    ran, unit = course.cell, contest.unit
    nll, neg_elbo = (ran.by_seed(score, unit) for score in ("nll", "neg_elbo"))
    cost = ran.cost(lambda run: run.record.cost.train_flops)
    bound = ("≤ ", "", "≥ ") if few_samples([ran]) else ("", "", "")
    gap = {seed: neg_elbo[seed] - nll[seed] for seed in nll}
    shown = [
        *(
            sign + unit.show(mean_of(list(of.values())).mean)
            for sign, of in zip(bound, (nll, neg_elbo, gap), strict=True)
        ),
        f"{min(run.effective_samples for run in ran.completed):.1f}",
        flops(cost.mean) if cost else "-",
    ]
    beside = ["", ""]
    if course is not contest.reference:
        found = mean_of(differences(contest.reference, course)), at_equal_cost(contest, course, OPERATIONS)
        beside = [
            unit.show_interval(each.mean, each.interval()) if each else "before its first epoch" for each in found
        ]
    return [contest.dataset, str(contest.latents), escape(course.label), *shown, *beside]


def encoders_table(contests: Sequence[Contest]) -> str:
    """The encoders of each contest, the plainest first."""
    rows = [_row(contest, course) for contest in contests for course in (contest.reference, *contest.others)]
    headers = ["data", "latents", "encoder", "NLL", "-ELBO", "-ELBO - NLL", BY_INVERSE, "training"]
    headers += ["after the same epochs", "at the first row's operations"]
    return table(headers, rows, right=[headers[1], *headers[3:]])


def described(contests: Sequence[Contest], picture_path: str) -> Iterator[str]:
    """The picture at a path without its ending, how to read the table, the table, and what pairs are not fair."""
    yield picture("Validation -ELBO of section 6's encoders against epochs and operations", f"{picture_path}.svg")
    yield f"{HOW} {as_pixels(picture_path)}."
    yield encoders_table(contests)
    apart = [
        f"{contest.dataset}, m = {contest.latents}, {other.label}: {why}"
        for contest in contests
        for other in contest.others
        if (why := why_unequal([contest.reference.cell, other.cell]))
    ]
    yield from [f"These are not a fair pair with the first row: {escape('; '.join(apart))}."] if apart else []


def _text(subject: Subject, contests: Sequence[Contest]) -> Iterator[str]:
    yield from described(contests, f"{subject.name}-encoders")


def _files(subject: Subject, contests: Sequence[Contest]) -> dict[str, bytes]:
    return drawn("encoders", lambda: _figure(contests))


ENCODERS = Section(TITLE, lambda subject: contests_of(subject.cells) or None, _text, _files)
