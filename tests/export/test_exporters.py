"""Records written for other dashboards and read back by the libraries' own readers; one that is not there skips."""

from __future__ import annotations

import importlib.util
import json
import struct
import tomllib
from collections import defaultdict
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.support.records import made_up_record, publish
from vdae_bench.cli.main import cli
from vdae_bench.errors import UserError
from vdae_bench.export import LIBRARIES, exporters, mlflow, parquet
from vdae_bench.export.content import exported_runs
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Numbers, write_evidence
from vdae_bench.store.records import Store

VAE = Cell("binary-mnist", "vae", 16)
SIGMA = Cell("continuous-mnist", "lvdae", 16, (("log_sigma", -3.0),))


@pytest.fixture
def store(tmp_path):
    """Four runs: one with samples, one whose curve has a hole, one of continuous data, one that diverged."""
    store = Store(tmp_path / "results")
    records = [made_up_record(VAE, 0), made_up_record(VAE, 1, curve=[100.0, None, 95.0])]
    publish(store, "table2", "quick", VAE.slug, records)
    sigma = [made_up_record(SIGMA, 0, nll_nats=-1980.0), made_up_record(SIGMA, 1, diverged=True)]
    publish(store, "table1", "quick", SIGMA.slug, sigma)
    path, record = next((path, record) for path, record in store.records("quick", "table2") if record.seed == 0)
    arrays = {name: np.arange(3 * 784).reshape(3, 784).astype(np.uint8) for name in ("data", "means", "drawn")}
    arrays["interpolations"] = np.zeros((2, 5, 784), np.uint8)
    numbers = Numbers(run_digest=record.run_digest, image_shape=(28, 28), seconds=1.0)
    write_evidence(path, Evidence(numbers, arrays))
    return store


def exported(name, store, out, twice=True):
    """Export (twice, as a user who forgot the first time), where the library is installed."""
    pytest.importorskip(LIBRARIES[name])
    for _ in range(1 + twice):
        count, line = exporters.export(name, store, out, None, None)
        assert count == 4 and name.removesuffix("board") in line
    return exported_runs(store, None, None)


def test_what_is_exported_names_its_units_and_stays_the_same(store):
    runs = exported_runs(store, None, None)
    assert len({run.id for run in runs}) == 4 and [run.id for run in runs] == [
        r.id for r in exported_runs(store, None, None)
    ]
    vae = next(run for run in runs if run.name == "binary-mnist_vae_16-seed0")
    assert vae.metrics["test/nll_nats"] == 90.0 and vae.metrics["cost/train_seconds"] == 30.0
    assert vae.settings["cell.method"] == "vae" and vae.settings["hyperparameters.hidden_size"] == 128
    assert vae.sheets["means"].shape == (28, 8 * 28) and vae.sheets["interpolations"].shape == (2 * 28, 5 * 28)
    np.testing.assert_array_equal(vae.sheets["data"][:, 28:56].ravel(), vae.evidence.arrays["data"][1])
    holed = next(run for run in runs if run.name == "binary-mnist_vae_16-seed1")
    assert [sorted(values) for _, values in holed.series][1] == []
    lost = next(run for run in runs if run.origin["status"] == "diverged")
    assert "diverged" in lost.origin["flags"] and not any(name.startswith("test") for name in lost.metrics)


def test_parquet_is_read_back(store, tmp_path):
    runs = exported("parquet", store, tmp_path / "out")
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out" / "runs.parquet").to_pandas().set_index("run_id")
    assert set(table.index) == {run.id for run in runs} and len(table) == 4
    curves = pq.read_table(tmp_path / "out" / "curves.parquet").to_pandas()
    images = pq.read_table(tmp_path / "out" / "images.parquet").to_pandas()
    for run in runs:
        row = table.loc[run.id]
        assert row["cell.method"] == run.settings["cell.method"] and row["status"] == run.origin["status"]
        if run.run.completed:
            assert row["metrics.test.nll_nats"] == run.metrics["test/nll_nats"]
        own = curves[curves["run_id"] == run.id].sort_values("epoch")
        for (epoch, values), (_, kept) in zip(run.series, own.iterrows(), strict=True):
            assert kept["epoch"] == epoch
            assert kept.get("validation_neg_elbo_nats") == values.get("validation/neg_elbo_nats") or not values
    assert table["cell.options.log_sigma"].dropna().tolist() == [-3.0, -3.0]
    (sampled,) = set(images["run_id"])
    evidence = next(run for run in runs if run.id == sampled).evidence
    first = images[images["kind"] == "means"].sort_values("index").iloc[1]
    np.testing.assert_array_equal(np.frombuffer(first["pixels"], np.uint8), evidence.arrays["means"][1])
    assert len(images) == 3 * 3 + 2 * 5


def test_what_one_run_lacks_in_a_column_of_lists_is_missing_there():
    parts = [{"commit": "a"}, {"commit": "b"}]
    table = parquet._of_one_type(pd.DataFrame([{"parts": parts, "x": 1.5}, {"x": None}]))
    assert table["parts"][0] == json.dumps(parts) and table.isna().to_numpy().tolist() == [[False, False], [True, True]]


