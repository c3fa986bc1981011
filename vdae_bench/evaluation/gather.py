"""The evidence of each run of a trained group, gathered from its models."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from vdae_bench.data.images import Images, load_labels
from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.views import View, ViewedImages
from vdae_bench.evaluation import pictures
from vdae_bench.evaluation.classifier import Classifier, ClassifierSettings, Outputs, trained_classifier
from vdae_bench.evaluation.quality import Reference
from vdae_bench.models.model import LatentVariableModel, Model
from vdae_bench.store.evidence import Evidence, Kind, Numbers, Quality

References = Mapping[Kind, Reference]
"""Test images of each kind, with which a model's images of that kind are compared."""

_classifiers: dict[tuple[str, torch.device], Classifier] = {}
_references: dict[tuple[str, View, torch.device, int], Reference] = {}


def load_references(
    images: Images,
    view: View,
    folder: Path | None,
    device: torch.device,
    count: int,
    report: Callable[[float], None] = lambda fraction: None,
) -> References | None:
    """The references for `count` samples of models of a view, made once a process; None where nothing can judge.

    That is so of data with one class alone, as of those without labels, and of fewer than two images in a split.

    They need the classifier, of which `report(fraction)` hears as it trains.

    Mean images are grey, whatever the data are, and compared with the continuous view.
    """
    views: dict[Kind, View] = {"means": "continuous", "drawn": view}
    keys = {kind: (images.sha256, of, device, count) for kind, of in views.items()}
    if lacking := {*keys.values()} - _references.keys():
        labels = load_labels(images.name, folder)
        if min(len(images.validation), len(images.test), len(labels.train.unique())) < 2:
            return None
        if (place := (images.sha256, device)) not in _classifiers:
            _classifiers[place] = trained_classifier(images, labels, ClassifierSettings(), device, report)
        for key in lacking:
            _references[key] = Reference(_classifiers[place], ViewedImages(images, key[1], device), labels.test, count)
    return {kind: _references[key] for kind, key in keys.items()}


def gather(
    model: Model,
    data: ViewedImages,
    image_shape: tuple[int, int],
    seeds: Sequence[int],
    run_digests: Sequence[str],
    references: References | None,
) -> list[Evidence]:
    """The evidence of each replica of a trained model that can be sampled from; without references no quality.

    A flow has one image for each z, so that it has `drawn` ones only.
    """
    started = time.perf_counter()
    noise = NoiseSource(seeds, data.device)
    shown, test = pictures.shown_images(data), data.held_out("test")
    arrays, qualities = _samples(model, data.data_dim, noise, references)
    latents = pictures.latents_of(model, test, noise)
    of_all: dict[str, Float[Tensor, "R *shape"]] = {}
    if model.latent_dim and len(shown) > 1:
        of_all["interpolations"] = pictures.interpolations(model, shown, noise)
    if isinstance(model.inner, LatentVariableModel):
        of_all["reconstructions"] = pictures.reconstructions(model, shown, noise)
    for replica, own in enumerate(arrays):
        own["data"] = pictures.as_bytes(shown).cpu().numpy()
        own |= {name: pictures.as_bytes(each[replica]).cpu().numpy() for name, each in of_all.items()}
        if latents:
            own["unit_variances"] = latents[replica].unit_variances
            if (correlation := latents[replica].correlation) is not None:
                own["correlation"] = correlation
    seconds = (time.perf_counter() - started) / len(seeds)
    return [
        Evidence(
            Numbers(
                run_digest=run_digests[replica],
                quality=qualities[replica],
                scales=pictures.scales_of(model, replica),
                latents=model.latent_dim,
                active_units=int((latents[replica].unit_variances > pictures.ACTIVE).sum()) if latents else None,
                mean_absolute_correlation=latents[replica].mean_absolute_correlation if latents else None,
                image_shape=image_shape,
                seconds=seconds,
            ),
            arrays[replica],
        )
        for replica in range(len(seeds))
    ]


def _samples(
    model: Model, data_dim: int, noise: NoiseSource, references: References | None
) -> tuple[list[dict[str, NDArray[Any]]], list[dict[Kind, Quality]]]:
    """For each replica the samples that are kept, and the quality of them all."""
    kinds: tuple[Kind, ...] = ("means", "drawn") if isinstance(model.inner, LatentVariableModel) else ("drawn",)
    kept = {"means": pictures.KEPT_MEANS, "drawn": pictures.KEPT_DRAWN}
    replicas = range(len(noise.seeds))
    arrays: list[dict[str, NDArray[Any]]] = [{} for _ in replicas]
    outputs: list[dict[Kind, list[Outputs]]] = [{kind: [] for kind in kinds} for _ in replicas]
    count = references["drawn"].count if references else 1
    for batch in pictures.sample_batches(model, noise, data_dim, count):
        for kind in kinds:
            for replica, images in enumerate(getattr(batch, kind)):
                arrays[replica].setdefault(kind, pictures.as_bytes(images[: kept[kind]]).cpu().numpy())
                if references:
                    seen = references[kind].classifier.classify(pictures.in_unit_interval(images))
                    outputs[replica][kind].append(seen)
    qualities = [
        {kind: references[kind].quality(_first(count, parts)) for kind, parts in own.items()} if references else {}
        for own in outputs
    ]
    return arrays, qualities


def _first(count: int, parts: list[Outputs]) -> Outputs:
    return Outputs(*(torch.cat(column)[:count] for column in zip(*parts, strict=True)))
