"""Records of every schema there ever was are read: a sample of each is in tests/store/records/, never to be changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vdae_bench.store.records import RECORD_SCHEMA, Store, parse, to_json

SAMPLES = Path(__file__).parent / "records"


def test_there_is_a_sample_of_every_schema():
    assert {path.name for path in SAMPLES.iterdir()} == {
        f"schema-{number}.json" for number in range(1, RECORD_SCHEMA + 1)
    }


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda path: path.stem)
def test_a_record_of_each_schema_is_read(sample):
    record = parse(sample.read_text())
    assert record.cell.method == "lvdae" and record.cell.options == {"log_sigma": -3.0} and record.seed == 1
    assert record.metrics.test.nll_nats == 97.5 and record.metrics.validation.best_epoch == 2
    assert record.curve.validation_neg_elbo_nats == [120.0, 99.0] and record.run_digest == "0" * 63 + "1"
    assert record.cost.replicas == 2 and record.flags == ["log_sigma reached its floor of -10.0"]


def test_what_a_record_has_beyond_the_schema_is_kept():
    content = json.loads((SAMPLES / f"schema-{RECORD_SCHEMA}.json").read_text())
    content["later"] = {"field": [1, None]}
    content["metrics"]["test"]["fid"] = 3.5
    again = json.loads(to_json(parse(json.dumps(content))))
    assert again["later"] == content["later"] and again["metrics"]["test"]["fid"] == 3.5


@pytest.mark.parametrize("schema", [RECORD_SCHEMA + 1, 0, "1", True, 1.5, None])
def test_a_newer_or_unknown_schema_is_not_guessed_at_but_named(tmp_path, schema):
    content = json.loads((SAMPLES / f"schema-{RECORD_SCHEMA}.json").read_text())
    path = tmp_path / "s" / "p" / "c" / "seed-1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**content, "schema": schema}))
    store = Store(tmp_path)
    assert store.read(path) is None
    ((named, reason),) = store.unreadable()
    assert named == path and f"its schema is {schema!r}, this version knows {RECORD_SCHEMA}" in reason
