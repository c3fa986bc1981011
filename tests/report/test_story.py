"""The page about the long runs: every cell of their specs, what is missing, and how `make evidence` runs them."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

from scripts.readme import cost_text, decided_text, rows_of, with_found
from tests.support.markdown_tables import table_with
from tests.support.records import made_up_record, publish
from vdae_bench.report.numbers.chapters import Chapter, Part
from vdae_bench.report.numbers.runs import load_runs
from vdae_bench.report.pages.story import EVIDENCE, EXPERIMENTS, render_story
from vdae_bench.running.cost import price
from vdae_bench.running.plan import cell_plans
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

STANDARD = [part for part in EVIDENCE if part.spec in ("evidence/binary", "evidence/continuous")]
NLL = {("vae", 16): (90.0, 90.2, 90.4), ("lvdae", 16): (89.4, 89.7, 89.7), ("vae", 32): (89.0, 89.1)}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("results"))
    spec = load_spec(find_spec("evidence/binary"))
    for each in cell_plans(spec, store):
        cell, records = each.job.cell, []
        for seed, nll in enumerate(NLL.get((cell.method, cell.latents), ())):
            origin = {"run_digest": each.job.run_digest(seed)}
            records.append(made_up_record(cell, seed, spec.protocol, nll_nats=nll, provenance=origin))
        publish(store, spec.name, spec.protocol.name, cell.slug, records)
    (content,) = render_story(store, Path("reports"), parts=STANDARD).values()
    return content.decode()


def test_without_a_run_of_the_evidence_there_is_no_page(store, reports):
    assert render_story(store, reports) == {}


def test_each_cell_has_a_row_beside_the_papers_numbers(text):
    rows = table_with(text, "the paper's NLL?")
    assert [(row["latents"], row["method"]) for row in rows] == [
        (str(m), method) for m in (16, 32, 64, 128) for method in ("VAE", "L-VDAE")
    ]
    by_name = {(row["method"], row["latents"]): row for row in rows}
    first, part, absent = by_name["VAE", "16"], by_name["VAE", "32"], by_name["L-VDAE", "128"]
    assert first["NLL ours"] == "90.20 ± 0.20" and first["NLL paper"] == "83.46 ± 0.18"
    assert (first["seeds"], part["seeds"], absent["seeds"]) == ("3 of 3", "2 of 3", "0 of 3")
    assert first["the paper's NLL?"] == "not comparable" and absent["the paper's NLL?"] == "missing"
    assert first["TFLOP"] == f"{3 * 2.8:.0f}"
    assert first["hours"] == f"{(30 + 31 + 32 + 3 + 4 + 5 + 6) / 3600:.2f}"


def test_seeds_are_paired_by_number_not_by_rank(store):
    """L-VDAE is 1 nat lower in each seed that both have; the first of one is not the first of the other."""
    level = {0: 90.0, 1: 91.0, 2: 95.0, 3: 80.0}
    part = Part("evidence/binary")
    spec = part.resolved
    for method, seeds, less in (("lvdae", (1, 2, 3), 1.0), ("vae", (0, 1, 2), 0.0)):
        cell = Cell("binary-mnist", method, 16)
        records = [made_up_record(cell, seed, spec.protocol, nll_nats=level[seed] - less) for seed in seeds]
        publish(store, spec.name, spec.protocol.name, cell.slug, records)
    ((*_, paired),) = Chapter(part, store, load_runs(store)).differences()
    assert [each.difference.count for each in paired] == [2, 2]
    assert [each.difference.mean for each in paired] == pytest.approx([-1.0, -1.0])


def test_a_pair_that_may_not_be_compared_is_named(store, reports):
    parts = [Part("evidence/binary")]
    spec = parts[0].resolved
    for method, rate in (("lvdae", 1e-3), ("vae", 1e-5)):
        cell = Cell("binary-mnist", method, 16)
        records = [made_up_record(cell, s, spec.protocol, hyperparameters={"learning_rate": rate}) for s in (0, 1)]
        publish(store, spec.name, spec.protocol.name, cell.slug, records)
    (content,) = render_story(store, reports, parts=parts).values()
    lines = [line for line in content.decode().splitlines() if "unequal learning_rate" in line]
    assert sum("is not a fair pair" in line for line in lines) == 1  # under the first table
    assert sum(line.startswith("- L-VDAE minus VAE at m = 16") for line in lines) == 1  # in the chapter
    assert any(line.startswith("| 1 ") for line in lines)  # claim 1


def test_differences_of_nlls_with_few_effective_samples_are_named_as_of_bounds(store, reports, text):
    parts = [Part("evidence/binary")]
    spec = parts[0].resolved
    for method in ("lvdae", "vae"):
        cell = Cell("binary-mnist", method, 16)
        test = {"effective_sample_size": 9.0, "nll_bias_nats": 0.04}
        publish(store, spec.name, spec.protocol.name, cell.slug, [made_up_record(cell, 0, spec.protocol, test=test)])
    (content,) = render_story(store, reports, parts=parts).values()
    table, _, sentence = content.decode().partition("L-VDAE minus VAE at m = 16")
    assert "only differences of bounds: binary-mnist, m = 16, standard." in table
    assert "with 9.0 effective samples" in sentence
    assert "differences of bounds" not in text


def test_the_lead_of_l_vdae_stands_first_for_every_m(text):
    assert text.index("L-VDAE minus VAE") < text.index("the long runs below")
    rows = {row["latents"]: row for row in table_with(text, "protocol") if row["data"] == "binary-mnist"}
    assert list(rows) == ["16", "32", "64", "128"]
    assert rows["16"]["NLL paper"] == f"-0.78 ± {(0.18**2 + 0.14**2) ** 0.5:.2f}"
    differences = [ours - theirs for ours, theirs in zip(NLL["lvdae", 16], NLL["vae", 16], strict=True)]
    assert rows["16"]["NLL ours"].startswith(f"{statistics.fmean(differences):+.2f} ") and rows["16"]["seeds"] == "3"
    assert all(rows[m]["NLL ours"] == "not run" and rows[m]["seeds"] == "0" for m in ("32", "64", "128"))


@pytest.mark.parametrize(
    ("less", "said"),
    [
        ((1.0, 1.1, 1.2), "These records decide that L-VDAE is ahead on binary-mnist, m = 16 (NLL, -ELBO)."),
        ((-1.0, -1.1, -1.2), "These records decide that L-VDAE is behind on binary-mnist, m = 16 (NLL, -ELBO)."),
        ((-1.0, 1.1, 1.2), "No row is decided yet."),
        ((1.0,), "No row is decided yet."),
    ],
)
def test_the_rows_that_records_of_the_papers_length_decide_are_named(store, reports, text, less, said):
    part = Part("table2", "paper-mixed", seeds=1, search=False, only=("*_vae_16", "*_lvdae_16"))
    spec = part.resolved
    for cell in spec.cells:
        lower = less if cell.method == "lvdae" else [0.0] * len(less)
        records = [made_up_record(cell, s, spec.protocol, nll_nats=84 + 0.1 * s - each) for s, each in enumerate(lower)]
        publish(store, spec.name, spec.protocol.name, cell.slug, records)
    (content,) = render_story(store, reports, parts=[part]).values()
    assert f"\n\n{said}\n\n" in content.decode() and decided_text(content.decode()) == f"{said}\n\n"
    assert "\n\nNo row is decided yet.\n\n" in text  # 50 epochs
    unsearched = "No search chose the hyper-parameters of the runs of 1000 epochs (H = 256, B = 1). The paper searched"
    assert unsearched in content.decode() and unsearched not in text


def test_a_pair_that_ran_nowhere_has_one_row_not_one_for_each_protocol(store, reports):
    parts = [part for part in EVIDENCE if part.spec in ("table2", "evidence/binary")]
    spec = parts[1].resolved
    for cell in spec.cells[:2]:
        publish(store, spec.name, spec.protocol.name, cell.slug, [made_up_record(cell, 0, spec.protocol)])
    (content,) = render_story(store, reports, parts=parts).values()
    rows = [row for row in table_with(content.decode(), "protocol") if row["data"] == "binary-mnist"]
    assert [row["latents"] for row in rows].count("64") == 1
    (line,) = re.findall(r"^- `vdae-bench reproduce table2 .* --seeds 1`: (.*)$", content.decode(), re.MULTILINE)
    assert line.startswith("8 runs, about ") and "without `--seeds` all 80 runs, about " in line


def test_the_difference_is_paired_by_seed(text):
    (said,) = re.findall(r"^- L-VDAE minus VAE at m = 16.*$", text, re.MULTILINE)
    paired = [ours - theirs for ours, theirs in zip(NLL["lvdae", 16], NLL["vae", 16], strict=True)]
    half = 4.302653 * statistics.stdev(paired) / 3**0.5
    mean = statistics.fmean(paired)
    assert f"NLL {mean:+.2f} \\[{mean - half:+.2f}, {mean + half:+.2f}\\] (paper: -0.78)" in said and "3 seeds" in said
    assert "less VAE at m = 32" not in text


def test_what_is_missing_stands_with_its_command_and_its_hours(text, store):
    (line,) = re.findall(r"^- `vdae-bench sweep evidence/binary --search`: (.*)$", text, re.MULTILINE)
    spec = load_spec(find_spec("evidence/binary"))
    flops = sum(
        price(each.job).flops * (3 - len(NLL.get((each.job.cell.method, each.job.cell.latents), ())))
        for each in cell_plans(spec, store)
    )
    speed = 8 * 2.8e12 / (2 * (2 * (35 + 37 + 39) + 35 + 37))  # of one of two threads
    hours = float(re.findall(r"about ([\d.]+) core-hours", line)[0])
    assert line.startswith("16 runs") and hours == pytest.approx(flops / speed / 3600, rel=0.01)
    assert line.endswith(", and 2 of its searches before")
    spent = f"{2 * (2 * (35 + 37 + 39) + 35 + 37) / 3600:.3g}"
    said = f"The tables' runs of 50 epochs cost {spent} core-hours, all of `make evidence` {spent}."
    missing = re.findall(
        r"^Missing .*?: (\d+ runs, about .*?); without: (.*)\. Not counted: 5 searches\.$", text, re.MULTILINE
    )[0]
    here, wanted = map(int, re.findall(r"long runs below\. (\d+) of (\d+) are here", text)[0])
    assert missing[0].startswith(f"{wanted - here} runs") and missing[1] == missing[0]  # these parts have no --seeds
    assert cost_text(text) == (
        f"{said} [Missing](reports/README.md#what-remains): {missing[0]}; with all seeds {missing[1]}."
    )


def test_core_hours_of_a_run_count_the_threads_of_each_of_its_parts(store):
    spec = load_spec(find_spec("evidence/binary"))
    cell, steps = spec.cells[0], spec.protocol.epochs * 200
    for seed, begins in enumerate(((), (0, steps // 4), (0, steps))):  # the last was moved while it was evaluated
        parts = [{"from_step": step, "threads": 1 + number} for number, step in enumerate(begins)]
        record = made_up_record(cell, seed, spec.protocol, provenance={"parts": parts})
        publish(store, spec.name, spec.protocol.name, cell.slug, [record])
    runs = load_runs(store)
    # A quarter of the steps on one core and three quarters on two take 1/4 + 3/8 of the time that one core takes.
    expected = [seconds * factor for seconds, factor in zip((35, 37, 39), (2, 8 / 5, 1), strict=True)]
    assert [run.core_seconds for run in runs] == pytest.approx(expected)
    gpu = made_up_record(spec.cells[-1], 0, spec.protocol, cost={"device": "NVIDIA H200"})
    publish(store, spec.name, spec.protocol.name, spec.cells[-1].slug, [gpu])
    assert [run.on_gpu for run in load_runs(store) if run.cell == spec.cells[-1]] == [True]
    (content,) = render_story(store, Path("reports"), parts=[Part("evidence/binary")]).values()
    assert f"which cost {sum(expected) / 3600:.3g} core-hours and {35 / 3600:.3g} GPU-hours." in content.decode()


@pytest.mark.parametrize("parts", [[{"threads": 1}, {"from_step": 3}], [{"from_step": "0"}] * 2, ["no part", {}]])
def test_core_hours_of_a_run_whose_parts_say_too_little_are_those_of_its_threads(store, parts):
    cell = Cell("binary-mnist", "vae", 16)
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, provenance={"parts": parts})])
    assert [run.core_seconds for run in load_runs(store)] == [70]


def test_hours_of_missing_runs_are_left_out_where_no_run_was_timed(store, reports):
    """A model without training has no operations to tell a speed from."""
    part = Part("evidence/binary")
    spec, cell = part.resolved, Cell("binary-mnist", "independent-pixels", 0)
    none = {"train_flops": 0, "evaluation_flops": 0}
    publish(store, spec.name, spec.protocol.name, cell.slug, [made_up_record(cell, trained=False, cost=none)])
    (content,) = render_story(store, reports, parts=[part]).values()
    assert "- `vdae-bench sweep evidence/binary --search`: 24 runs, and 2 of its searches before\n" in content.decode()
    assert "core-hours" not in content.decode().partition("## What remains")[2]


def test_an_experiment_that_overfits_says_which_epoch_its_scores_are_of(store, reports):
    experiment = EXPERIMENTS[0]
    spec = experiment.resolved
    cell = spec.cells[0]
    record = made_up_record(cell, 0, spec.protocol, curve=[95.0 + epoch for epoch in range(spec.protocol.epochs)])
    record.metrics.test_at_best_epoch = record.metrics.test
    record.metrics.validation.best_epoch = 1
    publish(store, spec.name, spec.protocol.name, cell.slug, [record])
    part = Part("evidence/binary")
    shown = made_up_record(cell, 0, part.resolved.protocol)
    publish(store, part.resolved.name, part.resolved.protocol.name, cell.slug, [shown])
    (content,) = render_story(store, reports, parts=[part], experiments=[experiment]).values()
    assert f"{spec.description}: VAE overfits, so its scores are those at its best epoch, 1." in content.decode()


def test_a_part_on_both_kinds_of_data_has_a_table_for_each_in_its_unit(store, reports):
    part = next(part for part in EVIDENCE if part.spec == "lvdae-784")
    spec = load_spec(find_spec(part.spec), part.protocol)
    for each in cell_plans(spec, store):
        cell = each.job.cell
        publish(store, spec.name, spec.protocol.name, cell.slug, [made_up_record(cell, 0, spec.protocol)])
    (content,) = render_story(store, reports, parts=[part]).values()
    text = content.decode()
    continuous, binary = (table_with(text, "the paper's NLL?", place) for place in (0, 1))
    assert "continuous-mnist, in bits/dim" in text and "binary-mnist, in nats" in text
    assert {row["NLL ours"] for row in binary} == {"90.00"} and {row["NLL ours"] for row in continuous} == {"8.166"}
    assert "m = 784 on binary-mnist" in text and "m = 784 on continuous-mnist" in text


def test_a_noise_grid_has_its_picture_and_findings_once_there_are_curves_to_compare(store, reports):
    part = next(part for part in EVIDENCE if part.spec == "evidence/noise")
    spec = part.resolved
    levels = {"vdae-coupled": {-3.0: -1000.0, 0.0: 1200.0}, "vdae-resnet": {-3.0: -900.0, 0.0: 600.0}}
    free = {"decoder_variance": "learned", "decoder_output": "linear"}

    def text_with(method):
        for cell in spec.cells:
            options = free | dict(cell.options)
            nll = levels[method].get(options.get("log_sigma"))
            if cell.method == method and nll and free.items() <= options.items():
                record = made_up_record(cell, 0, spec.protocol, nll_nats=nll)
                publish(store, spec.name, spec.protocol.name, cell.slug, [record])
        return next(iter(render_story(store, reports, parts=[part]).values())).decode()

    picture = f"]({spec.protocol.name}/noise-noise.svg)"
    assert picture not in text_with("vdae-coupled")
    text = text_with("vdae-resnet")
    assert picture in text
    assert "ResNet decoder: below the coupled model at log sigma = 0, not below it at log sigma = -3" in text


def test_an_experiment_stands_with_its_setting_and_its_finding_where_it_ran(store, reports):
    part = STANDARD[0]
    spec = load_spec(find_spec(part.spec))
    first = spec.cells[0]
    publish(store, spec.name, spec.protocol.name, first.slug, [made_up_record(first, 0, spec.protocol)])
    plain = next(iter(render_story(store, reports, parts=[part]).values())).decode()
    assert "experiments" not in plain
    for number, experiment in enumerate(EXPERIMENTS[:2]):
        spec = experiment.resolved
        for cell in spec.cells[-1:] if experiment.settings else spec.cells:  # with the setting L-VDAE alone
            nll = {"vae": 95.0, "lvdae": 94.0 - number}[cell.method]
            publish(
                store, spec.name, spec.protocol.name, cell.slug, [made_up_record(cell, 0, spec.protocol, nll_nats=nll)]
            )
    (content,) = render_story(store, reports, parts=[part]).values()
    rows = table_with(content.decode(), "settings")
    assert [(row["settings"], row["method"], row["NLL"]) for row in rows] == [
        ("-", "VAE", "95.00"),
        ("-", "L-VDAE", "94.00"),
        ("log_det_rows=4", "L-VDAE", "93.00"),
    ]
    assert all(row["unit"] == "nats" and row["epochs"] == "20" and row["seeds"] == "1" for row in rows)
    assert rows[2]["records"] == f"[latents-64]({EXPERIMENTS[1].resolved.protocol.name}/latents-64.md)"
    assert content.decode().count(f"{EXPERIMENTS[0].resolved.description}: L-VDAE minus VAE at m = 64, 1 seed") == 1
    assert "The hours come from several machines" not in content.decode()
    other = made_up_record(cell, 1, spec.protocol, nll_nats=93.0, cost={"threads": 16})
    store.publish([(store.path(spec.name, spec.protocol.name, cell.slug, 1), other)])
    (content,) = render_story(store, reports, parts=[part]).values()
    assert "The hours come from several machines" in content.decode()
    assert EXPERIMENTS[1].command == "vdae-bench sweep readings/latents-64 --set log_det_rows=4"


def test_make_evidence_runs_these_in_this_order():
    lines = Path("Makefile").read_text().partition("\nevidence:")[2].partition("\n\n")[0].splitlines()[1:]
    assert [line.strip().removeprefix("$(BIN)/") for line in lines] == [part.command for part in EVIDENCE]
    for part in EVIDENCE:
        load_spec(find_spec(part.spec), part.protocol)


def test_the_readme_shows_what_the_committed_page_says():
    """`make report` writes it there; `report --check` holds that page to the records."""
    readme, committed = Path("README.md").read_text(), Path("reports/README.md").read_text()
    assert readme == with_found(readme, committed), "run: python scripts/readme.py"


def test_the_readme_shows_every_lead_of_the_records_and_every_claim_once():
    section = Path("README.md").read_text().partition("\n## What we found\n")[2].partition("\n## ")[0]
    committed = Path("reports/README.md").read_text()
    ours = {(row["data"], row["latents"]): [] for row in table_with(committed, "protocol") if row["seeds"] != "0"}
    for row in table_with(committed, "protocol"):
        if row["seeds"] != "0":
            ours[row["data"], row["latents"]].append(row)
    shown = table_with(section, "m")
    assert shown and {(row["data"], row["m"]) for row in shown} == ours.keys()
    for row in shown:
        there = ours[row["data"], row["m"]]
        longest = max(there, key=lambda each: int(each["protocol"].split()[-2]))
        same = {"NLL, paper": "NLL paper", "NLL, ours": "NLL ours", "-ELBO, paper": "-ELBO paper", "unit": "unit"}
        same |= {"-ELBO, ours": "-ELBO ours", "seeds": "seeds"}
        assert {name: row[name] for name in same} == {name: longest[other] for name, other in same.items()}
        assert longest["protocol"].endswith(f"{row['epochs']} epochs")
    board = table_with(section, "which")
    named = {each: row["verdict"] for row in board for each in row["which"].split(", ") if each != "-"}
    assert named == {row[""]: row["verdict"].strip("*") for row in rows_of(committed, "claim")}
    assert sum(int(row["claims"]) for row in board) == len(named)
