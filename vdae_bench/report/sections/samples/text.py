"""The paragraphs on samples: Figures 2, 3 and 4, the quality of samples in numbers, and what the latents do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import pandas as pd

from vdae_bench.evaluation.pictures import ACTIVE, NOISE_MULTIPLES
from vdae_bench.report.numbers.statistics import summarise
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.sections.samples.evidence import Family, SampledCell, by_latents, families_of, leveled
from vdae_bench.report.sections.samples.figures import decoded, latents, quality_by_level, samples
from vdae_bench.report.style.csv import csv
from vdae_bench.report.style.markdown import beside, bullets, escape, picture, table
from vdae_bench.report.style.section import Section
from vdae_bench.store.evidence import Kind, Quality

KINDS: tuple[Kind, ...] = get_args(Kind)
FIGURES = {
    "table2": "Figure 2 of the paper: samples on binary MNIST.",
    "figure3": "Figure 3 of the paper: samples at learned noise levels, ordered by the log sigma after training.",
    "figure4": "Figure 4 of the paper: samples at fixed noise levels.",
}


def _text(subject: Subject, families: Sequence[Family]) -> Iterator[str]:
    name = subject.name
    if name in FIGURES:
        yield FIGURES[name]
    yield picture("Samples, with data on the top row", f"{name}-samples.png")
    yield (
        "The top row has test images. Below it, for z from the prior, mean images E\\[x given z\\] are on the left and "
        "pixels drawn from p(x given z) on the right; a flow has one image for each z. Each row shows the seed with "
        "the best test ELBO (for a flow, the best likelihood), as in the paper. A vector file is beside this page: "
        f"{beside(f'{name}-samples.svg')}."
    )
    yield "### Their quality"
    yield from _quality(name, families)
    yield "### Latents"
    yield from _latents(name, families)


def _files(subject: Subject, families: Sequence[Family]) -> dict[str, bytes]:
    files = {
        **samples(families),
        **decoded(families),
        **latents(subject.cells, families),
        **quality_by_level(families),
    }
    values = values_table(families)
    return files | ({"quality.csv": csv(values).encode()} if len(values) else {})


def values_table(families: Sequence[Family]) -> pd.DataFrame:
    """A row for each run and kind of image, with all numbers of its samples' quality."""
    return pd.DataFrame(
        [
            {"cell": member.cell.cell.slug, "seed": run.seed, "kind": kind, **numbers.quality[kind].model_dump()}
            for family in families
            for member in family.members
            for run, numbers in member.with_numbers
            for kind in KINDS
            if kind in numbers.quality
        ]
    )


def _quality(sweep: str, families: Sequence[Family]) -> Iterator[str]:
    members = [(family, member) for family in families for member in family.members if member.qualities("drawn")]
    measured = [each for _, member in members for kind in KINDS for each in member.qualities(kind)]
    if not measured:
        runs = [run for family in families for member in family.members for run in member.cell.completed]
        if any(run.record.protocol.get("quality_samples") for run in runs):
            yield "Not measured: no classifier can judge data of a single class or with one image in a split."
        else:
            yield "Not measured: it was off (`quality_samples: 0`)."
        return
    if leveled(families):
        yield picture("Frechet distance against log sigma", f"{sweep}-quality.svg")
    samples = " or ".join(str(each) for each in sorted({each.samples for each in measured}))
    yield (
        f"The Frechet distance is that of {samples} samples to the test images, in the features of a small classifier; "
        "its floor is the distance of as many validation images. H(y given x) is the mean entropy of the classifier's "
        "predictions, which is low if a sample looks like one digit. H(y) is the entropy of the mean prediction, which "
        "is highest (log 10 = 2.303) if all digits are equally frequent. Both are in nats, for mean images. ± is the "
        "standard deviation over seeds, or for one seed the bootstrap's standard error. Mean images are compared with "
        "grey test images. All "
        f"values: {beside(f'{sweep}-quality.csv')}."
    )
    yield _quality_table(members, families)
    yield bullets(sorted({_about_data(each) for each in measured}))
    if len({each.classifier for each in measured}) > 1:
        yield (
            "**These were measured with classifiers of different weights**, trained on different machines or threads, "
            "so their numbers do not differ only by the models."
        )


