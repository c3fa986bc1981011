"""TensorBoard's event files by torch's writer: a folder a run, with curves, hyper-parameters and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vdae_bench.export.content import ExportedRun
from vdae_bench.system.words import quoted


def export(runs: Sequence[ExportedRun], out: Path) -> str:
    """Write `<sweep>/<protocol>/<run>/events.out.tfevents...`, in the place of those of an export before."""
    for run in runs:
        _write(run, out / run.group / run.name)
    return f"look at them with tensorboard --logdir {quoted(str(out))}"


def _write(run: ExportedRun, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for epoch, values in run.series:
            for name, value in values.items():
                writer.add_scalar(name, value, epoch, walltime=run.started)
        for name, picture in run.sheets.items():
            writer.add_image(f"samples/{name}", picture, dataformats="HW", walltime=run.started)
        rows = "\n".join(f"| {name} | {value} |" for name, value in {"run_id": run.id, **run.origin}.items())
        writer.add_text("origin", f"| | |\n|---|---|\n{rows}", walltime=run.started)
        metrics = {name: value for name, value in run.metrics.items() if not name.startswith("validation/neg")}
        writer.add_hparams(run.settings, metrics, run_name=".")
