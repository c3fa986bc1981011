"""report --check, claims, explain, compare: what a user types about records that are there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.records import made_up_record, publish, publish_table
from vdae_bench import api
from vdae_bench.cli import main as cli
from vdae_bench.data.registry import find_dataset
from vdae_bench.models.registry import get_method
from vdae_bench.paper.claims import CLAIMS, LOG_SIGMAS, SAMPLED_LOG_SIGMAS
from vdae_bench.report.build import build_reports, differing_files, render_reports
from vdae_bench.report.compare import Move
from vdae_bench.report.numbers.statistics import mean_of
from vdae_bench.report.numbers.units import NATS
from vdae_bench.report.style import digest as plotted
from vdae_bench.running.job import Job
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.protocol import load_protocol, override
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Record, Store

VAE = Cell("binary-mnist", "vae", 16)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run a verb in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.usefixtures("blank_pictures")
def test_check_names_what_differs_is_missing_or_is_of_no_record(call: Any, store: Store) -> None:
    assert call("report", "--check")[0] == 0  # nothing ran, nothing is committed
    publish_table(store, "table2")
    assert call("report", "--check")[0] == 1
    assert call("report")[0] == 0 and call("report", "--check")[0] == 0
    folder = Path("reports/quick")
    for name in (".DS_Store", "Thumbs.db", "._table2.md", "notes.txt", "table2.md~", ".hidden/copy.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"left by a file manager or an editor")
    for path in [path for path in folder.iterdir() if path.suffix in (".md", ".csv", ".tex", ".json", ".svg")]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as git may write them on Windows
    assert call("report", "--check")[0] == 0
    (folder / "table2.md").write_text("changed by hand")
    (folder / "table2.tex").unlink()
    (folder / "table1.md").write_text("of records that were deleted")
    code, _, err = call("report", "--check")
    assert code == 1
    assert re.findall(r"reports/quick/(\S+) (.*)", err) == [
        ("table2.md", "differs"), ("table2.tex", "is missing"), ("table1.md", "does not come from any record"),
    ]  # fmt: skip


@pytest.mark.usefixtures("blank_pictures")
def test_pages_for_a_browser_are_written_and_are_checked_only_where_that_is_asked(call: Any, store: Store) -> None:
    publish_table(store, "table2")
    assert call("report")[0] == 0
    page, another = Path("reports/quick/index.html"), Path("reports/standard/index.html")
    assert page.is_file() and Path("reports/index.html").is_file()
    page.write_text("of yesterday")
    another.parent.mkdir()
    another.write_text("of records that were deleted")
    assert call("report", "--check")[0] == 0  # git has neither
    code, _, err = call("report", "--check", "--format", "html")
    assert code == 1 and "reports/quick/index.html differs" in err
    page.unlink()
    assert call("report", "--check")[0] == 0


@pytest.mark.usefixtures("blank_pictures")
def test_misplaced_records_and_a_damaged_winner_are_named_and_in_no_table(call: Any, store: Store) -> None:
    other = Cell("binary-mnist", "lvdae", 16)
    publish(store, "mini", "quick", VAE.slug, [made_up_record(VAE, 0), made_up_record(other, 1)])
    place = store.path("mini", "quick", VAE.slug, 0)
    place.with_name("seed-2.json").write_bytes(place.read_bytes())
    winner = place.parents[1] / "search" / f"{VAE.slug}.json"
    winner.parent.mkdir()
    winner.write_text("{}")
    winner.with_name(f"{VAE.slug}.superseded-unreadable-1.json").write_text("{}")
    code, _, err = call("report")
    assert code == 0 and "seed-1.json is not read: it is the record of binary-mnist_lvdae_16, seed 1" in err
    assert "seed-2.json is not read: it is the record of binary-mnist_vae_16, seed 0" in err
    assert err.count("is damaged") == 1 and f"search/{VAE.slug}.json is not read: it is damaged" in err
    assert pd.read_csv("reports/quick/records.csv").record.tolist() == ["mini/quick/binary-mnist_vae_16/seed-0.json"]


def test_every_verb_that_reads_records_names_a_damaged_one(
    call: Any, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(store, "table2", "quick", VAE.slug, [real_record(0), real_record(1)])
    path = store.path("table2", "quick", VAE.slug, 1)
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    said = "seed-1.json is not read: "
    for words in (["explain", VAE.slug], ["claims"], ["compare", "results", "results"]):
        code, _, err = call(*words)
        assert code == 0 and said in err, words
    for read in (api.records, api.curves, api.pairs):
        read(store.root)
        assert said in capsys.readouterr().err


def test_a_figure_of_another_matplotlib_counts_by_its_values(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell("binary-mnist", "vae", 16)
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0)])
    build_reports(store, reports, formats=("md", "html"))
    folder = reports / "quick"
    for name in ("mini-curves.svg", "mini-curves.png", "index.html"):
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"<path", b"<path ").replace(b"IDAT", b"idat"))
    figures = {"mini-curves.svg", "mini-curves.png", "index.html"}
    rendered = list(render_reports(store, reports, formats=("md", "html")))
    assert {path.name for path in differing_files(rendered)} == figures  # same version: to the byte
    monkeypatch.setattr(plotted.matplotlib, "__version__", "99.1")
    again = list(render_reports(store, reports, formats=("md", "html")))
    assert differing_files(again) == []
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0, curve=[120.0, 110.0, 100.001])])
    changed = {path.name for path in differing_files(list(render_reports(store, reports, formats=("md", "html"))))}
    assert figures <= changed


@pytest.mark.usefixtures("blank_pictures")
def test_claims_are_printed_and_checked_against_the_committed_verdicts(call: Any, store: Store) -> None:
    code, out, _ = call("claims", "--check")
    assert code == 0 and out.count("not run") >= 14  # nothing ran: nothing to differ
    publish_table(store, "table2")
    assert call("claims", "--check")[0] == 1
    assert call("report", "--format", "md")[0] == 0 and call("claims", "--check")[0] == 0
    code, out, _ = call("claims", "--format", "json", "--protocol", "quick")
    content = json.loads(out)
    assert code == 0 and content["protocol"] == "quick"
    assert [each["claim"] for each in content["claims"]] == [claim.id for claim in CLAIMS]
    assert content == json.loads(Path("reports/quick/claims.json").read_text())
    content["claims"][0]["verdict"] = "reproduced"
    Path("reports/quick/claims.json").write_text(json.dumps(content))
    code, _, err = call("claims", "--check")
    assert code == 1 and "quick, claim 1: reproduced committed, not comparable now" in err
    assert [each["protocol"] for each in json.loads(call("claims", "--check", "--format", "json")[1])] == ["quick"]
    Path("reports/quick/claims.json").write_text("torn")
    assert call("claims", "--check")[0] == 2
    for place in ("no-such-folder", "reports/quick/claims.json"):
        code, _, err = call("claims", "--results", place)
        assert code == 2 and f"there is no folder {place}" in err and err.count("\n") == 1


EVIDENCE = ("table1", "table2", "figure1", "readings/sample-arms", "section6")


def test_every_claim_is_there_and_the_theorems_test_exists() -> None:
    assert [claim.id for claim in CLAIMS] == [
        "1", "2", "3", "4a", "4b", "5", "6", "7a", "7b", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    ]  # fmt: skip
    for claim in CLAIMS:
        assert sum(map(bool, (claim.parts, claim.settled_by, claim.count))) == 1
        if claim.settled_by:
            path, _, name = claim.settled_by.partition("::")
            assert f"def {name}(" in (Path(__file__).parents[2] / path).read_text()
    known = {cell.slug for name in EVIDENCE for cell in load_spec(find_spec(name)).cells}
    compared = {
        cell for claim in CLAIMS if claim.parts for part in claim.parts() for term in part.terms for cell in term.cells
    }
    assert {cell.slug for cell in compared} <= known
    for name, levels in (("figure1", LOG_SIGMAS), ("figure4", SAMPLED_LOG_SIGMAS)):
        found = {dict(cell.options).get("log_sigma") for cell in load_spec(find_spec(name)).cells}
        assert found - {None} == set(levels) and list(levels) == sorted(levels)


def test_claims_of_a_protocol_that_is_none(call: Any, store: Store) -> None:
    publish(store, "table2", "quick", VAE.slug, [real_record()])
    code, _, err = call("claims", "--protocol", "quik")
    assert code == 2 and "there is no protocol 'quik'" in err and "quick" in err and err.count("\n") == 1
    code, out, _ = call("claims")
    assert code == 0 and "best evidence" in out and "(quick)" in out
    content = json.loads(call("claims", "--format", "json")[1])
    assert content["protocol"] is None and len(content["claims"]) == len(CLAIMS)


def test_records_of_a_protocol_are_found_by_its_file_too(call: Any, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text("base: quick\nepochs: 2\n")
    publish(store, "table2", "short", VAE.slug, [real_record(protocol=str(file))])
    for words in (["claims"], ["claims", "--format", "json"], ["explain", VAE.slug], ["report", "--format", "csv"]):
        by_file, by_name = (call(*words, "--protocol", word) for word in (str(file), "short"))
        assert by_file == by_name and by_name[0] == 0 and "short" in by_name[1]
    file.write_text("base: quick\nepoch: 2\n")
    code, _, err = call("explain", VAE.slug, "--protocol", str(file))
    assert code == 2 and "line 2: unknown key 'epoch'" in err and err.count("\n") == 1
    code, _, err = call("report", "--protocol", str(tmp_path / "none.yaml"))
    assert code == 2 and "none.yaml" in err and err.count("\n") == 1


def real_record(seed: int = 0, protocol: str = "quick", **changes: Any) -> Record:
    """A record with the identity that the present spec gives."""
    resolved = load_protocol(protocol)
    spec = load_spec(find_spec("table2"), protocol)
    job = Job("table2", VAE, resolved, spec.resolved_hyperparameters(VAE))
    identity = {"run_digest": job.run_digest(seed), "dataset_sha256": "mnist", **changes.pop("provenance", {})}
    return made_up_record(VAE, seed, resolved, hyperparameters=job.hyperparameters, provenance=identity, **changes)


def test_explain_says_where_a_number_is_from(call: Any, store: Store) -> None:
    publish(store, "table2", "quick", VAE.slug, [real_record(seed, nll_nats=90.0 + seed) for seed in (0, 1)])
    code, out, _ = call("explain", VAE.slug)
    assert code == 0
    assert "NLL: 90.50 ± 0.71 nats over 2 seeds; the paper's: not comparable, +7.04" in out
    assert f"seed 1: results/table2/quick/{VAE.slug}/seed-1.json" in out
    assert "git commit: 0123456789abcdef" in out and "command: vdae-bench reproduce table1" in out
    assert "learning_rate 0.001" in out and "from: the spec and its protocol" in out
    assert "would it run again? no" in out
    assert call("explain", f"table2/quick/{VAE.slug}/")[1] == out


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            lambda: made_up_record(VAE, 0, load_protocol("quick").model_copy(update={"epochs": 3})),
            "protocol epochs: 3 recorded, 2 now",
        ),
        (lambda: real_record(provenance={"run_digest": "old"}), "the method's version, now"),
        (
            lambda: made_up_record(VAE, 0, load_protocol("quick"), hyperparameters={"adam_eps": 0.5}),
            "hyper-parameter adam_eps: 0.5 recorded, 1e-08 now",
        ),
    ],
)
def test_explain_names_the_ingredient_that_changed(call: Any, store: Store, record: Any, expected: str) -> None:
    made = record()
    made.provenance["dataset_sha256"] = sha256_of_mnist()
    publish(store, "table2", "quick", VAE.slug, [made])
    code, out, _ = call("explain", VAE.slug)
    assert code == 0 and "yes, seed 0:" in out and expected in out
    assert "data:" not in out


def sha256_of_mnist() -> str:
    return find_dataset("mnist").sha256


def test_explain_under_an_override_and_of_other_sweeps(call: Any, store: Store) -> None:
    longer = override(load_protocol("quick"), {"epochs": 5}, {})
    publish(store, "table2", longer.name, VAE.slug, [made_up_record(VAE, 0, longer)])
    publish(store, "mine", "quick", VAE.slug, [made_up_record(VAE, 0)])
    out = call("explain", VAE.slug)[1]
    assert "protocol epochs" not in out  # the override is its own definition
    assert "sweep mine is not shipped; give its file with --spec" in out


@pytest.mark.parametrize("word", ["binary-mnist_vea_16", "", "..", "/", "[", "a" * 300])
def test_an_unknown_cell_is_one_sentence(call: Any, store: Store, word: str) -> None:
    publish(store, "table2", "quick", VAE.slug, [made_up_record(VAE, 0)])
    code, _, err = call("explain", word)
    assert code == 2 and err.count("\n") == 1 and VAE.slug in err


def test_compare_says_which_cells_moved(call: Any, tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in "ab"]
    other, gone = Cell("binary-mnist", "lvdae", 16), Cell("binary-mnist", "vae", 32)
    for place, each in enumerate(stores):
        # The seeds lie 1 nat apart; VAE moves by 0.1 in every seed, L-VDAE stays.
        records = [
            made_up_record(VAE, seed, nll_nats=90.0 + seed + 0.1 * place * (1 + 0.01 * seed)) for seed in range(4)
        ]
        publish(each, "table2", "quick", VAE.slug, records)
        publish(each, "table2", "quick", other.slug, [made_up_record(other, seed) for seed in range(4)])
    publish(stores[0], "table2", "quick", gone.slug, [made_up_record(gone, 0)])
    code, out, _ = call("compare", "a", "b", "--format", "json")
    content = json.loads(out)
    assert code == 0 and content["only_first"] == [f"table2/quick/{gone.slug}"] and content["only_second"] == []
    states = {(each["cell"].rpartition("/")[2], each["score"]): each for each in content["moves"]}
    assert states[VAE.slug, "NLL"]["state"] == "moved" and states[other.slug, "NLL"]["state"] == "same"
    assert states[VAE.slug, "NLL"]["change"] == pytest.approx(0.1015)
    assert "1 of 2 cells moved" in call("compare", "a", "b")[1]
    assert call("compare", "a", "nothing")[0] == 2
    # What no table shows is not compared, and named.
    odd = made_up_record(other, 0, nll_nats=1, hyperparameters={"adam_eps": 1})
    publish(stores[1], "table2", "quick", other.slug, [odd])
    out = call("compare", "a", "b")[1]
    assert f"left out of B: table2/quick/{other.slug}/seed-0.json, other hyper-parameters" in out
    assert "1 of 2 cells moved" in out and "unclear" not in out


def test_chance_alone_moves_no_score_in_most_comparisons() -> None:
    """42 scores of five seeds each, 200 times where nothing changed: at 95% each some moved in 88% of them."""
    random = np.random.default_rng(5)

    def moved(scores: int) -> int:
        changes = [mean_of(list(random.normal(0, 1, 5))) for _ in range(42)]
        return any(Move("a", "NLL", NATS, 0, 0, change, scores).state == "moved" for change in changes)

    assert sum(moved(1) for _ in range(200)) > 150
    assert sum(moved(42) for _ in range(200)) < 20


def test_compare_names_the_seeds_that_diverged_on_one_side(call: Any, tmp_path: Path) -> None:
    for name, lost in (("a", 0), ("b", 3)):
        records = [made_up_record(VAE, seed, diverged=seed < lost) for seed in range(3)]
        publish(Store(tmp_path / name), "table2", "quick", VAE.slug, records)
    out = call("compare", "a", "b")[1]
    assert f"diverged, and in no score: table2/quick/{VAE.slug}: 0 of 3 seeds in A, 3 of 3 seeds in B" in out
    assert len(json.loads(call("compare", "a", "b", "--format", "json")[1])["diverged"]) == 1


def test_compare_counts_the_scores_and_says_so(call: Any, tmp_path: Path) -> None:
    """A change that is beyond chance for one score and not beyond it for eight."""
    stores = [Store(tmp_path / name) for name in "ab"]
    cells = [Cell("binary-mnist", method, m) for method in ("vae", "lvdae") for m in (16, 32)]
    changes = (0.08, 0.12, 0.1, 0.2)
    for place, each in enumerate(stores):
        for cell in cells:
            records = [made_up_record(cell, seed, nll_nats=90.0 + place * changes[seed]) for seed in range(4)]
            publish(each, "table2", "quick", cell.slug, records)
    single, low = mean_of(changes).interval(), mean_of(changes).interval(1 - 0.05 / 8)
    assert single and low and single[0] > 0 > low[0]
    out = call("compare", "a", "b")[1]
    assert "0 of 4 cells moved" in out and "corrected for 8 scores (Bonferroni)" in out
    content = json.loads(call("compare", "a", "b", "--format", "json")[1])
    assert {each["scores"] for each in content["moves"]} == {8}
    assert content["moves"][0]["interval"] == pytest.approx(low)


def test_tables_as_csv_and_latex(store: Store, reports: Path) -> None:
    publish_table(store, "table2", seeds=3)
    written = {each.path.name: each.path for each in build_reports(store, reports, formats=("csv", "latex"))}
    frame = pd.read_csv(written["table2.csv"]).set_index(["method", "latents", "score"])
    row = frame.loc[("L-VDAE", "16", "nll")]
    assert (row.paper, row.paper_plus_minus, row.seeds, row.unit) == (82.68, 0.14, 3, "nats")
    assert row.difference == pytest.approx(row.ours - row.paper)
    assert row.difference_low < row.difference < row.difference_high and row.verdict == "not comparable"
    text = written["table2.tex"].read_text()
    assert text.count("\\begin{tabular}") == text.count("\\toprule") == text.count("\\bottomrule") == 1
    assert (
        "$83.46$" not in text and "83.46 $\\pm$ 0.18" in text and "±" not in text and "_" not in text.replace("\\_", "")
    )
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    body = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert columns and {line.count("&") + 1 for line in body} == {len(columns[1])}
    assert get_method("lvdae").title in text
