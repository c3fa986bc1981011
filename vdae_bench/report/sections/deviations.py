"""How what ran differs from the paper: in the protocol's fields, and in hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from vdae_bench.report.numbers.rows import title_of
from vdae_bench.report.numbers.runs import Run, Selection
from vdae_bench.report.numbers.settings import declared_by, from_outside, setting_text
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.verdict import PAPER_SEARCHED
from vdae_bench.report.style.markdown import code, escape, table
from vdae_bench.report.style.section import Section
from vdae_bench.spec.hyperparameters import OPTIMISER, OPTIMISER_NAMES
from vdae_bench.spec.protocol import PAPER_IMAGES, SPLIT_OF, load_protocol

MEANING = {
    "epochs": "passes over the training images",
    "batch_size": "images a step",
    "seeds": "runs behind a mean",
    "train_images": "training images used",
    "validation_images": "images behind a point of the validation curve",
    "importance_samples": "K, samples for each image for the NLL",
    "nll_images": "test images with K samples",
    "elbo_images": "test images for the -ELBO",
    "elbo_samples": "samples for each image for the -ELBO of the other test images",
    "quality_samples": "samples of each model whose quality is measured",
    "precision": "precision of the arithmetic in training and evaluation",
    "log_det": "log-determinant in training: of every image, or exactly on a part of each batch",
    "log_det_rows": "Jacobian rows that `subset` spends for each image",
    "initialisation": "log lambda and NICE's s at the start: from training-data statistics, or 0",
    "scalar_rate": "learning rate of sigma, lambda and NICE's s, relative to the weights'",
}
"""A line on each field of a protocol; a hyper-parameter is declared with its own."""
NOT_IN_PAPER = "not there: the method is a plug-in's"
SEARCHED_IN_PAPER = "Bayesian optimisation of the validation ELBO, for each experiment"


def deviations_table(selection: Selection) -> str:
    """A table of the settings that differ from the paper's, and what they mean; "" where none does."""
    fields = selection.protocol.deviations(load_protocol("paper"))
    rows = [
        [code(name), _here(selection, name, own), _show(name, theirs, PAPER_IMAGES), MEANING.get(name, "")]
        for name, (own, theirs) in fields.items()
    ]
    rows += _hyperparameter_rows(selection)
    return table(["setting", "here", "in the paper", "meaning"], rows) if rows else ""


def _here(selection: Selection, name: str, value: Any) -> str:
    most = "at most " if selection.at_most and name in (*SPLIT_OF, "batch_size") and value is not None else ""
    return f"{most}{_show(name, value, selection.train_images)}"


def _show(name: str, value: Any, images: int | None = None) -> str:
    return escape(setting_text(name, value, images))


def _hyperparameter_rows(selection: Selection) -> list[list[str]]:
    differing: dict[tuple[str, str, str, str], list[str]] = {}
    fixed: dict[str, set[Any]] = {each.name: set() for each in OPTIMISER}
    for run in selection.runs:
        values = run.record.hyperparameters
        for key in _own_of(run):
            titles = differing.setdefault(key, [])
            title = title_of(replace(run.cell, options=()))
            if title not in titles:
                titles.append(title)
        if run.record.curve.epoch and not run.searched:
            for name in fixed:
                fixed[name] |= {values[name]} if name in values else set()
    rows = [
        [f"{code(name)} ({', '.join(map(escape, titles))})", here, there, meaning]
        for (name, here, there, meaning), titles in differing.items()
    ]
    if any(fixed.values()):
        here = ", ".join(
            f"{code(name)} {' or '.join(_show(name, value) for value in sorted(values, key=str))}"
            for name, values in fixed.items()
            if values
        )
        rows.append(["hyper-parameter search", f"none: {here}", SEARCHED_IN_PAPER, "Appendix D"])
    return rows


def _own_of(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """(name, value here, in the paper, meaning) of the method's own hyper-parameters that are not as in the paper.

    Where the method is a plug-in's they are all that the record has: it says their values, and no defaults.
    """
    values, options = run.record.hyperparameters, dict(run.cell.options)
    if from_outside(run.cell.method, options):
        for name in sorted(values.keys() - OPTIMISER_NAMES - {"source"}):
            yield name, _show(name, values[name]), NOT_IN_PAPER, ""
    for each in declared_by(run.cell.method, options):
        name, value = each.name, values.get(each.name, each.default)
        if value != each.default:
            tried = PAPER_SEARCHED.get(name)
            there = f"searched: {tried[0]} to {tried[1]}" if tried else _show(name, each.default)
            yield name, _show(name, value), there, escape(each.meaning)


def _text(subject: Subject, selection: Selection) -> Iterator[str]:
    yield deviations_table(selection) or "None."


DEVIATIONS = Section("Deviations from the paper's protocol", lambda subject: subject.selection, _text)
