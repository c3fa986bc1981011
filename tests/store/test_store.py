"""Records: round trip, atomic publication, identity, nothing deleted."""

from __future__ import annotations

import json

import pytest

from tests.support.records import small_record
from vdae_bench.errors import EnvironmentFault
from vdae_bench.store.records import Record, Store, parse, to_json
from vdae_bench.system.strict_json import SEAL


def publish(store: Store, sweep: str, protocol: str, cell: str, record: Record) -> None:
    store.publish([(store.path(sweep, protocol, cell, record.seed), record)])


def test_round_trip_has_the_fields_of_the_contract():
    record = small_record(seed=3)
    text = to_json(record)
    assert parse(text) == record
    content = json.loads(text)
    assert list(content)[:4] == ["schema", "status", "cell", "seed"]
    assert set(content["metrics"]["test"]) >= {
        "neg_elbo_nats", "nll_nats", "neg_elbo_bits_per_dim", "nll_bits_per_dim", "effective_sample_size",
    }  # fmt: skip
    assert set(content["cost"]) >= {
        "train_seconds",
        "evaluation_seconds",
        "train_flops",
        "device",
        "threads",
        "replicas",
    }


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1}', "null"])
def test_what_is_no_record_is_not_read(tmp_path, text):
    path = tmp_path / "s" / "p" / "c" / "seed-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    store = Store(tmp_path)
    assert store.read(path) is None and list(store.records()) == []


def test_found_only_under_its_digest(tmp_path):
    store = Store(tmp_path)
    record = small_record(seed=0)
    publish(store, "s", "quick", "c", record)
    assert store.find("s", "quick", "c", 0, record.run_digest) == record
    assert store.find("s", "quick", "c", 0, "another") is None
    assert store.find("s", "quick", "c", 1, record.run_digest) is None


def test_what_lies_there_is_set_aside_not_deleted(tmp_path):
    store = Store(tmp_path)
    old, new = small_record(seed=0, run_digest="a" * 64), small_record(seed=0, run_digest="b" * 64)
    publish(store, "s", "quick", "c", old)
    publish(store, "s", "quick", "c", new)
    assert [record for _, record in store.records()] == [new]
    (aside,) = store.folder("s", "quick", "c").glob("*superseded*")
    assert parse(aside.read_text()) == old
    store.path("s", "quick", "c", 0).write_text("torn")
    publish(store, "s", "quick", "c", new)
    assert len(list(store.folder("s", "quick", "c").glob("*superseded*"))) == 2


def test_nothing_half_written_is_visible(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(
        "vdae_bench.system.atomic.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(EnvironmentFault, match="No space left"):
        publish(store, "s", "quick", "c", small_record(seed=0))
    assert list(store.records()) == []


def test_records_are_chosen_by_protocol_and_sweep(tmp_path):
    store = Store(tmp_path)
    for sweep, protocol in (("a", "quick"), ("a", "smoke"), ("b", "quick")):
        publish(store, sweep, protocol, "c", small_record(seed=0))
    assert len(list(store.records())) == 3
    assert len(list(store.records("quick"))) == 2 and len(list(store.records("quick", "b"))) == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"nan"'])
def test_a_record_with_a_number_that_is_not_finite_is_none(tmp_path, number):
    store = Store(tmp_path)
    publish(store, "s", "quick", "c", small_record(seed=0))
    path = store.path("s", "quick", "c", 0)
    content = json.loads(path.read_text())
    del content[SEAL]
    content["metrics"]["test"]["neg_elbo_nats"] = "here"
    path.write_text(json.dumps(content).replace('"here"', number))
    assert store.read(path) is None
    ((_, reason),) = store.unreadable()
    assert "number" in reason


@pytest.mark.parametrize(("part", "name", "value"), [("hyperparameters", "adam_beta2", []), ("curve", "epoch", [])])
def test_a_record_whose_parts_do_not_fit_is_none(tmp_path, part, name, value):
    content = json.loads(to_json(small_record(seed=0)))
    del content[SEAL]
    content[part][name] = value
    with pytest.raises(ValueError, match=part):
        parse(json.dumps(content))
