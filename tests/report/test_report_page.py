"""What a page says of its runs: complete or not, diverged, mixed, deviating, and where they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import PROTOCOL, made_up_record, publish, publish_table
from vdae_bench.errors import UserError
from vdae_bench.report.build import build_reports
from vdae_bench.spec.protocol import load_protocol, override
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

pytestmark = pytest.mark.usefixtures("blank_pictures")

VAE = Cell("binary-mnist", "vae", 16)
LVDAE = Cell("binary-mnist", "lvdae", 16)


def page_of(store: Store, reports: Path, **words: Any) -> str:
    written = build_reports(store, reports, **words)[0]
    return written.path.read_text(encoding="utf-8")


def test_sections_come_in_order_and_each_once(store: Store, reports: Path) -> None:
    publish_table(store)
    headings = re.findall("^#+ (.*)", page_of(store, reports), flags=re.MULTILINE)
    assert headings == [
        "Table 1: continuous MNIST (bits/dim), quick protocol",
        "Any two methods",
        "The paper's claims",
        "How NLL and -ELBO were estimated",
        "What varies",
        "What this protocol cannot show",
        "Deviations from the paper's protocol",
        "Learning curves",
        "Cost beside quality",
        "Cost in total",
        "Provenance",
        "Flags",
        "Records",
    ]


@pytest.mark.parametrize(("name", "rows"), [("table1", 16), ("table2", 10)])
def test_a_table_has_the_papers_rows_and_says_which_are_not_run(
    store: Store, reports: Path, name: str, rows: int
) -> None:
    publish_table(store, name)
    page = page_of(store, reports)
    shown = table_with(page, "NLL ours")
    assert len(shown) == rows
    not_run = [row["method"] for row in shown if row["NLL ours"] == "not run"]
    assert not_run == ["L-VDAE *", "VDAE: RESNET"]
    assert "**Partial**: " in page
    assert "Not run: L-VDAE \\* 28 x 28; VDAE: RESNET 28 x 28." in page
    quoted = [row for row in shown if row["NLL ours"] == "quoted"]
    assert len(quoted) == (5 if name == "table1" else 0)
    assert all(row["seeds"] == "" for row in quoted)
    caveats = {row["method"]: row["difference"] for row in quoted if row["difference"]}
    assert not quoted or caveats == {
        "REALNVP": "quoted, in units that are not known",
        "GLOW": "quoted, in units that very likely differ",
        "I-RESNET": "quoted, in units that differ",
    }


def test_what_runs_here_stands_beside_what_the_paper_quotes(store: Store, reports: Path) -> None:
    publish_table(store, "table1")
    glow = Cell("continuous-mnist", "glow", 784, (("space", "logit"),))
    records = [made_up_record(glow, seed, nll_nats=1000.0, exact=True) for seed in (0, 1)]
    publish(store, "table1", "quick", glow.slug, records)
    page = page_of(store, reports)
    (row,) = [row for row in table_with(page, "NLL ours") if row["method"] == "GLOW"]
    assert row["NLL paper"] == "1.05" and row["NLL ours"].startswith("9.840") and "2 of" in row["seeds"]
    assert row["difference"] == "quoted, in units that very likely differ"
    assert "GLOW: quoted, in units that very likely differ" in page and "model logits of pixels" in page


def test_complete_means_all_seeds_of_all_rows(store: Store, reports: Path) -> None:
    records = publish_table(store, "table2")
    for method in ("lvdae-nice", "vdae-resnet"):
        cell = Cell("binary-mnist", method, 784)
        publish(store, "table2", "quick", cell.slug, [made_up_record(cell, seed) for seed in (0, 1)])
    assert f"**Complete**: {len(records) + 4} of {len(records) + 4} runs, 2 seeds a row." in page_of(store, reports)
    store.path("table2", "quick", VAE.slug, 1).unlink()
    assert "**Partial**: 20 of 21 runs, 2 seeds a row. Seeds missing: VAE 16 (1 of 2)." in page_of(store, reports)


def test_more_seeds_than_the_protocol_has_are_asked_of_every_row(store: Store, reports: Path) -> None:
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, seed) for seed in range(3)])
    publish(store, "mini", "quick", LVDAE.slug, [made_up_record(LVDAE, seed) for seed in range(2)])
    seeds = {row["method"]: row["seeds"] for row in table_with(page_of(store, reports), "NLL ours")}
    assert seeds == {"VAE": "3 of 3", "L-VDAE": "2 of 3"}


def test_diverged_seeds_are_counted_and_in_no_mean(store: Store, reports: Path) -> None:
    records = [made_up_record(VAE, 0, nll_nats=90.0), made_up_record(VAE, 1, diverged=True)]
    publish(store, "mini", "quick", VAE.slug, records)
    publish(store, "mini", "quick", LVDAE.slug, [made_up_record(LVDAE, seed, diverged=True) for seed in (0, 1)])
    page = page_of(store, reports)
    vae, lvdae = table_with(page, "NLL ours")
    assert (vae["NLL ours"], vae["seeds"]) == ("90.00", "1 of 2, 1 diverged")
    assert (lvdae["NLL ours"], lvdae["-ELBO ours"], lvdae["seeds"]) == (
        "diverged",
        "diverged",
        "0 of 2, 2 diverged",
    )
    assert "**Complete**" in page
    assert "**3 diverged** and are in no mean." in page
    assert "- `binary-mnist_lvdae_16`, seeds 0, 1: diverged at step 7" in page
    assert page.count(" (diverged)") == 3


def test_a_page_of_runs_that_all_diverged_has_no_picture(store: Store, reports: Path) -> None:
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0, diverged=True)])
    page = page_of(store, reports)
    assert "![" not in page
    assert {path.suffix for path in (reports / "quick").iterdir()} == {".md", ".json"}


def test_protocols_never_mix(store: Store, reports: Path) -> None:
    longer = override(load_protocol("quick"), {"epochs": 555}, {})
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0, nll_nats=90.0)])
    publish(store, "mini", longer.name, VAE.slug, [made_up_record(VAE, 0, longer, nll_nats=80.0)])
    first, second = (each for each in build_reports(store, reports) if each.sweep == "mini")
    assert (first.protocol, second.protocol) == ("quick", longer.name)
    assert second.path == reports / longer.name / "mini.md"
    assert table_with(first.path.read_text(), "NLL ours")[0]["NLL ours"] == "90.00"
    assert table_with(second.path.read_text(), "NLL ours")[0]["NLL ours"] == "80.00"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"protocol": PROTOCOL.model_copy(update={"epochs": 9})},
            "another content of the protocol under the same name",
        ),
        ({"provenance": {"dataset_sha256": "0" * 64}}, "other data under the same name"),
        ({"hyperparameters": {"learning_rate": 0.5}}, "other hyper-parameters than the cell's other seeds"),
    ],
)
def test_what_does_not_belong_together_is_left_out_and_named(
    store: Store, reports: Path, changes: dict[str, Any], reason: str
) -> None:
    records = [made_up_record(VAE, seed, nll_nats=90.0 + seed) for seed in (0, 1)]
    before = {"provenance": {"started_at": "2024-01-01T00:00:00+00:00", **changes.pop("provenance", {})}, **changes}
    publish(store, "mini", "quick", VAE.slug, [*records, made_up_record(VAE, 2, nll_nats=0.0, **before)])
    page = page_of(store, reports)
    assert table_with(page, "NLL ours")[0]["NLL ours"] == "90.50 ± 0.71"
    assert "**1 left out** (see [Records](#records))." in page
    assert f"/seed-2.json), {reason}" in page


def test_of_two_experiments_the_most_recent_is_drawn(store: Store, reports: Path) -> None:
    new = made_up_record(VAE, 1, provenance={"dataset_sha256": "1", "started_at": "2026-01-01T00:00:00+00:00"})
    old = made_up_record(VAE, 0, nll_nats=50.0)
    publish(store, "mini", "quick", VAE.slug, [old, new])
    assert table_with(page_of(store, reports), "NLL ours")[0]["NLL ours"] == "90.00"


def test_records_of_a_protocol_unknown_to_this_version_are_left_out(store: Store, reports: Path) -> None:
    old = made_up_record(VAE, 0)
    old.protocol["a_field_of_old"] = 1
    publish(store, "mini", "quick", VAE.slug, [old])
    with pytest.raises(UserError, match="run the sweep again"):
        build_reports(store, reports)
    publish(store, "mini", "quick", LVDAE.slug, [made_up_record(LVDAE, 0)])
    page = page_of(store, reports)
    assert [row["method"] for row in table_with(page, "NLL ours")] == ["L-VDAE"]
    assert "its protocol is of another version of vdae-bench" in page


def test_superseded_and_torn_records_are_not_seen(store: Store, reports: Path) -> None:
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0, nll_nats=50.0)])
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0, nll_nats=90.0, hyperparameters={"l2": 1.0})])
    store.path("mini", "quick", VAE.slug, 1).write_text('{"schema": 1, "sta')
    assert table_with(page_of(store, reports), "NLL ours")[0]["NLL ours"] == "90.00"


def test_mixed_provenance_is_pointed_out(store: Store, reports: Path) -> None:
    other = {"torch": "2.13.0", "git_dirty": True, "command": "vdae-bench sweep mini"}
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0), made_up_record(VAE, 1, provenance=other)])
    page = page_of(store, reports)
    assert "The runs **differ** in: git commit, torch." in page
    assert "**Dirty**: 1 of 2 runs is from code that was changed after its commit." in page
    assert "(dirty: the code was changed after that commit)` (1 run)" in page
    assert "  - `vdae-bench sweep mini` (1 run)" in page


def test_deviations_from_the_paper_have_a_meaning(store: Store, reports: Path) -> None:
    publish_table(store)
    rows = {row["setting"]: row for row in table_with(page_of(store, reports), "setting")}
    assert (rows["`epochs`"]["here"], rows["`epochs`"]["in the paper"]) == ("3", "1000")
    assert rows["`coupling_hidden_size` (NICE)"]["in the paper"] == "1024"
    assert rows["`hidden_size` (L-VDAE, VAE)"]["here"] == "128"
    assert "`learning_rate` 0.001" in rows["hyper-parameter search"]["here"]
    assert all(row["meaning"] for row in rows.values())


def test_the_papers_protocol_with_searched_hyperparameters_deviates_in_nothing(store: Store, reports: Path) -> None:
    record = made_up_record(VAE, 0, load_protocol("paper"), hyperparameters={"source": "search 01234567"})
    publish(store, "mini", "paper", VAE.slug, [record])
    page = page_of(store, reports)
    assert "## Deviations from the paper's protocol\n\nNone.\n" in page
    assert "For each of 10000 test images" in page


def test_an_override_says_what_it_changed(store: Store, reports: Path) -> None:
    longer = override(load_protocol("quick"), {"epochs": 16}, {"hidden_size": 64})
    publish(store, "mini", longer.name, VAE.slug, [made_up_record(VAE, 0, longer)])
    page = page_of(store, reports)
    epochs = f"`epochs` 16 instead of {load_protocol('quick').epochs}"
    assert f"Protocol `{longer.name}`: `quick` (the first evening) with {epochs}, `hidden_size` 64." in page


def test_a_protocol_that_has_changed_since_is_pointed_out(store: Store, reports: Path) -> None:
    today = load_protocol("quick")
    old = today.model_copy(update={"epochs": today.epochs + 1})
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0, old)])
    changed = f"`epochs` {today.epochs + 1} instead of {today.epochs}."
    assert f"**not as it is today**: {changed}" in page_of(store, reports)


def test_a_small_data_set_is_no_change_of_the_protocol(store: Store, reports: Path) -> None:
    small = load_protocol("quick").model_copy(update={"elbo_images": 40, "nll_images": 40, "batch_size": 100})
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0, small)])
    page = page_of(store, reports)
    assert "with as many images as the data set has: " in page and "not as it is today" not in page


def test_smoke_says_that_its_numbers_mean_nothing(store: Store, reports: Path) -> None:
    smoke = override(load_protocol("smoke"), {"epochs": 5}, {})
    publish(store, "mini", smoke.name, VAE.slug, [made_up_record(VAE, 0, smoke)])
    written = build_reports(store, reports)[0]
    assert "**These numbers mean nothing**" in written.path.read_text()
    assert "These numbers mean nothing" in " ".join(written.console.split())


def test_another_sweep_lists_its_cells_in_order_with_the_papers_numbers_where_there_are_any(
    store: Store, reports: Path
) -> None:
    cells = [
        Cell("binary-mnist", "vae", 128),
        VAE,
        Cell("binary-mnist", "vae", 24),
        Cell("continuous-mnist", "vae", 16, (("decoder_output", "linear"),)),
        Cell("binary-mnist", "a-plugin", 7),
    ]
    for cell in cells:
        publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0)])
    page = page_of(store, reports)
    assert "## binary-mnist\n\nIn nats" in page
    assert "## continuous-mnist\n\nIn bits/dim" in page
    rows = table_with(page, "NLL paper")
    assert [(row["method"], row["latents"]) for row in rows] == [
        ("a-plugin", "7"), ("VAE", "16"), ("VAE (ours: not in the paper)", "24"), ("VAE", "128"),
    ]  # fmt: skip
    assert [row["NLL paper"] for row in rows] == ["-", "83.46 ± 0.18", "-", "82.99 ± 0.19"]
    assert table_with(page, "training s", 1)[0]["method"] == "VAE (decoder_output linear)"


def test_links_are_relative_and_lead_to_files_and_no_place_of_the_machine_is_named(
    store: Store, reports: Path, tmp_path: Path
) -> None:
    publish_table(store)
    place = {"command": f"vdae-bench sweep {tmp_path}/mini.yaml --results={tmp_path}/r"}
    odd = Cell("continuous-mnist", "vae", 17)
    publish(store, "table1", "quick", odd.slug, [made_up_record(odd, 0, provenance=place)])
    written = build_reports(store, reports, formats=("md", "csv"))
    page = written[0].path.read_text()
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert len(links) > 20
    for link in links:
        assert not link.startswith("/")
        assert (written[0].path.parent / link).is_file(), link
    assert "vdae-bench sweep .../mini.yaml --results=.../r" in page
    for path in reports.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_one_sweep_or_protocol_can_be_asked_for(store: Store, reports: Path) -> None:
    publish_table(store, "table1")
    publish_table(store, "table2")
    assert [written.sweep for written in build_reports(store, reports)] == ["table1", "table2", ""]
    assert [written.sweep for written in build_reports(store, reports, sweep="table2")] == ["table2", ""]
    with pytest.raises(UserError, match=r"no records of sweep 'figure1'.*its sweeps are table1, table2"):
        build_reports(store, reports, sweep="figure1")
    with pytest.raises(UserError, match="under protocol 'paper'"):
        build_reports(store, reports, protocol="paper")
    with pytest.raises(UserError, match="did you mean 'csv'"):
        build_reports(store, reports, formats=["cvs"])


def test_an_empty_results_folder_says_what_to_run(store: Store, reports: Path) -> None:
    with pytest.raises(UserError, match="run `vdae-bench reproduce table1` first"):
        build_reports(store, reports)


def test_what_users_wrote_cannot_break_a_table(store: Store, reports: Path) -> None:
    record = made_up_record(VAE, 0, flags=("a|b *c*",), cost={"device": "GPU | 80GB"})
    publish(store, "mini", "quick", VAE.slug, [record])
    page = page_of(store, reports)
    assert "GPU \\| 80GB" in page
    assert "a\\|b \\*c\\*" in page
