"""Predicted against actual time: `plan --calibrate` and the run itself on the same groups, one after the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from vdae_bench.bench.ours import Setting
from vdae_bench.errors import VdaeBenchError
from vdae_bench.running.cost import calibrate
from vdae_bench.running.execute import run_plan
from vdae_bench.running.plan import plan
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.system.words import reason

SPEC = """version: 1
name: prediction
grid:
  - {{dataset: [binary-{data}], method: [vae, lvdae], latents: [16, 64]}}
  - {{dataset: [continuous-{data}], method: [nice], latents: [{dims}]}}
protocol: {{base: quick, epochs: 1, train_images: {train}, importance_samples: {samples}, nll_images: {nll},
  elbo_images: {elbo}, validation_images: {elbo}}}
"""


def predicted_and_actual(setting: Setting, folder: Path) -> tuple[float, float]:
    """Seconds of a sweep of quick's networks as a calibration foretells them, and as the run takes them."""
    sizes, path = setting.sizes, folder / "prediction.yaml"
    path.write_text(
        SPEC.format(
            data=setting.data.name,
            dims=setting.data_dim,
            train=sizes.train_images // 4,
            samples=sizes.samples // 10,
            nll=sizes.nll_images * 10,
            elbo=sizes.nll_images * 100,
        )
    )
    context = replace(setting.context, store=Store(folder / f"results-{time.monotonic_ns()}"))
    planned = plan(load_spec(path), context.store)
    predicted = 0.0
    for group in planned.groups:
        timing = calibrate(group, lambda group: Workbench(group, context))
        predicted += timing.epoch_seconds * group.job.training_settings().epochs
        predicted += timing.evaluation_seconds + timing.samples_seconds
    started = time.perf_counter()
    outcome = run_plan(planned, context, QuietProgress(lambda: 1.0), StopToken())
    if outcome.failures:
        raise VdaeBenchError(f"the run that was to be timed failed: {reason(outcome.failures[0][1])}")
    return predicted, time.perf_counter() - started