def _quality_table(members: Sequence[tuple[Family, SampledCell]], families: Sequence[Family]) -> str:
    headers = ["model", *(f"Frechet, {kind}" for kind in KINDS), *(f"floor, {kind}" for kind in KINDS)]
    headers += ["H(y given x)", "H(y)"]
    rows = []
    for family, member in members:
        by_kind = [member.qualities(kind) for kind in KINDS]
        headline = by_kind[0] or by_kind[1]
        rows.append(
            [
                _label(family, member, families),
                *(_with_error(each, "frechet", 2) for each in by_kind),
                *(_with_error(each, "frechet_floor", 2) for each in by_kind),
                _with_error(headline, "classifier_entropy", 3),
                _with_error(headline, "class_entropy", 3),
            ]
        )
    return table(headers, rows, right=headers[1:])


def _about_data(measured: Quality) -> str:
    return (
        f"{measured.view} data: the classifier is right on {100 * measured.classifier_accuracy:.2f}% of the test "
        f"images; for validation images H(y given x) is {measured.data_classifier_entropy:.3f}, H(y) "
        f"{measured.data_class_entropy:.3f}."
    )


def _label(family: Family, member: SampledCell, families: Sequence[Family]) -> str:
    """The label of a row in a table that has all families."""
    of_data = [family.dataset] if len({each.dataset for each in families}) > 1 else []
    return escape(", ".join([*of_data, *filter(None, [family.title]), family.label(member)]))


def _with_error(measured: Sequence[Quality], name: str, decimals: int) -> str:
    summary = summarise(getattr(each, name) for each in measured)
    if summary is None:
        return "-"
    error = summary.standard_deviation
    if error is None:
        error = getattr(measured[0], f"{name}_error")
    return f"{summary.mean:.{decimals}f} ± {error:.{decimals}f}"


def _latents(sweep: str, families: Sequence[Family]) -> Iterator[str]:
    levels = ", ".join(f"{level:g}" for level in NOISE_MULTIPLES)
    yield picture("Interpolations and reconstructions", f"{sweep}-decoded.png")
    yield (
        "On the left are images decoded along the straight line between the latents of two test images, which are at "
        "its ends. On the right are two test images, each with images decoded from its posterior, whose noise is "
        f"multiplied by {levels}; a flow has no noise."
    )
    if by_latents(families):
        yield picture("Gap, active units and correlations", f"{sweep}-latents.svg")
        yield (
            "The panels show -ELBO minus NLL, the active units, and the correlation matrix of L-VDAE's posterior "
            "(C = J J^T, normalised and averaged over test images). A diagonal posterior would have only the diagonal."
        )
    rows = []
    for family in families:
        for member in family.members:
            active, correlation = member.summary("active_units"), member.summary("mean_absolute_correlation")
            scales = [f"{escape(name)} {value:.2f}" for name, value in sorted(member.evidence.numbers.scales.items())]
            if active:
                of = f"{round(active.mean, 1):g} of {member.evidence.numbers.latents}"
                shown = f"{correlation.mean:.3f}" if correlation else "-"
                rows.append([_label(family, member, families), of, shown, ", ".join(scales) or "-"])
    if rows:
        headers = ["model", "active units", "mean absolute correlation", "scales"]
        yield table(headers, rows, right=headers[1:])
        yield (
            f"Active units are latents with Cov_x(E_q\\[z\\]) above {ACTIVE:g} over test images (Burda et al., 2016). "
            "The mean absolute correlation is over test images and pairs of latents. Both are means over seeds; log "
            "sigma and log lambda are those of the seed shown."
        )


SAMPLES = Section("Samples", lambda subject: families_of(subject.selection) or None, _text, _files)
