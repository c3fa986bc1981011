"""Verdicts: made-up records that must get each of them, intervals against scipy's own tests."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.support.records import QUALITY, made_up_record, publish
from vdae_bench.paper.claims import DECOUPLED, LATENTS, LOG_SIGMAS, noise_cell
from vdae_bench.paper.published import PrintedValue
from vdae_bench.report.numbers.claims import claims_protocol, evidence, folder_of, judge_claims
from vdae_bench.report.numbers.rows import sheets_of
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.statistics import CellRuns, difference_to_printed, mean_of, summarise
from vdae_bench.report.numbers.verdict import Verdict, below, judge_cell, judge_row
from vdae_bench.spec.protocol import Protocol, load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Numbers, write_evidence
from vdae_bench.store.layout import evidence_paths
from vdae_bench.store.records import Store

PAPER = load_protocol("paper")
LONG = load_protocol("standard")
VAE, LVDAE = Cell("binary-mnist", "vae", 16), Cell("binary-mnist", "lvdae", 16)
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


def verdicts(store: Store, protocol: str = "paper") -> dict[str, Verdict]:
    return {each.claim.id: each.verdict for each in judge_claims(load_runs(store), protocol)}


# -- intervals -------------------------------------------------------------------------------------------------------


def test_intervals_are_scipys() -> None:
    values = list(np.random.default_rng(1).normal(3, 2, 7))
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_of(values).interval() == pytest.approx((theirs.low, theirs.high))


def test_the_difference_to_a_printed_number_is_welchs() -> None:
    random = np.random.default_rng(2)
    ours, theirs = random.normal(83, 0.3, 5), random.normal(0, 1, 10)
    theirs = 82.0 + 0.18 * (theirs - theirs.mean()) / theirs.std(ddof=1)  # a sample that prints as 82.000 ± 0.18
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    summary = summarise(ours)
    assert summary is not None
    found = difference_to_printed(summary, PrintedValue(value=82.0, plus_minus=0.18, decimals=9), 10).interval()
    assert found == pytest.approx((expected.low, expected.high), abs=1e-8)
    # Without ±: our seeds alone, and half a unit of the last printed digit on both sides.
    alone = stats.ttest_1samp(ours - 82, 0).confidence_interval(0.95)
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


def test_what_diverged_is_not_run(store: Store) -> None:
    put(store, VAE, 87.3, diverged=True)
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is Verdict.NOT_RUN
    put(store, VAE, 87.3)
    publish(store, "table2", "paper", VAE.slug, [made_up_record(VAE, 0, PAPER, diverged=True)])
    finding = judge_cell(cell_of(store, VAE, "paper"), "neg_elbo")
    assert finding and finding.verdict is Verdict.REPRODUCED and "1 more diverged" in finding.evidence


def test_a_row_without_records_is_not_run(store: Store) -> None:
    put(store, VAE, 87.3)
    (sheet,) = sheets_of(select(load_runs(store)))
    found = {row.latents + row.method: judge_row(row, "nll") for row in sheet.rows}
    assert len(found) == 10 and all(found.values())
    assert [name for name, each in found.items() if each.verdict is not Verdict.NOT_RUN] == ["16VAE"]


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


def test_a_sweeps_own_override_is_evidence_under_its_protocol() -> None:
    folder = folder_of("figure1", "quick")
    assert folder.startswith("quick+") and claims_protocol("figure1", folder) == "quick"
    assert claims_protocol("table1", "quick+01234567") == "quick+01234567"
    assert claims_protocol("mini", "quick") is None


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
    fixed = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", -2.0),))
    other = PAPER.model_copy(update={"epochs": 2000})
    publish(store, "figure4", "paper", fixed.slug, [made_up_record(fixed, seed, other) for seed in range(3)])
    for sweep, cell in (("table1", Cell("continuous-mnist", "vdae-resnet", 784)), ("figure4", fixed)):
        samples(store, sweep, cell, 10.0 if sweep == "table1" else 5.0)
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


def samples(store: Store, sweep: str, cell: Cell, frechet: float, seeds: int = 3, run_digest: str = "") -> None:
    """Numbers of the samples of each seed's run, or of another run."""
    for seed in range(seeds):
        path = store.path(sweep, "paper", cell.slug, seed)
        record = store.read(path)
        assert record
        quality = QUALITY.model_copy(update={"frechet": frechet + 0.1 * SPREAD[seed]})
        numbers = Numbers(
            run_digest=run_digest or record.run_digest,
            quality={"means": quality, "drawn": QUALITY},
            image_shape=(28, 28),
            seconds=0.1,
        )
        write_evidence(path, Evidence(numbers, {}))


def test_sample_claims_read_what_was_measured_on_samples(store: Store) -> None:
    learned = Cell("continuous-mnist", "vdae-resnet", 784)
    put(store, learned, -900.0)
    samples(store, "table1", learned, 30.0)
    for level, frechet in ((-6.0, 40.0), (-3.0, 9.0), (-2.0, 10.0), (1.0, 50.0)):
        cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", level),))
        publish(store, "figure4", "paper", cell.slug, [made_up_record(cell, seed, PAPER) for seed in range(3)])
        samples(store, "figure4", cell, frechet)
    found = verdicts(store)
    assert (found["9"], found["11"]) == (Verdict.REPRODUCED, Verdict.NOT_RUN)
    for option, frechet in (("log_lambda", 20.0), ("kl_weight", 25.0)):
        arm = Cell("continuous-mnist", "vdae-resnet", 784, ((option, 4.0),))
        publish(store, "sample-arms", "paper", arm.slug, [made_up_record(arm, seed, PAPER) for seed in range(3)])
        samples(store, "sample-arms", arm, frechet)
    assert verdicts(store)["11"] is Verdict.REPRODUCED
    samples(store, "sample-arms", arm, 35.0)
    assert verdicts(store)["11"] is Verdict.NOT_REPRODUCED
    samples(store, "figure4", cell, 5.0)
    assert verdicts(store)["9"] is Verdict.NOT_REPRODUCED
    samples(store, "figure4", cell, 5.0, run_digest="of another run")
    assert verdicts(store)["9"] is Verdict.REPRODUCED  # without that level, -2 is an end


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
