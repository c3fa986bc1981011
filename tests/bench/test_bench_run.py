"""The raw file and the verb: kept after every case, one sentence and exit code 2 where a library is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace

import pytest
import torch

from tests.support.entries import RUN, entry
from vdae_bench.bench import data, entries
from vdae_bench.bench.cases import declared
from vdae_bench.bench.page import page
from vdae_bench.bench.run import chosen, run_cases
from vdae_bench.cli import tools
from vdae_bench.errors import UserError

CONTRACT = ["name", "ours_seconds", "peer", "peer_seconds", "ratio", "target", "peak_fraction"]


@dataclass(frozen=True)
class MadeUp:
    """A case that finds what it is given."""

    name: str
    found: tuple = ()
    error: type[BaseException] | None = None
    per: str = "call"
    on_gpu: bool = True

    def run(self, setting, rounds, run):
        if self.error:
            raise self.error
        return [each.model_copy(update={"run": run, "case": self.name}) for each in self.found]


FAST = entry("fast", ours_seconds=0.1, peer="slow", peer_seconds=0.2, ratio=2.0, target=1.5, spread=(1.9, 2.1))
SKIPPED = entry("gone", peer="nobody", target=2.0, skipped="zuko cannot be imported (it is not there)")


@pytest.fixture
def verb(setting, blank_chart, tmp_path, monkeypatch, capsys):
    """Call `vdae-bench bench` on made-up cases: (exit code, standard error, raw entries or None)."""

    def call(cases, *words: str):
        from vdae_bench.cli import main as cli

        monkeypatch.setattr(tools, "declared", lambda: cases)
        monkeypatch.setattr(tools, "find_data", lambda folder: setting.data)
        places = ["--results", str(tmp_path / "results"), "--reports", str(tmp_path / "reports"), "--threads", "1"]
        monkeypatch.setattr(sys, "argv", ["vdae-bench", "bench", *places, *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        files = list((tmp_path / "results" / "bench").glob("*"))
        assert len(files) <= 1
        return int(ended.value.code or 0), capsys.readouterr().err, json.loads(files[0].read_text()) if files else None

    return call


def test_the_raw_file_has_the_fields_of_the_contract(tmp_path):
    path = tmp_path / "bench" / "abacus.json"
    entries.write_entries(path, [FAST, SKIPPED])
    first, second = json.loads(path.read_text())
    assert list(first)[: len(CONTRACT)] == CONTRACT
    assert [first[field] for field in CONTRACT] == ["fast", 0.1, "slow", 0.2, 2.0, 1.5, None]
    assert [second[field] for field in CONTRACT] == ["gone", None, "nobody", None, None, 2.0, None]
    assert entries.read_entries(path) == [FAST, SKIPPED]
    assert [each.name for each in path.parent.iterdir()] == ["abacus.json"]


def test_a_file_of_something_else_is_not_replaced(tmp_path):
    path = tmp_path / "abacus.json"
    for text in ('{"seed": 3}', "torn [", '[{"name": "x"}]'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"abacus\.json"):
            entries.read_entries(path)
    assert entries.read_entries(tmp_path / "none.json") == []


def test_merging_keeps_what_was_not_measured_again():
    old = [entry("a", case="x", ours_seconds=1.0), entry("b", case="y", ours_seconds=1.0), entry("c", case="gone")]
    new = [entry("a", case="x", skipped="no zuko"), entry("b", case="y", ours_seconds=2.0), entry("d", case="w")]
    found = entries.merged(old, new, ["w", "x", "y"])
    assert [(each.name, each.ours_seconds) for each in found] == [("d", None), ("a", 1.0), ("b", 2.0)]


@pytest.mark.parametrize(
    ("measure", "direction", "value", "met"),
    [
        ("ratio", "at least", 2.0, True),
        ("ratio", "at most", 2.1, False),
        ("peak_fraction", "at least", 1.9, False),
        ("ours_seconds", "at most", 2.0, True),
    ],
)
def test_a_target_is_for_one_number_in_one_direction(measure, direction, value, met):
    assert entry("x", target=2.0, measure=measure, direction=direction, **{measure: value}).met is met
    assert entry("x", measure=measure, **{measure: value}).met is None
    assert entry("x", target=2.0, measure=measure).met is None


def test_what_was_found_before_an_interruption_is_kept(verb):
    code, _, raw = verb([MadeUp("one", (FAST,)), MadeUp("two", error=KeyboardInterrupt)])
    assert code == 130 and [each["name"] for each in raw] == ["fast"]


def test_a_missing_library_gives_one_sentence_and_code_2_at_the_end(verb, tmp_path):
    code, err, raw = verb([MadeUp("one", (SKIPPED,)), MadeUp("two", (FAST,))])
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert "zuko cannot be imported" in err and "pip install" in err and "[bench]" in err
    assert [each["name"] for each in raw] == ["gone", "fast"]
    assert "fast" in (tmp_path / "reports" / "performance.md").read_text()


def test_only_some_cases(verb):
    cases = [MadeUp("nice-a", (FAST,)), MadeUp("Vae-B", (entry("other", ours_seconds=1.0),))]
    code, _, raw = verb(cases)
    assert code == 0 and len(raw) == 2
    again = [MadeUp("nice-a", error=AssertionError), MadeUp("Vae-B", (entry("other", ours_seconds=3.0),))]
    code, _, raw = verb(again, "--only", "vAE")
    assert code == 0 and [(each["name"], each["ours_seconds"]) for each in raw] == [("fast", 0.1), ("other", 3.0)]
    code, err, _ = verb(cases, "--only", "nicer")
    assert code == 2 and "nice-a" in err and "Vae-B" in err


def test_cases_are_found_by_their_unit_and_on_a_gpu_only_those_about_it():
    step, start, shared = MadeUp("a", per="whole step"), MadeUp("b", per="start"), MadeUp("workers", on_gpu=False)
    cases = [step, start, shared]
    assert chosen(cases, "STEP", True) == [step]
    assert chosen(cases, None, True) == cases and chosen(cases, None, False) == [step, start]
    with pytest.raises(UserError, match=r"^workers: about processors only; use --device cpu$"):
        chosen(cases, "workers", False)
    steps = {case.name for case in chosen(declared(), "step", False)}
    assert {"lvdae-128", "nice", "glow", "peak", "growth-m"} <= steps and not steps & {"nll", "workers", "profile"}


def test_a_gpu_is_named_and_has_no_targets(setting, tmp_path, monkeypatch):
    on_gpu = replace(setting, context=replace(setting.context, device=torch.device("cuda")))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Abacus 3 (TM)")
    lines = []
    cases = [MadeUp("one", (FAST,)), MadeUp("two", error=AssertionError, on_gpu=False)]
    outcome = run_cases(cases, on_gpu, tmp_path, say=lines.append)
    assert outcome.path == tmp_path / "bench" / "nvidia-abacus-3.json"
    (kept,) = entries.read_entries(outcome.path)
    assert kept.run.device == "NVIDIA Abacus 3 (TM)" and kept.target is None and kept.met is None
    assert "target" not in "".join(lines)
    assert "2 threads" not in page([[kept]]) and "1 thread, NVIDIA Abacus 3 (TM); torch" in page([[kept]])


def test_a_gpu_that_is_not_there_is_one_sentence(verb):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    code, err, raw = verb([MadeUp("one", (FAST,))], "--device", "cuda")
    assert code == 2 and "no CUDA device" in err and raw is None


def test_the_run_is_named(verb):
    _, _, raw = verb([MadeUp("one", (FAST,))])
    run_of = raw[0]["run"]
    assert run_of["threads"] == 1 and run_of["machine"].endswith("-1-thread") and run_of["data"] == "random-bytes"
    assert (
        run_of["command"].startswith("vdae-bench bench")
        and run_of["torch"]
        and run_of["libraries"].keys()
        == {
            "pythae",
            "zuko",
            "normflows",
        }
    )


def test_random_bytes_stand_in_where_mnist_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(data, "random_bytes", lambda folder: data.BenchData("stand-in", folder))
    assert data.find_data(tmp_path) == data.BenchData("stand-in", tmp_path)


def test_random_bytes_are_split_as_mnist(setting):
    images = setting.data.images
    assert [len(split) for split in (images.train, images.validation, images.test)] == [2500, 500, 300]
    assert images.shape == (12, 12) and 120 < images.train.float().mean() < 135


def test_made_up_entries_are_entries():
    assert entries.Entry.model_validate(FAST.model_dump()).run == RUN
