"""Figure 1: values from records, the analytic floor, the words that follow from the numbers, the same bytes twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.records import made_up_record, publish
from vdae_bench.data.units import bits_per_dim
from vdae_bench.paper.claims import DECOUPLED, LOG_SIGMAS
from vdae_bench.report.build import WrittenReport, build_reports
from vdae_bench.report.numbers.noise import COUPLED, NoiseCurve, coupled_floor, curves_of
from vdae_bench.report.numbers.runs import Run, load_runs, select
from vdae_bench.report.numbers.statistics import CellRuns, Summary, cells_of
from vdae_bench.report.sections.noise import findings
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

LEVELS = (-4.0, -3.0, -2.0, 0.0)
"""Some of Figure 1's."""


def nats(bits: float) -> float:
    return (bits - 8) * 784 * math.log(2)


def put(store, method, options, neg_elbo_bits) -> None:
    """Two seeds at each level, 0.02 bits/dim apart."""
    for level, bits in zip(LEVELS, neg_elbo_bits, strict=True):
        cell = Cell("continuous-mnist", method, 784, tuple(sorted({**options, "log_sigma": level}.items())))
        records = [made_up_record(cell, seed, nll_nats=nats(bits + 0.02 * seed) - 5, gap_nats=5.0) for seed in (0, 1)]
        publish(store, "figure1", "quick", cell.slug, records)


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Store:
    store = Store(tmp_path_factory.mktemp("grid") / "results")
    put(store, "vdae-coupled", {}, [5.0, 6.0, 7.5, 10.2])
    put(store, "vdae-coupled", {"decoder_variance": "tied"}, [5.1, 6.1, 7.5, 10.2])
    put(store, "vdae-nice", {"decoder_output": "linear"}, [5.2, 6.0, 7.0, 9.0])
    put(store, "vdae-resnet", {}, [7.0, 6.5, 6.4, 8.0])
    nice = Cell("continuous-mnist", "nice", 784)
    publish(store, "figure1", "quick", nice.slug, [made_up_record(nice, 0, exact=True, nll_nats=nats(4.5))])
    return store


@pytest.fixture(scope="module")
def written(grid) -> WrittenReport:
    """The grid's page with its figures, built once."""
    return build_reports(grid, grid.root.parent / "reports")[0]


def test_floor_is_the_entropy_of_the_noise():
    for log_sigma in (-4, -2.7, 0, 1):
        entropy = 784 / 2 * math.log(2 * math.pi * math.e * math.exp(2 * log_sigma))
        assert coupled_floor(log_sigma) == pytest.approx(bits_per_dim(entropy, 784))


def test_page_csv_and_figures(grid, written):
    folder = written.path.parent
    values = pd.read_csv(folder / "figure1-noise.csv")
    assert len(values) == 4 * len(LEVELS)
    row = values[(values.decoder == "ResNet decoder, sigmoid") & (values.log_sigma == -2)].iloc[0]
    assert row.neg_elbo_bits_per_dim == pytest.approx(6.41) and row.seeds == 2
    assert row.standard_deviation == pytest.approx(0.02 / math.sqrt(2))
    assert (row.lowest, row.highest) == pytest.approx((6.4, 6.42))
    before = {path.name: path.read_bytes() for path in folder.glob("figure1-noise.*")}
    assert set(before) == {"figure1-noise.csv", "figure1-noise.svg", "figure1-noise.png"}
    build_reports(grid, folder.parent)
    assert {path.name: path.read_bytes() for path in folder.glob("figure1-noise.*")} == before
    page = written.path.read_text()
    assert "(figure1-noise.svg)" in page


def test_the_terminal_shows_a_column_a_decoder(written):
    lines = written.console.splitlines()
    assert max(map(len, lines)) <= 100
    row = next(line.split() for line in lines if line.strip().startswith("-2 "))
    assert row == ["-2", "7.510", "7.510", "7.010", "6.410", "7.162"]
    assert not any("log_sigma" in line for line in lines)


def curve(label: str, value: Callable[[float], float], levels: Iterable[float] = LOG_SIGMAS) -> NoiseCurve:
    """A curve of one seed at some levels."""
    points = {level: Summary(1, value(level), None, value(level), value(level)) for level in levels}
    return NoiseCurve(label, points)


def coupled(level: float) -> float:
    return coupled_floor(level) + 0.1


def said(*decoupled: NoiseCurve) -> str:
    return "\n".join(findings([curve(COUPLED, coupled), *decoupled]))


NAMES = [label for label, *_ in DECOUPLED]


def test_words_follow_from_the_numbers(written):
    page = written.path.read_text()
    assert "contains the coupled model, but is above it at log sigma = -4" in page
    assert "analytic floor" not in page
    text = said(*(curve(label, lambda _: 6.0) for label in NAMES))
    assert "decoder is below the coupled one from log sigma = -2.5 up, but not at log sigma = -6, -5, -4, -3.5" in text
    assert "They do not support 7a" in text
    assert "(7a) at every sigma of the grid" in said(*(curve(label, lambda _: 1.0) for label in NAMES))
    assert "neither 7a nor 7b holds" in said(*(curve(label, lambda _: 99.0) for label in NAMES))


