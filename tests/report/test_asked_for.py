"""A page is of the runs asked for last: what else lies under its cells is named, and in no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import PROTOCOL, made_up_record, publish
from vdae_bench import api
from vdae_bench.report.build import build_reports
from vdae_bench.report.explain import explain
from vdae_bench.report.numbers.runs import load_runs, not_read, select
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.asked import Asked, AskedCell, read_asked, write_asked
from vdae_bench.store.records import Record, RecordedCell, Store

pytestmark = pytest.mark.usefixtures("blank_pictures")

VAE, LVDAE = Cell("binary-mnist", "vae", 16), Cell("binary-mnist", "lvdae", 16)
BEFORE: Any = {"hyperparameters": {"learning_rate": 0.5}, "provenance": {"started_at": "2025-01-01T00:00:00+00:00"}}


def put(store: Store, *records: Record) -> None:
    for record in records:
        publish(store, "mini", "quick", record.cell.as_cell().slug, [record])


def ask(store: Store, wanted: dict[Cell, int], records: list[Record], spec_seeds: int = 2) -> None:
    """Say that the runs of these records, and none of any other identity, are asked for."""
    known = {(each.cell.as_cell(), each.seed): each.run_digest for each in records}
    cells = [
        AskedCell(
            cell=RecordedCell(**cell.as_record()), method_title=cell.method.upper(), seeds=seeds,
            run_digests=[known.get((cell, seed), "none yet") for seed in range(max(seeds, spec_seeds))],
        )
        for cell, seeds in wanted.items()
    ]  # fmt: skip
    write_asked(store, "mini", "quick", Asked(schema=1, spec_seeds=spec_seeds, cells=cells))


def page_of(store: Store, reports: Path) -> str:
    return build_reports(store, reports)[0].path.read_text(encoding="utf-8")


@pytest.mark.parametrize("named", [False, True], ids=["by the latest start", "by what was asked for"])
def test_more_seeds_of_an_earlier_spec_are_in_no_number(store: Store, reports: Path, named: bool) -> None:
    old = [made_up_record(VAE, seed, nll_nats=90.0 + seed, **BEFORE) for seed in (1, 2)]
    new = made_up_record(VAE, 0, PROTOCOL.model_copy(update={"seeds": 1}), nll_nats=80.0)
    put(store, *old, new)
    if named:
        ask(store, {VAE: 1}, [new])
    page = page_of(store, reports)
    (row,) = table_with(page, "NLL ours")
    assert (row["NLL ours"], row["seeds"]) == ("80.00", "1 of 1")
    assert "**Complete**: 1 of 1 run" in page and "1 seed a row" in page and "**2 left out**" in page
    assert all(f"{VAE.slug}/seed-{seed}.json), " in page.partition("left out of everything")[2] for seed in (1, 2))
    written = {each.path.name: each.path for each in build_reports(store, reports, formats=("csv", "latex"))}
    assert set(pd.read_csv(written["mini.csv"]).seeds) == {1} and "80.00" in written["mini.tex"].read_text()
    table = api.records(store.root).set_index("seed")
    assert table.left_out[0] == "" and all(table.left_out[[1, 2]])
    said = explain(store, VAE.slug)
    (score,) = [line.strip() for line in said.splitlines() if "NLL: " in line]
    assert score.startswith("NLL: 80.00 nats over 1 seed")
    (rates,) = [line for line in said.splitlines() if "learning_rate 0.5" in line]
    assert "(seeds 1, 2)" in rates and said.count("left out: ") == 2


def test_an_identity_that_differs_in_what_no_record_says_is_another(store: Store) -> None:
    """A method's version, say: settings are equal, numbers are not."""
    old, new = made_up_record(VAE, 1, nll_nats=90.0), made_up_record(VAE, 0, nll_nats=80.0)
    put(store, old, new)
    ask(store, {VAE: 1}, [new])
    selection = select(load_runs(store))
    assert [run.seed for run in selection.runs] == [0]
    assert [each.reason for each in selection.left_out] == [
        "superseded: another run of its cell and seed was asked for since"
    ]


def test_cells_without_a_record_are_missing_and_cells_of_an_earlier_spec_left_out(store: Store, reports: Path) -> None:
    gone = Cell("binary-mnist", "vae", 32)
    records = [made_up_record(VAE, 0), made_up_record(gone, 0)]
    put(store, *records)
    ask(store, {VAE: 1, LVDAE: 1}, records)
    page = page_of(store, reports)
    assert [(row["method"], row["NLL ours"]) for row in table_with(page, "NLL ours")] == [
        ("VAE", "90.00"), ("LVDAE", "not run"),
    ]  # fmt: skip
    assert "**Partial**: 1 of 2 runs, 1 seed a row (the spec has 2). Not run: LVDAE 16." in page
    assert f"{gone.slug}/seed-0.json), its cell is none that was asked for last" in page


def test_fewer_seeds_than_the_spec_has_are_complete_and_more_of_the_same_still_count(
    store: Store, reports: Path
) -> None:
    records = [made_up_record(cell, seed) for cell in (VAE, LVDAE) for seed in range(2)]
    put(store, *records[:3])
    ask(store, {VAE: 1, LVDAE: 1}, records, spec_seeds=4)
    page = page_of(store, reports)
    assert "**Complete**: 3 of 3 runs, 1 to 2 seeds a row (the spec has 4)." in page
    assert [row["seeds"] for row in table_with(page, "NLL ours")] == ["2 of 2", "1 of 1"]


def test_where_nothing_asked_for_has_run_the_page_is_named_superseded(store: Store, reports: Path) -> None:
    put(store, *(made_up_record(VAE, seed) for seed in (0, 1)))
    ask(store, {VAE: 2}, [])
    page = page_of(store, reports)
    assert "**Superseded**: none of the 2 runs asked for since then has a record" in page and "Complete" not in page
    assert table_with(page, "NLL ours")[0]["NLL ours"] == "90.00 ± 0.00"


def test_a_damaged_file_of_runs_asked_for_is_named_and_the_latest_stand(store: Store, reports: Path) -> None:
    put(store, made_up_record(VAE, 0))
    ask(store, {VAE: 2}, [])
    path = store.asked("mini", "quick")
    for content in ("{", '{"schema": 7, "spec_seeds": 1, "cells": []}', "[]"):
        path.write_text(content)
        assert read_asked(store, "mini", "quick") is None
        assert [(each, "give the sweep's command again" in why) for each, why in not_read(store)] == [(path, True)]
        assert table_with(page_of(store, reports), "NLL ours")[0]["NLL ours"] == "90.00"


def test_rows_come_as_in_the_paper_whatever_the_order_of_their_names(store: Store, reports: Path) -> None:
    cells = [Cell("binary-mnist", method, m) for m in (128, 16, 32) for method in ("lvdae", "vae")]
    flow = Cell("binary-mnist", "vdae-resnet", 784)
    put(store, made_up_record(flow), *map(made_up_record, cells))
    written = {each.path.suffix: each.path for each in build_reports(store, reports, formats=("md", "latex"))}
    expected = [("16", "VAE"), ("16", "L-VDAE"), ("32", "VAE"), ("32", "L-VDAE"), ("128", "VAE"), ("128", "L-VDAE")]
    rows = [(row["latents"], row["method"]) for row in table_with(page_of(store, reports), "NLL ours")]
    assert rows == [*expected, ("784", "VDAE: RESNET")]
    lines = [
        list(map(str.strip, line.split(" & "))) for line in written[".tex"].read_text().splitlines() if " & " in line
    ][1:]
    assert [(line[0], line[1]) for line in lines] == rows
