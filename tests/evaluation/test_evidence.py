"""Evidence beside records: changes no number, survives stops, is whole or absent, and weights load again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.runs import StopAfter, run, without_time
from tests.support.shell import block
from tests.support.specs import PAIR, Spec
from vdae_bench import api
from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.running.cost import calibrate
from vdae_bench.running.group import run_group
from vdae_bench.running.plan import plan
from vdae_bench.running.stop import StopToken
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.check import load_spec
from vdae_bench.store.evidence import read_evidence, read_numbers
from vdae_bench.store.layout import evidence_paths, half_weights_path, weights_path
from vdae_bench.store.records import Store
from vdae_bench.training.trainer import Interrupted

SAMPLED = Spec(
    name="sampled",
    grid={"dataset": ["continuous-tiny"], "method": ["vae", "lvdae"], "latents": [4]},
    include=[
        {"dataset": "continuous-tiny", "method": "nice", "latents": 36},
        {"dataset": "binary-tiny", "method": "vdae-resnet", "latents": 36},
        {"dataset": "binary-tiny", "method": "independent-pixels", "latents": 0},
    ],
    protocol={
        "base": "smoke",
        "train_images": None,
        "validation_images": 20,
        "elbo_images": 30,
        "nll_images": 10,
        "importance_samples": 20,
    },
    hyperparameters={"hidden_size": 8, "coupling_hidden_size": 8, "coupling_layers": 1, "decoder_hidden_size": 8},
)


def spec(tmp_path, samples=1000):
    return load_spec(SAMPLED.but(protocol={"quality_samples": samples}).write(tmp_path))


def test_evidence_lies_beside_each_record_and_changes_no_number(tmp_path, context, cache):
    with_quality = run(spec(tmp_path), replace(context, keep_models=True))
    assert not with_quality.failures
    plain = replace(context, store=Store(tmp_path / "plain"))
    without = run(spec(tmp_path, samples=0), plain)
    for ours, theirs in zip(with_quality.records, without.records, strict=True):
        ours, theirs = without_time(ours), without_time(theirs)
        assert (ours["metrics"], ours["curve"]) == (theirs["metrics"], theirs["curve"])
        assert ours["provenance"]["run_digest"] == theirs["provenance"]["run_digest"]
    for path, record in context.store.records():
        evidence = read_evidence(path, record.run_digest)
        other = read_evidence(plain.store.root / path.relative_to(context.store.root), record.run_digest)
        assert evidence and other and not other.numbers.quality
        for name, array in evidence.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)
        kinds = {"drawn"} if record.cell.method in ("nice", "independent-pixels") else {"means", "drawn"}
        assert set(evidence.numbers.quality) == kinds == set(evidence.arrays) & {"means", "drawn"}
        for kind, quality in evidence.numbers.quality.items():
            assert quality.samples == 20  # as many as there are validation images
            assert quality.view == ("continuous" if kind == "means" else record.cell.dataset.partition("-")[0])
            assert 0 <= quality.classifier_entropy <= quality.class_entropy <= math.log(10)
            assert quality.frechet_error > 0 and quality.frechet > 0 and quality.frechet_floor > 0
        assert ("correlation" in evidence.arrays) == (record.cell.method == "lvdae")
        of_means = evidence.numbers.quality.get("means")
        assert evidence.numbers.headline == (of_means or evidence.numbers.quality["drawn"])
    assert sum(each.stat().st_size for each in context.store.root.rglob("*.npz")) < 9 * 40_000


def test_a_calibration_times_the_evidence_too(tmp_path, context, cache):
    seconds = {}
    for samples in (0, 1000):
        group = plan(spec(tmp_path, samples), context.store).groups[0]
        times = [calibrate(group, lambda each: Workbench(each, context)).samples_seconds for _ in range(3)]
        seconds[samples] = min(times)  # that of the one which nothing else held up
    assert 0 < seconds[0] < seconds[1000]
    assert list(context.store.root.rglob("*")) == []


def test_a_stopped_group_has_the_same_evidence(tmp_path, context, cache):
    group = plan(spec(tmp_path), context.store).groups[0]
    for asked in (3, 2, 6):  # in training, in the test, and while the classifier trains
        with pytest.raises(Interrupted):
            run_group(group, context, lambda *_: None, StopAfter(asked))
    assert list(context.store.records()) == []
    resumed = run_group(group, context, lambda *_: None, StopToken())
    elsewhere = replace(context, store=Store(tmp_path / "other"), seconds_between_checkpoints=1e9)
    whole = run_group(group, elsewhere, lambda *_: None, StopToken())
    assert [without_time(r) for r in resumed] == [without_time(r) for r in whole]
    for path, record in context.store.records():
        twin = elsewhere.store.root / path.relative_to(context.store.root)
        assert evidence_paths(path)[0].read_bytes() == evidence_paths(twin)[0].read_bytes()
        ours, theirs = (read_numbers(each, record.run_digest) for each in (path, twin))
        assert ours.model_copy(update={"seconds": 0}) == theirs.model_copy(update={"seconds": 0})


def test_what_is_torn_or_of_another_run_counts_as_absent(tmp_path, context):
    run(spec(tmp_path, samples=0), context)
    path, record = next(context.store.records())
    arrays, numbers = evidence_paths(path)
    assert read_evidence(path, "0" * 64) is None
    content = arrays.read_bytes()
    for damaged in (content[:-10], content[:-1] + b"?", b""):
        arrays.write_bytes(damaged)
        assert read_evidence(path, record.run_digest) is None
    arrays.write_bytes(content)
    assert read_evidence(path, record.run_digest) is not None
    numbers.write_text(numbers.read_text()[:-20])
    assert read_evidence(path, record.run_digest) is None
    assert len(list(context.store.records())) == 9  # a record needs no evidence


def test_a_folder_that_cannot_be_written_costs_the_record_too(tmp_path, context):
    one = plan(spec(tmp_path, samples=0), context.store).groups[0]
    folder = context.store.folder(one.job.sweep, one.job.protocol.name, "samples")
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(EnvironmentFault, match="samples"):
        run_group(one, context, lambda *_: None, StopToken())
    assert list(context.store.records()) == []
    folder.unlink()
    assert len(run_group(one, context, lambda *_: None, StopToken())) == 2


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_loaded_model_has_the_scores_of_its_record(tmp_path, context, tiny_data, precision):
    sampled = SAMPLED.but(protocol={"quality_samples": 0, "precision": precision, "nll_images": 30})
    run(load_spec(sampled.write(tmp_path)), replace(context, keep_models=True))
    x = api.images("continuous-tiny", folder=tiny_data[0])
    for path, record in context.store.records():
        if record.cell.dataset != "continuous-tiny":
            continue
        model = api.load(path)
        log_w = model.log_weights(x, 500).double()
        test = record.metrics.test
        if record.cell.method == "nice":
            assert log_w.shape == (30, 1) and -log_w.mean().item() == pytest.approx(test.nll_nats, rel=1e-5)
        else:
            assert -model.log_weights(x, 20, record.seed).double().mean().item() == pytest.approx(
                test.neg_elbo_nats, rel=1e-5
            )
        evidence = read_evidence(path, record.run_digest)
        shown = model.sample(4, seed=record.seed).clamp(0, 1).mul(255).round()
        np.testing.assert_array_equal(shown.to(torch.uint8), evidence.arrays["drawn"][:4])


def test_the_example_of_the_pages(tmp_path, context, tiny_data, monkeypatch, capsys):
    run(spec(tmp_path, samples=0), replace(context, keep_models=True))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    names: dict[str, object] = {}
    code = block("python", "best = records")
    own = context.store.places()[0]
    assert 'protocol="smoke", sweep="table2"' in code  # which the page's command runs; here it is another sweep
    exec(code.replace('protocol="smoke", sweep="table2"', f"protocol={own[1]!r}, sweep={own[0]!r}"), names)
    assert names["drawn"].shape == (16, 36) and names["log_w"].shape[1] == 50
    test = names["model"].record.metrics.test
    assert names["again"]["nll_nats"] == pytest.approx(test.nll_nats, rel=1e-6)
    assert len(names["records"]) == 9 and "metrics.test.nll_nats" in names["records"]


def test_without_kept_weights_it_says_how_to_keep_them(tmp_path, context):
    run(spec(tmp_path, samples=0), context)
    path, _ = next(context.store.records())
    assert not api.records(context.store.root)["weights"].any()
    for opened in (api.load, api.share):
        with pytest.raises(UserError, match="SPEC --train-again, with the options"):
            opened(path)
    with pytest.raises(UserError, match="no record"):
        api.load(tmp_path / "seed-0.json")
    assert api.records(tmp_path / "nowhere").empty


@pytest.mark.parametrize(("method", "view"), [("lvdae", "binary"), ("vae", "continuous")])
def test_weights_in_half_precision_score_as_the_record_within_a_hundredth_of_a_nat(
    method, view, tmp_path, context, tiny_data
):
    sweep = load_spec(
        PAIR.but(grid={"dataset": [f"{view}-tiny"], "method": [method]}, protocol={"epochs": 10}, seeds=1).write(
            tmp_path
        )
    )
    run(sweep, replace(context, keep_models=True))
    for path, record in context.store.records():
        whole, half = weights_path(path), api.share(path)
        assert half == half_weights_path(path) and half.stat().st_size < 0.75 * whole.stat().st_size
        whole.unlink()
        with pytest.raises(UserError, match=r"is shared already, by .*safetensors, which `load` reads"):
            api.share(path)
        model = api.load(path)
        again, test = model.score(tiny_data[0]), record.metrics.test
        assert abs(again["nll_nats"] - test.nll_nats) < 0.01 and again["nll_nats"] != test.nll_nats
        assert abs(again["neg_elbo_nats"] - test.neg_elbo_nats) < 0.01
        assert {value.dtype for value in model.model.state_dict().values()} == {torch.float32}
        content = half.read_bytes()
        for damaged in (content[:-9], content[:-1] + bytes([content[-1] ^ 1]), b""):
            half.write_bytes(damaged)
            with pytest.raises(UserError, match=r"is not used, because it is .* --train-again"):
                api.load(path)


def test_weights_of_another_run_are_not_taken_for_a_records(tmp_path, context):
    run(load_spec(PAIR.write(tmp_path)), replace(context, keep_models=True))
    first, second = (path for path, _ in list(context.store.records())[:2])
    api.share(first).rename(half_weights_path(second))
    weights_path(second).unlink()
    with pytest.raises(UserError, match="belong to another run than the record"):
        api.load(second)
