"""The cost of a run before it computes, measured on the real command, which a plugin of its own watches.

That is from the command to the first step, and from one cell's records to the next cell's first step.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from vdae_bench.bench.ours import Setting
from vdae_bench.errors import VdaeBenchError

STOPWATCH = """import os
import time
from pathlib import Path

from vdae_bench.store.records import Store
from vdae_bench.training.trainer import Trainer

train_step, publish = Trainer.train_step, Store.publish


def log_time():
    with Path({log!r}).open("a") as log:
        log.write(f"{{time.monotonic()}}\\n")


def watched_step(self):
    if self.step == 0:
        log_time()
    train_step(self)


def watched_publish(self, records):
    publish(self, records)
    log_time()
    if len(Path({log!r}).read_text().split()) == 4:
        os._exit(0)  # both cells are timed; the pages are not


Trainer.train_step, Store.publish = watched_step, watched_publish
"""
SPEC = """version: 1
name: start-up
grid: {{dataset: [binary-{data}], method: [vae, lvdae], latents: [16]}}
protocol: {{base: quick, epochs: 1, batch_size: 2500, nll_images: 10, elbo_images: 10, validation_images: 10}}
hyperparameters: {{hidden_size: 16}}
"""
"""All of the training images, but a small network and few test images: the run itself is not what is timed."""


class StartUpTimes(NamedTuple):
    """Seconds of a run of two cells, and of what its start consists of."""

    first_step: float
    next_cell: float
    loading_torch: float
    counting: float
    """`vdae-bench plan` of the same: loading torch, reading the spec, counting FLOPs and memory."""


def start_up(setting: Setting, folder: Path) -> StartUpTimes:
    """Run two cells in `folder`, and the parts of that start on their own."""
    log, watch, spec = folder / "log", folder / "stopwatch.py", folder / "start-up.yaml"
    log.unlink(missing_ok=True)
    watch.write_text(STOPWATCH.format(log=str(log)))
    spec.write_text(SPEC.format(data=setting.data.name))
    plugins = [each for each in (setting.data.plugin, watch) if each]
    words = [word for plugin in plugins for word in ("--plugin", str(plugin))]
    results = ["--results", str(folder / f"results-{time.monotonic_ns()}")]
    counting = _seconds(["-m", "vdae_bench", *words, "plan", str(spec), *results], folder)
    loading = _seconds(["-c", "import torch"], folder)
    context = setting.context
    words += ["sweep", str(spec), "-q", "--device", context.device.type, "--threads", str(context.threads)]
    words += [*results, "--reports", str(folder / "reports")]
    if setting.data.folder:
        words += ["--data", str(setting.data.folder)]
    started = time.monotonic()
    _seconds(["-m", "vdae_bench", *words], folder)
    first_step, published, second_step, _ = map(float, log.read_text().split())
    return StartUpTimes(first_step - started, second_step - published, loading, counting)


def _seconds(words: list[str], folder: Path) -> float:
    """Seconds of a call of this Python.

    Raises:
        VdaeBenchError: it fails.
    """
    started = time.monotonic()
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise VdaeBenchError(f"the run that was to be timed failed: {done.stderr.strip()}")
    return time.monotonic() - started
