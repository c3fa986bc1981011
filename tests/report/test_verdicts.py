"""Verdicts: made-up records that must get each of them, intervals against scipy's own tests."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.support.markdown_tables import table_with
from tests.support.records import QUALITY, made_up_record, publish
from tests.support.searches import made_up_winner
from vdae_bench.errors import UserError
from vdae_bench.evaluation.likelihood import EvaluationSettings, Evaluator
from vdae_bench.models.model import Model
from vdae_bench.paper.claims import ARMS, CLAIMS, DECOUPLED, LATENTS, LOG_SIGMAS, SAMPLED_LOG_SIGMAS, noise_cell
from vdae_bench.paper.published import PrintedValue
from vdae_bench.report.build import build_reports
from vdae_bench.report.explain import explain
from vdae_bench.report.numbers.claims import (
    Judgement,
    claims_protocol,
    evidence,
    folder_of,
    for_and_against,
    judge_claims,
)
from vdae_bench.report.numbers.comparable import nll_bias, why_not_comparable, why_unequal
from vdae_bench.report.numbers.rows import sheets_of
from vdae_bench.report.numbers.runs import Run, load_runs, select
from vdae_bench.report.numbers.statistics import CellRuns, difference_to_printed, mean_of, summarise
from vdae_bench.report.numbers.units import NATS
from vdae_bench.report.numbers.verdict import Finding, Verdict, below, judge_cell, judge_order, judge_row
from vdae_bench.report.pages.claims import claims_text
from vdae_bench.report.sections.claims import claim_row
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import Winner, winner_json
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.protocol import Protocol, load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Numbers, write_evidence
from vdae_bench.store.layout import evidence_paths
from vdae_bench.store.records import Store

PAPER = load_protocol("paper")
LONG = load_protocol("standard")
VAE, LVDAE = Cell("binary-mnist", "vae", 16), Cell("binary-mnist", "lvdae", 16)
RESNET = Cell("continuous-mnist", "vdae-resnet", 784)
SPREAD = (-0.2, 0.1, 0.0, 0.1, -0.1, 0.2)
"""Nats from the mean, by seed; the same for all cells, as the seeds' draws are."""


def flat(value: float, epochs: int, falls: float = 0.0) -> list[float]:
    """A curve at its end from half of the epochs on, but for what it still falls over the last third."""
    third = epochs // 3
    return (
        [value + falls + 50.0] * (epochs - 2 * third)
        + [value + falls] * third
        + list(np.linspace(falls, 0, third) + value)
    )


def put(
    store: Store, cell: Cell, neg_elbo: float, protocol: Protocol = PAPER, falls: float = 0.0, **changes: Any
) -> None:
    """Six seeds of a cell; NLL 4 nats below -ELBO."""
    sweep = "table1" if cell.dataset.startswith("continuous") else "table2"
    seeds = changes.pop("seeds", len(SPREAD))
    records = [
        made_up_record(
            cell, seed, protocol, nll_nats=neg_elbo - 4 + SPREAD[seed],
            curve=flat(neg_elbo + SPREAD[seed], protocol.epochs, falls), **changes,
        )
        for seed in range(seeds)
    ]  # fmt: skip
    publish(store, sweep, protocol.name, cell.slug, records)


def cell_of(store: Store, cell: Cell, protocol: str) -> CellRuns:
    return evidence(load_runs(store), protocol).cells[cell]


def claim_of(store: Store, name: str, protocol: str | None = "paper") -> Judgement:
    (found,) = judge_claims(load_runs(store), protocol, [each for each in CLAIMS if each.id == name])
    return found


def part_of(store: Store, name: str, label: str, protocol: str | None = "paper") -> Finding:
    return dict(claim_of(store, name, protocol).parts)[label]


def verdicts(store: Store, protocol: str = "paper") -> dict[str, Verdict]:
    return {each.claim.id: each.verdict for each in judge_claims(load_runs(store), protocol)}


# -- intervals -------------------------------------------------------------------------------------------------------


def test_intervals_are_scipys() -> None:
    values = list(np.random.default_rng(1).normal(3, 2, 7))
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_of(values).interval() == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("ours", [(83.3, 82.9, 83.1, 82.6, 83.4), (83.50, 83.52), (83.50, 83.51, 83.53)])
def test_the_difference_to_a_printed_number_is_the_wider_of_welchs_and_students(ours: tuple[float, ...]) -> None:
    """Two or three seeds that agree by chance would be believed by Welch's alone."""
    theirs = np.random.default_rng(2).normal(0, 1, 10)
    theirs = 82.0 + 0.18 * (theirs - theirs.mean()) / theirs.std(ddof=1)  # a sample that prints as 82.000 ± 0.18
    both = [stats.ttest_ind(ours, theirs, equal_var=equal).confidence_interval(0.95) for equal in (False, True)]
    expected = max(both, key=lambda interval: interval.high - interval.low)
    assert (expected is both[1]) == (len(ours) < 5)
    summary = summarise(ours)
    assert summary is not None
    found = difference_to_printed(summary, PrintedValue(value=82.0, plus_minus=0.18, decimals=9), 10).interval()
    assert found == pytest.approx((expected.low, expected.high), abs=1e-8)
    # Without ±: our seeds alone, and half a unit of the last printed digit on both sides.
    alone = stats.ttest_1samp(np.array(ours) - 82, 0).confidence_interval(0.95)
    rounded = difference_to_printed(summary, PrintedValue(value=82.0, plus_minus=None, decimals=2), 10).interval()
    assert rounded == pytest.approx((alone.low - 0.005, alone.high + 0.005))


# -- a number of the paper -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neg_elbo", "protocol", "changes", "verdict", "why"),
    [
        (87.3, PAPER, {}, Verdict.REPRODUCED, ""),
        (92.0, PAPER, {}, Verdict.NOT_REPRODUCED, ""),
        (82.0, PAPER, {}, Verdict.NOT_REPRODUCED, ""),
        (88.15, PAPER, {}, Verdict.TOO_CLOSE, ""),
        (87.3, PAPER, {"seeds": 1}, Verdict.TOO_CLOSE, "one seed"),
        (87.3, LONG, {"falls": 0.02}, Verdict.REPRODUCED, ""),
        (87.3, LONG, {"falls": 0.1}, Verdict.NOT_COMPARABLE, "50 epochs"),
        (87.3, load_protocol("smoke"), {}, Verdict.NOT_COMPARABLE, "smoke"),
        (87.3, PAPER.model_copy(update={"train_images": 30000}), {}, Verdict.NOT_COMPARABLE, "30000"),
        (87.3, PAPER.model_copy(update={"elbo_images": 500}), {}, Verdict.NOT_COMPARABLE, "500 of 10000"),
    ],
)
def test_a_number_gets_each_verdict(
    store: Store, neg_elbo: float, protocol: Protocol, changes: dict[str, Any], verdict: Verdict, why: str
) -> None:
    put(store, VAE, neg_elbo, protocol, **changes)
    finding = judge_cell(cell_of(store, VAE, protocol.name), "neg_elbo")
    assert finding is not None
    assert finding.verdict is verdict and why in finding.reason


