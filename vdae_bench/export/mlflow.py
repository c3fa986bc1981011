"""MLflow: a run for each run in an SQLite file of the folder, or on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vdae_bench.export.content import ExportedRun
from vdae_bench.system.words import quoted

RUN_ID = "vdae_bench.run_id"
"""Tag with our id, by which a run is found again: MLflow gives runs ids of its own."""
COMPLETE = "vdae_bench.complete"
LONGEST = {"param": 6000, "tag": 8000}
"""Characters that MLflow keeps."""
AT_ONCE = 100
"""Settings, and a tenth of the metrics, that MLflow takes in one call."""


def export(runs: Sequence[ExportedRun], out: Path) -> str:
    """Log runs that are not there yet, each in the experiment of its sweep and protocol; one left half is redone."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    database = f"sqlite:///{(out / 'mlflow.db').absolute()}"
    address = os.environ.get("MLFLOW_TRACKING_URI") or database
    artifacts = (out / "artifacts").absolute().as_uri() if address == database else None
    if artifacts:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(database, artifacts)  # else the experiment "Default" keeps its files where the command runs
    client = MlflowClient(address)
    for run in runs:
        name = f"vdae-bench/{run.group}"
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name, artifacts)
        _write(client, experiment, run)
    return f"look at them with mlflow ui --backend-store-uri {quoted(address)} (this needs the full mlflow)"


def _write(client: Any, experiment: str, run: ExportedRun) -> None:
    from mlflow.entities import Metric, Param, RunTag

    there = client.search_runs([experiment], f"tags.`{RUN_ID}` = '{run.id}'")
    tags = {name: value[: LONGEST["tag"]] for name, value in run.origin.items()}
    if complete := [each for each in there if each.data.tags.get(COMPLETE)]:
        for each in complete:  # what is said of a run can change: that it is left out, say
            for name, value in tags.items():
                if each.data.tags.get(name) != value:
                    client.set_tag(each.info.run_id, name, value)
        return
    for half in there:
        client.delete_run(half.info.run_id)
    at = int(1000 * run.started)
    own = client.create_run(experiment, start_time=at, run_name=run.name, tags={RUN_ID: run.id}).info.run_id
    params = [Param(name, str(value)[: LONGEST["param"]]) for name, value in run.settings.items()]
    series = [Metric(name, value, at, epoch) for epoch, values in run.series for name, value in values.items()]
    last = run.run.record.curve.epoch[-1] if run.run.record.curve.epoch else 0
    logged = {each.key for each in series}
    metrics = series + [Metric(name, value, at, last) for name, value in run.metrics.items() if name not in logged]
    for start in range(0, max(len(params), len(tags)), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        client.log_batch(own, params=params[here], tags=[RunTag(*each) for each in tags.items()][here])
    for start in range(0, len(metrics), 10 * AT_ONCE):
        client.log_batch(own, metrics=metrics[start : start + 10 * AT_ONCE])
    for name, picture in run.sheets.items():
        client.log_image(own, picture, f"samples/{name}.png")
    client.set_tag(own, COMPLETE, "true")
    client.set_terminated(own, "FINISHED" if run.run.completed else "FAILED")
