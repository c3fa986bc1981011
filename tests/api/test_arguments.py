"""Wrong arguments of the functions for notebooks: each ends in a sentence that says what to give."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vdae_bench import api
from vdae_bench.errors import UserError, VdaeBenchError
from vdae_bench.models.problem import Problem
from vdae_bench.models.registry import get_method
from vdae_bench.store.records import Metrics, Record, RecordedCell


@pytest.mark.parametrize(
    ("argument", "value", "wanted"),
    [
        ("threads", 100000, "threads is 100000; give a whole number from 1 to 4096 or None"),
        ("threads", -3, "whole number from 1 to 4096"),
        ("threads", 0, "whole number from 1 to 4096"),
        ("threads", "two", "threads is 'two'; give a whole number from 1"),
        ("workers", "x", "workers is 'x'; give a whole number of at least 1 or None"),
        ("workers", 0, "at least 1"),
        ("device", "tpu", "device is 'tpu'; give 'auto', 'cpu', 'cuda' or 'mps'"),
        ("seeds", 0, "seeds is 0; give a whole number from 1 to 1000"),
        ("keep_checkpoints", "no", "keep_checkpoints is 'no'; give True or False"),
        ("quiet", 2, "quiet is 2; give True or False"),
        ("only", 5, "only is 5; give a string or a list of strings"),
        ("settings", ["epochs=3"], "give a mapping, as in {'key': value} or None"),
        ("protocol", 5, "protocol is 5; give a string or None"),
        ("results", None, "results is None; give a path or a string"),
        ("data", 5, "data is 5; give a path, a string or None"),
        ("spec", None, "spec is None; give a path, a string or a mapping"),
    ],
)
def test_a_run_is_within_the_limits_of_the_command_line(argument: str, value: Any, wanted: str, tmp_path: Path) -> None:
    words = {"spec": "table1", "results": tmp_path / "results", "quiet": True, argument: value}
    with pytest.raises(UserError) as raised:
        api.run(**words)
    assert wanted in str(raised.value)
    assert not (tmp_path / "results").exists()


def test_every_argument_of_a_run_is_checked(tmp_path: Path) -> None:
    for argument in inspect.signature(api.run).parameters:
        with pytest.raises(UserError, match=f"^{argument} is <"):
            api.run(**{"spec": "table1", "results": tmp_path, argument: object()})


def untrained(view: str) -> api.TrainedModel:
    """A VAE of 4 pixels, with 2 latents."""
    problem = Problem(1, 4, 2, view, {"hidden_size": 4, "residual_blocks": 1})
    record = Record.model_construct(
        cell=RecordedCell(dataset=f"{view}-mnist", method="vae", latents=2),
        seed=0,
        protocol={"name": "smoke"},
        metrics=Metrics(test=None, validation=None),
    )
    return api.TrainedModel(record, get_method("vae").build(problem), data_dim=4)


BINARY, CONTINUOUS = untrained("binary"), untrained("continuous")
ON, HALF = torch.ones(2, 4), torch.full((2, 4), 0.5)
WRONG = {
    "log_weights(0)": (lambda: BINARY.log_weights(ON, 0), "samples is 0; give a whole number of at least 1"),
    "log_weights(1.5)": (lambda: BINARY.log_weights(ON, 1.5), "samples is 1.5; give"),
    "log_weights(word)": (lambda: BINARY.log_weights(ON, "5"), "samples is '5'; give"),
    "elbo(0)": (lambda: BINARY.elbo(ON, 0), "samples is 0; give"),
    "nll(0)": (lambda: BINARY.nll(ON, 0), "samples is 0; give"),
    "nll(seed)": (lambda: BINARY.nll(ON, 5, seed=-1), "seed is -1; give a whole number of at least 0"),
    "sample(0)": (lambda: BINARY.sample(0), "count is 0; give a whole number of at least 1"),
    "sample(-1)": (lambda: BINARY.sample(-1), "count is -1; give"),
    "sample(2.5)": (lambda: BINARY.sample(2.5), "count is 2.5; give"),
    "sample(word)": (lambda: BINARY.sample("a"), "count is 'a'; give"),
    "sample(means)": (lambda: BINARY.sample(2, means="yes"), "means is 'yes'; give True or False"),
    "interpolate(2.5)": (lambda: BINARY.interpolate(ON, ON, steps=2.5), "steps is 2.5; give a whole number of at"),
    "interpolate(1)": (lambda: BINARY.interpolate(ON, ON, steps=1), "steps is 1; give a whole number of at least 2"),
    "encode(None)": (
        lambda: BINARY.encode(None),
        "rows of 4 pixels, (N, 4), as a tensor, an array or lists of numbers",
    ),
    "encode(words)": (lambda: BINARY.encode([["a"] * 4]), "as a tensor, an array or lists of numbers, not [['a'"),
    "encode(set)": (lambda: BINARY.encode({1}), "as a tensor, an array or lists of numbers, not {1}"),
    "encode(meta)": (lambda: BINARY.encode(ON.to("meta")), "as a tensor, an array or lists of numbers, not tensor("),
    "encode(seed)": (lambda: BINARY.encode(ON, seed="a"), "seed is 'a'; give a whole number of at least 0 or None"),
    "encode(complex)": (lambda: BINARY.encode(ON + 0j), "of real numbers, not torch.complex64"),
    "encode(bytes)": (lambda: BINARY.encode(ON.byte() * 255), "between 0 and 1, not 255 to 255; divide grey levels by"),
    "encode(below)": (lambda: CONTINUOUS.encode(HALF - 1), "pixels are between 0 and 1, not -0.5 to -0.5"),
    "nll(nan)": (lambda: CONTINUOUS.nll(HALF * float("nan")), "of finite numbers; leave out rows with NaN"),
    "nll(grey)": (lambda: BINARY.nll(HALF), "a model of binary-mnist scores images whose pixels are 0 or 1"),
    "decode(nan)": (lambda: BINARY.decode([[0, float("inf")]]), "rows of 2 latents, (N, 2), of finite numbers"),
    "score(folder)": (lambda: BINARY.score(5), "folder is 5; give a path, a string or None"),
    "images(split)": (lambda: api.images("binary-mnist", "train"), "split is 'train'; give 'validation' or 'test'"),
    "images(None)": (lambda: api.images(None), "dataset is None; give a string"),
    "load(None)": (lambda: api.load(None), "record is None; give a path or a string"),
    "load(5)": (lambda: api.load(5), "record is 5; give a path or a string"),
    "share(5)": (lambda: api.share(5), "record is 5; give a path or a string"),
    "records(None)": (lambda: api.records(None), "results is None; give a path or a string"),
    "curves(sweep)": (lambda: api.curves("nowhere", sweep=1), "sweep is 1; give a string or None"),
    "load(null)": (lambda: api.load("a\0b"), "has a null character"),
    "records[5]": (lambda: api.Records({"seed": [0]})[5], "the records have no column 5"),
    "load_plugin(5)": (lambda: api.load_plugin(5), "file is 5; give a path or a string"),
}


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_argument_is_a_sentence_that_says_what_to_give(call: str) -> None:
    wrong, wanted = WRONG[call]
    with pytest.raises(UserError) as raised:
        wrong()
    assert wanted in str(raised.value)


def test_what_is_right_is_taken_in_every_form() -> None:
    """Counts of NumPy, images as lists, arrays and bytes of 0 and 1; a binary model encodes its own mean images."""
    assert torch.equal(BINARY.nll(ON, np.int64(3), seed=np.int64(1)), BINARY.nll([[1] * 4] * 2, 3, seed=1))
    assert torch.equal(BINARY.elbo(ON.byte()), BINARY.elbo(ON.double().numpy()))
    assert torch.equal(BINARY.elbo(pd.DataFrame(ON.numpy())), BINARY.elbo(ON.to_sparse()))
    assert BINARY.reconstruct(BINARY.sample(3, means=True)).shape == (3, 4)
    assert CONTINUOUS.nll(HALF).isfinite().all() and len(CONTINUOUS.nll(HALF[:0])) == 0


def test_paths_have_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for call in (api.load, api.share):
        with pytest.raises(UserError, match=str(tmp_path / "seed-0.json")):
            call("~/seed-0.json")
    with pytest.raises(UserError, match=str(tmp_path / "data")):
        api.images("binary-mnist", folder="~/data")


def test_sentences_of_a_run_are_no_command_lines(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist; give none, and mnist is downloaded"):
        api.images("binary-mnist", folder=tmp_path / "nowhere")
    (tmp_path / "file").touch()
    for words, said in (
        ({"device": "mps"}, "use the device cpu"),
        ({"only": "nothing"}, "'nothing' names no cell; the cells are "),
        ({"results": tmp_path / "file" / "in"}, "choose another folder for results"),
    ):
        with pytest.raises(VdaeBenchError) as raised:
            api.run("table2", **{"protocol": "smoke", "results": tmp_path / "r", "quiet": True, **words})
        assert said in str(raised.value) and "--" not in str(raised.value)


def test_a_shape_is_asked_for_as_what_it_is():
    with pytest.raises(UserError, match=r"shape is \[4, 4\]; give a tuple of 2: a whole number"):
        api.check_flow("couplings", shape=[4, 4])


def test_a_model_without_latents_cannot_be_sampled_from_and_says_so(monkeypatch):
    model = untrained("binary")
    monkeypatch.setattr(model.model, "latent_dim", None)
    for use in (lambda: model.sample(2), lambda: model.decode(torch.zeros(1, 2))):
        with pytest.raises(UserError, match="method vae has no latents, and cannot be sampled from"):
            use()