def test_the_nll_needs_the_papers_samples_or_a_small_error(store: Store) -> None:
    few = PAPER.model_copy(update={"importance_samples": 100})
    put(store, VAE, 87.3, few, test={"nll_standard_error_nats": 0.05, "nll_bias_nats": 0.02})
    put(store, Cell("binary-mnist", "vae", 32), 87.0, few, test={"nll_standard_error_nats": 0.5, "nll_bias_nats": 0.2})
    known = evidence(load_runs(store), "paper").cells
    sure, unsure = (judge_cell(known[Cell("binary-mnist", "vae", m)], "nll") for m in (16, 32))
    assert sure and sure.verdict is Verdict.REPRODUCED
    assert unsure and unsure.verdict is Verdict.NOT_COMPARABLE and "K = 100" in unsure.reason
    # An error that alone is well below the gap, and a bias that is not.
    put(store, VAE, 87.3, few, test={"nll_standard_error_nats": 0.05, "nll_bias_nats": 0.04})
    biased = judge_cell(cell_of(store, VAE, "paper"), "nll")
    assert biased and biased.verdict is Verdict.NOT_COMPARABLE


def test_a_short_run_whose_nll_is_a_bound_says_both(store: Store) -> None:
    put(store, VAE, 87.3, LONG, falls=0.1, test={"effective_sample_size": 3.0})
    nll, neg_elbo = (judge_cell(cell_of(store, VAE, LONG.name), score) for score in ("nll", "neg_elbo"))
    assert nll and "50 epochs" in nll.reason and "3.0 effective samples" in nll.reason
    assert neg_elbo and "50 epochs" in neg_elbo.reason and "effective" not in neg_elbo.reason


# -- the estimate of the NLL -----------------------------------------------------------------------------------------


class WrongWidth(Model):
    """log weights of p(z) = N(0, I) under q(z) = N(0, s^2 I): log of the true marginal is 0 for every image."""

    def __init__(self, dims: int, width: float) -> None:
        super().__init__()
        self.noise_dim, self.width = dims, width

    def jacobian_rows(self, samples: int) -> int:
        return 0

    def condition(self, x: torch.Tensor, samples: int) -> Any:
        squares = self.width**-2 - 1
        at_zero = self.noise_dim * math.log(self.width)
        return lambda eta: at_zero + 0.5 * squares * (self.width * eta).square().sum(-1)


def measured(dims: int, width: float, samples: int, images: int = 60) -> dict[str, float]:
    settings = EvaluationSettings(samples, images, images, 1)
    model: Any = WrongWidth(dims, width)
    evaluator = Evaluator(model, torch.zeros(images, 1, dtype=torch.float64), (3,), settings)
    assert evaluator.run(lambda: False, lambda: None)
    return evaluator.metrics()[0]


def run_with(metrics: dict[str, float], samples: int, *, old: bool = False) -> Run:
    protocol = PAPER.model_copy(update={"importance_samples": samples, "nll_images": 1000})
    kept = {name: value for name, value in metrics.items() if not (old and name.endswith("samples_nats"))}
    return Run(Path("seed-0.json"), "table2", "paper", made_up_record(VAE, 0, protocol, test=kept))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("samples", [1, 2, 10, 1000])
def test_no_nll_of_a_posterior_of_wrong_width_decides(samples: int, width: float, old: bool) -> None:
    """d = 16, ratio 2: true bias 1.5 (narrow) or 0.2 (wide) nats with K = 1000, where the first order states 0.1."""
    metrics = measured(16, width, samples)
    run = run_with(metrics, samples, old=old)
    assert metrics["nll_nats"] > (1.2 if width < 1 else 0.12) and metrics["nll_bias_nats"] < 0.5
    assert run.effective_samples < 10 and math.isinf(nll_bias(run))
    said = why_not_comparable([CellRuns(VAE, (run,))], "nll", 1000.0)
    assert "effective samples" in said and "upper bound" in said


@pytest.mark.parametrize(
    ("dims", "width", "samples"), [(2, 0.9, 200), (16, 1.3, 1000), (16, 0.75, 1000), (2, 2.0, 200)]
)
def test_the_stated_bias_is_no_less_than_the_true_one_and_small_where_that_is_small(
    dims: int, width: float, samples: int
) -> None:
    metrics = measured(dims, width, samples)
    noise = 3 * metrics["nll_standard_error_nats"]
    assert abs(metrics["nll_nats"]) < 0.02 + noise
    assert metrics["nll_nats"] - noise < nll_bias(run_with(metrics, samples)) < 0.15


def test_a_heavy_tail_is_seen_by_how_the_nll_falls_as_samples_double() -> None:
    """d = 2, ratio 3: 13 effective samples and a first order of 0.04 nats, where the NLL is 0.3 nats too high."""
    metrics = measured(2, 1 / 3, 1000, images=400)
    assert metrics["nll_nats"] > 0.2 and metrics["nll_bias_nats"] < 0.06
    assert nll_bias(run_with(metrics, 1000)) > 0.2


@pytest.mark.parametrize(("samples", "effective"), [(1, 1.0), (2, 1.5), (10, 1.05), (1000, 1.05), (5000, 1.5)])
def test_collapsed_importance_sampling_decides_no_claim_and_no_number(
    store: Store, samples: int, effective: float
) -> None:
    """On continuous data a quarter of a gap is more than any first-order bias."""
    protocol = PAPER.model_copy(update={"importance_samples": samples})
    bias = max(0.0, 0.5 * (1 / effective - 1 / samples))
    test = {"effective_sample_size": effective, "nll_standard_error_nats": 0.01, "nll_bias_nats": bias}
    for dataset, m in (("continuous-mnist", 784), ("binary-mnist", 784)):
        for method, neg_elbo in (("vdae-resnet", 10.0), ("lvdae-nice", 60.0)):
            put(store, Cell(dataset, method, m), neg_elbo, protocol, seeds=5, test=test)
    claim = claim_of(store, "5")
    assert claim.verdict is Verdict.NOT_COMPARABLE
    found = {label: finding.verdict for label, finding in claim.parts}
    assert found["continuous-mnist, NLL"] is found["binary-mnist, NLL"] is Verdict.NOT_COMPARABLE
    assert found["binary-mnist, -ELBO"] is Verdict.REPRODUCED
    number = judge_cell(cell_of(store, Cell("continuous-mnist", "vdae-resnet", 784), "paper"), "nll")
    assert number and number.verdict is Verdict.NOT_COMPARABLE


