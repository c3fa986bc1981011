"""The door for notebooks: a sweep run from values, its records and curves, and all that a loaded model does."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from tests.support.records import made_up_record, publish
from tests.support.runs import StopAfter, numbers
from tests.support.specs import PAIR, TINY
from vdae_bench import api
from vdae_bench.data.views import evenly_spaced
from vdae_bench.errors import Stopped, UserError
from vdae_bench.report.numbers.statistics import mean_of
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store


def content(spec):
    """The spec as the mapping that its file holds."""
    parts = {name: value for name, value in vars(spec).items() if value is not None}
    return {"version": 1, **parts}


SMALL = replace(TINY.but(grid={"dataset": ["continuous-tiny"]}, seeds=1), include=TINY.include[:2])
QUICK = {"settings": {"quality_samples": 0}, "threads": 1, "quiet": True}


@pytest.fixture(scope="module")
def ran(tiny_data, tmp_path_factory):
    """(results folder, table) of a sweep run from a mapping, with each kind of method."""
    results = tmp_path_factory.mktemp("api") / "results"
    table = api.run(content(SMALL), results=results, data=tiny_data[0], **QUICK)
    return results, table


def loaded(ran, method, dataset="continuous-tiny"):
    results, table = ran
    chosen = table[(table["cell.method"] == method) & (table["cell.dataset"] == dataset)]
    return api.load(results / chosen.iloc[0]["record"])


def test_a_mapping_is_the_spec_that_its_file_is(tmp_path, tiny_data):
    assert load_spec(content(TINY)) == load_spec(TINY.write(tmp_path))
    with pytest.raises(UserError, match="the spec has a value that YAML cannot hold"):
        load_spec({**content(TINY), "seeds": {1}})


def test_a_sweep_runs_once_and_returns_its_records(ran, tiny_data):
    results, table = ran
    assert len(table) == 4 and set(table["status"]) == {"completed"} and table["weights"].all()
    assert all("vdae_bench.api.run({" in command for command in table["provenance.command"])
    before = {path: path.stat().st_mtime_ns for path in results.rglob("seed-*.json")}
    again = api.run(content(SMALL), only="*_vae_4", results=results, data=tiny_data[0], **QUICK)
    assert list(again["cell.method"]) == ["vae"]
    assert {path: path.stat().st_mtime_ns for path in results.rglob("seed-*.json")} == before


def test_a_stopped_run_goes_on(tmp_path, tiny_data, monkeypatch):
    """A signal leaves a checkpoint and a sentence with the call, and the same call has the same numbers."""
    spec, words = content(PAIR.but(grid={"method": ["vae"]}, seeds=1)), {**QUICK, "data": tiny_data[0]}
    token = StopAfter(4)
    token.signal = 2
    with monkeypatch.context() as patched, pytest.raises(Stopped, match=r"vdae_bench\.api\.run"):
        patched.setattr(api, "StopToken", lambda: token)
        api.run(spec, results=tmp_path / "a", **words)
    assert not list((tmp_path / "a").rglob("seed-*.json"))
    assert [len(api.run(spec, results=tmp_path / name, **words)) for name in ("a", "b")] == [1, 1]
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")


def test_curves_are_those_of_the_records(ran):
    results, table = ran
    curves = api.curves(results)
    trained = table[table["cell.method"] != "independent-pixels"]
    assert set(curves["record"]) == set(trained["record"]) and set(curves["epoch"]) == {1, 2, 3}
    last = curves[curves["epoch"] == 3].set_index("record")["validation_neg_elbo_nats"]
    kept = trained.set_index("record")["metrics.validation.neg_elbo_nats"]
    assert last.sort_index().tolist() == kept.sort_index().tolist()


def test_pairs_have_intervals_for_all_of_them_together(tmp_path):
    """Every two methods, the first less the second by seed; the six intervals share the level."""
    store = Store(tmp_path / "results")
    scores = {"vae": [90.0, 90.2, 90.1], "lvdae": [95.0, 95.1, 95.4], "vdae-nice": [90.5, 89.8, 90.2]}
    for method, values in scores.items():
        cell = Cell("binary-mnist", method, 16)
        records = [made_up_record(cell, seed, nll_nats=value) for seed, value in enumerate(values)]
        publish(store, "mine", "quick", cell.slug, records)
    found = api.pairs(store.root, sweep="mine")
    assert len(found) == 6 and set(found["seeds"]) == {3} and set(found["unit"]) == {"nats"}
    assert set(found["sweep"]) == {"mine"} and set(found["protocol.name"]) == {"quick"}
    nll = found[found["score"] == "NLL"]
    methods = [[row[name].split("_")[1] for name in ("first", "second")] for _, row in nll.iterrows()]
    assert sorted(map(sorted, methods)) == sorted(map(sorted, combinations(scores, 2)))
    for (first, second), (_, row) in zip(methods, nll.iterrows(), strict=True):
        wanted = mean_of([one - other for one, other in zip(scores[first], scores[second], strict=True)])
        assert [row["low"], row["high"]] == pytest.approx(wanted.interval(1 - 0.05 / 6))
        assert row["difference"] == pytest.approx(wanted.mean)
        assert ("is ahead" in row["answer"]) == ("lvdae" in (first, second))


def test_pairs_pass_over_sweeps_of_another_version_alone(tmp_path):
    store = Store(tmp_path / "results")
    for sweep, changes in (("mine", {}), ("old", {"protocol": {"name": "quick", "of": "another version"}})):
        for method in ("vae", "lvdae"):
            cell = Cell("binary-mnist", method, 16)
            publish(store, sweep, "quick", cell.slug, [made_up_record(cell, 0).model_copy(update=changes)])
    assert set(api.pairs(store.root)["sweep"]) == {"mine"}
    with pytest.raises(UserError):
        api.pairs(store.root, sweep="old")


def test_a_word_that_is_not_there_is_a_sentence_with_the_nearest(ran):
    results, table = ran
    with pytest.raises(UserError, match=r"no column 'metrics.test.nll' \(did you mean 'metrics.test.nll_nats'"):
        table["metrics.test.nll"]
    near = r"no column 'cell.latent' \(did you mean 'cell.latents'"
    for wrong in (
        lambda: table[["cell.latent", "seed"]],
        lambda: table.groupby("cell.latent"),
        lambda: table[table["seed"] == 0].sort_values("cell.latent"),
    ):
        with pytest.raises(UserError, match=near):
            wrong()
    for empty in (api.records(results / "nowhere"), api.curves(results / "nowhere")):
        with pytest.raises(UserError, match=r"there are no records in .*nowhere, and so no column 'weights'"):
            empty["weights"]
    with pytest.raises(UserError, match=r"no sweep 'tinny' \(did you mean 'tiny'"):
        api.records(results, sweep="tinny")
    with pytest.raises(UserError, match="no protocol 'quick'"):
        api.curves(results, protocol="quick")
    with pytest.raises(UserError, match=r"did you mean '.*/seed-0.json'"):
        api.load(results / str(table.iloc[0]["record"]).replace("seed-0", "sed-0"))
    with pytest.raises(UserError, match="epoch"):
        api.run(content(SMALL), settings={"epoch": 3}, results=results)


def test_tables_and_models_show_what_they_are(ran):
    results, table = ran
    text = repr(table)
    assert "metrics.test.nll_nats" in text and "provenance" not in text and text.endswith("more columns: .columns")
    assert table._repr_html_().count("<tr") == 1 + len(table)
    curves = repr(api.curves(results))
    assert all(name in curves for name in ("epoch", "train_neg_elbo_nats", "validation_neg_elbo_nats"))
    assert repr(loaded(ran, "nice")).startswith("TrainedModel(NICE on continuous-tiny, m = 36, seed 0, ")
    assert " bits/dim)" in repr(loaded(ran, "nice"))


@pytest.mark.parametrize("method", ["vae", "lvdae"])
def test_a_models_scores_are_of_its_log_weights_and_noise(method, ran, tiny_data):
    model, x = loaded(ran, method), api.images("continuous-tiny", folder=tiny_data[0])
    log_w = model.log_weights(x, 300, seed=3).double()
    torch.testing.assert_close(model.elbo(x, 300, seed=3), log_w.mean(1))
    torch.testing.assert_close(model.nll(x, 300, seed=3), math.log(300) - log_w.logsumexp(1))
    torch.testing.assert_close(model.log_weights(x[:4], 300, seed=3).double(), log_w[:4], atol=1e-3, rtol=0)  # its own
    assert not torch.equal(model.elbo(x, 3), model.elbo(x, 3, seed=1))
    # With the record's seed and samples, on the images that it scored, the noise is the record's own.
    test, protocol = model.record.metrics.test, model.record.protocol
    evaluated = model.nll(x, protocol["importance_samples"], model.record.seed)
    images = evenly_spaced(len(x), protocol["nll_images"])
    assert evaluated[images].mean().item() == pytest.approx(test.nll_images_nll_nats, rel=1e-5)


def test_latents_go_to_images_and_back(ran, tiny_data):
    x = api.images("continuous-tiny", folder=tiny_data[0])[:6]
    vae, flow = loaded(ran, "vae"), loaded(ran, "nice")
    torch.testing.assert_close(flow.reconstruct(x), x, atol=1e-3, rtol=0)
    assert torch.equal(vae.encode(x), vae.encode(x)) and torch.equal(vae.encode(x, 1), vae.encode(x, 1))
    assert not torch.equal(vae.encode(x), vae.encode(x, 1))
    torch.testing.assert_close(vae.encode(x[:2], 1), vae.encode(x, 1)[:2])
    way = vae.interpolate(x[:3], x[3:], steps=4)
    torch.testing.assert_close(way[:, 0], vae.reconstruct(x[:3]))
    torch.testing.assert_close(way[:, -1], vae.reconstruct(x[3:]))


def test_what_a_model_cannot_do_is_a_sentence(ran, tiny_data):
    x = api.images("continuous-tiny", folder=tiny_data[0])[:2]
    with pytest.raises(UserError, match=r"method nice has no ELBO, because its log p\(x\) is exact"):
        loaded(ran, "nice").elbo(x)
    with pytest.raises(UserError, match="independent-pixels has no latents"):
        loaded(ran, "independent-pixels").encode(x)
    with pytest.raises(UserError, match=r"takes rows of 36 pixels, \(N, 36\), not \(36,\)"):
        loaded(ran, "vae").nll(x[0])
    with pytest.raises(UserError, match="as many ends as starts"):
        loaded(ran, "vae").interpolate(x, x[:1])


def test_a_method_of_a_plugin_runs_and_loads(tmp_path, tiny_data):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from vdae_bench.models.methods.vae import VAE\n"
        "from vdae_bench.models.registry import register\n"
        "@register\nclass Mine(VAE):\n    id, title = 'mine-of-the-api', 'Mine'\n"
    )
    api.load_plugin(plugin)
    spec = PAIR.but(grid={"method": ["mine-of-the-api"]}, seeds=1)
    table = api.run(content(spec), results=tmp_path / "results", data=tiny_data[0], **QUICK)
    assert repr(api.load(tmp_path / "results" / table.iloc[0]["record"])).startswith("TrainedModel(Mine on binary-tiny")
