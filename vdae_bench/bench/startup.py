"""What a run costs before it computes: from the command to the first step, and from one cell's records to the next
cell's first step. Measured on the real command, which a plugin of its own watches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from vdae_bench.bench.ours import Setting
from vdae_bench.errors import VdaeBenchError

STOPWATCH = """import time
from pathlib import Path

from vdae_bench.store import Store
from vdae_bench.training.engine import Trainer

train_step, publish = Trainer.train_step, Store.publish


def stamp():
    with Path({log!r}).open("a") as log:
        log.write(f"{{time.monotonic()}}\\n")


def watched_step(self):
    if self.step == 0:
        stamp()
    train_step(self)


def watched_publish(self, records):
    publish(self, records)
    stamp()


Trainer.train_step, Store.publish = watched_step, watched_publish
"""
SPEC = """version: 1
name: start-up
grid: {{dataset: [binary-{data}], method: [vae, lvdae], latents: [16]}}
protocol: {{base: quick, epochs: 1, batch_size: 2500, nll_images: 10, elbo_images: 10, validation_images: 10}}
hyperparameters: {{hidden_size: 16}}
"""
"""All of the training images, but a small network and few test images: the run itself is not what is timed."""


def start_up(setting: Setting, folder: Path) -> tuple[float, float]:
    """Seconds from command to first step, and between cells, of a run of two cells in `folder`."""
    log, watch, spec = folder / "log", folder / "stopwatch.py", folder / "start-up.yaml"
    log.unlink(missing_ok=True)
    watch.write_text(STOPWATCH.format(log=str(log)))
    spec.write_text(SPEC.format(data=setting.data.name))
    plugins = [each for each in (setting.data.plugin, watch) if each]
    words = [word for plugin in plugins for word in ("--plugin", str(plugin))]
    words += ["sweep", str(spec), "-q", "--device", "cpu", "--threads", str(setting.around.threads)]
    words += ["--results", str(folder / f"results-{time.monotonic_ns()}"), "--reports", str(folder / "reports")]
    if setting.data.folder:
        words += ["--data", str(setting.data.folder)]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "vdae_bench", *words], cwd=folder, capture_output=True, text=True, env=os.environ
    )
    if done.returncode:
        raise VdaeBenchError(f"the run that was to be timed failed: {done.stderr.strip()}")
    first_step, published, second_step, _ = map(float, log.read_text().split())
    return first_step - started, second_step - published
