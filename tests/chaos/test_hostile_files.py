"""Specs, records, checkpoints and data that are wrong: an error of one sentence, or the file is not used."""

from __future__ import annotations

import gzip
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import as_json, damaged, examples, mutated, tried
from tests.support.records import made_up_record
from vdae_bench.data.idx import read_idx, write_idx
from vdae_bench.errors import UserError
from vdae_bench.running.job import Job
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.shipped import sweeps_folder
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Record, Store, to_json
from vdae_bench.system.strict_json import SEAL
from vdae_bench.system.yaml_file import YamlFile
from vdae_bench.training.checkpoint import Checkpoint

SHIPPED = [
    YamlFile.read(path).content for path in sorted(sweeps_folder().rglob("*.yaml")) if path.parent.name != "protocols"
]
RECORD = json.loads(to_json(made_up_record(Cell("binary-mnist", "vae", 16), 0, provenance={"run_digest": "d" * 64})))
del RECORD[SEAL]  # else every change is noticed by it
STATE = {"step": 3, "tensor": torch.arange(40.0), "curve": {"train": [[1.0, 2.0]]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def is_a_sentence(text: str) -> bool:
    return bool(text.strip()) and "Traceback" not in text and "Error(" not in text


spec_texts = st.one_of(
    st.sampled_from(SHIPPED).flatmap(mutated).map(as_json).map(str.encode),
    st.sampled_from([as_json(each).encode() for each in SHIPPED]).flatmap(damaged),
    st.text(alphabet="&*!|>%@`{}[]-:?, \n\tab1'\"#<", max_size=80).map(str.encode),
    st.binary(max_size=80),
)


@examples("specs")
@given(content=spec_texts)
def test_specs(folder, content):
    tried["specs"] += 1
    path = folder / "spec.yaml"
    path.write_bytes(content)
    try:
        spec = load_spec(path)
    except UserError as error:
        assert is_a_sentence(str(error)) and "spec.yaml" in str(error)
        return
    store = Store(folder / "results")
    for cell in spec.cells:  # a name leads nowhere but into the results
        job = Job(spec.name, cell, spec.protocol, spec.resolved_hyperparameters(cell))
        job.run_digest(0)
        place = store.path(spec.name, spec.protocol.name, cell.slug, 0)
        assert place.resolve().is_relative_to(store.root.resolve()) and len(place.relative_to(store.root).parts) == 4


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


EXPLOSIVE = {
    "billion laughs": LAUGHS,
    "itself": "a: &a [*a]",
    "deep": "x: " + "[" * 500,
    "alias": "&a *a",
    "key": "? {a: [b]} : c",
    "code": "a: !!python/object/apply:os.getpid []",
    "twice": "a: 1\na: 2",
    "mark": "\ufeff",
}


@pytest.mark.parametrize("case", EXPLOSIVE)
def test_yaml_that_explodes_or_runs_code(tmp_path, case):
    (tmp_path / "spec.yaml").write_text(EXPLOSIVE[case])
    with pytest.raises(UserError, match=r"spec\.yaml"):
        load_spec(tmp_path / "spec.yaml")


record_texts = st.one_of(
    mutated(RECORD).map(as_json).map(str.encode), damaged(as_json(RECORD).encode()), st.binary(max_size=80)
)


@examples("records")
@given(content=record_texts)
def test_records(folder, content):
    """Read whole or not at all; published over, what lay there is kept byte for byte."""
    tried["records"] += 1
    store = Store(folder / "records")
    path = store.path("s", "quick", "binary-mnist_vae_16", 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    for each in path.parent.iterdir():
        each.unlink()
    path.write_bytes(content)
    found = store.read(path)
    named = [reason for _, reason in store.unreadable()]
    assert (found is None and len(named) == 1 and is_a_sentence(named[0])) or isinstance(found, Record)
    new = made_up_record(Cell("binary-mnist", "vae", 16), 0, provenance={"run_digest": "e" * 64})
    store.publish([(path, new)])
    (aside,) = path.parent.glob("*superseded*")
    assert store.read(path) == new and aside.read_bytes() == content


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def saved(folder) -> bytes:
    Checkpoint(folder / "whole.pt", "a").save(STATE)
    return (folder / "whole.pt").read_bytes()


@examples("checkpoints")
@given(data=st.data())
def test_checkpoints(folder, saved, data):
    """Any change at all is noticed: a checkpoint is used whole or set aside, byte for byte."""
    tried["checkpoints"] += 1
    content = data.draw(damaged(saved))
    place = folder / "checkpoints"
    place.mkdir(exist_ok=True)
    for each in place.iterdir():
        each.unlink()
    path = place / "c.pt"
    path.write_bytes(content)
    loaded = Checkpoint(path, "a").load()
    if content == saved:
        assert loaded["step"] == 3
    else:
        assert loaded is None
        (aside,) = place.iterdir()
        assert aside.read_bytes() == content and ".unusable-" in aside.name


arrays = [np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.arange(5, dtype=np.uint8)]


@examples("data")
@given(data=st.data(), number=st.sampled_from([0, 1]), packed=st.booleans())
def test_data_files(folder, data, number, packed):
    tried["data"] += 1
    path = folder / ("data.gz" if packed else "data")
    write_idx(path, arrays[number])
    content = path.read_bytes()
    if packed and data.draw(st.booleans()):
        content = gzip.compress(data.draw(damaged(gzip.decompress(content))))
    else:
        content = data.draw(damaged(content))
    path.write_bytes(content)
    try:
        assert read_idx(path).dtype == np.uint8
    except UserError as error:
        assert is_a_sentence(str(error)) and str(path) in str(error)


logging.getLogger("vdae_bench").setLevel(logging.ERROR)
