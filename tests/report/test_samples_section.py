"""Samples on a page: from evidence alone, of the best seed, noise levels by where they came to."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tests.support.records import QUALITY, made_up_record, publish
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.sections.samples.evidence import families_of
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Numbers, write_evidence
from vdae_bench.store.layout import evidence_paths


def put(store, sweep, cell, frechet, scales=None, worst_first=True, classifier="0" * 12) -> None:
    """Seeds with these distances, -ELBO falling from seed to seed; every image of a seed has its grey level."""
    for seed, distance in enumerate(frechet):
        record = made_up_record(cell, seed, nll_nats=90.0 - seed)
        publish(store, sweep, "quick", cell.slug, [record])
        quality = QUALITY.model_copy(update={"frechet": distance, "classifier": classifier})
        arrays = {
            name: np.full((*shape, 784), 10 * (seed + 1), np.uint8)
            for name, shape in {
                "data": (20,), "means": (24,), "drawn": (16,), "interpolations": (3, 8), "reconstructions": (6, 4),
            }.items()
        }  # fmt: skip
        if cell.method == "lvdae":
            arrays["correlation"] = np.eye(cell.latents, dtype=np.int8) * 127
        numbers = Numbers(
            run_digest=record.run_digest,
            quality={"means": quality, "drawn": quality.model_copy(update={"frechet": 2 * distance})},
            scales=scales[seed] if scales else {},
            latents=cell.latents,
            active_units=12 + seed,
            mean_absolute_correlation=0.1 if cell.method == "lvdae" else None,
            image_shape=(28, 28),
            seconds=0.1,
        )
        write_evidence(store.path(sweep, "quick", cell.slug, seed), Evidence(numbers, arrays))


@pytest.fixture
def table2(store):
    for m in (16, 32):
        put(store, "table2", Cell("binary-mnist", "vae", m), [60.0, 50.0])
        put(store, "table2", Cell("binary-mnist", "lvdae", m), [40.0])
    return store


def test_page_figures_and_values(table2, reports):
    written, *_ = build_reports(table2, reports)
    folder, page = written.path.parent, written.path.read_text()
    assert "Figure 2 of the paper" in page and "right on 99.33% of the test" in page
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in page.splitlines()
        if "± " in line and "m = " in line
    }
    assert rows["VAE, m = 16"][:4] == ["55.00 ± 7.07", "110.00 ± 14.14", "5.00 ± 0.00", "5.00 ± 0.00"]
    assert rows["L-VDAE, m = 16"][:2] == ["40.00 ± 1.50", "80.00 ± 1.50"]  # one seed: the bootstrap's error
    assert "12.5 of 16" in page and "classifiers of different weights" not in page
    values = pd.read_csv(folder / "table2-quality.csv")
    assert len(values) == 2 * (2 + 1) * 2 and set(values.kind) == {"means", "drawn"}
    there = {path.name for path in folder.glob("table2-*")}
    assert {"table2-samples.png", "table2-decoded.png", "table2-latents.svg", "table2-quality.csv"} <= there
    for name in (each for each in there if each.endswith((".png", ".svg"))):
        assert f"({name})" in page or name.endswith(".svg") or f"({name[:-4]}.svg)" in page


def test_the_seed_with_the_best_elbo_is_shown(table2):
    (family,) = families_of(select(load_runs(table2)))
    assert [family.label(each) for each in family.members] == [
        "VAE, m = 16", "L-VDAE, m = 16", "VAE, m = 32", "L-VDAE, m = 32",
    ]  # fmt: skip
    for member in family.members:
        best = 1 if member.cell.cell.method == "vae" else 0
        assert member.run.seed == best and (member.evidence.arrays["means"] == 10 * (best + 1)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_shape", [28, 27]), ("image_shape", [-28, -28]), ("frechet_error", -1.0), ("active_units", 10**400)],
)
def test_evidence_that_cannot_be_drawn_is_none(store, reports, name, value):
    cell = Cell("binary-mnist", "vae", 16)
    put(store, "table2", cell, [60.0])
    path = evidence_paths(store.path("table2", "quick", cell.slug, 0))[1]
    content = json.loads(path.read_text())
    (content["quality"]["means"] if name == "frechet_error" else content)[name] = value
    path.write_text(json.dumps(content))
    written, *_ = build_reports(store, reports)
    assert "## Samples" not in written.path.read_text()


def test_a_seed_that_does_not_say_its_noise_level_is_in_no_figure_of_levels(store, reports):
    for level in (-4.0, 0.0, -2.0):
        cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", level),))
        put(store, "figure4", cell, [30.0, 20.0], [{}, {"log_sigma": level}])
    written, *_ = build_reports(store, reports)
    assert (written.path.parent / "figure4-quality.svg").is_file()


def test_learned_noise_levels_are_ordered_by_where_they_came_to(store, reports):
    starts = {-5.0: -2.0, -3.0: -2.5, None: -1.5}
    for start, reached in starts.items():
        options = (("initial_log_sigma", start),) if start is not None else ()
        cell = Cell("continuous-mnist", "vdae-resnet", 784, options)
        put(store, "figure3", cell, [30.0], [{"log_sigma": reached, "log_lambda": -4.0}])
    (family,) = families_of(select(load_runs(store)))
    assert [family.label(each) for each in family.members] == [
        "log sigma = -2.5, from -3", "log sigma = -2, from -5", "log sigma = -1.5, from -1",
    ]  # fmt: skip
    written, *_ = build_reports(store, reports)
    page = written.path.read_text()
    assert "Figure 3 of the paper" in page and "(figure3-quality.svg)" in page
    assert (written.path.parent / "figure3-quality.svg").is_file()


def test_fixed_noise_levels(store):
    for level in (-4.0, 0.0, -2.0):
        cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", level),))
        put(store, "figure4", cell, [30.0], [{"log_sigma": level}])
    (family,) = families_of(select(load_runs(store)))
    assert [family.label(each) for each in family.members] == [f"log sigma = {level:g}" for level in (-4, -2, 0)]


def test_two_noise_levels_among_other_options_are_rows_like_any_other(store, reports):
    options = [(), (("log_sigma", -1.0),), (("log_sigma", 0.0),), (("log_lambda", -2.0),)]
    for method, m in (("vdae-resnet", 784), ("lvdae", 32)):
        for each in options:
            cell = Cell("continuous-mnist", method, m, each)
            put(store, "sample-arms", cell, [30.0], [{"log_sigma": -1.0}])
    (family,) = families_of(select(load_runs(store)))
    assert not family.levels and len(family.members) == 8
    written, *_ = build_reports(store, reports)
    assert "L-VDAE (log_sigma -1), m = 32" in written.path.read_text()


@pytest.mark.usefixtures("blank_pictures")
def test_numbers_of_two_classifiers_are_not_compared_in_silence(store, reports):
    put(store, "mini", Cell("binary-mnist", "vae", 16), [60.0])
    put(store, "mini", Cell("binary-mnist", "lvdae", 16), [50.0], classifier="1" * 12)
    written, *_ = build_reports(store, reports)
    assert "classifiers of different weights" in written.path.read_text()


@pytest.mark.usefixtures("blank_pictures")
def test_records_without_evidence_have_no_such_section(store, reports):
    cell = Cell("binary-mnist", "vae", 16)
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0)])
    written, *_ = build_reports(store, reports)
    assert "## Samples" not in written.path.read_text()
    put(store, "mini", cell, [60.0])
    other = dataclasses.replace(cell, latents=32)
    publish(store, "mini", "quick", other.slug, [made_up_record(other, 0)])
    (family,) = families_of(select(load_runs(store)))
    assert [each.cell.cell for each in family.members] == [cell]


@pytest.mark.usefixtures("blank_pictures")
def test_rows_of_two_data_sets_say_of_which_they_are(store, reports):
    for dataset in ("binary-mnist", "continuous-mnist"):
        put(store, "mine", Cell(dataset, "vae", 16), [60.0, 50.0])
    page = build_reports(store, reports)[0].path.read_text()
    for dataset in ("binary-mnist", "continuous-mnist"):
        assert page.count(f"| {dataset}, VAE, m = 16") == 2  # of samples' quality, of latents
