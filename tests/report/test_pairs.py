"""Every two methods beside each other, and the headline figure: what they say follows from the records alone."""

from __future__ import annotations

import io
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.support.markdown_tables import table_with
from tests.support.records import PROTOCOL, made_up_record, publish, publish_table
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.pairs import has_pairs, pairs_of
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.verdict import Verdict
from vdae_bench.report.sections import forest
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import ImageCounts, Store

SCORES = {"vae": (90.0, 90.3, 90.1), "lvdae": (88.0, 88.2, 88.2), "mine": (87.9, 88.4, 88.0)}


def put(store: Store, scores=SCORES, name="mini", **words) -> None:
    for method, values in scores.items():
        cell = Cell("binary-mnist", method, 16)
        records = [made_up_record(cell, seed, nll_nats=nll, **words.get(method, {})) for seed, nll in enumerate(values)]
        publish(store, name, "quick", cell.slug, records)


def pairs(store: Store):
    return pairs_of(cells_of(select(load_runs(store))))


def test_a_difference_has_students_interval_for_all_pairs_together(store):
    put(store)
    found = {(each.first.cell.method, each.second.cell.method, each.score): each for each in pairs(store)}
    assert len(found) == 6
    each = found["vae", "mine", "NLL"] if ("vae", "mine", "NLL") in found else found["mine", "vae", "NLL"]
    differences = np.subtract(SCORES[each.first.cell.method], SCORES[each.second.cell.method])
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(1 - 0.05 / 6)
    assert each.estimate.mean == pytest.approx(differences.mean())
    assert each.interval == pytest.approx((expected.low, expected.high))


def test_one_is_better_only_where_the_interval_says_so(store):
    put(store)
    found = {frozenset((each.first.cell.method, each.second.cell.method)): each for each in pairs(store)}
    clear, close = found[frozenset(("vae", "lvdae"))], found[frozenset(("mine", "lvdae"))]
    assert clear.better and clear.better.cell.method == "lvdae" and clear.answer == "L-VDAE is ahead after 3 epochs"
    assert close.better is None and close.answer == "too close to call"


def test_a_small_test_set_that_was_taken_whole_is_no_part_of_another(store):
    for test, few in ((60, False), (61, True)):
        images = ImageCounts(train=300, validation=20, test=test, trained=300, validated=20, nll=60, elbo=60)
        for method, values in SCORES.items():
            cell = Cell("binary-mnist", method, 16)
            records = [made_up_record(cell, seed, nll_nats=nll) for seed, nll in enumerate(values)]
            records = [each.model_copy(update={"images": images}) for each in records]
            publish(store, f"of-{test}", "quick", cell.slug, records)
        found = pairs_of(cells_of(select(load_runs(store, sweep=f"of-{test}"))))
        assert any(each.better for each in found) is not few
        assert all("scored on 60 test images" in each.answer for each in found) is few


@pytest.mark.parametrize(("score", "field"), [("NLL", "nll_images"), ("-ELBO", "elbo_images")])
def test_a_handful_of_test_images_tells_nothing_of_the_others(store, score, field):
    for count in (1, 99, 100):
        protocol = PROTOCOL.model_copy(update={field: count})
        for method, values in SCORES.items():
            cell = Cell("binary-mnist", method, 16)
            records = [made_up_record(cell, seed, protocol, nll_nats=nll) for seed, nll in enumerate(values)]
            publish(store, f"of-{count}", "quick", cell.slug, records)
        found = pairs_of(cells_of(select(load_runs(store, sweep=f"of-{count}"))))
        why = f"scored on {count} test image{'s' if count > 1 else ''}"
        assert {each.score for each in found if why in each.answer} == ({score} if count < 100 else set())
        assert not any(each.better for each in found if why in each.answer)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"mine": {"test": {"effective_sample_size": 3.0}}}, "3.0 effective samples"),
        ({"mine": {"hyperparameters": {"learning_rate": 0.5}}}, "unequal learning_rate"),
        ({"mine": {"provenance": {"dataset_sha256": "0" * 64}}}, "not of the same data"),
    ],
)
def test_an_unfair_pair_has_no_better_one_and_says_why(store, words, why):
    put(store, **words)
    for each in pairs(store):
        if each.score == "NLL" and "mine" in (each.first.cell.method, each.second.cell.method):
            assert why in each.answer and each.better is None
        elif each.score == "NLL":
            assert each.better


def test_all_numbers_of_a_pair_are_of_the_seeds_that_both_have(store):
    put(store, {"vae": (90.0, 90.3, 90.1, 60.0, 60.0), "lvdae": (88.0, 88.2, 88.2)})
    for each in pairs(store):
        means = [score.mean for score in each.scores]
        assert each.estimate.mean == pytest.approx(means[0] - means[1])
        assert (each.most, each.estimate.count, [score.count for score in each.scores]) == (5, 3, [3, 3])
        assert each.better.cell.method == "lvdae"


