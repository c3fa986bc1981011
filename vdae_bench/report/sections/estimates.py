"""How NLL and -ELBO were estimated, how precisely, and how much the test set's own noise matters."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vdae_bench.paper.published import load_table
from vdae_bench.report.numbers.comparable import BY_MEAN, FEW_SAMPLES, few_samples
from vdae_bench.report.numbers.rows import Row, Sheet
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.units import NATS, dims_of
from vdae_bench.report.style.markdown import escape, table
from vdae_bench.report.style.section import Section
from vdae_bench.spec.protocol import Protocol


def _text(subject: Subject, sheets: list[Sheet]) -> Iterator[str]:
    selection = subject.selection
    ways = {
        sheet.dataset: _how(selection.done_on(sheet.dataset), at_most=selection.counts_of(sheet.dataset) is None)
        for sheet in sheets
    }
    if len(set(ways.values())) > 1:  # data sets of other sizes
        yield from (f"{escape(dataset)}: {how}" for dataset, how in ways.items())
    else:
        yield from dict.fromkeys(ways.values())
    if unknown := [sheet.dataset for sheet in sheets if selection.counts_of(sheet.dataset) is None]:
        yield f"Of {escape(' and '.join(unknown))} all test images were taken, if there are fewer than that."
    yield (
        "Effective samples S are the part of the K samples of an image that counts. The table has their mean over "
        "images (with the extremes over seeds). The standard error is that of the NLL as an estimate for this model on "
        "this test set; it says nothing about other seeds. The bias is how much a finite K makes the NLL too high on "
        "average. Both are means over seeds, to first order in 1/K."
    )
    for sheet in sheets:
        if len(sheets) > 1:
            yield f"### {sheet.dataset}"
        yield precision_table(sheet)
        dims = None if sheet.unit is NATS else dims_of(sheet.dataset)
        if dims:
            yield f"0.001 bits/dim is {0.001 * dims * math.log(2):.2f} nats."
        few = [f"{escape(row.name)} ({fewest:.1f})" for row in sheet.rows if (fewest := _too_few(row)) is not None]
        if few:
            yield (
                f"With {FEW_SAMPLES:.0f} effective samples or fewer the first order is not enough: the NLL is an "
                "upper bound, decides nothing, and may be too high by more than stated. This rule counts them as one "
                "over the mean of 1 / S over images, which a few images can spoil, and not as the mean of S in the "
                f"table. The rows, with the fewest of their seeds by this rule, are: {'; '.join(few)}."
            )


def _how(protocol: Protocol, at_most: bool = False) -> str:
    k, most = protocol.importance_samples, "at most " if at_most else ""
    nll_images, elbo_images = f"{most}{protocol.nll_images}", f"{most}{protocol.elbo_images}"
    those = "those images" if at_most else f"those {nll_images} images"
    paper = load_table("table1").importance_samples
    if protocol.nll_images >= protocol.elbo_images:
        return (
            f"For each of {elbo_images} test images, -ELBO is the mean of -log w, and NLL is "
            f"-(logsumexp log w - log K), over the same K = {k} samples from the posterior. The tables have "
            f"their means over images. The paper has K = {paper} and all 10000 images."
        )
    return (
        f"-ELBO is the mean of -log w over {elbo_images} test images, with K = {k} samples from the "
        f"posterior on {nll_images} of them, spread evenly, and {protocol.elbo_samples} on each of the "
        "others. NLL of an image is -(logsumexp log w - log K) over its K samples; NLL of the test set "
        f"is -ELBO minus the mean gap between the two on {those}, because the gap "
        f"varies less between images than the level. The paper has K = {paper} and all 10000 images."
    )


def _too_few(row: Row) -> float | None:
    """The fewest effective samples of a row's seeds, by the rule for upper bounds, if they are too few; else None."""
    if row.ran is None or not few_samples([row.ran]):
        return None
    return min(run.effective_samples for run in row.ran.completed)


def precision_table(sheet: Sheet) -> str:
    """How sure the NLL of a test set is as an integral: effective sample size, standard error, bias."""
    body = []
    for row in sheet.everything:
        if row.ran is None or not row.ran.completed:
            continue
        name = [row.latents, escape(row.method)]
        effective = row.ran.metric("effective_sample_size")
        error, bias = row.ran.metric("nll_standard_error_nats"), row.ran.metric("nll_bias_nats")
        if row.ran.exact or not (effective and error and bias):
            body.append([*name, "exact density", "-", "-"])
        else:
            extremes = f" ({effective.lowest:.1f} to {effective.highest:.1f})" if effective.count > 1 else ""
            body.append([*name, f"{effective.mean:.1f}{extremes}", f"{error.mean:.3f}", f"{bias.mean:.3f}"])
    headers = ["latents", "method", BY_MEAN, "standard error (nats)", "bias (nats)"]
    return table(headers, body, right=["latents", *headers[3:]])


ESTIMATES = Section("How NLL and -ELBO were estimated", lambda subject: subject.sheets, _text)
