"""Where and on what a sweep runs, and the workbench of a group: data, model, trainer, evaluator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vdae_bench.data.images import Images, load_images
from vdae_bench.data.views import ViewedImages
from vdae_bench.evaluation.gather import References, gather, load_references
from vdae_bench.evaluation.likelihood import Evaluator
from vdae_bench.models.registry import get_method
from vdae_bench.running.cost import GroupLimit
from vdae_bench.running.job import MAX_REPLICAS, Group
from vdae_bench.store.evidence import Evidence
from vdae_bench.store.provenance import code_state
from vdae_bench.store.records import Store
from vdae_bench.system import devices
from vdae_bench.system.words import parse_duration
from vdae_bench.training.trainer import Trainer


def surroundings(
    device: devices.Choice,
    threads: int | None,
    results: Path,
    data: Path | None,
    checkpoint_every: str = "60s",
    keep_checkpoints: bool = False,
    replicas: int | None = None,
    workers: int | None = None,
) -> Surroundings:
    """Device, threads and folders, set up for this process; the memory is that of each of so many workers."""
    code_state()  # now, before the tree can change under a long run
    chosen = devices.choose(device)
    count = threads or devices.usable_processors()
    devices.prepare(count)
    seconds = parse_duration(checkpoint_every)
    limit = GroupLimit(devices.group_bytes(chosen) // (workers or 1), replicas or MAX_REPLICAS)
    return Surroundings(Store(results), chosen, count, data, seconds, keep_checkpoints, limit)


OUT_OF_MEMORY = (
    "memory is full with one run alone; lower batch_size or hidden_size with --set, or take a machine with more memory"
)


@dataclass(frozen=True)
class Surroundings:
    """Where and on what a sweep runs; changes no number beyond float rounding."""

    store: Store
    device: torch.device
    threads: int
    data_folder: Path | None = None
    seconds_between_checkpoints: float = 60.0
    keep_models: bool = False
    """Whether the weights of each run are kept beside its record, for `api.load`."""
    limit: GroupLimit = field(default_factory=GroupLimit)


@functools.lru_cache(maxsize=2)
def _images(name: str, folder: Path | None) -> Images:
    return load_images(name, folder)


class Workbench:
    """A group's data, model and trainer, ready to step."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        job = group.job
        self.images = _images(job.dataset, around.data_folder)
        self.data = ViewedImages(self.images, job.view, around.device, job.protocol.train_images)
        self.group, self.around = group, around
        self.model = get_method(job.cell.method).build(group.problem())
        self.trainer = Trainer(
            self.model,
            self.data,
            group.seeds,
            [job.adam_settings] * len(group.seeds),
            job.training_settings(),
        )

    def evaluator(self, draw: int = 0) -> Evaluator:
        """An evaluator of the test set as it is now; `draw` other than 0 draws other noise of the view."""
        x = self.data.held_out("test", draw=draw)
        return Evaluator(self.model, x, self.group.seeds, self.group.job.evaluation_settings())

    def references(self, report: Callable[[float], None] = lambda fraction: None) -> References | None:
        """What samples are judged by, where they are; `report(fraction)` while the classifier trains, which is once."""
        job, around = self.group.job, self.around
        count = job.protocol.quality_samples
        if self.model.latent_dim is None or not count:
            return None
        return load_references(self.images, job.view, around.data_folder, around.device, count, report)

    def evidence(self, run_digests: Sequence[str], references: References | None) -> list[Evidence]:
        """The evidence of each replica's samples; none of a model that cannot be sampled from."""
        if self.model.latent_dim is None:
            return []
        return gather(self.model, self.data, self.images.shape, self.group.seeds, run_digests, references)
