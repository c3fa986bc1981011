"""Functions for notebooks: run sweeps, read records and curves as tables, and use trained models.

A model can be loaded if its run kept the weights (`run` does, and `--keep-checkpoints`), or if they were shared with
`share`:

    table = run("table2", protocol="smoke")
    best = table[table["weights"]].sort_values("metrics.test.neg_elbo_nats").iloc[0]
    model = load(f"results/{best['record']}")
    pictures = model.sample(16)
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field, ValidationError
from torch import Tensor

from vdae_bench.data.images import load_images
from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.registry import parse_dataset_id
from vdae_bench.data.units import score_text
from vdae_bench.data.views import Split, ViewedImages
from vdae_bench.errors import Failed, UserError
from vdae_bench.evaluation.likelihood import SAMPLE_BLOCK, Evaluator, images_in_chunk
from vdae_bench.evaluation.pictures import sample_batches
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.check import check_flow as _check_flow
from vdae_bench.models.model import Model
from vdae_bench.models.precision import arithmetic
from vdae_bench.models.registry import get_method
from vdae_bench.models.registry import load_plugin as _load_plugin
from vdae_bench.report.numbers.pairs import pairs_of
from vdae_bench.report.numbers.runs import Run, by_folder, left_out_of, load_runs, protocol_of, runs_there, select
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.pages.files import curves_frame, frame
from vdae_bench.running.context import create_context
from vdae_bench.running.execute import run_groups
from vdae_bench.running.job import Job
from vdae_bench.running.options import MachineOptions, RunOptions, SpecOptions
from vdae_bench.running.plan import note_asked, plan, replaced
from vdae_bench.running.stop import StopToken
from vdae_bench.search.searches import take_winners
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.protocol import Protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Record, Store
from vdae_bench.store.weights import has_weights, load_model, share_model
from vdae_bench.system import atomic
from vdae_bench.system.arguments import checks_arguments
from vdae_bench.system.paths import user_path
from vdae_bench.system.words import counted, nearest, visible

CPU = torch.device("cpu")
Count: TypeAlias = Annotated[int, Field(ge=1)]
Seed: TypeAlias = Annotated[int, Field(ge=0)]
SeedOrNone: TypeAlias = Seed | None
Steps: TypeAlias = Annotated[int, Field(ge=2)]
SHOWN = [
    *("sweep", "protocol.name", "cell.dataset", "cell.method", "cell.latents", "seed", "status"),
    *("metrics.test.neg_elbo_nats", "metrics.test.nll_nats", "weights"),
    *("epoch", "train_neg_elbo_nats", "validation_neg_elbo_nats"),
]
"""Columns that a table of records or curves shows in a notebook: of records there are dozens."""
FEW = 10
"""Up to this many columns, a table of records or curves shows all that it has."""
OPTIONS = {"protocol", "seeds", "device", "threads", "workers", "keep_checkpoints", "quiet"}
"""Arguments of `run` with the limits of the command line's options."""


