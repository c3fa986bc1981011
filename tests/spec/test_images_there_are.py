"""More images than a data set has are refused where they are asked for; pages of older records say what was done."""

from __future__ import annotations

import pytest

from tests.support.records import PROTOCOL, made_up_record, publish
from tests.support.specs import PAIR
from vdae_bench.cli.plan import plan_text
from vdae_bench.data.registry import find_dataset
from vdae_bench.data.views import evenly_spaced
from vdae_bench.errors import UserError
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.settings import departures
from vdae_bench.report.sections.estimates import _how
from vdae_bench.running.job import Job
from vdae_bench.running.plan import Plan
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.protocol import load_protocol, override
from vdae_bench.spec.shipped import PROTOCOLS
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

MNIST = find_dataset("mnist")
FAULTS = [
    ("nll_images", 20001, "nll_images is 20001, but mnist has 10000; use at most 10000"),
    ("elbo_images", 10001, "elbo_images is 10001, but mnist has 10000"),
    ("validation_images", 10001, "validation_images is 10001, but mnist has 10000"),
    ("train_images", 50001, "train_images is 50001, but mnist has 50000"),
    ("batch_size", 50001, "batch_size is 50001, but 50000 images are trained on"),
    ("elbo_images", 499, "nll_images is 500, more than elbo_images, 499; use at most as many"),
]


@pytest.mark.parametrize(("name", "value", "said"), FAULTS)
def test_more_images_than_there_are_are_refused_on_the_command_line_and_in_a_spec(name, value, said, tmp_path):
    with pytest.raises(UserError, match=said):
        load_spec(find_spec("table2"), overrides={name: value})
    path = tmp_path / "mine.yaml"
    path.write_text(find_spec("table2").read_text() + f"\nprotocol: {{base: quick, {name}: {value}}}\n")
    with pytest.raises(UserError, match=rf"mine.yaml, line \d+: {said}"):
        load_spec(path)
    (tmp_path / "own.yaml").write_text(f"base: quick\n{name}: {value}\n")
    with pytest.raises(UserError, match=said):
        load_spec(find_spec("table2"), protocol=str(tmp_path / "own.yaml"))


def test_all_there_are_is_not_too_many_and_shipped_protocols_are_for_small_data_too(tiny_data, tmp_path):
    load_spec(find_spec("table2"), overrides={"nll_images": 10_000, "train_images": 50_000, "batch_size": 50_000})
    load_spec(PAIR.but(protocol="paper").write(tmp_path))
    done = load_protocol("paper").done_on(find_dataset("tiny"))
    assert (done.nll_images, done.elbo_images, done.validation_images, done.batch_size) == (30, 30, 20, 120)
    assert done.train_images is None


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_shipped_protocols_ask_for_is_what_they_do_on_mnist(name):
    assert load_protocol(name).done_on(MNIST) == load_protocol(name)


@pytest.mark.parametrize(("nll", "elbo"), [(20_001, 200), (300, 1000), (500, 100), (7, 10_000)])
def test_elbo_is_of_all_images_that_are_scored(nll, elbo):
    done = PROTOCOL.model_copy(update={"nll_images": nll, "elbo_images": elbo}).done_on(MNIST)
    scored = {*evenly_spaced(10_000, nll).tolist(), *evenly_spaced(10_000, elbo).tolist()}
    assert done.elbo_images == len(scored) and done.nll_images == min(nll, 10_000)
    assert f"{len(scored)} test images" in _how(done)


def test_the_page_of_a_record_that_asked_for_more_says_what_was_done(tmp_path, monkeypatch):
    store, cell = Store(tmp_path / "results"), Cell("binary-mnist", "vae", 16)
    asked = PROTOCOL.model_copy(update={"nll_images": 20_001})
    publish(store, "mine", asked.name, cell.slug, [made_up_record(cell, 0, asked)])
    assert select(load_runs(store)).protocol.nll_images == 10_000
    page = build_reports(store, tmp_path / "reports")[0].path.read_text()
    assert "20001" not in page and "For each of 10000 test images" in page


def test_a_job_says_how_many_images_its_runs_take(tiny_data):
    job = Job("own", Cell("binary-tiny", "vae", 2), load_protocol("quick"), {})
    assert job.images.model_dump() == {
        **{"train": 120, "validation": 20, "test": 30, "trained": 120, "validated": 20, "nll": 30, "elbo": 30}
    }


def test_a_plan_says_on_how_many_images_it_will_be(tiny_data, tmp_path):
    spec = load_spec(PAIR.but(protocol="quick").write(tmp_path))
    assert "2 epochs of batch 120, 2 seeds, K = 200 on 30 images" in plan_text(spec, Plan((), ()))


@pytest.mark.parametrize(("images", "said"), [(300, "all 300"), (None, "all")])
def test_all_images_are_those_of_the_data_set(images, said):
    taken = override(load_protocol("quick"), {"train_images": 100}, {})
    (there,) = [there for name, _, there in departures(taken, images) if name == "train_images"]
    assert there == said