def test_older_records_get_the_noise_of_their_elbo() -> None:
    """`lvdae-784`: 20 images with K = 200, one sample on the other 9980."""
    protocol = PAPER.model_copy(update={"importance_samples": 200, "nll_images": 20, "elbo_samples": 1})
    test = {"nll_standard_error_nats": 0.694, "neg_elbo_standard_error_nats": 0.588}
    run = Run(Path("seed-0.json"), "a", "b", made_up_record(VAE, 0, protocol, test=test))
    assert run.test and run.test.nll_standard_error_nats == pytest.approx(0.9096, abs=1e-3)
    new = Run(
        Path("x"), "a", "b", made_up_record(VAE, 0, protocol, test={**test, "nll_standard_error_covers": "level"})
    )
    assert new.test and new.test.nll_standard_error_nats == 0.694
    every = protocol.model_copy(update={"nll_images": protocol.elbo_images})
    whole = Run(Path("x"), "a", "b", made_up_record(VAE, 0, every, test=test))
    assert whole.test and whole.test.nll_standard_error_nats == 0.694


# -- curves ----------------------------------------------------------------------------------------------------------


def test_a_falling_rate_does_not_pass_for_a_flat_curve(store: Store) -> None:
    """Flat over the last tenth of the epochs, with the rate near zero there; with a constant rate it would count."""
    curve = [*np.linspace(120, 88, 44), *[87.3] * 6]
    for method, schedule in (("vae", "linear"), ("lvdae", "none")):
        cell = Cell("binary-mnist", method, 16)
        records = [
            made_up_record(
                cell, seed, LONG, nll_nats=83 + SPREAD[seed], curve=curve, hyperparameters={"schedule": schedule}
            )
            for seed in range(6)
        ]
        publish(store, "table2", "standard", cell.slug, records)
    linear, constant = (judge_cell(cell_of(store, cell, "standard"), "neg_elbo") for cell in (VAE, LVDAE))
    assert linear and linear.verdict is Verdict.NOT_COMPARABLE
    assert constant and constant.verdict is not Verdict.NOT_COMPARABLE


def spent(epochs: int, schedule: str) -> np.ndarray:
    """Learning rate spent after each epoch, of what is spent in all."""
    time = np.arange(1, epochs + 1) / epochs
    return 1 - (1 - time) ** 2 if schedule == "linear" else time


@pytest.mark.parametrize("schedule", ["linear", "none"])
@pytest.mark.parametrize(
    ("excess", "verdict"),
    [
        (lambda u: 10 / u, Verdict.NOT_COMPARABLE),  # 10 nats to go, of which the last tenth took 1.1
        (lambda u: 10 * np.exp(2 - 2 * u), Verdict.NOT_COMPARABLE),  # the same 10 nats to go
        (lambda u: 60 * np.exp(-10 * u), Verdict.REPRODUCED),  # 0.003 nats to go
        (lambda u: 5 * np.abs(u - 0.95), Verdict.NOT_COMPARABLE),  # falls and rises again: its ends are alike
    ],
)
def test_what_a_curve_leaves_open_is_not_what_it_moved(
    store: Store, excess: Any, verdict: Verdict, schedule: str
) -> None:
    """Runs on their way to the paper's 87.17 nats, or at them: none may be called not reproduced."""
    curve = list(87.17 + excess(spent(50, schedule)))
    records = [
        made_up_record(
            VAE, seed, LONG, nll_nats=curve[-1] - 4 + SPREAD[seed], curve=curve, hyperparameters={"schedule": schedule}
        )
        for seed in range(6)
    ]
    publish(store, "table2", "standard", VAE.slug, records)
    finding = judge_cell(cell_of(store, VAE, "standard"), "neg_elbo")
    assert finding and finding.verdict is verdict


def test_one_flat_curve_does_not_make_the_other_flat(store: Store) -> None:
    put(store, VAE, 87.0, LONG, falls=0.0)
    put(store, LVDAE, 86.0, LONG, falls=5.0)
    assert part_of(store, "1", "binary-mnist, m = 16", "standard").verdict is Verdict.NOT_COMPARABLE


def test_length_counts_in_steps_too(store: Store) -> None:
    """1000 epochs of one step are 1000 steps, of the paper's 50000: their curve has to be flat, and they say so."""
    one = PAPER.model_copy(update={"batch_size": 50_000})
    put(store, VAE, 87.3, one, falls=0.1)
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is Verdict.NOT_COMPARABLE
    assert "1000 epochs of 1 step (the paper: 1000 epochs of 50)" in finding.reason
    put(store, VAE, 87.3, one)
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and "1000 epochs of 1 step (the paper: 1000 epochs of 50)" in finding.evidence
    put(store, VAE, 87.3)
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and "epochs" not in finding.evidence


def test_the_best_of_several_cells_pays_for_the_choice() -> None:
    differences = mean_of([-0.9, -0.3, -0.1])
    one_of_one, best_of_two = differences.interval(0.95), differences.interval(0.975)
    assert one_of_one and best_of_two and one_of_one[1] < 0.8 < best_of_two[1]
    assert below(differences, 0.8) is Verdict.REPRODUCED
    assert below(differences, 0.8, choices=2) is Verdict.TOO_CLOSE


def test_another_network_is_not_the_papers(store: Store) -> None:
    nice = Cell("continuous-mnist", "nice", 784)
    put(store, nice, -2000.0, exact=True, hyperparameters={"coupling_hidden_size": 512})
    finding = judge_cell(cell_of(store, nice, "paper"), "nll")
    assert finding and finding.verdict is Verdict.NOT_COMPARABLE and "512, 1024 in the paper" in finding.reason


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"hidden_size": 1}, "hidden_size 1, 32 to 1024 in the paper"),
        ({"residual_blocks": 4}, "residual_blocks 4, 1 to 3 in the paper"),
        ({"hidden_size": "wide"}, "hidden_size wide, 32 to 1024 in the paper"),  # in a record from elsewhere
        ({"hidden_size": 32, "residual_blocks": 3}, ""),
    ],
)
def test_a_network_outside_what_the_paper_searched_is_not_the_papers(store: Store, size: Any, said: str) -> None:
    put(store, VAE, 130.0, hyperparameters=size)
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is (Verdict.NOT_COMPARABLE if said else Verdict.NOT_REPRODUCED)
    assert finding.reason.startswith(said)


def test_what_diverged_is_not_run(store: Store) -> None:
    put(store, VAE, 87.3, diverged=True)
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is Verdict.NOT_RUN
    put(store, VAE, 87.3)
    publish(store, "table2", "paper", VAE.slug, [made_up_record(VAE, 0, PAPER, diverged=True)])
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is Verdict.REPRODUCED and "1 more diverged" in finding.evidence
    publish(store, "table2", "paper", VAE.slug, [made_up_record(VAE, seed, PAPER, diverged=True) for seed in (1, 2)])
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is Verdict.NOT_COMPARABLE and "3 of 6 seeds diverged" in finding.evidence


def test_a_row_without_records_is_not_run(store: Store) -> None:
    put(store, VAE, 87.3)
    (sheet,) = sheets_of(select(load_runs(store)))
    found = {row.latents + row.method: judge_row(row, "nll") for row in sheet.rows}
    assert len(found) == 10 and all(found.values())
    assert [name for name, each in found.items() if each.verdict is not Verdict.NOT_RUN] == ["16VAE"]