def test_what_its_records_leave_in_doubt_stands_in_the_answer(store):
    put(store, {"vae": (90.0, 90.3, 90.1), "lvdae": (88.0, 88.2, 88.2)})
    cell = Cell("binary-mnist", "lvdae", 16)
    old = made_up_record(cell, 7, hyperparameters={"learning_rate": 0.5}, provenance={"started_at": "2020"})
    store.publish([(store.path("mini", "quick", cell.slug, 7), old)])
    assert all("1 seed of binary-mnist_lvdae_16 left out" in each.answer for each in pairs(store))


def test_smoke_calls_none_better(store):
    protocol = load_protocol("smoke")
    for method, level in (("vae", 90.0), ("lvdae", 80.0)):
        cell = Cell("binary-mnist", method, 16)
        publish(
            store, "mini", "smoke", cell.slug,
            [made_up_record(cell, seed, protocol, nll_nats=level + seed / 10) for seed in range(2)],
        )  # fmt: skip
    found = pairs(store)
    assert found and all(each.better is None and "smoke only tests" in each.answer for each in found)


@pytest.mark.usefixtures("blank_pictures")
def test_pairs_on_several_data_sets_are_told_apart_everywhere(store, reports):
    for dataset, methods in (("binary-mnist", ("vae", "lvdae", "mine")), ("binary-fashion-mnist", ("vae", "lvdae"))):
        for method in methods:
            cell = Cell(dataset, method, 16)
            records = [made_up_record(cell, seed, nll_nats=nll) for seed, nll in enumerate(SCORES[method])]
            publish(store, "mini", "quick", cell.slug, records)
    written = {each.path.name: each for each in build_reports(store, reports, formats=("md",))}
    lines = " ".join(written["mini.md"].console.split())
    assert lines.count("L-VDAE minus VAE, m = 16, binary-mnist:") == 2
    assert lines.count("L-VDAE minus VAE, m = 16, binary-fashion-mnist:") == 2
    latex = (reports / "quick" / "mini-pairs.tex").read_text()
    assert latex.count("binary-fashion-mnist") == 2 and "too close to call" in latex


def test_other_latents_other_data_and_one_seed_alone_decide_nothing(store):
    put(store, {"vae": (90.0,), "lvdae": (80.0,)})
    cell = Cell("binary-mnist", "mine", 32)
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0)])
    found = pairs(store)
    assert {frozenset((each.first.cell.method, each.second.cell.method)) for each in found} == {
        frozenset(("vae", "lvdae"))
    }
    assert {each.answer for each in found} == {"one seed has no interval"} and not any(each.better for each in found)


@pytest.mark.parametrize(
    ("cells", "there"),
    [
        ({("vae", 16): (0, 1), ("lvdae", 16): (1, 2)}, True),
        ({("vae", 16): (0, 1), ("lvdae", 16): (2, 3)}, False),
        ({(method, m): (0,) for m, method in enumerate(("vae", "lvdae") * 20)}, False),
    ],
)
def test_there_being_a_pair_is_found_by_a_look_at_each_cell(store, monkeypatch, cells, there):
    for (method, m), seeds in cells.items():
        cell = Cell("binary-mnist", method, m)
        publish(store, "mini", "quick", cell.slug, [made_up_record(cell, seed) for seed in seeds])
    ran, looks, by_seed = cells_of(select(load_runs(store))), [], CellRuns.by_seed
    assert bool(pairs_of(ran)) == there
    monkeypatch.setattr(CellRuns, "by_seed", lambda *words: looks.append(words[0]) or by_seed(*words))
    assert has_pairs(ran) == there and max(Counter(each.cell for each in looks).values()) == 2  # once a score


