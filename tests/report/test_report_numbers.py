"""The numbers of a page, computed again with numpy from the records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import made_up_record, publish, publish_table
from vdae_bench.data.registry import find_dataset
from vdae_bench.paper.published import load_table
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers import units
from vdae_bench.report.numbers.comparable import BY_MEAN
from vdae_bench.report.numbers.runs import Run, load_runs
from vdae_bench.report.numbers.statistics import CellRuns, Summary, summarise
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Record, Store

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.parametrize(("name", "suffix", "decimals"), [("table1", "bits_per_dim", 3), ("table2", "nats", 2)])
def test_scores_and_differences_are_means_over_seeds_in_the_unit_of_the_table(
    store: Store, reports: Path, name: str, suffix: str, decimals: int
) -> None:
    records = publish_table(store, name, seeds=4)
    page = build_reports(store, reports)[0].path.read_text()
    table = load_table(name)
    for row, shown in zip(table.rows, table_with(page, "NLL ours"), strict=True):
        cell = table.cell_of(row)
        mine = [each for each in records if cell and each.cell.model_dump() == cell.as_record()]
        assert (shown["latents"], shown["method"], shown["NLL paper"]) == (
            row.latents,
            row.method,
            str(row.nll),
        )
        if not mine:
            continue
        for column, score, difference in (
            ("NLL ours", "nll", "difference"),
            ("-ELBO ours", "neg_elbo", "difference 2"),
        ):
            values = np.array([getattr(each.metrics.test, f"{score}_{suffix}") for each in mine], float)
            if np.isnan(values).any():
                assert (shown[column], shown[difference]) == ("-", "")
                continue
            assert shown[column].strip("*") == f"{values.mean():.{decimals}f} ± {values.std(ddof=1):.{decimals}f}"
            printed = getattr(row, score).value
            assert shown[difference] == f"{values.mean() - printed:+.{decimals}f}"
        assert float(shown["training s"]) == np.mean([each.cost.train_seconds for each in mine])
        assert float(shown["evaluation s"]) == np.mean([each.cost.evaluation_seconds for each in mine])
        assert float(shown["training TFLOP"]) == 2.5


def test_bits_per_dim_are_those_of_the_records() -> None:
    test = made_up_record(Cell("continuous-mnist", "vae", 16), nll_nats=-1980.50).metrics.test
    assert test is not None
    assert test.nll_bits_per_dim == pytest.approx(-1980.50 / (784 * math.log(2)) + 8)


def test_a_summary_needs_two_numbers_for_a_deviation() -> None:
    values = [3.0, 1.0, 7.5]
    summary = summarise([*values, None])
    assert summary is not None
    assert (summary.count, summary.lowest, summary.highest) == (3, 1.0, 7.5)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.standard_deviation == pytest.approx(np.std(values, ddof=1))
    one = summarise([2.0])
    assert one is not None
    assert one.standard_deviation is None
    assert summarise([None]) is None


def test_one_seed_has_no_deviation(store: Store, reports: Path) -> None:
    publish_table(store, "table2", seeds=1)
    page = build_reports(store, reports)[0].path.read_text()
    rows = table_with(page, "NLL ours")
    assert all("±" not in row["NLL ours"] and "±" not in row["-ELBO ours"] for row in rows)
    assert rows[0]["seeds"] == "1 of 2"


def test_total_cost_is_the_sum_over_all_runs_by_device(store: Store, reports: Path) -> None:
    cell = Cell("binary-mnist", "vae", 16)
    records: list[Record] = [
        made_up_record(cell, 0, cost={"train_seconds": 50.0}),
        made_up_record(cell, 1, cost={"train_seconds": 25.0}, diverged=True),
        made_up_record(cell, 2, cost={"train_seconds": 5.0, "device": "a GPU"}),
    ]
    publish(store, "mini", "quick", cell.slug, records)
    page = build_reports(store, reports)[0].path.read_text()
    cpu, gpu = table_with(page, "device")
    assert (cpu["device"], cpu["runs"], cpu["training"]) == ("cpu", "2", "75 s")
    assert (gpu["device"], gpu["runs"], gpu["training"], gpu["evaluation"]) == ("a GPU", "1", "5 s", "6 s")
    assert cpu["together"] == "86 s"  # 75 of training, 2 of validation, 4 and 5 of evaluation
    assert cpu["operations"] == "5.6 TFLOP"


def test_precision_of_the_estimates(store: Store, reports: Path) -> None:
    publish_table(store)
    page = build_reports(store, reports)[0].path.read_text()
    rows = table_with(page, BY_MEAN)
    assert rows[0][BY_MEAN] == "40.5 (40.0 to 41.0)"
    assert (rows[0]["standard error (nats)"], rows[0]["bias (nats)"]) == ("0.050", "0.020")
    assert [row[BY_MEAN] for row in rows[-2:]] == ["exact density", "exact density"]
    assert "K = 200 samples" in page
    assert "on 500 of them" in page
    assert "over 10000 test images" in page
    assert "10 effective samples or fewer" not in page


def test_too_few_effective_samples_are_pointed_out(store: Store, reports: Path) -> None:
    cell = Cell("binary-mnist", "lvdae", 128)
    test = {"effective_sample_size": 30.0, "nll_bias_nats": 0.2475}  # 0.5 (1 / 2 - 1 / 200): 2 by the mean of 1 / S
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, test=test)])
    page = build_reports(store, reports)[0].path.read_text()
    assert "With 10 effective samples or fewer" in page
    assert "by this rule, are: L-VDAE 128 (2.0)." in page
    assert table_with(page, BY_MEAN)[0][BY_MEAN] == "30.0"


def test_the_trivial_baseline_says_which_rows_it_beats(store: Store, reports: Path) -> None:
    publish_table(store)
    page = build_reports(store, reports)[0].path.read_text()
    (row,) = table_with(page, "baseline")
    assert (row["baseline"], row["NLL (bits/dim)"]) == ("independent pixels", "6.221")
    assert row["our rows that are worse"] == "VAE 16; L-VDAE 16; NICE ** 28 x 28"
    assert row["the paper's rows that are worse"] == "VAE 16; L-VDAE 16"
    assert "by about 0.044 nats (0.00008 bits/dim) as standard deviation (measured on independent pixels)" in page


def test_twice_the_rows_take_twice_the_looks_at_records(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, cost = [0], CellRuns.cost

    def counting(cell: CellRuns, of: Callable[[Run], float]) -> Summary | None:
        looks[0] += 1
        return cost(cell, of)

    monkeypatch.setattr(CellRuns, "cost", counting)
    found = []
    for cells in (range(10), range(10, 30)):
        for m in cells:  # each with a number of latents of its own: pairs are another matter
            cell = Cell("binary-mnist", "own", m + 1)
            publish(store, "many", "quick", cell.slug, [made_up_record(cell)])
        looks[0] = 0
        build_reports(store, reports)
        found.append(looks[0])
    assert found[1] <= 3.5 * found[0]  # by each row for each row they were nine times as many


def test_a_report_without_the_spec_of_own_images_takes_their_size_from_the_records(store, reports, monkeypatch):
    """The spec that names them registers them; `report` and `explain` see none."""
    cell = Cell("continuous-mine", "vae", 16)
    monkeypatch.setattr(units, "_of_records", {})
    with monkeypatch.context() as patch:
        patch.setattr("vdae_bench.data.registry.DATASETS", {"mine": replace(find_dataset("mnist"), name="mine")})
        records = [made_up_record(cell, seed, nll_nats=-1980.5 + seed) for seed in (0, 1)]
        assert records[0].metrics.test.nll_bits_per_dim == pytest.approx(4.356, abs=1e-3)
    publish(store, "own", "quick", cell.slug, records)
    assert units.dims_of("continuous-mine") is None and math.isnan(units.BITS_PER_DIM.of_nats(1.0, "continuous-mine"))
    load_runs(store)
    assert units.dims_of("continuous-mine") == 784 and units.curve_unit("continuous-mine") is units.BITS_PER_DIM
    assert units.BITS_PER_DIM.of_nats(784 * math.log(2), "continuous-mine") == pytest.approx(1.0)
    page = build_reports(store, reports)[0].path.read_text()
    assert "Of continuous-mine all test images were taken, if there are fewer than that." in page
    units.learn_dims("continuous-mine", -100.0, 4.0)  # other images of that name
    assert units.dims_of("continuous-mine") is None and units.curve_unit("continuous-mine") is units.NATS