# -- the order of a table's rows -------------------------------------------------------------------------------------


def test_both_numbers_can_be_the_papers_and_their_order_turned(store: Store) -> None:
    """The paper: VAE 87.17, L-VDAE 86.07; the margin is 1 nat."""
    put(store, VAE, 86.6)
    put(store, LVDAE, 86.7)
    (sheet,) = sheets_of(select(load_runs(store)))
    vae, lvdae, *others = sheet.rows
    for row in (vae, lvdae):
        number, order = judge_row(row, "neg_elbo"), judge_order(row, sheet.rows, "neg_elbo")
        assert number and number.verdict is Verdict.REPRODUCED
        assert order and order.verdict is Verdict.NOT_REPRODUCED and "L-VDAE minus VAE" in order.evidence
        assert order.estimate and order.estimate.mean == pytest.approx(0.1)
    assert {judge_order(row, sheet.rows, "nll").verdict for row in others} == {Verdict.NOT_RUN}
    put(store, LVDAE, 86.0)
    (sheet,) = sheets_of(select(load_runs(store)))
    order = judge_order(sheet.rows[0], sheet.rows, "neg_elbo")
    assert order and order.verdict is Verdict.REPRODUCED


def test_rows_with_unequal_hyperparameters_have_no_order(store: Store) -> None:
    put(store, VAE, 87.0)
    put(store, LVDAE, 86.0, hyperparameters={"learning_rate": 1e-5})
    (sheet,) = sheets_of(select(load_runs(store)))
    order = judge_order(sheet.rows[0], sheet.rows, "neg_elbo")
    assert order and order.verdict is Verdict.NOT_COMPARABLE and "unequal learning_rate" in order.reason


@pytest.mark.usefixtures("blank_pictures")
def test_wherever_a_number_is_judged_its_order_stands_beside_it(store: Store, reports: Path) -> None:
    put(store, VAE, 86.6)
    put(store, LVDAE, 86.7)
    written = {each.path.name: each.path for each in build_reports(store, reports, formats=("md", "csv"))}
    page = table_with(written["table2.md"].read_text(), "the paper's number?")
    at_16 = [row for row in page if row["latents"] == "16" and row["score"] == "-ELBO"]
    assert [row["the paper's number?"] for row in at_16] == ["reproduced"] * 2
    assert [row["the paper's order?"] for row in at_16] == ["not reproduced"] * 2
    frame = pd.read_csv(written["table2.csv"]).set_index(["latents", "method", "score"])
    assert frame.loc[("16", "VAE", "neg_elbo")].order_verdict == "not reproduced"
    said = explain(store, VAE.slug)
    assert "the paper's: reproduced" in said and "the paper's order: not reproduced, +0.10" in said


def test_rows_of_one_size_are_ordered_three_at_a_time(store: Store) -> None:
    for method, neg_elbo in (("lvdae-nice", -600.0), ("vdae-resnet", -700.0)):
        put(store, Cell("continuous-mnist", method, 784), neg_elbo)
    put(store, Cell("continuous-mnist", "nice", 784), -2000.0, exact=True)
    (sheet,) = sheets_of(select(load_runs(store)))
    row = next(row for row in sheet.rows if row.ran and row.ran.cell.method == "nice")
    order = judge_order(row, sheet.rows, "nll")
    assert order and order.verdict is Verdict.REPRODUCED and order.evidence.count("beside") == 2


# -- claims ----------------------------------------------------------------------------------------------------------


def put_both_tables(
    store: Store, gap: float = -1.0, protocol: Protocol = PAPER, falls: float = 0.0, **odd: float
) -> None:
    """VAE and L-VDAE at every m of both data sets, `gap` nats apart; `odd` has the gap of a single binary m."""
    for dataset in ("continuous-mnist", "binary-mnist"):
        for place, m in enumerate(LATENTS):
            base = 90.0 - 2 * place - (1000 * (dataset == "continuous-mnist"))
            here = odd.get(f"m{m}", gap) if dataset == "binary-mnist" else gap
            put(store, Cell(dataset, "vae", m), base, protocol, falls)
            put(store, Cell(dataset, "lvdae", m), base + here, protocol, falls)


def part(label: str, verdict: Verdict, *differences: float, bound: float = 0.0) -> tuple[str, Finding]:
    estimate = mean_of(list(differences)) if differences else None
    return label, Finding(verdict, NATS, estimate, "why", bound=bound)


def test_a_claims_row_shows_what_is_for_it_and_against_it_and_counts_the_rest() -> None:
    undecided = Verdict.NOT_COMPARABLE
    parts = (
        part("weak", undecided, -1.0, -3.0),
        part("strong", undecided, -4.0, -4.1),
        part("alone", undecided, 7.0),
        part("against", undecided, 2.0, 2.1),
        part("gone", Verdict.NOT_RUN),
    )
    (claim,) = (each for each in CLAIMS if each.id == "16")
    said = claim_row(Judgement(claim, Verdict.NOT_COMPARABLE, "", parts))[3]
    assert [said.find(f"{label}: ") >= 0 for label, _ in parts] == [False, True, False, True, False]
    assert said.endswith(", and 3 parts more")
    shown = claims_text([Judgement(claim, Verdict.NOT_COMPARABLE, "", parts)])
    assert "against: " in shown and "alone: " not in shown
    # A difference is beside its bound: below zero, and yet against.
    two = (part("below", undecided, -1.5, -1.6, bound=-1.0), part("above", undecided, -0.5, -0.6, bound=-1.0), *parts)
    assert [label for label, _ in for_and_against(two)][:4] == ["strong", "against", "below", "above"]
    # What decides is stronger than what does not, and a part with the claim's verdict is always there.
    decided = (part("yes", Verdict.REPRODUCED, -1.0, -1.4), *parts)
    said = claim_row(Judgement(claim, Verdict.NOT_RUN, "", decided))[3]
    assert said.startswith("yes: reproduced, -1.20 ") and "; against: " in said
    assert said.endswith("; gone: why, and 3 parts more")
    assert claim_row(Judgement(claim, Verdict.NOT_COMPARABLE, "a tally", parts[2:3]))[3].startswith("a tally; alone: ")


def test_claims_are_judged_part_by_part(store: Store) -> None:
    put_both_tables(store)
    found = verdicts(store)
    assert {id_: found[id_] for id_ in ("1", "2", "3", "12")} == dict.fromkeys(
        ("1", "2", "3", "12"), Verdict.REPRODUCED
    )
    assert {found[id_] for id_ in ("4a", "4b", "5", "6", "7a", "7b", "8", "9", "10", "11")} == {Verdict.NOT_RUN}
    assert {found[id_] for id_ in ("13", "14", "15")} == {Verdict.REPRODUCED}


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ({"m64": 1.0}, Verdict.NOT_REPRODUCED),
        ({"protocol": LONG, "falls": 0.02}, Verdict.REPRODUCED),
        ({"protocol": LONG, "falls": 0.1}, Verdict.NOT_COMPARABLE),
        ({"gap": 1.0}, Verdict.NOT_REPRODUCED),
    ],
)
def test_records_altered_change_the_verdict(store: Store, words: dict[str, Any], verdict: Verdict) -> None:
    put_both_tables(store, **words)
    assert verdicts(store, words.get("protocol", PAPER).name)["1"] is verdict


