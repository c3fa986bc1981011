"""For notebooks: the records of a results folder as a table, and trained models to sample from and to score with.

Models can be loaded of runs that kept their weights (`--keep-checkpoints`).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.images import load_images
from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.registry import find_dataset, parse_dataset_id
from vdae_bench.data.views import Split, ViewedImages
from vdae_bench.errors import UserError
from vdae_bench.evaluation.likelihood import MAX_ROWS
from vdae_bench.evaluation.pictures import sample_batches
from vdae_bench.models.model import Model
from vdae_bench.models.registry import Problem
from vdae_bench.report.numbers.runs import load_runs
from vdae_bench.report.pages.files import frame
from vdae_bench.store.records import Record, Store
from vdae_bench.store.weights import load_model

CPU = torch.device("cpu")


def records(results: Path | str = "results", protocol: str | None = None, sweep: str | None = None) -> pd.DataFrame:
    """A row a record, its columns named as in the file (`metrics.test.nll_nats`); empty where there is none.

    The column `record` is its path under `results`.
    """
    store = Store(Path(results))
    runs = load_runs(store, protocol, sweep)
    return frame(runs, {}, store.root) if runs else pd.DataFrame()


def images(dataset: str, split: Split = "test", folder: Path | str | None = None) -> Float[Tensor, "N n"]:
    """Images of a data set such as `binary-mnist` as models see them, in the one fixed draw that is scored.

    Raises:
        UserError: no such data set, or `folder` does not have it.
        EnvironmentFault: it cannot be fetched.
    """
    view, name = parse_dataset_id(dataset)
    return ViewedImages(load_images(name, Path(folder) if folder else None), view, CPU).held_out(split)  # type: ignore[arg-type]


class TrainedModel:
    """The model of one run, on the CPU."""

    def __init__(self, record: Record, model: Model, data_dim: int) -> None:
        self.record, self.model, self.data_dim = record, model, data_dim

    def sample(self, count: int, seed: int = 0, *, means: bool = False) -> Float[Tensor, "count n"]:
        """Images drawn from p(x|z) for z from the prior, or the mean images E[x|z] of the same z."""
        batches = list(sample_batches(self.model, NoiseSource([seed], CPU), self.data_dim, count))
        return torch.cat([batch.means if means else batch.drawn for batch in batches], 1)[0, :count]

    @torch.no_grad()
    def log_weights(self, x: Float[Tensor, "N n"], samples: int, seed: int = 0) -> Float[Tensor, "N K"]:
        """log w = log p(x|z) + log p(z) - log q(z|x) for K samples of q(z|x) an image, in nats.

        Their mean is the ELBO, `logsumexp(1) - log K` the importance-sampled log p(x). A model whose log p(x) is exact
        has one weight, K = 1.
        """
        noise = NoiseSource([seed], CPU)
        count = samples if self.model.noise_dim else 1
        rows = []
        for part, batch in enumerate(x.split(max(1, MAX_ROWS // count))):
            eta = noise.normal_("log-weights", part, batch.new_empty(1, len(batch), count, self.model.noise_dim))
            rows.append(self.model.condition(batch[None], count)(eta)[0])
        return torch.cat(rows)


def load(record: Path | str) -> TrainedModel:
    """The trained model of the record in a file, `results/<sweep>/<protocol>/<cell>/seed-<k>.json`.

    Raises:
        UserError: there is no such record, or its weights were not kept.
    """
    path = Path(record)
    found = Store(path).read(path)
    if found is None:
        raise UserError(f"there is no record in {path}; `records` lists those of a results folder")
    view, name = parse_dataset_id(found.cell.dataset)
    rows, columns = find_dataset(name).image_shape
    problem = Problem(
        replicas=1,
        data_dim=rows * columns,
        latents=found.cell.latents,
        view=view,  # type: ignore[arg-type]
        hyperparameters=found.hyperparameters,
        options=found.cell.options,
        log_det=found.protocol["log_det"],
    )
    return TrainedModel(found, load_model(path, found.run_digest, found.cell.method, problem), rows * columns)
