"""`vdae-bench doctor`: what it finds wrong and what it advises, and the container's limits that threads obey."""

from __future__ import annotations

import json

import pytest

from tests.support.shell import call
from vdae_bench.cli import doctor
from vdae_bench.cli.doctor import examine
from vdae_bench.system import devices


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Control groups of a container: `container(path, content)`."""
    groups = tmp_path / "cgroup"
    monkeypatch.setattr(devices, "CONTROL_GROUPS", groups)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def limit(name: str, content: str) -> None:
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)

    return limit


def by_name(tmp_path, data=None):
    return {each.name: each for each in examine(tmp_path / "results", tmp_path / "reports", data)}


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "rubbish"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_threads_keep_to_the_containers_limit(container, files, processors):
    for name, content in files.items():
        container(name, content)
    assert devices.usable_processors() == processors


def test_memory_is_what_the_containers_limit_leaves(container, tmp_path):
    container("memory.max", f"{2**30}\n")
    container("memory.current", f"{2**29}\n")
    assert devices.available_memory() == 2**29
    finding = by_name(tmp_path)["memory"]
    assert finding.state == "note" and finding.found == "0.5 GiB free" and "batch_size" in finding.remedy
    assert devices.group_bytes(devices.choose("cpu")) == 2**30 // 3


def test_a_machine_that_can_run(tmp_path, tiny_data, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_data", lambda folder: doctor.Check("data", "ok", "there"))
    code, out = call(monkeypatch, capsys, "doctor", "--format", "json")
    found = {each["name"]: each["state"] for each in json.loads(out)}
    assert code == 0 and set(found) == {
        "system", "libraries", "threads", "memory", "device", "results", "reports", "cache", "data",
    }  # fmt: skip
    assert "wrong" not in found.values() and not list(tmp_path.iterdir())


def test_what_is_wrong_has_a_remedy_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("a file")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-images-idx3-ubyte").write_bytes(b"wrong")
    code, out = call(monkeypatch, capsys, "doctor", "--data", "data")
    assert code == 2 and "wrong results: results cannot be written" in out and "choose another --results" in out
    assert "wrong data: not the genuine files: data/train-images-idx3-ubyte" in out
    (tmp_path / "data" / "train-images-idx3-ubyte").unlink()
    assert "lacks" in by_name(tmp_path, tmp_path / "data")["data"].found


def test_a_full_disk_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("usage", (), {"free": 10**6}))
    finding = by_name(tmp_path)["results"]
    assert finding.state == "wrong" and "free some space" in finding.remedy


def test_a_name_that_no_file_system_takes_is_found(tmp_path):
    finding = {each.name: each for each in examine(tmp_path / ("x" * 5000), tmp_path, None)}["results"]
    assert finding.state == "wrong" and "File name too long" in finding.found and "--results" in finding.remedy


@pytest.mark.parametrize("units", [True, False])
def test_bfloat16_units_are_worth_a_word(monkeypatch, units):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(devices.torch.cpu, name, lambda: units, raising=False)
    found = doctor._device()
    assert ("bfloat16" in found.found, "paper-mixed" in found.remedy) == (units, units)


def test_threads_of_the_environment_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "usable_processors", lambda: 8)
    monkeypatch.setattr(devices, "usable_processors", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = doctor._threads()
    assert found.state == "note" and found.found.startswith("3 threads by default") and "OMP_NUM_THREADS" in found.found