class NoSuchColumn(UserError, KeyError):
    """Error for a column that a table does not have."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would put it in quotes


class Records(pd.DataFrame):
    """A table of records: a pandas frame that shows its main columns, and suggests the nearest name for a wrong one.

    Example:
        >>> Records({"metrics.test.nll_nats": [84.2878], "seed": [0]})["metrics.test.nll"]
        Traceback (most recent call last):
        vdae_bench.api.NoSuchColumn: the records have no column 'metrics.test.nll' (did you mean ...
    """

    @property
    def _constructor(self) -> Callable[..., Records]:
        return Records

    def __getitem__(self, key: Any) -> Any:
        for name in key if isinstance(key, list) else ():
            if isinstance(name, str) and name not in self.columns:
                raise self._no_column(name)
        return self._named(super().__getitem__, key)

    def groupby(self, *args: Any, **words: Any) -> Any:
        """Group rows as pandas does."""
        return self._named(super().groupby, *args, **words)

    def sort_values(self, *args: Any, **words: Any) -> Any:
        """Sort rows as pandas does."""
        return self._named(super().sort_values, *args, **words)

    def _named(self, take: Callable[..., Any], *args: Any, **words: Any) -> Any:
        """The result of a method of pandas, whose error for a column that is not there names the nearest."""
        try:
            return take(*args, **words)
        except NoSuchColumn:
            raise
        except KeyError as error:
            raise self._no_column(error.args[0]) from None

    def _no_column(self, name: Any) -> NoSuchColumn:
        if len(self.columns):
            return NoSuchColumn(
                f"the records have no column {name!r}{nearest(name, self.columns)}; .columns lists them"
            )
        place = self.attrs.get("results", "this table")
        return NoSuchColumn(f"there are no records in {place}, and so no column {name!r}; give a folder that has some")

    def _in_short(self) -> tuple[pd.DataFrame, str]:
        """The columns that are shown, and a line about the others."""
        shown = [name for name in SHOWN if name in self.columns]
        if len(self.columns) <= FEW or "record" not in self.columns or not shown:
            shown = list(self.columns)
        others = len(self.columns) - len(shown)
        more = f", and {counted(others, 'more column')}: .columns" if others else ""
        return pd.DataFrame(self)[shown], f"{counted(len(self), 'row')}{more}"

    def __repr__(self) -> str:
        table, text = self._in_short()
        with pd.option_context("display.max_columns", None, "display.show_dimensions", False):
            # All columns also in a narrow terminal, on several lines.
            return f"{table!r}\n{text}"

    def _repr_html_(self) -> str:
        table, text = self._in_short()
        return f"{table.to_html(max_rows=20, show_dimensions=False)}<p>{text}</p>"


@checks_arguments()
def check_flow(
    flow: str, shape: tuple[int, int] = (4, 4), sizes: Mapping[str, int | float | str] | None = None
) -> None:
    """Check a flow of your own beside automatic differentiation: its determinant, its inverse, its affine start.

    It is drawn at random in float64, for images of `shape`; `sizes` are hyper-parameters other than their defaults.

    Raises:
        UserError: there is no such flow, or it is wrong; the sentence says what is.

    Example:
        >>> check_flow("couplings", sizes={"coupling_hidden_size": 8})
    """
    if flow not in FLOWS:
        raise UserError(f"there is no flow {flow!r}{nearest(flow, FLOWS)}; the flows are {', '.join(FLOWS)}")
    _check_flow(FLOWS[flow], shape, sizes)


@checks_arguments()
def load_plugin(file: Path | str) -> None:
    """Import a Python file that registers methods, flows or data sets, as `--plugin FILE` does.

    Raises:
        UserError: there is no such file, or it cannot be imported.

    Example:
        >>> load_plugin("mine.py")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: plugin mine.py is not a file; give the path of a Python file that registers ...
    """
    _load_plugin(user_path(file))


@checks_arguments(elsewhere=OPTIONS)
def run(
    spec: Path | str | Mapping[str, Any],
    *,
    protocol: str | None = None,
    seeds: int | None = None,
    only: str | Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    results: Path | str = "results",
    data: Path | str | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    threads: int | None = None,
    workers: int | None = 1,
    keep_checkpoints: bool = True,
    quiet: bool = False,
) -> Records:
    """Run a sweep as `vdae-bench sweep` does, and return its records; runs that have a record are skipped.

    If you stop the call (Ctrl-C, the notebook's stop button), the same call continues from the last checkpoint.

    Args:
        spec: the path of a YAML file, the name of a shipped sweep, or the mapping that such a file holds.
        protocol: `smoke`, `quick`, `standard`, ... or a file; by default that of the spec, or else `quick`.
        seeds: how many seeds to run, starting from seed 0.
        only: run only the cells whose names match, such as `"*_vae_16"`.
        settings: fields of the protocol and hyper-parameters by name, such as `{"epochs": 3, "learning_rate": 1e-3}`.
        results: the folder of records.
        data: the folder of the data set's files; by default the user's cache, to which missing files are downloaded.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: number of threads; by default all processors that this process may use.
        workers: number of processes that divide the threads; None takes as many as save time. A script that uses more
            than one needs `if __name__ == "__main__"`.
        keep_checkpoints: keep the weights of each run for `load`.
        quiet: show no progress.

    Returns:
        The records of the runs that were asked for, with one row for each run.

    Raises:
        UserError: the spec or an argument is wrong.
        Failed: some runs failed; the records of the others are in place.

    Example:
        >>> run("tabel1")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: there is no sweep 'tabel1' (did you mean 'table1'?); `vdae-bench ...
        >>> run({"version": 1, "name": "mini", "gird": {"dataset": ["binary-mnist"]}})
        Traceback (most recent call last):
        vdae_bench.errors.UserError: the spec, line 3: unknown key 'gird' (did you mean 'grid'?)
    """
    asked, options = SpecOptions(protocol=protocol, seeds=seeds), RunOptions(workers=workers, quiet=quiet)
    machine = MachineOptions(
        device=device,
        threads=threads,
        results=user_path(results),
        data=None if data is None else user_path(data),
        keep_checkpoints=keep_checkpoints,
    )
    source = spec if isinstance(spec, Mapping) else find_spec(str(spec))
    loaded = load_spec(source, asked.protocol, settings, asked.seeds)
    said = {"protocol": protocol, "seeds": asked.seeds, "only": only, "settings": settings}
    words = [repr(dict(spec) if isinstance(spec, Mapping) else str(spec))]
    words += [f"{name}={value!r}" for name, value in said.items() if value]
    context = create_context(machine, f"vdae_bench.api.run({', '.join(words)})")
    loaded = take_winners(loaded, context.store, None, quiet)
    planned = plan(loaded, context.store, context.limit, [only] if isinstance(only, str) else only)
    place = (loaded.name, loaded.protocol.name)
    with atomic.held(context.store.root):
        note_asked(loaded, planned, context.store)
        outcome = run_groups(planned, context, options, StopToken())
    if lines := [*outcome.failed_lines, *replaced(planned, context.store)]:
        raise Failed("not all runs finished with a result:\n  " + "\n  ".join(lines))
    wanted = {
        context.store.path(*place, each.job.cell.slug, seed)
        for each in planned.cells
        for seed in (*each.done, *each.missing)
    }
    return _table([run for run in load_runs(context.store, *reversed(place)) if run.path in wanted], context.store)


@checks_arguments()
def records(results: Path | str = "results", protocol: str | None = None, sweep: str | None = None) -> Records:
    """Table of the records in a results folder, a row for each run and a column for each field.

    A column's name is that of the field, such as `metrics.test.nll_nats`. Scores are in nats for each image, or in
    bits/dim if the name says so; `cost` is in seconds and FLOPs.

    Args:
        results: the folder.
        protocol: only the runs of this one, as `quick`; all by default.
        sweep: only the runs of this one, as `table1`; all by default.

    Returns:
        The table, which is empty if there is no record. Its column `record` is the path of the record under `results`,
        `weights` is True if the run's weights were kept, for `load`, and `left_out` says why the reports leave a record
        out.

    Raises:
        UserError: there are records, but none of that protocol or sweep.

    Example:
        >>> records("a folder that is not there").empty
        True
    """
    store = Store(user_path(results))
    return _table(runs_there(store, protocol, sweep), store)


@checks_arguments()
def curves(results: Path | str = "results", protocol: str | None = None, sweep: str | None = None) -> Records:
    """Table of learning curves: a row for each epoch of each run, with -ELBO at beta = 1 in nats for each image.

    Args:
        results: the folder.
        protocol: only the runs of this one, as `quick`; all by default.
        sweep: only the runs of this one, as `table1`; all by default.

    Returns:
        The table, with `epoch` from 1, `train_neg_elbo_nats` and `validation_neg_elbo_nats` (missing where they were
        not finite), and `record` as in `records`.

    Raises:
        UserError: there are records, but none of that protocol or sweep.

    Example:
        >>> curves("a folder that is not there").empty
        True
    """
    store = Store(user_path(results))
    return _of_folder(curves_frame(runs_there(store, protocol, sweep), store.root), store)


@checks_arguments()
def pairs(results: Path | str = "results", protocol: str | None = None, sweep: str | None = None) -> Records:
    """Table of the differences between every two methods with the same data and latents, as the pages of a sweep have.

    Differences are paired by seed, because a seed has the same images in the same order for every method. Student's
    intervals hold at 95% for all pairs on the same data of a sweep together (Bonferroni).

    Args:
        results: the folder.
        protocol: only the runs of this one, as `quick`; all by default.
        sweep: only the runs of this one, as `table1`; all by default.

    Returns:
        The table, with the cells `first` and `second`, `difference` of the first less the second (below zero the first
        is better), `low` and `high` of its interval (missing for one seed), all in `unit` for each image or dimension,
        the number of `seeds` that both have, and `answer`, which says what is better or why that is not known.

    Raises:
        UserError: there are records, but none of that protocol or sweep, or none that this version understands.

    Example:
        >>> pairs("a folder that is not there").empty
        True
    """
    store = Store(user_path(results))
    rows = []
    there = runs_there(store, protocol, sweep)
    for (folder, name), runs in by_folder([run for run in there if protocol_of(run)] or there).items():
        for each in pairs_of(cells_of(select(runs))):
            low, high = each.interval or (math.nan, math.nan)
            place = {"sweep": name, "protocol.name": folder, "cell.dataset": each.first.cell.dataset}
            place |= {"first": each.first.cell.slug, "second": each.second.cell.slug}
            found = {"difference": each.estimate.mean, "low": low, "high": high, "seeds": each.estimate.count}
            rows.append({**place, "score": each.score, "unit": each.unit.name, **found, "answer": each.answer})
    return _of_folder(pd.DataFrame(rows), store)


def _table(runs: list[Run], store: Store) -> Records:
    table = frame(runs, left_out_of(runs), store.root) if runs else pd.DataFrame()
    return _of_folder(table.assign(weights=[has_weights(run.path) for run in runs]) if runs else table, store)


def _of_folder(table: pd.DataFrame, store: Store) -> Records:
    found = Records(table)
    found.attrs["results"] = str(store.root)
    return found


@checks_arguments()
def images(dataset: str, split: Split = "test", folder: Path | str | None = None) -> Float[Tensor, "N n"]:
    """Images of a data set as models see them, in the fixed draw that all models are scored on.

    Args:
        dataset: id of the data set, such as `binary-mnist`.
        split: `validation` or `test`.
        folder: the folder of its files; by default the user's cache, to which missing files are downloaded.

    Returns:
        All images of the split in their order, one image in each row, with n pixels in [0, 1].

    Raises:
        UserError: there is no such data set, or `folder` does not have it.
        EnvironmentFault: the data set cannot be downloaded.

    Example:
        >>> images("binary-mnits")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: unknown data set id 'binary-mnits': did you mean 'binary-mnist'? the known ...
    """
    view, name = parse_dataset_id(dataset)
    return ViewedImages(load_images(name, user_path(folder) if folder else None), view, CPU).held_out(split)  # type: ignore[arg-type]


class TrainedModel:
    """The trained model of one run, on the CPU; `load` returns it.

    Images are rows of n pixels in [0, 1], as `images` returns them, and latents are rows of m numbers: tensors, arrays
    or lists. A model of binary images scores only pixels that are 0 or 1, and also encodes probabilities in between,
    such as its own mean images. Continuous images that a model draws can leave [0, 1]; `clamp(0, 1)` puts them there.

    Noise depends only on `seed`: the same seed gives the same numbers, and those of an image do not depend on the
    images after it.

    Attributes:
        record: the run's record.
        model: the model with its parameters after the last epoch, as one replica.
        data_dim: n, the number of pixels.

    Example:
        >>> from vdae_bench.models.registry import Problem
        >>> from vdae_bench.store.records import Metrics, RecordedCell
        >>> problem = Problem(1, 16, 2, "binary", {"hidden_size": 4, "residual_blocks": 1})
        >>> record = Record.model_construct(
        ...     cell=RecordedCell(dataset="binary-mnist", method="vae", latents=2),
        ...     seed=0, protocol={"name": "smoke"}, metrics=Metrics(test=None, validation=None),
        ... )
        >>> trained = TrainedModel(record, get_method("vae").build(problem), data_dim=16)
        >>> trained
        TrainedModel(VAE on binary-mnist, m = 2, seed 0, protocol smoke, 1,790 parameters)
        >>> x = trained.sample(3)
        >>> x.shape, trained.encode(x).shape, trained.reconstruct(x).shape
        (torch.Size([3, 16]), torch.Size([3, 2]), torch.Size([3, 16]))
        >>> trained.interpolate(x[:1], x[1:2], steps=5).shape
        torch.Size([1, 5, 16])
        >>> trained.log_weights(x, samples=5).shape, trained.elbo(x).shape
        (torch.Size([3, 5]), torch.Size([3]))
        >>> bool((trained.nll(x) <= -trained.elbo(x)).all())
        True
    """

    def __init__(self, record: Record, model: Model, data_dim: int) -> None:
        self.record, self.model, self.data_dim = record, model, data_dim

    def __repr__(self) -> str:
        cell, test = self.record.cell, self.record.metrics.test
        count = sum(parameter.numel() for parameter in self.model.parameters())
        parts = [f"{get_method(cell.method).title} on {cell.dataset}", f"m = {cell.latents}"]
        parts += [f"{name} = {value}" for name, value in cell.options.items()]
        parts += [f"seed {self.record.seed}", f"protocol {self.record.protocol.get('name')}", f"{count:,} parameters"]
        view = cell.dataset.partition("-")[0]
        scores = {"test -ELBO": test.neg_elbo_nats, "test NLL": test.nll_nats} if test else {}
        parts += [
            f"{name} {score_text(nats, view, self.data_dim)}" for name, nats in scores.items() if nats is not None
        ]
        return f"TrainedModel({', '.join(parts)})"

    @checks_arguments()
    def sample(self, count: Count, seed: Seed = 0, *, means: bool = False) -> Float[Tensor, "count n"]:
        """Draw images from p(x|z) for z from the prior, or return the mean images E[x|z] of the same z.

        With the record's own seed, the first images are those of the run's evidence.

        Args:
            count: how many.
            seed: of the noise; the same one gives the same images.
            means: return E[x|z] in place of a draw.

        Raises:
            UserError: the model cannot be sampled from, or an argument is wrong.
        """
        self._latent_dim()
        batches = list(sample_batches(self.model, NoiseSource([seed], CPU), self.data_dim, count))
        return torch.cat([batch.means if means else batch.drawn for batch in batches], 1)[0, :count]

    @checks_arguments()
    @torch.no_grad()
    def encode(self, x: Float[Tensor, "N n"], seed: SeedOrNone = None) -> Float[Tensor, "N m"]:
        """Return the latents of each image: the centre of its posterior, or with a seed one draw from q(z|x).

        For a flow the latents are f(x), and there is no noise.

        Args:
            x: images.
            seed: of the noise of a draw; None for the centre, where the noise is zero.

        Raises:
            UserError: the model has no latents, or an argument is wrong.
        """
        x = self._images(x)
        eta = x.new_zeros(1, len(x), 1, self.model.noise_dim)
        if seed is not None:
            NoiseSource([seed], CPU).image_normal_("encode", range(len(x)), 0, eta)
        try:
            return self.model.encode(x[None], eta[:, :, 0])[0]
        except NotImplementedError:
            raise UserError(f"method {self.record.cell.method} has no latents; use sample or nll") from None

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "N m"]) -> Float[Tensor, "N n"]:
        """Return the mean image E[x|z] of each row of latents; for a flow this is f^-1(z).

        Raises:
            UserError: the model has no latents, or z is of another shape, or not of finite numbers.
        """
        return self.model.decode(_rows_of(z, self._latent_dim(), "latents")[None])[0]

    def reconstruct(self, x: Float[Tensor, "N n"], seed: SeedOrNone = None) -> Float[Tensor, "N n"]:
        """Return each image encoded and decoded: E[x|z] at the centre of its posterior, or with a seed at one draw.

        Raises:
            UserError: the model has no latents, or an argument is wrong.
        """
        return self.decode(self.encode(x, seed))

    @checks_arguments()
    def interpolate(
        self, start: Float[Tensor, "N n"], end: Float[Tensor, "N n"], steps: Steps = 8
    ) -> Float[Tensor, "N steps n"]:
        """Return mean images along the straight lines between the latents of pairs of images, including both ends.

        Args:
            start: images at which the lines begin; latents are the centres of their posteriors.
            end: images at which the lines end, as many as in `start`.
            steps: how many images there are on each line, at least 2.

        Raises:
            UserError: the model has no latents, or `start` and `end` do not fit each other.
        """
        first, last = self.encode(start), self.encode(end)
        if len(first) != len(last):
            raise UserError(f"interpolate needs as many ends as starts, not {len(last)} for {len(first)}")
        latents = torch.lerp(first[:, None], last[:, None], torch.linspace(0, 1, steps)[:, None])
        return self.decode(latents.flatten(0, 1)).view(len(first), steps, self.data_dim)

    @checks_arguments()
    @torch.no_grad()
    def log_weights(self, x: Float[Tensor, "N n"], samples: Count, seed: Seed = 0) -> Float[Tensor, "N K"]:
        r"""Return the log weights of K samples from q(z|x) for each image, in nats.

        .. math:: \log w = \log p(x|z) + \log p(z) - \log q(z|x)

        Their mean is the ELBO, eq. (2), and `logsumexp(1) - log K` is the importance-sampled log p(x), eq. (1). The
        noise is that of the evaluation: with the record's seed and the first test images, these are the weights
        behind its scores.

        Args:
            x: images of the model's view, as `images` returns them.
            samples: K; a model whose log p(x) is exact always has one weight.
            seed: of the noise.

        Raises:
            UserError: an argument is wrong.
        """
        x, noise = self._images(x, scored=True), NoiseSource([seed], CPU)
        count = samples if self.model.noise_dim else 1
        size = images_in_chunk(self.model, 1, count)
        precision = self.record.cell.options.get("precision", self.record.protocol.get("precision", "float32"))
        rows = []
        for start in range(0, len(x), size):
            batch = x[None, start : start + size]
            images = range(start, start + batch.shape[1])
            blocks = [
                batch.new_empty(1, len(images), min(SAMPLE_BLOCK, count - first), self.model.noise_dim)
                for first in range(0, count, SAMPLE_BLOCK)
            ]
            with arithmetic(precision, CPU):
                sampler = self.model.condition(batch, count)
                draws = [sampler(noise.image_normal_("test", images, block, eta)) for block, eta in enumerate(blocks)]
            rows.append(torch.cat(draws, 2)[0])
        return torch.cat(rows) if rows else x.new_empty(0, count)

    def elbo(self, x: Float[Tensor, "N n"], samples: Count = 100, seed: Seed = 0) -> Float[Tensor, " N"]:
        r"""Return the ELBO of each image, eq. (2), in nats, float64: the mean of its log weights.

        Args:
            x: images.
            samples: of the posterior, for each image.
            seed: of the noise.

        Raises:
            UserError: the model has no ELBO, because its log p(x) is exact; or an argument is wrong.
        """
        method = get_method(self.record.cell.method)
        if not method.has_elbo:
            raise UserError(f"method {method.id} has no ELBO, because its log p(x) is exact; use `nll` for -log p(x)")
        return self.log_weights(x, samples, seed).double().mean(1)

    def nll(self, x: Float[Tensor, "N n"], samples: Count = 100, seed: Seed = 0) -> Float[Tensor, " N"]:
        r"""Return -log p(x) of each image in nats, float64: exact for a flow, else importance-sampled, eq. (1).

        .. math:: -\log \tfrac{1}{K} \sum_k w_k

        The estimate is too high if K is small, and falls as K grows.

        Args:
            x: images.
            samples: K, for each image.
            seed: of the noise.

        Raises:
            UserError: an argument is wrong.
        """
        log_w = self.log_weights(x, samples, seed).double()
        return math.log(log_w.shape[1]) - log_w.logsumexp(1)

    def _latent_dim(self) -> int:
        if self.model.latent_dim is None:
            raise UserError(f"method {self.record.cell.method} has no latents, and cannot be sampled from")
        return self.model.latent_dim

    def _images(self, x: Tensor, *, scored: bool = False) -> Float[Tensor, "N n"]:
        """Rows of pixels, after a check that the model is one of such pixels."""
        rows = _rows_of(x, self.data_dim, "pixels")
        if len(rows) and not 0 <= rows.min() <= rows.max() <= 1:
            raise UserError(
                f"pixels are between 0 and 1, not {rows.min():g} to {rows.max():g}; "
                "divide grey levels by 255, and clamp images that a model drew, or take those of `images`"
            )
        if scored and self.record.cell.dataset.startswith("binary-") and not ((rows == 0) | (rows == 1)).all():
            raise UserError(
                f"a model of {self.record.cell.dataset} scores images whose pixels are 0 or 1; "
                "draw them with torch.bernoulli, or take those of `images`"
            )
        return rows

    @checks_arguments()
    def score(self, folder: Path | str | None = None) -> dict[str, float]:
        """Score the test set as the run did, with the same images, noise and samples as the metrics of its record.

        Args:
            folder: the folder of the data set's files; by default the user's cache, to which missing files are
                downloaded.
        """
        job = _job(self.record)
        x = images(self.record.cell.dataset, folder=folder)
        evaluator = Evaluator(self.model, x, [self.record.seed], job.evaluation_settings())
        evaluator.run(lambda: False, lambda: None)
        return evaluator.metrics()[0]


def _rows_of(values: Any, width: int, what: str) -> Float[Tensor, "N width"]:
    """Rows of that many finite numbers, in float32."""
    wanted = f"the model takes rows of {width} {what}, (N, {width})"
    try:
        found = torch.as_tensor(values if isinstance(values, Tensor) else np.array(values))
        if found.is_complex():
            raise UserError(f"{wanted}, of real numbers, not {found.dtype}")
        rows = found.to_dense().to(CPU, torch.float32)
    except (TypeError, ValueError, RuntimeError):
        given = visible(reprlib.repr(values))
        raise UserError(f"{wanted}, as a tensor, an array or lists of numbers, not {given}") from None
    if rows.dim() != 2 or rows.shape[1] != width:
        raise UserError(f"{wanted}, not {tuple(rows.shape)}")
    if not rows.isfinite().all():
        raise UserError(f"{wanted}, of finite numbers; leave out rows with NaN or infinity")
    return rows


@checks_arguments()
def load(record: Path | str) -> TrainedModel:
    """The trained model of the run with this record, `results/<sweep>/<protocol>/<cell>/seed-<k>.json`.

    Raises:
        UserError: there is no such record, or its weights were not kept.

    Example:
        >>> load("nowhere/seed-0.json")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: there is no record in nowhere/seed-0.json; `records` lists those of a results ...
    """
    path = user_path(record)
    found = _read(path)
    job = _job(found)
    return TrainedModel(found, load_model(path, found.run_digest, found.cell.method, job.problem(1)), job.data_dim)


@checks_arguments()
def share(record: Path | str) -> Path:
    """Write a run's kept weights in half precision beside them, small enough for git, and return that file.

    `load` reads this file if the full weights are missing, for example in a fresh clone.

    Raises:
        UserError: there is no such record, or its weights were not kept.

    Example:
        >>> share("nowhere/seed-0.json")
        Traceback (most recent call last):
        vdae_bench.errors.UserError: there is no record in nowhere/seed-0.json; `records` lists those of a results ...
    """
    path = user_path(record)
    return share_model(path, _read(path).run_digest)


def _read(path: Path) -> Record:
    found = Store(path).read(path)
    if found is None:
        beside = [str(each) for folder in (path.parent, path.parent.parent) for each in folder.glob("**/seed-*.json")]
        hint = nearest(str(path), beside)
        raise UserError(f"there is no record in {path}{hint}; `records` lists those of a results folder")
    return found


def _job(record: Record) -> Job:
    """The job of a record's run, as far as its model and its evaluation go."""
    cell = Cell(**{**record.cell.model_dump(), "options": tuple(sorted(record.cell.options.items()))})
    try:
        return Job("", cell, Protocol.model_validate(record.protocol), record.hyperparameters)
    except ValidationError:
        raise UserError(
            "another version of vdae-bench wrote the record's protocol; load the record with that version"
        ) from None
