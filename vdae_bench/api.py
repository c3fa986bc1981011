"""The door for notebooks: the records of a results folder as a table, and trained models to sample from and score with.

A model can be loaded where its run kept the weights (`--keep-checkpoints`), or where they are shared (`share`):

    table = records("results")
    best = table[table["weights"]].sort_values("metrics.test.neg_elbo_nats").iloc[0]
    model = load(f"results/{best['record']}")
    pictures = model.sample(16)
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from vdae_bench.data.images import load_images
from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.registry import parse_dataset_id
from vdae_bench.data.views import Split, ViewedImages
from vdae_bench.errors import UserError
from vdae_bench.evaluation.likelihood import CHUNK_ROWS, Evaluator
from vdae_bench.evaluation.pictures import sample_batches
from vdae_bench.models.model import Model
from vdae_bench.report.numbers.runs import left_out_of, load_runs
from vdae_bench.report.pages.files import frame
from vdae_bench.running.job import Job
from vdae_bench.spec.protocol import Protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Record, Store
from vdae_bench.store.weights import has_weights, load_model, share_model

CPU = torch.device("cpu")


def records(results: Path | str = "results", protocol: str | None = None, sweep: str | None = None) -> pd.DataFrame:
    """Table of the records in a results folder: a row a run, a column a field, as `metrics.test.nll_nats`.

    Args:
        results: the folder.
        protocol: only the runs of this one, as `quick`; all by default.
        sweep: only the runs of this one, as `table1`; all by default.

    Returns:
        The table; its column `record` is each record's path under `results`, `weights` is True where `load` has a
        model, `left_out` says why a record is in no table of a report. Empty where there is no record.

    Example:
        >>> records("a folder that is not there").empty
        True
    """
    store = Store(Path(results))
    runs = load_runs(store, protocol, sweep)
    if not runs:
        return pd.DataFrame()
    return frame(runs, left_out_of(runs), store.root).assign(weights=[has_weights(run.path) for run in runs])


def images(dataset: str, split: Split = "test", folder: Path | str | None = None) -> Float[Tensor, "N n"]:
    """Images of a data set as models see them, in the one fixed draw that is scored.

    Args:
        dataset: id of the data set, as `binary-mnist`.
        split: `validation` or `test`.
        folder: where its files are; by default the user's cache, which is filled if need be.

    Returns:
        One image a row, n pixels in [0, 1]; all of the split, in their order.

    Raises:
        UserError: no such data set, or `folder` does not have it.
        EnvironmentFault: it cannot be fetched.

    Example:
        >>> images("binary-mnits")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: unknown data set id 'binary-mnits': did you mean 'binary-mnist'? known are ...
    """
    view, name = parse_dataset_id(dataset)
    return ViewedImages(load_images(name, Path(folder) if folder else None), view, CPU).held_out(split)  # type: ignore[arg-type]


class TrainedModel:
    """The trained model of one run, on the CPU; `load` returns it.

    Attributes:
        record: the run's record.
        model: its parameters as after the last epoch, of one replica.
        data_dim: n, the number of pixels.

    Example:
        >>> from vdae_bench.models.registry import Problem, get_method
        >>> problem = Problem(1, 16, 2, "binary", {"hidden_size": 4, "residual_blocks": 1})
        >>> trained = TrainedModel(Record.model_construct(), get_method("vae").build(problem), data_dim=16)
        >>> pictures = trained.sample(3)
        >>> pictures.shape, trained.log_weights(pictures, samples=5).shape
        (torch.Size([3, 16]), torch.Size([3, 5]))
    """

    def __init__(self, record: Record, model: Model, data_dim: int) -> None:
        self.record, self.model, self.data_dim = record, model, data_dim

    def sample(self, count: int, seed: int = 0, *, means: bool = False) -> Float[Tensor, "count n"]:
        """Draw images from p(x|z) for z from the prior, or return the mean images E[x|z] of the same z.

        Args:
            count: how many.
            seed: of the noise; the same one gives the same images.
            means: return E[x|z] in place of a draw.
        """
        batches = list(sample_batches(self.model, NoiseSource([seed], CPU), self.data_dim, count))
        return torch.cat([batch.means if means else batch.drawn for batch in batches], 1)[0, :count]

    @torch.no_grad()
    def log_weights(self, x: Float[Tensor, "N n"], samples: int, seed: int = 0) -> Float[Tensor, "N K"]:
        r"""Return the log weights of K samples of q(z|x) an image, in nats.

        .. math:: \log w = \log p(x|z) + \log p(z) - \log q(z|x)

        Their mean is the ELBO, eq. (2); `logsumexp(1) - log K` is the importance-sampled log p(x), eq. (1).

        Args:
            x: images of the model's view, as `images` returns them.
            samples: K; a model whose log p(x) is exact has one weight in any case.
            seed: of the noise.
        """
        noise = NoiseSource([seed], CPU)
        count = samples if self.model.noise_dim else 1
        rows = []
        for part, batch in enumerate(x.split(max(1, CHUNK_ROWS // count))):
            eta = noise.normal_("log-weights", part, batch.new_empty(1, len(batch), count, self.model.noise_dim))
            rows.append(self.model.condition(batch[None], count)(eta)[0])
        return torch.cat(rows)

    def score(self, folder: Path | str | None = None) -> dict[str, float]:
        """Score the test set as the run did: the same images, noise and samples, so the test metrics of its record.

        Args:
            folder: where the data set's files are; by default the user's cache, which is filled if need be.
        """
        job = _job(self.record)
        x = images(self.record.cell.dataset, folder=folder)
        evaluator = Evaluator(self.model, x, [self.record.seed], job.evaluation_settings())
        evaluator.run(lambda: False, lambda: None)
        return evaluator.metrics()[0]


def load(record: Path | str) -> TrainedModel:
    """The trained model of the run with a record, `results/<sweep>/<protocol>/<cell>/seed-<k>.json`.

    Raises:
        UserError: there is no such record, or its weights were not kept.

    Example:
        >>> load("nowhere/seed-0.json")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: there is no record in nowhere/seed-0.json; `records` lists those of a results ...
    """
    path = Path(record)
    found = _read(path)
    job = _job(found)
    return TrainedModel(found, load_model(path, found.run_digest, found.cell.method, job.problem(1)), job.data_dim)


def share(record: Path | str) -> Path:
    """Write a run's kept weights in half precision beside them, small enough for git, and return that file.

    `load` reads it where the others are not: a fresh clone.

    Raises:
        UserError: there is no such record, or its weights were not kept.

    Example:
        >>> share("nowhere/seed-0.json")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: there is no record in nowhere/seed-0.json; `records` lists those of a results ...
    """
    return share_model(Path(record), _read(Path(record)).run_digest)


def _read(path: Path) -> Record:
    found = Store(path).read(path)
    if found is None:
        raise UserError(f"there is no record in {path}; `records` lists those of a results folder")
    return found


def _job(record: Record) -> Job:
    """The job of a record's run, as far as its model and its evaluation go."""
    cell = Cell(**{**record.cell.model_dump(), "options": tuple(sorted(record.cell.options.items()))})
    try:
        return Job("", cell, Protocol.model_validate(record.protocol), record.hyperparameters)
    except ValidationError:
        raise UserError("the record's protocol is of another version of vdae-bench; load it with that one") from None