def put_figure1(store: Store, coupled_lowest: float) -> None:
    """Decoupled decoders at 6 bits/dim at every sigma; the coupled one at 9, but at the smallest sigma."""
    bit = 784 * math.log(2)
    short = LONG.model_copy(update={"epochs": 12})
    for level in LOG_SIGMAS:
        coupled = coupled_lowest if level == LOG_SIGMAS[0] else 9.0
        cells = {noise_cell(method, level, options): 6.0 + 0.6 * max(level, -2.0) for _, method, options in DECOUPLED}
        for cell, bits in {**cells, noise_cell("vdae-coupled", level, {}): coupled}.items():
            neg_elbo = bit * (bits - 8)
            records = [
                made_up_record(cell, s, short, nll_nats=neg_elbo - 4 + SPREAD[s], curve=flat(neg_elbo, 12))
                for s in range(2)
            ]
            publish(store, "figure1", "standard", cell.slug, records)


def test_figure_1_holds_at_every_sigma_or_at_large_ones_alone(store: Store) -> None:
    put_figure1(store, coupled_lowest=9.0)
    found = verdicts(store, "standard")
    assert {found[id_] for id_ in ("7a", "7b", "8")} == {Verdict.REPRODUCED}
    put_figure1(store, coupled_lowest=3.0)
    found = verdicts(store, "standard")
    assert (found["7a"], found["7b"]) == (Verdict.NOT_REPRODUCED, Verdict.REPRODUCED)


def test_a_papers_sweeps_override_is_evidence_under_its_protocol() -> None:
    folder = folder_of("figure1", "quick")
    assert folder.startswith("quick+") and claims_protocol("figure1", folder) == "quick"
    noise = folder_of("evidence/noise", "standard")
    assert noise.startswith("standard+") and claims_protocol("noise", noise) == "standard"
    assert claims_protocol("table1", "quick+01234567") == "quick+01234567"
    assert claims_protocol("mini", "quick") == "quick" and claims_protocol("mini", "quick+01234567") is None


def test_claims_find_their_records_wherever_they_lie(store: Store) -> None:
    for cell, neg_elbo in ((VAE, 87.0), (LVDAE, 86.0)):
        records = [
            made_up_record(cell, seed, PAPER, nll_nats=neg_elbo - 4 + SPREAD[seed], curve=flat(neg_elbo, PAPER.epochs))
            for seed in range(3)
        ]
        publish(store, "mine", "paper", cell.slug, records)
    for protocol in ("paper", None):
        finding = part_of(store, "1", "binary-mnist, m = 16", protocol)
        assert finding.verdict is Verdict.REPRODUCED and finding.source == "mine/paper"


def test_cells_of_one_sweep_are_compared_before_cells_of_two(store: Store) -> None:
    """A lone VAE in the paper's sweep does not take the place of the one that ran beside its L-VDAE."""
    put(store, VAE, 80.0)
    for cell, neg_elbo in ((VAE, 87.0), (LVDAE, 86.0)):
        records = [made_up_record(cell, seed, PAPER, nll_nats=neg_elbo - 4 + SPREAD[seed]) for seed in range(3)]
        publish(store, "mine", "paper", cell.slug, records)
    finding = part_of(store, "1", "binary-mnist, m = 16")
    assert finding.estimate and finding.estimate.mean == pytest.approx(-1.0) and finding.source == "mine/paper"


def test_without_a_protocol_the_best_evidence_is_named_even_if_it_decides_nothing(store: Store) -> None:
    put_both_tables(store, protocol=LONG, falls=1.0)
    put(store, VAE, 87.0)
    claim = claim_of(store, "1", None)
    assert claim.verdict is Verdict.NOT_COMPARABLE
    sources = {finding.source for _, finding in claim.parts}
    assert sources == {"table1/standard", "table2/standard"}
    assert claim_of(store, "1", "paper").verdict is Verdict.NOT_RUN
    # What decides goes before what is longer, and what is there before what is not.
    put_both_tables(store, protocol=LONG, falls=0.0)
    put(store, LVDAE, 88.0, PAPER, seeds=1)
    finding = part_of(store, "1", "binary-mnist, m = 16", None)
    assert finding.source == "table2/paper" and finding.verdict is Verdict.TOO_CLOSE
    assert part_of(store, "1", "binary-mnist, m = 32", None).source == "table2/standard"


def test_what_is_missing_names_what_is_there(store: Store) -> None:
    for m in LATENTS[:3]:
        put(store, Cell("binary-mnist", "vae", m), 87.0, LONG)
    put(store, VAE, 87.0)
    finding = part_of(store, "12", "vae, slope for each doubling of m", None)
    assert finding.verdict is Verdict.NOT_RUN
    assert finding.evidence == "binary-mnist_vae_128 has not run; 3 of 4 cells ran (standard)"


def test_a_protocol_that_nothing_knows_is_refused(store: Store) -> None:
    put(store, VAE, 87.0)
    assert claim_of(store, "1", "smoke").verdict is Verdict.NOT_RUN
    with pytest.raises(UserError, match="there is no protocol 'papr'"):
        judge_claims(load_runs(store), "papr")


# -- what the two sides of a claim have to share ---------------------------------------------------------------------


def put_pair(store: Store, **lvdae: Any) -> None:
    """VAE and an L-VDAE that is better by one nat, which has something of its own."""
    put(store, VAE, 87.0)
    put(store, LVDAE, 86.0, **lvdae)


def pair(store: Store) -> Finding:
    return part_of(store, "1", "binary-mnist, m = 16")


def test_a_fair_pair_is_judged(store: Store) -> None:
    put_pair(store)
    assert pair(store).verdict is Verdict.REPRODUCED and pair(store).reason == ""


@pytest.mark.parametrize("cell", [VAE, LVDAE])
def test_a_claim_does_not_pass_over_diverged_seeds(store: Store, cell: Cell) -> None:
    put_pair(store)
    publish(store, "table2", "paper", cell.slug, [made_up_record(cell, seed, PAPER, diverged=True) for seed in (1, 4)])
    assert pair(store).verdict is Verdict.NOT_COMPARABLE
    assert f"2 of 6 seeds of {cell.slug} diverged" in pair(store).reason


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"learning_rate": 1e-5}, "unequal learning_rate: binary-mnist_lvdae_16 1e-05, binary-mnist_vae_16 0.001"),
        ({"hidden_size": 32}, "unequal hidden_size"),
        ({"schedule": "none"}, "unequal schedule"),
        ({"source": "search 0123"}, "were searched, those of binary-mnist_vae_16 were not"),
    ],
)
def test_hyperparameters_come_to_both_sides_alike(store: Store, own: dict[str, Any], why: str) -> None:
    put_pair(store, hyperparameters=own)
    assert pair(store).verdict is Verdict.NOT_COMPARABLE and why in pair(store).reason


