"""A method from a plug-in on a page: under its own title and style, in the figure and table of cost as any other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import made_up_record, publish
from vdae_bench.errors import UserError
from vdae_bench.models import registry
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.methods.vae import VAE
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.comparable import why_unequal
from vdae_bench.report.numbers.compute import contests_of
from vdae_bench.report.numbers.rows import METHODS, title_of
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.sections import curves
from vdae_bench.report.sections.compute import _figure
from vdae_bench.report.sections.curves import learning_curves, panels_of
from vdae_bench.report.style.figure import MORE_STYLES, STYLES, own_styles
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Record, Store

NAMES = ("homoscedastic-vae", "mine", "another", "vae2")


def record_of(method: str, seed: int = 0, title: str | None = "A title", **words: Any) -> Record:
    record = made_up_record(Cell("binary-mnist", method, 16), seed, **words)
    return record.model_copy(update={"method_title": title})


def put(store: Store, *methods: str) -> None:
    for method in methods:
        title = None if method in METHODS else f"Title of {method}"
        publish(
            store, "mini", "quick", f"binary-mnist_{method}_16", [record_of(method, seed, title) for seed in (0, 1)]
        )


def test_every_method_has_a_colour_a_marker_and_dashes_of_its_own() -> None:
    styles = own_styles(METHODS, (*METHODS, *NAMES))
    assert [styles[method] for method in METHODS] == list(STYLES)
    for look in ("colour", "marker", "dashes"):
        looks = [str(getattr(style, look)) for style in MORE_STYLES]
        assert len(set(looks)) == len(looks) and not set(looks) & {str(getattr(style, look)) for style in STYLES}
    assert len(set(styles.values())) == len(styles)
    assert own_styles(METHODS, ["mine"])["mine"] == own_styles(METHODS, ["vae", "mine"])["mine"]  # whoever is beside it
    assert set(own_styles(METHODS, map(str, range(30)))) == set(map(str, range(30)))  # more than there are styles


def test_its_curve_looks_like_no_other(store: Store) -> None:
    put(store, "vae", "lvdae", *NAMES[:2])
    cells = cells_of(select(load_runs(store)))
    (panel,) = panels_of(cells)
    assert [line.label for line in panel.lines] == ["VAE", "L-VDAE", *(f"Title of {name}" for name in NAMES[:2])]
    assert not [pair for pair in itertools.combinations((line.style for line in panel.lines), 2) if pair[0] == pair[1]]
    (axes,) = learning_curves(cells).axes[:1]
    assert len({str(line.get_color()) for line in axes.lines}) == 4


def test_when_all_styles_are_taken_options_share_them(store: Store) -> None:
    every = [Cell("binary-mnist", method, 16) for method in (*METHODS, *map(str, range(len(MORE_STYLES))))]
    looks = curves._looks([*every, Cell("binary-mnist", "vae", 16, (("precision", "mixed"),))])
    assert len(looks) == len(every) + 1


def test_whether_a_pair_is_fair_does_not_hang_on_a_loaded_plug_in(store: Store, monkeypatch) -> None:
    class Mine(VAE):
        id, title = "mine", "Mine"
        hyperparameters = tuple(
            replace(each, default=64) if each.name == "hidden_size" else each for each in VAE.hyperparameters
        )

    for method, size in (("vae", 256), ("mine", 64)):
        records = [record_of(method, seed, hyperparameters={"hidden_size": size}) for seed in (0, 1)]
        publish(store, "mini", "quick", f"binary-mnist_{method}_16", records)
    runs = cells_of(select(load_runs(store)))
    said = why_unequal(runs)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register(Mine)
    assert why_unequal(runs) == said and "unequal hidden_size" in said


TEMPERATURE = Hyperparameter("temperature", float, 1.0, gt=0, meaning="temperature of the prior")


class Warm(VAE):
    id, title = "warm", "Warm"
    hyperparameters: ClassVar = (*VAE.hyperparameters, TEMPERATURE)


@pytest.mark.usefixtures("blank_pictures")
def test_a_page_has_a_plug_ins_values_from_its_records_whether_it_is_loaded_or_not(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "vae")
    records = [
        record_of("warm", seed, "Warm", hyperparameters={"hidden_size": 128, "temperature": 3.0}) for seed in (0, 1)
    ]
    publish(store, "mini", "quick", "binary-mnist_warm_16", records)
    flow = Cell("binary-mnist", "vdae-resnet", 784, (("flow", "of-my-own"),))
    publish(store, "mini", "quick", flow.slug, [made_up_record(flow, hyperparameters={"bends": 7})])
    without = build_reports(store, reports)[0].path.read_text()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register(Warm)
    monkeypatch.setitem(FLOWS, "of-my-own", replace(FLOWS["nice"], title="Mine"))
    assert build_reports(store, reports)[0].path.read_text() == without
    rows = {row["setting"]: row for row in table_with(without, "setting")}
    assert rows["`temperature` (Warm)"]["here"] == "3" and rows["`hidden_size` (Warm)"]["here"] == "128"
    assert any(name.startswith("`bends` (") and row["here"] == "7" for name, row in rows.items())


def test_options_of_a_method_do_not_look_like_a_method_beside_them(store: Store) -> None:
    put(store, "vae")
    for estimator in ("subset", "exact"):
        cell = Cell("binary-mnist", "lvdae", 16, (("log_det", estimator),))
        publish(store, "mini", "quick", cell.slug, [made_up_record(cell)])
    lines = [line for panel in panels_of(cells_of(select(load_runs(store)))) for line in panel.lines]
    assert len({line.style for line in lines}) == len(lines) == 3


def test_it_is_in_the_figure_and_table_of_cost(store: Store, reports: Path) -> None:
    put(store, "vae", "lvdae", "mine")
    contests = contests_of(select(load_runs(store)), [])
    assert [course.name for course in contests[0].others] == ["L-VDAE, subset", "Title of mine"]
    drawn = {line.get_label(): line for line in _figure(contests).axes[0].lines}
    assert set(drawn) == {"VAE", "L-VDAE, subset", "Title of mine"}
    assert len({(str(line.get_color()), line.get_marker()) for line in drawn.values()}) == 3
    page = build_reports(store, reports)[0].path.read_text()
    rows = table_with(page, "at the VAE's operations")
    assert [row["method"] for row in rows] == ["L-VDAE, subset", "Title of mine"]
    assert "Title of mine, after as many operations as the VAE took, 95% for all 2 rows together: " in page


@pytest.mark.usefixtures("blank_pictures")
def test_its_title_is_that_of_its_records_with_the_plugin_or_without(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "vae", "mine")
    without = build_reports(store, reports)[0].path.read_text()
    assert [row["method"] for row in table_with(without, "NLL ours")] == ["VAE", "Title of mine"]
    monkeypatch.setitem(registry._registered, "mine", type("Mine", (VAE,), {"id": "mine", "title": "Renamed since"})())
    assert build_reports(store, reports)[0].path.read_text() == without
    # A record from before titles were kept has that of the plug-in, else its id.
    old = Cell("binary-mnist", "mine", 16)
    assert title_of(old) == "Renamed since"
    monkeypatch.delitem(registry._registered, "mine")
    assert title_of(old) == "mine"
    assert title_of(Cell("binary-mnist", "mine", 16, method_title="VAE")) == "VAE [mine]"  # begun as a copy of vae.py
    assert title_of(Cell("binary-mnist", "mine", 16, method_title=" vae ")).endswith("[mine]")
    assert title_of(Cell("continuous-mnist", "mine", 784, method_title="Glow")) == "Glow [mine]"  # a row of the flows


def test_two_methods_from_outside_have_two_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        type("Mine", (VAE,), {"id": id_, "title": title}) for id_, title in (("m1", "Twofold"), ("m2", "twofold "))
    )
    monkeypatch.setattr(registry, "_registered", {})  # other tests leave theirs behind
    registry.register(first)
    with pytest.raises(UserError, match="the title 'twofold ' is already that of m1; give Mine another title"):
        registry.register(second)
    registry.register(first)
    registry.register(type("Copy", (VAE,), {"id": "copy"}))  # begun as a copy: its id tells it
