"""Figures as a picky reviewer wants them: nothing cut off or on each other, coincident lines visible, lines named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, TextArea

from tests.support.drawn import faults_of
from tests.support.records import made_up_record, publish, publish_table
from vdae_bench.report.numbers.compute import contests_of
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.settings import name_in_figures
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.sections import compute, curves, forest, noise
from vdae_bench.report.style.figure import SETTINGS, STYLES, canvas, marks, name_ends
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

EPOCHS = 300
"""More than a curve has markers."""


@pytest.fixture(autouse=True)
def settings() -> None:
    """Figures as `saved` draws them."""
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(SETTINGS)


def falling(start: float) -> list[float | None]:
    return [start - 10 * np.log1p(epoch) for epoch in range(EPOCHS)]


@pytest.fixture
def variants(store: Store) -> Store:
    """Two precisions of a method, whose curves are 0.01 nats apart, and a VAE."""
    for seed in (0, 1):
        vae = Cell("binary-mnist", "vae", 16)
        publish(store, "mini", "quick", vae.slug, [made_up_record(vae, seed, curve=falling(200.0 + seed))])
        for precision, less in (("float32", 0.0), ("mixed", 0.01 * (1 + seed))):
            cell = Cell("binary-mnist", "lvdae", 16, (("precision", precision),))
            made = made_up_record(cell, seed, curve=falling(190.0 + seed - less))
            publish(store, "mini", "quick", cell.slug, [made])
    return store


def test_a_long_line_has_few_markers_and_lines_on_each_other_have_theirs_apart() -> None:
    for points in (1, 2, 3, 10, 30, 1000):
        for turns in (1, 2, 4):
            taken = [
                set(range(points)[first::every]) for first, every in (marks(points, at, turns) for at in range(turns))
            ]
            assert all(len(each) <= 2 * 8 for each in taken)
            if points >= 2 * turns:
                assert all(taken) and sum(map(len, taken)) == len(set.union(*taken))


def names_of(figure: Figure) -> list[str]:
    return [box.findobj(TextArea)[0].get_text() for box in figure.findobj(AnnotationBbox)]


def test_names_stand_at_the_ends_of_their_lines_and_never_on_each_other() -> None:
    figure = canvas(3.0, 2.0)
    axes = figure.subplots()
    axes.set_ylim(0, 10)
    name_ends(axes, [(name, STYLES[place], 5.0) for place, name in enumerate(("one", "two", "three", "four"))])
    assert faults_of(figure) == [] and sorted(names_of(figure)) == ["four", "one", "three", "two"]
    figure = canvas(3.0, 2.0)
    axes = figure.subplots()
    axes.set_ylim(0, 10)
    name_ends(axes, [("low", STYLES[0], 1.0), ("high", STYLES[1], 9.0), ("gone", STYLES[2], float("nan"))])
    assert [box.xy[1] for box in figure.findobj(AnnotationBbox)] == pytest.approx([0.1, 0.9])


def test_variants_of_a_method_are_drawn_as_differences_paired_by_seed(variants: Store) -> None:
    cells = cells_of(select(load_runs(variants)))
    figure = curves.learning_curves(cells)
    said = "minus float32\n(nats)"
    (below,) = (axes for axes in figure.axes if axes.get_ylabel() == said)
    (line,) = (line for line in below.lines if line.get_label() == "L-VDAE (precision mixed)")
    np.testing.assert_allclose(line.get_ydata(), -0.015)
    low, high = below.get_ylim()
    assert -0.03 < low < -0.02 and 0 < high < 0.01  # what the curves above, hundreds of nats high, do not show
    assert sorted(names_of(figure)) == ["VAE", "float32", "mixed"]


def forest_figure(store: Store) -> Figure:
    runs = load_runs(store)
    selection = select([run for run in runs if run.sweep == "table2"])
    found = forest.forest_of(Subject(Path("table2.md"), [], selection, runs, [], Path()))
    assert found
    return forest._figure(found, "quick: 3 epochs (paper: 1000)")


def noise_figure(store: Store) -> Figure:
    for options in ({}, {"decoder_variance": "tied"}):
        for level in (-4.0, -2.0, 0.0):
            cell = Cell("continuous-mnist", "vdae-coupled", 784, tuple(sorted({**options, "log_sigma": level}.items())))
            publish(store, "figure1", "quick", cell.slug, [made_up_record(cell, nll_nats=100.0 * level)])
    cells = cells_of(select([run for run in load_runs(store) if run.sweep == "figure1"]))
    return noise._figure(noise.curves_of(cells), 4.4, "quick: 3 epochs (paper: 1000), couplings of 128 units")


KINDS: dict[str, Callable[[Store], Figure]] = {
    "curves of a table": lambda store: curves.learning_curves(
        cells_of(select([run for run in load_runs(store) if run.sweep == "table1"]))
    ),
    "curves of variants": lambda store: curves.learning_curves(
        cells_of(select([run for run in load_runs(store) if run.sweep == "mini"]))
    ),
    "cost": lambda store: compute._figure(
        contests_of(select([run for run in load_runs(store) if run.sweep == "table2"]), [])
    ),
    "forest": forest_figure,
    "noise": noise_figure,
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_words_are_cut_off_or_too_small_or_on_each_other(kind: str, variants: Store) -> None:
    publish_table(variants, "table1")
    publish_table(variants, "table2")
    assert faults_of(KINDS[kind](variants)) == []


def test_no_line_of_cost_is_a_smear(variants: Store) -> None:
    publish_table(variants, "table2")
    for cell in (Cell("binary-mnist", "vae", 8), Cell("binary-mnist", "lvdae", 8)):
        publish(variants, "long", "quick", cell.slug, [made_up_record(cell, curve=falling(200.0))])
    (contest,) = contests_of(select([run for run in load_runs(variants) if run.sweep == "long"]), [])
    for axes in compute._figure([contest]).axes:
        for line in axes.lines:
            first, every = line.get_markevery()
            assert len(line.get_xdata()) == EPOCHS and len(range(first, EPOCHS, every)) <= 10


def test_the_digest_of_a_changed_protocol_is_in_no_title() -> None:
    quick = load_protocol("quick")
    changed = quick.model_copy(update={"name": "quick+0123abcd"})
    assert (name_in_figures(quick), name_in_figures(changed)) == ("quick", "quick with changes")
