"""`status` and what `sweep` leaves for it: the runs asked for, those begun, and what lies beside them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import made_up_record, publish
from tests.support.runs import StopAfter, run
from tests.support.shell import ROOT, call
from tests.support.specs import LONG, PAIR
from vdae_bench.cli import main as cli
from vdae_bench.report.style import figure
from vdae_bench.running.context import RunContext
from vdae_bench.running.plan import plan
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store
from vdae_bench.system import processes
from vdae_bench.training.trainer import Interrupted

VAE, LVDAE = "binary-tiny_vae_4", "binary-tiny_lvdae_4"


def rows(out: str) -> dict[str, list[int]]:
    """The numbers of each cell in the order of the columns."""
    lines = (line.split() for line in out.splitlines() if line.startswith("binary-"))
    return {line[0]: list(map(int, line[1:])) for line in lines}


@pytest.fixture
def here(tiny_data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    monkeypatch.setattr(figure, "saved", lambda make: {"svg": b"<svg></svg>", "png": b""})  # half a second each
    return tmp_path


def test_a_sweep_keeps_what_was_asked_for_and_its_page_is_of_that(here, monkeypatch, capsys):
    path = PAIR.but(seeds=2, protocol={"epochs": 1}).write(here)
    words = ("sweep", path.name, "--threads", "1", "-q")
    code, out = call(monkeypatch, capsys, *words, "--only", "*_vae_*")
    assert code == 0 and "Partial: 2 of 4 runs, 2 seeds a row." in " ".join(out.split())
    code, out = call(monkeypatch, capsys, "status")
    assert code == 0 and rows(out) == {VAE: [2, 0, 0, 0, 0], LVDAE: [0, 0, 0, 2, 0]} and "2 of 4 runs" in out
    # The spec changes, and one seed is asked for: the others are of the spec before.
    PAIR.but(seeds=2, protocol={"epochs": 1}, hyperparameters={"learning_rate": 1e-3}).write(here)
    code, out = call(monkeypatch, capsys, *words, "--seeds", "1")
    assert code == 0 and "Complete: 2 of 2 runs, 1 seed a row (the spec has 2)." in " ".join(out.split())
    (page,) = here.rglob("reports/*/tiny.md")
    assert [row["seeds"] for row in table_with(page.read_text(), "NLL")] == ["1 of 1", "1 of 1"]
    (record,) = here.rglob(f"results/*/*/{VAE}/seed-0.json")
    content = json.loads(record.read_text())
    assert (content["protocol"]["seeds"], content["method_title"]) == (1, "VAE")
    code, out = call(monkeypatch, capsys, "status")
    assert rows(out) == {VAE: [1, 0, 0, 0, 2], LVDAE: [1, 0, 0, 0, 0]}
    assert rows(call(monkeypatch, capsys, "status", path.name)[1])[VAE] == [1, 0, 0, 1, 2]
    assert set(rows(call(monkeypatch, capsys, "status", path.name, "--only", "*_vae_*")[1])) == {VAE}
    asked = next(here.rglob("asked.json"))
    before = asked.stat().st_mtime_ns
    assert call(monkeypatch, capsys, *words, "--seeds", "1")[0] == 0 and asked.stat().st_mtime_ns == before
    assert call(monkeypatch, capsys, *words, "--dry-run")[0] == 0 and asked.stat().st_mtime_ns == before


def test_status_takes_the_words_of_the_sweep_and_knows_its_checkpoint(here, context: RunContext, monkeypatch, capsys):
    path = LONG.but(seeds=2, protocol={"epochs": 40}).write(here)
    changed = load_spec(path, overrides={"epochs": 30})
    with pytest.raises(Interrupted):
        run(changed, context, StopAfter(5), plan(changed, context.store))
    plain = call(monkeypatch, capsys, "status", path.name)[1]
    assert rows(plain) == {LVDAE: [0, 0, 0, 2, 0]}
    code, out = call(
        monkeypatch, capsys, "status", path.name, "--epochs", "30", "--threads", "1", "-q", "--replicas", "1"
    )
    assert code == 0 and rows(out) == {LVDAE: [0, 2, 0, 2, 0]}
    out = call(monkeypatch, capsys, "status", path.name, "--set", "epochs=30", "--seeds", "1")[1]
    assert rows(out) == {LVDAE: [0, 1, 0, 1, 0]}
    (newest,) = context.store.checkpoint_paths("tiny", changed.protocol.name)
    newest.replace(newest.with_suffix(".previous.pt"))
    with monkeypatch.context() as patched:  # between the two renamings of a process that saves
        patched.setattr(Store, "checkpoint_paths", lambda *_: iter([newest]))
        out = call(monkeypatch, capsys, "status", path.name, "--set", "epochs=30", "--seeds", "1")[1]
        assert rows(out) == {LVDAE: [0, 1, 0, 1, 0]} and "left over: nobody" not in out
    # Of a folder in which nothing says what was asked for, the checkpoint is named.
    assert "is left over: nobody asks for its 2 runs now" in call(monkeypatch, capsys, "status")[1]
    for words in (("--epochs", "30"), ("--seeds", "1"), ("--only", "x")):
        assert call(monkeypatch, capsys, "status", *words)[0] == 2


def test_without_words_everything_in_the_results_is_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store, cell = Store(Path("results")), Cell("binary-mnist", "vae", 16)
    records = [made_up_record(cell, 0), made_up_record(cell, 1, diverged=True)]
    publish(store, "mine", "quick", cell.slug, records)
    publish(store, "another", "quick+01234567", cell.slug, [made_up_record(cell, 0)])
    store.path("mine", "quick", cell.slug, 0).with_name("seed-0.superseded-0123abcd.json").write_text("{}")
    folder = store.checkpoints("third", "smoke")
    folder.mkdir(parents=True)
    (folder / "0123.pt").write_bytes(b"torn")
    note = {"label": "a group", "phase": "epoch 1/3", "fraction": 0.25}
    (folder / "0123.lease").write_text(json.dumps({"host": "elsewhere 1", "process": 7, "note": note}))
    code, out = call(monkeypatch, capsys, "status")
    assert code == 0
    parts = {part.partition(",")[0]: part for part in out.split("\n\n")}
    assert list(parts)[:3] == ["another", "mine", "third"]
    assert rows(parts["mine"]) == {cell.slug: [1, 0, 1, 0, 1]} and rows(parts["another"]) == {
        cell.slug: [1, 0, 0, 1, 0]
    }
    assert "0123.pt is left over: it is not a checkpoint" in parts["third"]
    assert "process 7 on elsewhere: a group: epoch 1/3, 25%" in parts["third"]
    assert list(call(monkeypatch, capsys, "status", "--protocol", "quick")[1].split(",")[0:1]) == ["mine"]


def test_processes_that_are_gone_are_told_from_those_that_live_and_no_note_breaks_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = Store(Path("results")).checkpoints("mine", "smoke")
    folder.mkdir(parents=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note = {"label": "a group", "phase": "epoch 1/3", "fraction": 0.25}
    for name, number, said in (
        ("lives", os.getpid(), note),
        ("gone", gone.pid, note),
        ("hostile", 7, {**note, "fraction": "half"}),
        ("escapes", 8, {**note, "label": "\x1b[2J"}),
    ):
        owner = {"host": processes.place(), "process": number, "note": said}
        (folder / f"{name}.lease").write_text(json.dumps(owner))
    code, out = call(monkeypatch, capsys, "status")
    assert code == 0 and "\x1b" not in out and "process 7 " not in out
    assert f"process {os.getpid()} on" in out and out.count("a group: epoch 1/3, 25%") == 2
    assert "25% (left over: that process is gone)" in next(li for li in out.splitlines() if f" {gone.pid} on" in li)
    assert "left over" not in next(li for li in out.splitlines() if f" {os.getpid()} on" in li)


def test_the_committed_evidence_is_listed_and_explained_by_its_own_name(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    code, out = call(monkeypatch, capsys, "status")
    assert code == 0 and re.search(r"^binary, protocol standard: \d+ of 24 runs there$", out, re.MULTILINE)
    code, out = call(monkeypatch, capsys, "explain", "binary-mnist_vae_16")
    assert code == 0 and "is not shipped" not in out and out.count("would it run again? no") == out.count("would it")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("watch", "--seeds", "3"), "--seeds needs a spec"),
        (("status", "table1", "--noise-grid"), "or --noise-grid for the sweep behind Figure 1"),
        (("plan", "table1", "--budget", "1h", "--set", "epochs=5"), "--budget chooses the epochs and seeds"),
        (("report", "--sweep", "/home/me/mine.yaml"), "there are no records of sweep '/home/me/mine.yaml'"),
        (("report", "--sweep", "a**"), "there are no records of sweep 'a**'"),
    ],
)
def test_words_that_mean_nothing_are_refused_and_not_passed_over(words, said, here, monkeypatch, capsys):
    cell = Cell("binary-mnist", "vae", 16)
    publish(Store(here / "results"), "mini", "quick", cell.slug, [made_up_record(cell)])
    monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and said in capsys.readouterr().err