@pytest.mark.usefixtures("blank_pictures")
def test_page_console_csv_and_latex_have_them(store, reports):
    put(store)
    written = {each.path.name: each for each in build_reports(store, reports, formats=("md",))}
    page = (reports / "quick" / "mini.md").read_text()
    rows = table_with(page, "first - second")
    assert len(rows) == 6 and sum(row["answer"] == "L-VDAE is ahead after 3 epochs" for row in rows) == 2
    assert page.count("**88.13 ± 0.12**") == 1 and "**90.13" not in page
    frame = pd.read_csv(io.StringIO((reports / "quick" / "mini-pairs.csv").read_text()))
    assert sorted(frame["difference"].abs().round(6)) == sorted(round(abs(e.estimate.mean), 6) for e in pairs(store))
    assert frame["better"].notna().sum() == sum(each.better is not None for each in pairs(store))
    tex = (reports / "quick" / "mini-pairs.tex").read_text()
    assert tex.count("\\textbf{") == sum(each.better is not None for each in pairs(store))
    assert tex.count("\\textbf{88.13 $\\pm$ 0.12}") == 1 and "Bonferroni" in tex and not re.search(r"[ \[]-\d", tex)
    console = " ".join(written["mini.md"].console.split())
    assert "L-VDAE is ahead after 3" in console and "4 of 6 differences decided, first minus second:" in console
    assert "2 differences: too close to call." in console  # by their number: the page has them one by one


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize(("scores", "best"), [(SCORES, 0), ({name: SCORES[name] for name in ("vae", "lvdae")}, 2)])
def test_a_row_of_the_results_is_bold_where_it_is_better_than_every_other(store, reports, scores, best):
    put(store, scores)
    build_reports(store, reports, formats=("md", "latex"))
    rows = table_with((reports / "quick" / "mini.md").read_text(), "NLL ours")
    bold = {(row["method"], name) for row in rows for name in ("NLL ours", "-ELBO ours") if row[name].startswith("**")}
    assert bold == ({("L-VDAE", "NLL ours"), ("L-VDAE", "-ELBO ours")} if best else set())
    assert (reports / "quick" / "mini.tex").read_text().count("\\textbf{") == best


def test_the_figure_has_each_number_beside_the_papers_with_its_verdict(store):
    protocol = load_protocol("paper")
    publish_table(store, "table2", protocol, seeds=3)
    selection = select(load_runs(store))
    page = store.root / "reports" / "paper" / "table2.md"
    found = forest.forest_of(Subject(page, [], selection, selection.runs, [], page))
    assert found and len(found.rows) == 16 and found.printed == 20 and len(found.leads) == 8
    figure = forest._figure(found, "said")
    upper, lower = figure.axes
    drawn = [line.get_xdata()[0] for line in upper.lines if len(line.get_xdata()) == 1 and line.get_marker() != "None"]
    assert [value for value in drawn if value] == pytest.approx([estimate.mean for *_, estimate in found.rows])
    assert {finding.verdict for _, finding, _ in found.rows} <= {*forest.LOOKS}
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [*(str(v) for v in forest.LOOKS if v in {f.verdict for _, f, _ in found.rows}), "ours", "paper"]
    assert len(lower.get_yticklabels()) == 8


def test_verdicts_are_told_apart_without_colour():
    looks = [(look.marker, look.filled) for look in forest.LOOKS.values()]
    assert len(set(looks)) == len(looks) and set(forest.LOOKS) == set(Verdict) - {Verdict.NOT_RUN}


def test_the_figure_marks_a_lead_of_no_fair_pair_and_the_order_of_numbers_that_are_the_papers(store, reports):
    protocol = load_protocol("paper")
    publish_table(store, "table2", protocol)
    cell = Cell("binary-mnist", "lvdae", 32)
    records = [
        made_up_record(cell, seed, protocol, nll_nats=90.0, hyperparameters={"learning_rate": 0.5}) for seed in range(2)
    ]
    publish(store, "table2", protocol.name, cell.slug, records)
    selection = select(load_runs(store))
    subject = Subject(reports / "paper" / "table2.md", (), selection, (), (), reports / "claims.md")
    found = forest.forest_of(subject)
    marked = {
        label for (label, *_), why in zip(found.leads, found.apart, strict=True) if "unequal learning_rate" in why
    }
    assert marked == {"m = 32  NLL", "m = 32  -ELBO"}
    text = "\n".join(forest.FOREST.text(subject, found))
    assert "not comparable in m = 32 NLL: unequal learning" in text
    assert len(found.orders) == len(found.rows) and any(found.orders)


@pytest.mark.usefixtures("blank_pictures")
def test_a_page_shows_so_many_pairs_and_the_csv_all(store, reports, monkeypatch):
    put(store)
    monkeypatch.setattr("vdae_bench.report.sections.pairs.MOST", 4)
    build_reports(store, reports, formats=("md",))
    page = (reports / "quick" / "mini.md").read_text()
    rows = table_with(page, "first - second")
    assert len(rows) == 4 and all("is ahead" in row["answer"] for row in rows)  # the decided ones
    assert "6 differences, as" in page and "2 of them stand there alone" in page
    assert len(pd.read_csv(reports / "quick" / "mini-pairs.csv")) == 6


@pytest.mark.usefixtures("blank_pictures")
def test_a_figure_of_one_data_set_says_of_which(store, reports):
    for dataset in ("binary-mnist", "continuous-mnist"):
        for method in ("vae", "lvdae"):
            cell = Cell(dataset, method, 16)
            publish(store, "mine", "quick", cell.slug, [made_up_record(cell, seed) for seed in (0, 1)])
    page = build_reports(store, reports)[0].path.read_text()
    assert "The figure has 4 of 4 numbers that the paper prints for the cells of this sweep on " in page