def test_a_search_may_give_each_method_its_own_and_says_so(store: Store) -> None:
    put(store, VAE, 87.0, hyperparameters={"learning_rate": 1e-4, "source": "search 0123"})
    put(store, LVDAE, 86.0, hyperparameters={"source": "search 4567"})
    assert pair(store).verdict is Verdict.REPRODUCED
    assert "hyper-parameters searched for each method" in pair(store).reason


def test_searches_of_two_sweeps_are_not_one(store: Store) -> None:
    put(store, VAE, 87.0, hyperparameters={"source": "search 0123"})
    records = [
        made_up_record(LVDAE, seed, PAPER, nll_nats=82 + SPREAD[seed], hyperparameters={"source": "search 4567"})
        for seed in range(6)
    ]
    publish(store, "mine", "paper", LVDAE.slug, records)
    assert pair(store).verdict is Verdict.NOT_COMPARABLE and "different sweeps" in pair(store).reason


def put_searched(store: Store, cell: Cell, neg_elbo: float, winner: Winner, **own: Any) -> None:
    """Four seeds of a cell at a search's winner, and the winner's file; `own` are hyper-parameters of no search."""
    folder = store.searches("binary", "standard")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{winner.slug}.json").write_text(winner_json(winner))
    used = {**winner.chosen, **own, "source": winner.source}
    curve = flat(neg_elbo, LONG.epochs)
    records = [
        made_up_record(cell, seed, LONG, nll_nats=neg_elbo - 4 + SPREAD[seed], curve=curve, hyperparameters=used)
        for seed in range(4)
    ]
    publish(store, "binary", "standard", cell.slug, records)


@pytest.mark.parametrize(("trials", "verdict"), [(3, Verdict.REPRODUCED), (2, Verdict.NOT_COMPARABLE)])
def test_a_search_of_more_trials_is_not_the_same(store: Store, trials: int, verdict: Verdict) -> None:
    spec = load_spec(find_spec("evidence/binary"))
    point = {"learning_rate": 1e-3, "schedule": "linear", "adam_beta2": 0.999, "adam_eps": 1e-8}
    for study in studies_of(spec):
        cell = VAE if study.cell.method == "vae" else LVDAE
        count = 3 if cell is VAE else trials
        winner = made_up_winner(study, [{**point, "hidden_size": 64, "residual_blocks": 1}] * count)
        put_searched(store, cell, 87.0 if cell is VAE else 86.0, winner)
    finding = part_of(store, "1", "binary-mnist, m = 16", "standard")
    assert finding.verdict is verdict
    assert ("searches of 2 trials of 4 epochs and 3 trials of 4 epochs" in finding.reason) == (trials == 2)


@pytest.mark.parametrize(("sizes", "verdict"), [((64, 64), Verdict.REPRODUCED), ((64, 32), Verdict.NOT_COMPARABLE)])
def test_what_no_search_chose_is_equal_all_the_same(store: Store, sizes: tuple[int, int], verdict: Verdict) -> None:
    for study in studies_of(load_spec(find_spec("evidence/binary"))):
        study = replace(study, space={"learning_rate": study.space["learning_rate"]})
        place = ("vae", "lvdae").index(study.cell.method)
        winner = made_up_winner(study, [{"learning_rate": 1e-3 / (1 + place)}])
        put_searched(store, (VAE, LVDAE)[place], 87.0 - place, winner, hidden_size=sizes[place])
    finding = part_of(store, "1", "binary-mnist, m = 16", "standard")
    assert finding.verdict is verdict
    assert ("unequal hidden_size: binary-mnist_lvdae_16 32" in finding.reason) == (len(set(sizes)) == 2)


@pytest.mark.parametrize(
    ("rate", "epochs", "why"),
    [
        (1e-9, 50, "the validation curve is too short to say"),
        (1e-5, 50, "the validation curve is too short to say"),  # within the paper's range, on the first plateau
        (1e-3, 50, ""),
        (1e-5, 300, ""),
    ],
)
def test_a_curve_that_is_flat_because_nothing_is_learned_decides_nothing(
    store: Store, rate: float, epochs: int, why: str
) -> None:
    long = LONG.model_copy(update={"epochs": epochs})
    put(store, VAE, 206.0, long, hyperparameters={"learning_rate": rate, "schedule": "none"})
    finding = judge_cell(cell_of(store, VAE, "standard"), "neg_elbo")
    assert finding and why in finding.reason
    assert finding.verdict is (Verdict.NOT_COMPARABLE if why else Verdict.NOT_REPRODUCED)


def test_methods_at_their_own_defaults_are_alike(store: Store) -> None:
    """What the two methods of claim 5 share they may have at different values, where the paper has."""
    nice = Cell("continuous-mnist", "nice", 784)
    put(store, nice, -2000.0, exact=True)
    for method in ("vae", "lvdae"):
        put(store, Cell("continuous-mnist", method, 16), -900.0)
    assert part_of(store, "6", "vae m = 16").verdict is Verdict.REPRODUCED


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({"git_commit": "f" * 40}, "records of commits 01234567 and ffffffff"),
        ({"git_dirty": True}, "records of commits 01234567 and 01234567 with changes"),
        ({"torch": "1.0"}, "torch 1.0 and 2.11.0"),
    ],
)
def test_another_origin_is_said_and_decides_all_the_same(store: Store, origin: dict[str, Any], said: str) -> None:
    put_pair(store, provenance=origin)
    assert pair(store).verdict is Verdict.REPRODUCED and said in pair(store).evidence


@pytest.mark.parametrize("own", [{"hyperparameters": {"learning_rate": 1e-4}}, {"provenance": {"plugin_sha256": "a"}}])
def test_seeds_that_may_not_stand_with_a_cells_others_are_in_no_verdict_and_named(
    store: Store, own: dict[str, Any]
) -> None:
    put_pair(store)
    started = {"started_at": "2020-01-01T00:00:00+00:00"}
    own = {**own, "provenance": {**own.get("provenance", {}), **started}}
    odd = [made_up_record(LVDAE, seed, PAPER, nll_nats=99.0, **own) for seed in (4, 5)]
    publish(store, "table2", "paper", LVDAE.slug, odd)
    number = judge_cell(cell_of(store, LVDAE, "paper"), "neg_elbo")
    assert pair(store).estimate and pair(store).estimate.count == 4 and number and number.estimate.count == 4
    assert all(f"2 seeds of {LVDAE.slug} left out: " in finding.reason for finding in (pair(store), number))


def test_seeds_of_several_versions_of_a_method_are_in_no_mean_together(store: Store) -> None:
    put(store, VAE, 87.0)
    newer = [made_up_record(VAE, seed, PAPER).model_copy(update={"method_version": 2}) for seed in (4, 5)]
    publish(store, "table2", "paper", VAE.slug, newer)
    assert [len(each) for each in (select(load_runs(store)).runs, select(load_runs(store)).left_out)] == [2, 4]


