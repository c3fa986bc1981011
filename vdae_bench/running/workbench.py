"""The workbench of a run group: data, model, trainer and evaluator, ready to step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from vdae_bench.data.images import Images, load_images
from vdae_bench.data.registry import ImageFiles, find_dataset
from vdae_bench.data.views import ViewedImages
from vdae_bench.evaluation.gather import References, gather, load_references
from vdae_bench.evaluation.likelihood import Evaluator
from vdae_bench.models.registry import get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.job import RunGroup
from vdae_bench.store.evidence import Evidence
from vdae_bench.training.trainer import Trainer


def cached_images(name: str, folder: Path | None) -> Images:
    """Images of a data set, loaded once for all groups of a process that use them."""
    return _images_of(find_dataset(name), folder)


@functools.lru_cache(maxsize=2)
def _images_of(dataset: ImageFiles, folder: Path | None) -> Images:
    """By the data set and not by its name: a notebook or a worker on a cluster may live on after an edit of it."""
    return load_images(dataset.name, folder)


class Workbench:
    """A group's data, model and trainer, ready to step."""

    def __init__(self, group: RunGroup, context: RunContext) -> None:
        job = group.job
        self.images = cached_images(job.dataset, context.data_folder)
        self.data = ViewedImages(self.images, job.view, context.device, job.protocol.train_images)
        self.group, self.context = group, context
        self.model = get_method(job.cell.method).model(group.problem())
        self.trainer = Trainer(
            self.model,
            self.data,
            group.seeds,
            [each.adam_settings for each, _ in group.runs],
            job.training_settings(),
        )

    def evaluator(self, draw: int = 0) -> Evaluator:
        """An evaluator of the test set as it is now; `draw` other than 0 draws other noise of the view."""
        x = self.data.held_out("test", draw=draw)
        return Evaluator(self.model, x, self.group.seeds, self.group.job.evaluation_settings())

    def references(self, report: Callable[[float], None] = lambda fraction: None) -> References | None:
        """Test images and classifier to judge samples by; `report(fraction)` while the classifier trains (once)."""
        job, context = self.group.job, self.context
        count = job.protocol.quality_samples
        if self.model.latent_dim is None or not count:
            return None
        return load_references(self.images, job.view, context.data_folder, context.device, count, report)

    def evidence(self, run_digests: Sequence[str], references: References | None) -> list[Evidence]:
        """The evidence of each replica's samples; none of a model that cannot be sampled from."""
        if self.model.latent_dim is None:
            return []
        return gather(self.model, self.data, self.images.shape, self.group.seeds, run_digests, references)
