"""A search on the tiny data set: its spec, and what a kill may not change of it."""

from __future__ import annotations

from typing import Any

from vdae_bench.running.context import RunContext
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.search.ledger import open_storage
from vdae_bench.search.run import run_study
from vdae_bench.search.studies import Study, search_folder
from vdae_bench.search.winner import Winner

SPEC = """\
version: 1
name: tiny
grid: {dataset: [binary-tiny], method: [vae, lvdae], latents: [3, 4]}
protocol: {base: smoke, epochs: 3, batch_size: 60, train_images: null, validation_images: 20, elbo_images: 30,
           nll_images: 10, importance_samples: 5}
hyperparameters: {residual_blocks: 1}
search:
  method: random
  trials: 6
  batch: 3
  share: [latents]
  parameters:
    learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
    schedule: {values: [linear, none]}
    hidden_size: {values: [4, 6]}
seeds: 2
"""


def search(study: Study, context: RunContext, stop: StopToken | None = None, url: str | None = None) -> Winner:
    """Run or continue a study as the verb does."""
    folder = search_folder(context.store, study.sweep, study.protocol.name)
    folder.mkdir(parents=True, exist_ok=True)
    return run_study(
        study, context, lambda: open_storage(folder, url), QuietProgress(lambda: 1.0), stop or StopToken()
    ).winner


def outcome(winner: Winner) -> dict[str, Any]:
    """The winner's file without times."""
    content = winner.model_dump()
    for trial in content["trials"]:
        trial.pop("seconds")
    return content