def test_plug_ins_of_different_bytes_on_two_sides_are_not_compared() -> None:
    cells = [
        CellRuns(
            cell, (Run(Path("x"), "a", "b", made_up_record(cell, 0, PAPER, provenance={"plugin_sha256": digest})),)
        )
        for cell, digest in ((VAE, "a"), (Cell("binary-mnist", "vae", 32), "b"))
    ]
    assert why_unequal(cells) == "vae is from plug-ins of different bytes"


def test_code_changed_after_its_commit_and_earlier_parts_are_said(store: Store) -> None:
    put(store, VAE, 87.0, provenance={"git_dirty": True})
    put(store, LVDAE, 86.0, provenance={"git_dirty": True})
    assert pair(store).reason == "commit 01234567 with changes"
    whole = {"git_commit": "0123456789", "torch": "2.11.0", "device": "cpu"}
    put_pair(store, provenance={"parts": [{**whole, "git_commit": "e" * 40, "device": "cuda"}, whole]})
    put(store, VAE, 87.0)
    assert pair(store).reason == "records of commits 01234567 and eeeeeeee; records of devices cpu and cuda"


def test_better_evidence_that_is_refused_is_not_passed_over_in_silence(store: Store) -> None:
    put(store, VAE, 87.0, LONG)
    put(store, LVDAE, 86.0, LONG)
    put_pair(store)
    for lost, said, where in ((5, "5 of 6 seeds of", "table2/paper"), (6, "all seeds of", "paper")):
        diverged = [made_up_record(LVDAE, seed, PAPER, diverged=True) for seed in range(lost)]
        publish(store, "table2", "paper", LVDAE.slug, diverged)
        finding = part_of(store, "1", "binary-mnist, m = 16", None)
        assert finding.source == "table2/standard"
        assert f"passed over: {said} {LVDAE.slug} diverged ({where})" in finding.reason


def test_another_version_or_other_data_refuse(store: Store) -> None:
    put_pair(store, provenance={"dataset_sha256": "other"})
    assert pair(store).verdict is Verdict.NOT_COMPARABLE and "data" in pair(store).reason
    versions = [made_up_record(VAE, seed, PAPER).model_copy(update={"method_version": seed}) for seed in (1, 2)]
    cell = CellRuns(VAE, tuple(Run(Path(f"{seed}"), "a", "b", each) for seed, each in enumerate(versions)))
    assert why_unequal([cell]) == "vae ran in versions 1 and 2"


def test_seeds_are_paired_by_number_not_by_rank(store: Store) -> None:
    """Seeds 0 to 5 and 1 to 6: the five that both have differ by exactly one nat, ranks do not."""
    put(store, VAE, 87.0)
    level = {seed: 83.0 + SPREAD[seed] for seed in range(6)} | {6: 90.0}
    store_records = [made_up_record(LVDAE, seed, PAPER, nll_nats=level[seed] - 1) for seed in range(1, 7)]
    publish(store, "table2", "paper", LVDAE.slug, store_records)
    finding = pair(store)
    assert finding.estimate and finding.estimate.mean == pytest.approx(-1.0) and finding.estimate.count == 5
    assert "of 6, those that all cells have" in finding.reason


def test_the_slope_is_of_a_doubling(store: Store) -> None:
    for m, neg_elbo in zip(LATENTS, (90.0, 88.0, 86.0, 84.0), strict=True):
        put(store, Cell("binary-mnist", "vae", m), neg_elbo)
    finding = part_of(store, "12", "vae, slope for each doubling of m")
    assert finding.estimate and finding.estimate.mean == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("fall", "verdict"), [(1.2, Verdict.REPRODUCED), (0.8, Verdict.NOT_REPRODUCED), (0.3, Verdict.NOT_REPRODUCED)]
)
def test_quickly_is_half_a_bit_for_each_unit_of_log_sigma(store: Store, fall: float, verdict: Verdict) -> None:
    for method in ("vdae-nice", "vdae-resnet"):
        for level, bits in ((0.0, 7.0), (-2.0, 7.0 - fall)):
            cell = noise_cell(method, level, {})
            nats = 784 * math.log(2) * (bits - 8)
            records = [made_up_record(cell, seed, PAPER, nll_nats=nats - 4 + SPREAD[seed]) for seed in range(3)]
            publish(store, "figure1", "paper", cell.slug, records)
    assert verdicts(store)["8"] is verdict
    other = [made_up_record(cell, seed, PAPER, hyperparameters={"learning_rate": 1e-5}) for seed in range(3)]
    publish(store, "figure1", "paper", cell.slug, other)
    (decided, refused) = (finding for _, finding in claim_of(store, "8").parts)
    assert refused.verdict is Verdict.NOT_COMPARABLE and refused.estimate
    assert decided.bound == refused.bound == -1.0


@pytest.mark.parametrize(("gap", "verdict"), [(-5.0, Verdict.REPRODUCED), (5.0, Verdict.NOT_REPRODUCED)])
def test_claim_5_is_that_vdae_is_the_better(store: Store, gap: float, verdict: Verdict) -> None:
    for dataset in ("continuous-mnist", "binary-mnist"):
        put(store, Cell(dataset, "lvdae-nice", 784), 100.0)
        put(store, Cell(dataset, "vdae-resnet", 784), 100.0 + gap)
    assert verdicts(store)["5"] is verdict


def test_a_difference_within_the_spread_of_seeds_is_too_close(store: Store) -> None:
    put_both_tables(store)
    noisy = [made_up_record(LVDAE, seed, PAPER, nll_nats=86 + (-1.5) ** seed) for seed in range(6)]
    publish(store, "table2", "paper", LVDAE.slug, noisy)
    assert verdicts(store)["1"] is Verdict.TOO_CLOSE


def test_differences_are_paired_by_seed(store: Store) -> None:
    """Seeds differ by 0.4 nats and the gap is 0.05, the same in every seed: pairing decides it."""
    put(store, VAE, 87.0)
    put(store, LVDAE, 86.95)
    claim = next(each for each in judge_claims(load_runs(store), "paper") if each.claim.id == "1")
    part = dict(claim.parts)["binary-mnist, m = 16"]
    assert part.verdict is Verdict.REPRODUCED
    assert part.estimate and part.estimate.mean == pytest.approx(-0.05)


def test_a_part_that_is_against_a_claim_overturns_it_before_all_ran(store: Store) -> None:
    put(store, VAE, 86.0)
    put(store, LVDAE, 88.0)
    assert verdicts(store)["1"] is Verdict.NOT_REPRODUCED


def test_protocols_do_not_meet_in_a_comparison(store: Store) -> None:
    put(store, Cell("continuous-mnist", "vdae-resnet", 784), -900.0)
    samples(store, "table1", RESNET, 10.0)
    other = PAPER.model_copy(update={"epochs": 2000})
    for level in ARMS[0][2]:
        fixed = noise_cell("vdae-resnet", level, {})
        publish(store, "figure4", "paper", fixed.slug, [made_up_record(fixed, seed, other) for seed in range(3)])
        samples(store, "figure4", fixed, 5.0)
    claim = next(each for each in judge_claims(load_runs(store), "paper") if each.claim.id == "11")
    finding = dict(claim.parts)["best fixed sigma below the model as it is"]
    assert finding.verdict is Verdict.NOT_COMPARABLE and "different protocols" in finding.reason


