"""Machines by name: what a plan says of a sweep on them, and that an estimate is called one."""

from __future__ import annotations

from tests.support.shell import call
from tests.support.specs import PAIR
from vdae_bench.running.machines import MACHINES


def test_every_machine_has_its_source_and_only_what_was_measured_has_none_of_an_estimate():
    assert {name for name, each in MACHINES.items() if each.measured} == {"xeon", "epyc"}
    for each in MACHINES.values():
        assert each.source and ("an estimate" in each.where) != each.measured
        assert 1e11 < each.float32 < 1e14 and 1e11 < each.flops_per_second("mixed") < 3e14


def test_a_plan_on_a_machine_goes_by_the_precision_of_each_cell(tiny_data, tmp_path, monkeypatch, capsys):
    path = str(PAIR.but(protocol={"epochs": 10**6}).write(tmp_path))
    said = {}
    for words in (["--on", "epyc"], ["--on", "epyc", "--set", "precision=mixed"], ["--flops-per-second", "1.2e11"]):
        code, out = call(monkeypatch, capsys, "plan", path, *words, "--results", str(tmp_path / "none"))
        assert code == 0
        said[words[-1]] = out.split(": about ")[1].split(",")[0]
    assert said["epyc"] == said["1.2e11"] != said["precision=mixed"]
    code, out = call(monkeypatch, capsys, "plan", path, "--on", "a100", "--results", str(tmp_path / "none"))
    assert "on one A100 (an estimate: 19.5 and 312 TFLOP/s" in out