def test_tensorboard_is_read_back(store, tmp_path):
    runs = exported("tensorboard", store, tmp_path / "out")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for run in runs:
        read = EventAccumulator(str(tmp_path / "out" / run.group / run.name))
        read.Reload()
        wanted = defaultdict(list)
        for epoch, values in run.series:
            for name, value in values.items():
                wanted[name].append((epoch, pytest.approx(value)))
        for name, points in wanted.items():
            assert [(each.step, each.value) for each in read.Scalars(name)] == points
        for name in ("test/nll_nats", "cost/train_seconds"):
            if name in run.metrics:
                assert [each.value for each in read.Scalars(name)] == [pytest.approx(run.metrics[name])]
        found = [each.split("/")[1] for each in read.Tags()["images"]]
        assert sorted(found) == sorted(run.sheets)
        data = HParamsPluginData.FromString(read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
        settings = data.session_start_info.hparams
        assert settings["cell.method"].string_value == run.settings["cell.method"]
        assert settings["hyperparameters.learning_rate"].number_value == pytest.approx(1e-3, rel=1)
        assert run.id in read.Tensors("origin/text_summary")[0].tensor_proto.string_val[0].decode()


def records_of(path):
    """The records in a file of wandb, framed as LevelDB's log: blocks of 32 KiB, each piece with 7 bytes before it."""
    from wandb.proto import wandb_internal_pb2

    content, at, pieces = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        pieces += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield wandb_internal_pb2.Record.FromString(pieces)
            pieces = b""


def test_wandb_is_read_back(store, tmp_path):
    runs = exported("wandb", store, tmp_path / "out")
    folders = list((tmp_path / "out" / "wandb").glob("offline-run-*"))
    assert sorted(each.name.rpartition("-")[2] for each in folders) == sorted(run.id for run in runs)
    for run in runs:
        (file,) = (tmp_path / "out" / "wandb").glob(f"offline-run-*-{run.id}/run-{run.id}.wandb")
        config, history, summary = {}, defaultdict(dict), {}
        for each in records_of(file):
            if each.HasField("run"):
                assert (each.run.run_id, each.run.display_name, each.run.run_group) == (run.id, run.name, run.group)
                config |= {item.key: json.loads(item.value_json) for item in each.run.config.update}
            for item in each.history.item:
                name = item.key or "/".join(item.nested_key)
                history[each.history.step.num][name] = json.loads(item.value_json)
            for item in each.summary.update:
                summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        assert {name: config[name] for name in run.settings} == run.settings
        assert config["status"] == run.origin["status"]
        for epoch, values in run.series:
            assert {name: history[epoch][name] for name in values} == values
        for name, value in run.metrics.items():
            assert summary[name] == value
        pictures = {name.split("/")[1] for values in history.values() for name in values if "samples/" in name}
        assert pictures == set(run.sheets)


def test_mlflow_is_read_back(store, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = exported("mlflow", store, tmp_path / "out")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    for experiment in client.search_experiments():  # MLflow's own "Default" too
        assert experiment.artifact_location.startswith((tmp_path / "out").as_uri())
    for run in runs:
        experiment = client.get_experiment_by_name(f"vdae-bench/{run.group}")
        (found,) = client.search_runs([experiment.experiment_id], f"tags.`vdae_bench.run_id` = '{run.id}'")
        assert found.info.run_name == run.name
        assert found.info.status == ("FINISHED" if run.run.completed else "FAILED")
        assert found.data.params == {name: str(value) for name, value in run.settings.items()}
        assert found.data.tags["provenance.run_digest"] == run.run.record.run_digest
        wanted = defaultdict(list)
        for epoch, values in run.series:
            for name, value in values.items():
                wanted[name].append((epoch, value))
        for name, points in wanted.items():
            history = client.get_metric_history(found.info.run_id, name)
            assert sorted((each.step, each.value) for each in history) == points
        assert {name: found.data.metrics[name] for name in run.metrics} == run.metrics
        kept = {each.path for each in client.list_artifacts(found.info.run_id, "samples")}
        assert kept == {f"samples/{name}.png" for name in run.sheets}
    # What is said of a run can change after it was exported: it is said at the next export.
    first = replace(runs[0], left_out="superseded: another run of its cell and seed was asked for since")
    mlflow.export([first], tmp_path / "out")
    experiment = client.get_experiment_by_name(f"vdae-bench/{first.group}")
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`vdae_bench.run_id` = '{first.id}'")
    assert found.data.tags["left_out"] == first.left_out and found.data.params


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("found", [None, ModuleSpec("a folder", None)])
def test_a_library_that_is_not_installed_is_a_sentence(name, found, tmp_path, monkeypatch):
    """It is said before records are read: here there are none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    with pytest.raises(UserError, match=rf"which is not installed; .*pip install 'vdae-bench\[{name}\]'"):
        exporters.export(name, Store(tmp_path / "nowhere"), tmp_path / "out", None, None)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(store, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "file").write_text("no folder")
    for out in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(UserError, match=f"cannot make the folder {out}: .*; give another with --out"):
            exporters.export("parquet", store, out, None, None)


def test_the_verb_exports_what_is_named(store, tmp_path):
    pytest.importorskip("pyarrow")
    words = ["export", "--results", str(store.root), "--out", str(tmp_path / "out"), "--to", "parquet"]
    done = CliRunner().invoke(cli, [*words, "table2", "--protocol", "quick"])
    assert done.output.startswith("2 runs in ") and "pandas.read_parquet" in done.output
    for more, message in ((["tabel2"], "did you mean 'table2'"), (["--protocol", "quack"], "did you mean 'quick'")):
        with pytest.raises(UserError, match=message):
            CliRunner().invoke(cli, [*words, *more], standalone_mode=False, catch_exceptions=False)
    with pytest.raises(UserError, match="there are no records"):
        exporters.export("parquet", Store(tmp_path / "nowhere"), tmp_path / "out", None, None)


def test_each_exporter_has_its_file_and_its_extra():
    files = {path.stem for path in Path(exporters.__file__).parent.glob("*.py")}
    assert files == {"__init__", "content", "exporters", *LIBRARIES}
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert all(extras[name][0].startswith(library) for name, library in LIBRARIES.items())