def test_a_cell_whose_records_stand_beside_no_others_is_not_comparable(store: Store) -> None:
    put(store, VAE, 87.0)
    put(store, Cell("binary-mnist", "vae", 32), 87.0)
    put(store, LVDAE, 86.0, PAPER.model_copy(update={"batch_size": 500}))
    claim = next(each for each in judge_claims(load_runs(store), "paper") if each.claim.id == "1")
    finding = dict(claim.parts)["binary-mnist, m = 16"]
    assert finding.verdict is Verdict.NOT_COMPARABLE and "another content of the protocol" in finding.reason


def samples(
    store: Store,
    sweep: str,
    cell: Cell,
    frechet: float,
    seeds: int = 3,
    run_digest: str = "",
    change: dict[str, Any] | None = None,
) -> None:
    """Numbers of the samples of each seed's run, or of another run."""
    for seed in range(seeds):
        path = store.path(sweep, "paper", cell.slug, seed)
        record = store.read(path)
        assert record
        quality = QUALITY.model_copy(update={"frechet": frechet + 0.1 * SPREAD[seed], **(change or {})})
        numbers = Numbers(
            run_digest=run_digest or record.run_digest,
            quality={"means": quality, "drawn": QUALITY},
            image_shape=(28, 28),
            seconds=0.1,
        )
        write_evidence(path, Evidence(numbers, {}))


def put_levels(store: Store, frechet: dict[float, float], seeds: int = 3) -> None:
    for level, value in frechet.items():
        cell = noise_cell("vdae-resnet", level, {})
        publish(store, "figure4", "paper", cell.slug, [made_up_record(cell, seed, PAPER) for seed in range(seeds)])
        samples(store, "figure4", cell, value, seeds)


BOWL = {level: 9.0 + level**2 for level in SAMPLED_LOG_SIGMAS} | {1.0: 50.0}


def test_sample_claims_read_what_was_measured_on_samples(store: Store) -> None:
    put(store, RESNET, -900.0)
    samples(store, "table1", RESNET, 30.0)
    put_levels(store, BOWL)
    assert claim_of(store, "9").verdict is Verdict.REPRODUCED
    assert part_of(store, "11", "best fixed lambda below the model as it is").verdict is Verdict.NOT_RUN
    for _, option, values in ARMS[1:]:
        for value in values:
            arm = Cell("continuous-mnist", "vdae-resnet", 784, ((option, value),))
            publish(store, "sample-arms", "paper", arm.slug, [made_up_record(arm, seed, PAPER) for seed in range(3)])
            samples(store, "sample-arms", arm, 20.0 + value)
    assert verdicts(store)["11"] is Verdict.REPRODUCED
    for value in ARMS[2][2]:
        samples(store, "sample-arms", Cell("continuous-mnist", "vdae-resnet", 784, (("kl_weight", value),)), 35.0)
    assert verdicts(store)["11"] is Verdict.NOT_REPRODUCED
    put_levels(store, {1.0: 5.0})
    assert verdicts(store)["9"] is Verdict.NOT_REPRODUCED
    samples(store, "figure4", noise_cell("vdae-resnet", 1.0, {}), 5.0, run_digest="of another run")
    assert verdicts(store)["9"] is Verdict.NOT_COMPARABLE  # without that level, 0 is no end


@pytest.mark.parametrize("levels", [(-6.0, -5.0, -4.0), SAMPLED_LOG_SIGMAS[1:], SAMPLED_LOG_SIGMAS[:3]])
def test_the_ends_of_what_ran_are_not_the_ends_of_the_range(store: Store, levels: tuple[float, ...]) -> None:
    """A dent in the middle of a part of the levels: the claim is about all that Figure 4 shows."""
    put_levels(store, {level: 10.0 if level == levels[1] else 40.0 for level in levels})
    assert claim_of(store, "9").verdict in (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE)
    assert part_of(store, "9", "best inside below log sigma = 1").verdict is Verdict.NOT_RUN or levels[-1] == 1


def test_samples_of_a_run_that_overfits_decide_nothing(store: Store) -> None:
    """Its scores are known at its best epoch, and its samples at the last one alone."""
    put_levels(store, BOWL)
    assert claim_of(store, "9").verdict is Verdict.REPRODUCED
    cell = noise_cell("vdae-resnet", 0.0, {})
    rising = [100.0] * 500 + list(np.linspace(100, 140, 500))
    records = [made_up_record(cell, seed, PAPER, curve=rising) for seed in range(3)]
    best = [
        each.model_copy(update={"metrics": each.metrics.model_copy(update={"test_at_best_epoch": each.metrics.test})})
        for each in records
    ]
    publish(store, "figure4", "paper", cell.slug, best)
    samples(store, "figure4", cell, BOWL[0.0], 3)
    found = claim_of(store, "9")
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert any("overfits, and its samples are those of the last epoch" in part.reason for _, part in found.parts)


def test_a_part_of_an_arm_is_no_arm(store: Store) -> None:
    put(store, RESNET, -900.0)
    samples(store, "table1", RESNET, 30.0)
    put_levels(store, {0.0: 10.0})
    found = part_of(store, "11", "best fixed sigma below the model as it is")
    assert found.verdict is Verdict.NOT_RUN and "log_sigma--1" in found.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"samples": 500}, "500 and 2000 samples"),
        ({"classifier": "1" * 12}, "classifiers"),
        ({"view": "binary"}, "views"),
    ],
)
def test_samples_are_compared_in_equal_numbers_by_one_classifier(
    store: Store, change: dict[str, Any], why: str
) -> None:
    """At the level that is not the lowest too: the Frechet distance is too high by more, the fewer the samples."""
    put_levels(store, BOWL)
    assert claim_of(store, "9").verdict is Verdict.REPRODUCED
    samples(store, "figure4", noise_cell("vdae-resnet", -3.0, {}), 60.0, change=change)
    claim = claim_of(store, "9")
    assert claim.verdict is Verdict.NOT_COMPARABLE and all(why in finding.reason for _, finding in claim.parts)


def test_numbers_that_name_no_run_are_no_evidence(store: Store) -> None:
    """As figures and tables of samples take them: one reader."""
    learned = Cell("continuous-mnist", "vdae-resnet", 784)
    put(store, learned, -900.0, seeds=3)
    samples(store, "table1", learned, 30.0)
    assert learned in evidence(load_runs(store), "paper").samples
    for seed in range(3):
        path = evidence_paths(store.path("table1", "paper", learned.slug, seed))[1]
        content = json.loads(path.read_text())
        del content["run_digest"]
        path.write_text(json.dumps(content))
    assert not evidence(load_runs(store), "paper").samples
