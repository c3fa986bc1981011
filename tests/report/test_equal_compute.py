"""Cost beside quality: L-VDAE where it has spent what the VAE cost, read off made-up curves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import PROTOCOL, made_up_record, publish
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.compute import NOT_WORTH_IT, WORTH_IT, at_equal_cost, contests_of, siblings, worth
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.statistics import Estimate
from vdae_bench.report.sections.compute import SAY_UNLIKE, UNLIKE, _figure, findings
from vdae_bench.spec.protocol import Protocol, load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

FOUR = PROTOCOL.model_copy(update={"epochs": 4})
EXACT = FOUR.model_copy(update={"name": "quick+00000000", "log_det": "exact"})


def put(
    store: Store,
    method: str,
    curve: list[float],
    flops: int,
    protocol: Protocol = FOUR,
    seconds: float = 8.0,
    estimator: str | None = None,
    threads: int = 2,
    platform: str = "Linux x86_64, a processor",
    errors: list[float | None] | None = None,
) -> None:
    cell = Cell("binary-mnist", method, 16, (("log_det", estimator),) if estimator else ())
    records = [
        made_up_record(
            cell, seed, protocol, curve=[each + seed for each in curve],
            cost={"train_flops": flops, "train_seconds": seconds, "threads": threads},
            provenance={"platform": platform}, errors=errors,
        )
        for seed in (0, 1, 2)
    ]  # fmt: skip
    publish(store, "mini", protocol.name, cell.slug, records)


def test_at_the_vaes_cost_it_is_read_between_epochs_and_paired_by_seed(store: Store) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=1000, seconds=16.0)
    selection = select(load_runs(store))
    (contest,) = contests_of(selection, [])
    (course,) = contest.others
    # 400 FLOP are 1.6 of its epochs of 250: 112 - 0.6 * 8 = 107.2, against 102.
    equal = at_equal_cost(contest, course, 0)
    assert equal and equal.mean == pytest.approx(107.2 - 102) and equal.interval() == pytest.approx((5.2, 5.2))
    assert worth(contest, course) == NOT_WORTH_IT
    # 8 seconds are two of its epochs.
    by_time = at_equal_cost(contest, course, 1)
    assert by_time and by_time.mean == pytest.approx(104 - 102)


def test_a_better_curve_at_the_same_price_is_worth_it_and_too_dear_an_epoch_is_not(store: Store) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=400)
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400, protocol=EXACT)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=4000, protocol=EXACT)
    runs = load_runs(store)
    selection = select([run for run in runs if run.protocol == "quick"])
    (contest,) = contests_of(selection, siblings(selection, runs))
    assert [course.label for course in contest.others] == ["subset", "exact"]
    assert [worth(contest, course) for course in contest.others] == [WORTH_IT, NOT_WORTH_IT]
    said = "\n".join(findings([contest]))
    together = "after as many operations as the VAE took, 95% for all 2 rows together"
    assert f"L-VDAE with `subset`, {together}: worth its price at this length at m = 16." in said
    assert "before its first epoch" in said and "There are no records" not in said


def test_protocols_that_differ_in_more_than_the_estimator_do_not_meet(store: Store) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=400, protocol=EXACT.model_copy(update={"batch_size": 100}))
    runs = load_runs(store)
    selection = select([run for run in runs if run.protocol == "quick"])
    assert siblings(selection, runs) == []


def test_the_page_has_the_figure_the_numbers_and_the_sentence(store: Store, reports: Path) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=1000, seconds=16.0)
    written = build_reports(store, reports)[0]
    page = written.path.read_text()
    (row,) = table_with(page, "at the VAE's operations")
    assert (row["operations"], row["seconds"]) == ("2.5 x", "2 x")
    assert row["after the same epochs"] == "-3.00 [-3.00, -3.00]"
    assert row["at the VAE's operations"] == "+5.20 [+5.20, +5.20]"
    assert "not worth its price at this length at m = 16." in page and "`--set log_det=exact`" in page
    assert (written.path.parent / "mini-cost.svg").is_file()


def test_an_estimator_may_be_a_cells_own_and_is_compared_with_exact_at_equal_epochs(store: Store) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.5], flops=800, estimator="projected")
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=4000, estimator="exact")
    selection = select(load_runs(store))
    (contest,) = contests_of(selection, [])
    assert [course.label for course in contest.others] == ["projected", "exact"]
    said = "\n".join(findings([contest]))
    row, other = table_with(said, "beside `exact`, same epochs")
    assert row["method"] == "L-VDAE, projected" and row["beside `exact`, same epochs"].startswith("+0.50")
    assert other["beside `exact`, same epochs"] == ""
    assert list(contest.reference.costs[2][0]) == [1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "compared"), [(10.0, True), (60.0, False)])
def test_seconds_of_a_machine_that_was_far_busier_are_compared_nowhere(
    store: Store, seconds: float, compared: bool
) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=1000, seconds=seconds)
    (contest,) = contests_of(select(load_runs(store)), [])
    said = "\n".join(findings([contest]))
    (row,) = table_with(said, "at the VAE's operations")
    assert bool(contest.on(1)) == compared == (row["seconds"] != UNLIKE) == (SAY_UNLIKE not in said)


@pytest.mark.parametrize("other", [{"threads": 1}, {"platform": "Linux x86_64, another processor"}])
def test_seconds_of_another_machine_or_number_of_threads_are_compared_nowhere(
    store: Store, reports: Path, blank_pictures: None, other: dict[str, Any]
) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=1000, seconds=6.0, **other)
    (contest,) = contests_of(select(load_runs(store)), [])
    assert contest.on(1) == () and contest.on(0) == contest.on(2) == contest.others
    written = build_reports(store, reports)[0]
    page = written.path.read_text()
    (row,) = table_with(page, "at the VAE's operations")
    assert (row["operations"], row["seconds"], row["at the VAE's seconds"]) == ("2.5 x", UNLIKE, UNLIKE)
    assert row["at the VAE's operations"].startswith("+5.20") and SAY_UNLIKE in page
    assert "training s |" not in page and "evaluation s |" not in page  # the table of results has operations alone
    assert "compare rows only by their operations" in page
    assert [axes.get_xlabel() for axes in _figure([contest]).axes] == ["training operations (FLOP)", "epochs"]
    (headings,) = (line for line in written.console.splitlines() if line.startswith("latents"))
    assert "train s" not in headings and headings.endswith("FLOP")


def test_a_run_that_went_on_elsewhere_is_of_no_one_machine(store: Store) -> None:
    put(store, "vae", [120.0, 110.0], flops=400)
    cell = Cell("binary-mnist", "lvdae", 16)
    here = {"device": "cpu", "threads": 2, "platform": "Linux x86_64, a processor", "from_step": 0}
    parts = [{**here, "threads": 1}, {**here, "from_step": 4}]
    moved = made_up_record(cell, 0, FOUR, curve=[112.0, 104.0], provenance={"parts": parts})
    publish(store, "mini", FOUR.name, cell.slug, [moved])
    (contest,) = contests_of(select(load_runs(store)), [])
    assert contest.on(1) == ()


@pytest.mark.parametrize(("errors", "slack"), [([1.0, 0.5, 0.4, 0.0], 0.7), ([None, 0.5, 0.4, 0.0], math.inf)])
def test_the_error_of_a_point_which_seeds_share_widens_the_interval(
    store: Store, reports: Path, blank_pictures: None, errors: list[float | None], slack: float
) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 100.0, 99.0, 98.0], flops=1000, errors=errors)
    (contest,) = contests_of(select(load_runs(store)), [])
    equal = at_equal_cost(contest, contest.others[0], 0)  # after 1.6 epochs, between those of errors 1 and 0.5
    assert equal and equal.mean == pytest.approx(112 - 0.6 * 12 - 102) and equal.shared_error == pytest.approx(slack)
    assert equal.interval() == pytest.approx((2.8 - 1.96 * slack, 2.8 + 1.96 * slack), rel=1e-4)
    assert worth(contest, contest.others[0]) == (NOT_WORTH_IT if slack < 1 else "too close to call")
    page = build_reports(store, reports)[0].path.read_text()
    assert f"its standard error is {slack:.2f} nats (binary-mnist, m = 16)" in page


def test_a_point_that_is_not_finite_is_passed_over_and_is_no_late_start(store: Store, reports: Path) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 90.0], flops=800)
    records = [record for _, record in store.records() if record.cell.method == "lvdae"]
    for hole, reached in ((0, 104.0), (2, 104.0)):  # half of its epochs
        lost = []
        for record in records:
            curve: list[float | None] = [112.0, 104.0, 100.0, 90.0]
            curve[hole] = None
            holed = record.curve.model_copy(update={"validation_neg_elbo_nats": curve})
            lost.append(record.model_copy(update={"curve": holed}))
        publish(store, "mini", FOUR.name, "binary-mnist_lvdae_16", lost)
        (contest,) = contests_of(select(load_runs(store)), [])
        equal = at_equal_cost(contest, contest.others[0], 0)
        assert equal and equal.mean == pytest.approx(reached - 103)


def test_an_error_that_seeds_share_counts_at_the_level_of_the_interval() -> None:
    alone = Estimate(0.0, 0.0, 2, 3, shared_error=1.0)
    for level in (0.95, 0.99, 1 - 0.05 / 8):
        low, high = alone.interval(level)
        assert high == -low == pytest.approx(NormalDist().inv_cdf(0.5 + level / 2))


def test_sums_are_of_each_machine(store: Store, reports: Path, blank_pictures: None) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400, platform="Linux x86_64, another")
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=1000)
    page = build_reports(store, reports)[0].path.read_text()
    rows = table_with(page, "threads")
    assert sorted(row["device"] for row in rows) == ["cpu (a processor)", "cpu (another)"]


def test_verdicts_that_are_given_together_share_the_level(store: Store) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=400)
    (contest,) = contests_of(select(load_runs(store)), [])
    (course,) = contest.others
    spread = replace(course, values={seed: of + 0.5 * seed for seed, of in course.values.items()})  # -3, -2.5, -2
    assert worth(contest, spread) == WORTH_IT and worth(contest, spread, family=10) == "too close to call"


def test_smoke_names_no_winner(store: Store) -> None:
    smoke = load_protocol("smoke").model_copy(update={"epochs": 4})
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400, protocol=smoke)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=400, protocol=smoke)
    (contest,) = contests_of(select(load_runs(store)), [])
    assert worth(contest, contest.others[0]) == "not comparable (smoke only tests that everything runs)"


def test_a_pair_with_diverged_seeds_gets_no_verdict(store: Store) -> None:
    put(store, "vae", [120.0, 110.0, 105.0, 102.0], flops=400)
    put(store, "lvdae", [112.0, 104.0, 100.0, 99.0], flops=400)
    lost = made_up_record(Cell("binary-mnist", "lvdae", 16), 3, FOUR, diverged=True)
    publish(store, "mini", "quick", "binary-mnist_lvdae_16", [lost])
    (contest,) = contests_of(select(load_runs(store)), [])
    assert worth(contest, contest.others[0]) == "not comparable (1 of 4 seeds of binary-mnist_lvdae_16 diverged)"