@pytest.mark.parametrize("missing", NAMES)
@pytest.mark.parametrize("bits", [1.0, 99.0])
def test_three_of_four_decoders_are_not_every_one(missing, bits):
    text = said(*(curve(label, lambda _: bits) for label in NAMES if label != missing))
    assert f"Only 3 of the 4 decoupled decoders ran (not: {missing}), so that 7a and 7b stay open." in text
    assert "very decoupled decoder" not in text and "support" not in text and "holds" not in text


@pytest.mark.parametrize("short", [COUPLED, *NAMES])
def test_a_level_without_one_decoder_leaves_the_grid_open(short):
    curves = [
        curve(label, coupled if label == COUPLED else lambda _: 1.0, LOG_SIGMAS[label == short :])
        for label in (COUPLED, *NAMES)
    ]
    text = "\n".join(findings(curves))
    assert "At log sigma = -6 a decoder has no record, so that 7a and 7b stay open." in text
    assert "very decoupled decoder" not in text and "support" not in text


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("decoupled", [[6.0, 7.0], [1.0, 1.0, 1.0, 1.0]])
def test_one_decoder_decides_nothing(store, reports, decoupled):
    put(store, "vdae-coupled", {}, [5.0, 6.0, 7.5, 10.2])
    for level, bits in zip(LEVELS, decoupled, strict=False):
        cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", level),))
        publish(store, "figure1", "quick", cell.slug, [made_up_record(cell, 0, nll_nats=nats(bits) - 5, gap_nats=5.0)])
    page = build_reports(store, reports)[0].path.read_text().partition("](figure1-noise.svg)")[2].partition("\n## ")[0]
    assert "Only 1 of the 4 decoupled decoders ran (not: " in page
    assert "ResNet decoder, sigmoid: below the coupled" in page
    assert "very decoupled decoder" not in page and "support" not in page


@pytest.mark.usefixtures("blank_pictures")
def test_a_coupled_model_below_its_floor_is_called_an_error(store, reports):
    put(store, "vdae-coupled", {}, [3.0, 6.0, 7.5, 10.2])
    put(store, "vdae-resnet", {}, [2.0, 5.0, 6.0, 9.0])
    written = build_reports(store, reports)[0]
    page = written.path.read_text()
    assert "below its analytic floor at log sigma = -4" in page and "stay open" in page


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("others", [{"space": "logit"}, {"flow": "glow"}, {"precision": "mixed"}])
def test_other_models_and_other_data_are_not_in_its_curves(store, reports, others):
    put(store, "vdae-coupled", {}, [5.0, 6.0, 7.5, 10.2])
    put(store, "vdae-resnet", {}, [7.0, 6.5, 6.4, 8.0])
    for method in ("vdae-coupled", "vdae-resnet"):
        put(store, method, others, [1.0, 1.0, 1.0, 1.0])
    runs = load_runs(store)
    (coupled, resnet) = curves_of(cells_of(select(runs)))
    assert [coupled.points[level].mean for level in LEVELS] == pytest.approx([5.01, 6.01, 7.51, 10.21])
    assert [resnet.points[level].mean for level in LEVELS] == pytest.approx([7.01, 6.51, 6.41, 8.01])
    for method, bits in (("vdae-coupled", 3.0), ("vdae-resnet", 2.0)):
        cell = Cell("continuous-fashion-mnist", method, 784, (("log_sigma", -4.0),))
        publish(store, "figure1", "quick", cell.slug, [made_up_record(cell, 0, nll_nats=nats(bits) - 5, gap_nats=5.0)])
    page = build_reports(store, reports)[0].path.read_text()
    assert "of continuous-fashion-mnist alone, and not of continuous-mnist." in page or (
        "of continuous-mnist alone, and not of continuous-fashion-mnist." in page
    )


def test_sweeps_without_noise_levels_have_no_such_figure(store, reports):
    cell = Cell("continuous-mnist", "vae", 16)
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0)])
    written = build_reports(store, reports)[0]
    assert not list(written.path.parent.glob("*noise*"))


def test_a_grid_with_diverged_seeds_supports_neither_claim():
    cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", 1.0),))
    lost = CellRuns(cell, (Run(Path("seed-0.json"), "figure1", "quick", made_up_record(cell, diverged=True)),))
    curves = [curve(label, coupled if label == COUPLED else lambda _: 1.0) for label in (COUPLED, *NAMES)]
    assert "These means support" in "\n".join(findings(curves))
    text = "\n".join(findings([*curves[:-1], replace(curves[-1], cells=(lost,))]))
    assert "1 of 1 seed of" in text and "diverged, so that 7a and 7b stay open." in text and "support" not in text
