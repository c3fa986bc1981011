"""Pixels beside logits on a page, from made-up records."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.readme import spaces_text
from tests.support.markdown_tables import table_with
from tests.support.records import PROTOCOL, made_up_record, publish
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.sections.representations import REPRESENTATIONS, _figure, described, pairs_of
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

BIT = 784 * 0.6931471805599453


def put(store: Store, bits: float, latents: int = 784, method: str = "nice", **options: str) -> None:
    cell = Cell("continuous-mnist", method, latents, tuple(sorted(options.items())))
    records = [made_up_record(cell, seed, nll_nats=(bits - 8 + 0.1 * seed) * BIT, exact=True) for seed in (0, 1)]
    publish(store, "both", PROTOCOL.name, cell.slug, records)


@pytest.mark.usefixtures("blank_pictures")
def test_a_method_on_both_is_a_row_paired_by_seed(store: Store, reports: Path) -> None:
    put(store, 4.5)
    put(store, 2.25, space="logit")
    put(store, 2.0, method="glow", space="logit")  # without a twin on pixels
    build_reports(store, reports, sweep="both")
    page = (reports / PROTOCOL.name / "both.md").read_text()
    (row,) = table_with(page, "logits - pixels")
    assert row["method"] == "NICE" and row["NLL, pixels"].startswith("4.550")
    assert row["logits - pixels"] == "-2.250 [-2.250, -2.250]"
    assert "GLOW 1.05 (quoted, in units that very likely differ, on data that are not known)" in page
    assert "FFJORD 0.99 (quoted, on logits of pixels)" in page and "MAF 1.89" in page


def test_the_figure_has_two_columns_and_the_quoted_lines_with_their_caveat(store: Store) -> None:
    put(store, 4.5)
    put(store, 2.25, space="logit")
    (axes,) = _figure(pairs_of(cells_of(select(load_runs(store))))).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["pixels", "logits of pixels"]
    line = next(each for each in axes.lines if each.get_label() == "NICE")
    assert list(line.get_ydata()) == pytest.approx([4.55, 2.3])
    said = "\n".join(text.get_text() for text in axes.texts)
    assert "quoted:\nFFJORD 0.99" in said
    assert "units or data\ndiffer or are not known:\nGLOW 1.05\nREALNVP, I-RESNET 1.06" in said
    placed = {round(sum(line.get_xdata()) / 2, 1): line.get_ydata()[0] for line in axes.lines[1:]}
    assert placed[0.0] == 4.36 and placed[1.0] == 0.99 and placed[0.5] in (1.05, 1.06)


def test_a_pair_has_numbers_of_the_seeds_in_common_alone_and_an_unfair_one_is_named(store: Store) -> None:
    put(store, 4.5)
    put(store, 2.25, space="logit")
    cell = Cell("continuous-mnist", "nice", 784)
    more = [made_up_record(cell, seed, nll_nats=40 * BIT, exact=True) for seed in (2, 3)]
    store.publish([(store.path("both", PROTOCOL.name, cell.slug, record.seed), record) for record in more])
    (found,) = pairs_of(cells_of(select(load_runs(store))))
    pixels, logits = found.pairs[0].nll()
    assert (pixels.mean, logits.mean) == pytest.approx((4.55, 2.3)) and pixels.count == logits.count == 2
    other = Cell("continuous-mnist", "nice", 784, (("space", "logit"),))
    slow = [made_up_record(other, 0, nll_nats=-5 * BIT, exact=True, hyperparameters={"learning_rate": 0.5})]
    publish(store, "both", PROTOCOL.name, other.slug, slow)
    store.path("both", PROTOCOL.name, other.slug, 1).unlink()
    (found,) = pairs_of(cells_of(select(load_runs(store))))
    said = list(REPRESENTATIONS.text(SimpleNamespace(name="both"), [found]))  # type: ignore[arg-type]
    assert any("These are not fair pairs: continuous-mnist, NICE: unequal learning" in each for each in said)
    store.path("both", PROTOCOL.name, cell.slug, 0).unlink()
    assert pairs_of(cells_of(select(load_runs(store)))) == []


def test_an_upper_bound_is_marked_and_the_readme_does_not_lead_with_it(store: Store) -> None:
    put(store, 4.5)
    put(store, 2.25, space="logit")
    for options, nats in (((), 3000.0), ((("space", "logit"),), 1000.0)):
        cell = Cell("continuous-mnist", "vae", 32, options)
        record = made_up_record(cell, 0, nll_nats=nats, test={"effective_sample_size": 1.5})
        publish(store, "both", PROTOCOL.name, cell.slug, [record])
    page = "\n\n".join(described(pairs_of(cells_of(select(load_runs(store)))), "quick/both-representations"))
    (axes,) = _figure(pairs_of(cells_of(select(load_runs(store))))).axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_ydata()) for line in hollow] == [
        pytest.approx([13.52], abs=0.01),
        pytest.approx([9.84], abs=0.01),
    ]
    vae, nice = table_with(page + "\n", "logits - pixels")
    assert vae["NLL, pixels"].startswith("≤ ") and vae["NLL, logits"].startswith("≤ ")
    assert not nice["NLL, pixels"].startswith("≤ ") and "upper bounds (≤, hollow" in page
    assert "off the top" in page  # the VAE's 13.5 bits/dim
    said = spaces_text(page + "\n")
    assert "is -2.250 (NICE) to -2.250 (NICE) bits/dim;" in said
    assert "](reports/quick/both-representations.svg)" in said and spaces_text("no such figure") == ""


def test_two_alphas_have_two_names_and_an_unfair_pair_has_no_difference(store: Store) -> None:
    put(store, 4.5)
    put(store, 2.25, space="logit")
    cell = Cell("continuous-mnist", "nice", 784, (("alpha", 0.05), ("space", "logit")))
    slow = [
        made_up_record(cell, seed, nll_nats=-5 * BIT, exact=True, hyperparameters={"learning_rate": 0.5})
        for seed in (0, 1)
    ]
    publish(store, "both", PROTOCOL.name, cell.slug, slow)
    page = "\n\n".join(described(pairs_of(cells_of(select(load_runs(store)))), "quick/both-representations"))
    rows = {row["method"]: row["logits - pixels"] for row in table_with(page + "\n", "logits - pixels")}
    assert rows == {"NICE": "-2.250 [-2.250, -2.250]", "NICE, alpha = 0.05": "-"}
    assert "is -2.250 (NICE) to -2.250 (NICE) bits/dim;" in spaces_text(page + "\n")
