"""Weights & Biases, offline: a run folder for each run, which `wandb sync` sends when you say so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from vdae_bench.export.content import ExportedRun
from vdae_bench.system.words import quoted

PROJECT = "vdae-bench"


def export(runs: Sequence[ExportedRun], out: Path) -> str:
    """Write `wandb/offline-run-<time>-<id>`, in the place of that of an export before; nothing is sent."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    for run in runs:
        for old in (out / "wandb").glob(f"offline-run-*-{run.id}"):
            shutil.rmtree(old)
        _write(run, out)
    return f"send them with wandb sync {quoted(str(out / 'wandb'))}/offline-run-*"


def _write(run: ExportedRun, out: Path) -> None:
    import wandb

    settings = wandb.Settings(
        mode="offline",
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )
    words = {"project": PROJECT, "group": run.group, "name": run.name, "job_type": run.run.record.cell.method}
    config = {**run.settings, **run.origin}
    with wandb.init(id=run.id, resume="allow", dir=str(out), config=config, settings=settings, **words) as written:
        for epoch, values in run.series:
            written.log({"epoch": epoch, **values}, step=epoch)
        written.summary.update(run.metrics)
        if sheets := run.sheets:
            pictures = {f"samples/{name}": wandb.Image(picture) for name, picture in sheets.items()}
            written.log(pictures, step=max(run.run.record.curve.epoch, default=0))
