"""The verbs from a shell: exit codes, one clear sentence, kills and signals survived, plugins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.support.records import made_up_record
from tests.support.runs import numbers
from tests.support.shell import block, call
from tests.support.specs import LONG, TINY, Spec
from vdae_bench.cli.run import raise_if_failed
from vdae_bench.errors import Failed
from vdae_bench.running.execute import Outcome
from vdae_bench.running.plan import GroupLimit, Plan
from vdae_bench.spec.sweep import Cell


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import sys; sys.argv = ['vdae-bench', '--help']\nfrom vdae_bench.cli.main import cli\n"
        "cli.main(standalone_mode=False)\nassert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'pydantic' not in sys.modules"
    )
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.5


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages")  # but for the first, which is no fork
def test_a_sweep_from_the_shell(shell):
    TINY.write(shell.folder)
    done = shell.run("sweep", "tiny.yaml", fresh=True)
    assert done.returncode == 0, done.stderr
    assert "binary-tiny" in done.stdout and (shell.folder / "reports").is_dir()
    before = numbers(shell.folder / "results")
    assert len(before) == 12
    again = shell.run("sweep", "tiny.yaml", "-q")
    assert again.returncode == 0 and again.stderr == "" and numbers(shell.folder / "results") == before


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages", "no_counts")
def test_killed_at_any_moment_it_goes_on_to_the_same_numbers(shell):
    LONG.write(shell.folder)
    words = ("sweep", "tiny.yaml", "-q", "--threads", "1", "--checkpoint-every", "0.05s")
    whole = shell.run(*words, "--results", "whole")
    assert whole.returncode == 0, whole.stderr
    steps = []
    for _ in range(2):
        process = shell.start(*words, "--results", "killed")
        pattern = f"killed/*/*/checkpoints/*{'.previous' if steps else ''}.pt"
        deadline = time.monotonic() + 60
        written, saved_again = 0, False
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(FileNotFoundError):  # it takes its place under another name just then
                for file in shell.folder.glob(pattern):
                    written = written or file.stat().st_mtime_ns
                    saved_again = file.stat().st_mtime_ns != written
            if saved_again:
                break
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        steps.append(process.returncode)
    assert not list((shell.folder / "killed").rglob("seed-*.json"))
    last = shell.run(*words, "--results", "killed")
    assert last.returncode == 0, last.stderr
    assert numbers(shell.folder / "killed") == numbers(shell.folder / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_after_a_checkpoint_and_says_how_to_go_on(shell, number, code):
    LONG.but(protocol={"epochs": 5000}).write(shell.folder)
    process = shell.start("sweep", "tiny.yaml", "--checkpoint-every", "0.05s")
    deadline = time.monotonic() + 60
    while not list(shell.folder.glob("results/*/*/checkpoints/*.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command continues" in err and "Traceback" not in err
    assert list(shell.folder.glob("results/*/*/checkpoints/*.pt"))


@pytest.mark.parametrize("method", ["homoscedastic-vae", "isotropic-vae"])
def test_the_methods_of_the_pages_run_like_any_other(shell, method):
    plugin = shell.folder / "outside.py"
    plugin.write_text(block("python", f'"{method}"'))
    grid = {"dataset": ["binary-tiny"], "method": [method], "latents": [4]}
    Spec(grid=grid, protocol={"base": "smoke", "train_images": None}).write(shell.folder)
    done = shell.run("sweep", "tiny.yaml", "-q", plugins=(plugin,))
    assert done.returncode == 0, done.stderr
    records = list((shell.folder / "results").rglob("seed-*.json"))
    assert len(records) == 2
    test = json.loads(records[0].read_text())["metrics"]["test"]
    assert test["nll_nats"] <= test["neg_elbo_nats"]


def test_the_spec_of_the_pages_is_valid(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.yaml").write_text(block("yaml", "`exclude` leaves cells out"))
    code, out = call(monkeypatch, capsys, "validate", str(tmp_path / "mine.yaml"))
    assert code == 0 and "5 cells, 3 seeds" in out


@pytest.mark.parametrize(
    "options",
    [(), (("flow", "couplings"),), (("flow", "glow"),), (("decoder_blocks", 5), ("log_sigma", -2.5))],
)
def test_the_last_lines_name_the_whole_cell_of_a_run_that_diverged(options):
    cell = Cell("continuous-mnist", "vdae-resnet", 784, options)
    lost = made_up_record(cell, 3, diverged=True)
    with pytest.raises(Failed) as caught:
        raise_if_failed(Outcome([lost]), Plan((), (), GroupLimit()))
    assert str(caught.value).splitlines()[1:] == [f"  {cell.slug} seed 3: {'; '.join(lost.flags)}"]


BAD = {
    "unknown sweep": (("sweep", "tabel1"), 2, "did you mean 'table1'"),
    "missing spec": (("sweep", "nowhere.yaml"), 2, "nowhere.yaml"),
    "bad set": (("sweep", "table1", "--set", "epochs"), 2, "KEY=VALUE"),
    "unknown field": (("sweep", "table1", "--set", "epoch=3", "--dry-run"), 2, "did you mean 'epochs'"),
    "cell of no name": (
        ("plan", "table1", "--only", "continuous-mnist_vea_16"),
        2,
        "names no cell (did you mean 'continuous-mnist_vae_16'?)",
    ),
    "unknown protocol": (("plan", "table1", "--protocol", "papper"), 2, "did you mean 'paper'"),
    "bad value": (("sweep", "table1", "--set", "epochs=none", "--dry-run"), 2, "epochs"),
    "bad budget": (("sweep", "table1", "--budget", "soon"), 2, "30m"),
    "budget and epochs": (("sweep", "table1", "--budget", "30m", "--epochs", "2"), 2, "--budget"),
    "mps": (("sweep", "table1", "--device", "mps"), 2, "Apple's GPU has no float64"),
    "two machines": (("plan", "table1", "--on", "a100", "--calibrate"), 2, "give one of them"),
    "no workers": (("sweep", "table1", "--workers", "none"), 2, "--workers"),
    "no cuda": (("sweep", "table1", "--device", "cuda"), 2, "use the device cpu"),
    "unknown data set": (("data", "path", "mnst"), 2, "mnist"),
    "wrong data folder": (("data", "fetch", "mnist", "--data", "."), 2, "train-images"),
    "nothing to report": (("report", "--results", "nothing"), 2, "nothing"),
    "unknown format": (("report", "--format", "docx"), 2, "md"),
    "unknown verb": (("reproduce", "table3"), 2, "table1"),
    "missing plugin": (("--plugin", "gone.py", "status"), 2, "gone.py"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_words_give_one_sentence_and_exit_code_2(case, tmp_path, monkeypatch, capsys):
    from vdae_bench.cli import main as cli

    words, code, expected = BAD[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDAE_BENCH_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == code, err
    assert expected in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_counts")
def test_only_takes_cells_by_their_names(monkeypatch, capsys, tmp_path):
    words = ("plan", "table2", "--results", str(tmp_path), "--format", "json")
    code, out = call(monkeypatch, capsys, *words, "--only", "*_lvdae_*", "--only", "*_vae_16")
    cells = [each["cell"].removeprefix("binary-mnist_") for each in json.loads(out)["cells"]]
    assert code == 0 and cells == ["vae_16", "lvdae_16", "lvdae_32", "lvdae_64", "lvdae_128"]
    code, out = call(
        monkeypatch, capsys, "plan", "table2", "--results", str(tmp_path), "--format", "slurm", "--only", "*_16"
    )
    assert "--only '*_16'" in out and "#SBATCH --array=1-2\n" in out


@pytest.mark.usefixtures("no_counts")
def test_dry_run_plan_status_and_validate(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (("reproduce", "table1", "--dry-run"), ("plan", "table1"), ("status",), ("validate", "table2")):
        code, out = call(monkeypatch, capsys, *words)
        assert code == 0 and ("lvdae_128" in out or "11 cells" in out)
    code, out = call(monkeypatch, capsys, "reproduce", "figure2", "--dry-run")
    assert code == 0 and out.startswith("table2: ")  # whose models it shows
    for part, cells in (("figure3", 7), ("figure4", 8)):
        code, out = call(monkeypatch, capsys, "validate", part)
        assert code == 0 and f"{cells} cells" in out
    code, out = call(monkeypatch, capsys, "plan", "table1", "--format", "json", "--protocol", "paper")
    content = json.loads(out)
    assert code == 0 and content["protocol"]["epochs"] == 1000 and len(content["cells"]) == 18
    assert all(cell["to_run"] for cell in content["cells"]) and not list(tmp_path.iterdir())


def test_a_budget_chooses_epochs_once_and_keeps_them(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    TINY.write(tmp_path)
    words = ("plan", "tiny.yaml", "--budget", "20s", "--calibrate", "--format", "json", "--threads", "1")
    code, out = call(monkeypatch, capsys, *words)
    first = json.loads(out)["protocol"]
    assert code == 0 and first["epochs"] >= 1 and first["name"].startswith("smoke+")
    assert len(list((tmp_path / "results").rglob("budgets/*.json"))) == 1
    code, out = call(monkeypatch, capsys, *words)
    assert json.loads(out)["protocol"] == first
    code, out = call(monkeypatch, capsys, "plan", "tiny.yaml", "--budget", "0.001s", "--calibrate")
    assert code == 2


def test_data_verify_and_path(tiny_data, tmp_path, monkeypatch, capsys):
    code, out = call(monkeypatch, capsys, "data", "verify", "tiny", "--data", str(tiny_data[0]))
    assert code == 0 and out.count("ok ") == 4
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tiny_data[0].glob("*-ubyte"):
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "t10k-images-idx3-ubyte").write_bytes(b"wrong")
    code, out = call(monkeypatch, capsys, "data", "verify", "tiny", "--data", str(copy))
    assert code == 2 and out.count("WRONG") == 1
