"""Faults that a test causes: a full disk, folders that cannot be written, no memory, a clock that jumps."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.runs import Heard, without_time
from tests.support.shell import call
from tests.support.specs import PAIR
from vdae_bench.errors import EnvironmentFault
from vdae_bench.evaluation.likelihood import Evaluator
from vdae_bench.running.context import RunContext
from vdae_bench.running.execute import run_plan
from vdae_bench.running.plan import plan
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Trainer


@pytest.fixture
def sweep(tiny_data, tmp_path):
    return load_spec(PAIR.but(grid={"method": ["vae"]}).write(tmp_path))


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system of its own at a folder: `mounted(options)`."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("mounting a small file system needs Linux and root")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def sweep_into(results, monkeypatch, capsys, tiny_data, tmp_path, *words):
    """(exit code, stderr) of the sweep from the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    monkeypatch.setattr(sys, "argv", ["vdae-bench", "sweep", "tiny.yaml", "-q", "--results", str(results), *words])
    from vdae_bench.cli import main as cli

    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_nothing_in_part(mounted, sweep, tiny_data, tmp_path, monkeypatch, capsys):
    folder = mounted("size=48k")
    code, said = sweep_into(folder / "results", monkeypatch, capsys, tiny_data, tmp_path, "--checkpoint-every", "0.01s")
    assert code == 1 and "No space left on device; free space, change permissions" in said and "Traceback" not in said
    store = Store(folder / "results")
    assert not list(store.records()) and not list(store.unreadable()) and not list(folder.rglob("*.tmp-*"))
    subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
    code, said = sweep_into(folder / "results", monkeypatch, capsys, tiny_data, tmp_path)
    assert code == 0 and len(list(store.records())) == 2, said


def test_a_read_only_file_system_is_found_out_before_the_training(
    mounted, sweep, tiny_data, tmp_path, monkeypatch, capsys
):
    folder = mounted("size=1m,ro")
    monkeypatch.setattr(Trainer, "train_step", lambda self: pytest.fail("it trained"))
    code, said = sweep_into(folder / "results", monkeypatch, capsys, tiny_data, tmp_path)
    assert (
        code == 1 and said.count("\n") == 1 and "Read-only file system" in said and "another folder for results" in said
    )


NOWHERE = {"a file in its way": errno.EEXIST, "no permission": errno.EACCES, "a full disk": errno.ENOSPC}


@pytest.mark.parametrize("reason", NOWHERE)
def test_what_cannot_be_written_is_named_with_a_remedy(reason, tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file.json"
    if reason == "a file in its way":
        path.parent.touch()
    elif reason == "no permission" and os.geteuid() != 0:
        path.parent.mkdir(mode=0o500)
    else:  # root may write anywhere, and a full disk needs a mount
        number = NOWHERE[reason]
        monkeypatch.setattr(atomic.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
    with pytest.raises(
        EnvironmentFault, match=rf"cannot write .*file.json: {os.strerror(NOWHERE[reason])}; free space"
    ):
        atomic.write(path, b"content")
    assert not path.parent.is_dir() or not list(path.parent.iterdir())


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "c.pt", "a")
    checkpoint.save({"step": 1})
    monkeypatch.setattr(atomic.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(EnvironmentFault, match="No space left"):
        checkpoint.save({"step": 2})
    assert Checkpoint(checkpoint.path, "a").load() == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


FULL = {
    "a GPU's": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "torch's on a CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    "Python's": MemoryError(),
}


@pytest.mark.parametrize("kind", FULL)
def test_without_memory_for_all_replicas_fewer_train_together(kind, sweep, context, tmp_path, monkeypatch):
    elsewhere = RunContext(Store(tmp_path / "other"), context.device, 1, context.data_folder, 1e9)
    whole = run_plan(plan(sweep, elsewhere.store), elsewhere, Heard(), StopToken())
    step = Trainer.train_step

    def fail(self):
        if len(self.noise.seeds) > 1:
            raise FULL[kind]
        step(self)

    monkeypatch.setattr(Trainer, "train_step", fail)
    heard = Heard()
    outcome = run_plan(plan(sweep, context.store), context, heard, StopToken())
    assert not outcome.failures and any("memory is full" in line for line in heard.lines)
    for record, same in zip(outcome.records, whole.records, strict=True):
        assert (record.seed, record.run_digest, record.cost.replicas) == (same.seed, same.run_digest, 1)
        assert record.metrics.test.nll_nats == pytest.approx(same.metrics.test.nll_nats, rel=1e-5)
    assert not list(context.store.root.rglob("checkpoints/*"))


def test_without_memory_for_one_run_it_fails_with_a_remedy(sweep, context, monkeypatch):
    monkeypatch.setattr(Trainer, "train_step", lambda self: (_ for _ in ()).throw(MemoryError()))
    outcome = run_plan(plan(sweep, context.store), context, Heard(), StopToken())
    assert len(outcome.failures) == 2
    assert all("memory is full with a single run; lower batch_size" in str(error) for _, error in outcome.failures)


def test_without_memory_for_a_chunk_of_the_evaluation_smaller_ones_do(sweep, context, tmp_path, monkeypatch):
    elsewhere = RunContext(Store(tmp_path / "other"), context.device, 1, context.data_folder, 1e9)
    whole = run_plan(plan(sweep, elsewhere.store), elsewhere, Heard(), StopToken())
    run_chunk = Evaluator.run_chunk

    def fail(self):
        if len(self.chunks[self.done][0]) > 6:
            raise FULL["torch's on a CPU"]
        run_chunk(self)

    monkeypatch.setattr(Evaluator, "run_chunk", fail)
    outcome = run_plan(plan(sweep, context.store), context, Heard(), StopToken())
    assert len(outcome.records) == 2
    for record, same in zip(outcome.records, whole.records, strict=True):
        assert record.flags == ["evaluated in chunks of 1/4 of the images for want of memory; changes no number"]
        assert record.cost.replicas == 2
        for name, value in same.metrics.test.model_dump().items():
            expected = pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
            assert getattr(record.metrics.test, name) == expected


def test_a_clock_that_jumps_changes_nothing(sweep, context, tmp_path, monkeypatch):
    elsewhere = RunContext(Store(tmp_path / "other"), context.device, 1, context.data_folder, 0.0)
    whole = run_plan(plan(sweep, elsewhere.store), elsewhere, Heard(), StopToken())
    jumps = iter([1e9, -1e9] * 100_000)
    monkeypatch.setattr(time, "time", lambda: 1.8e9 + next(jumps))
    outcome = run_plan(plan(sweep, context.store), context, Heard(), StopToken())
    assert list(map(without_time, outcome.records)) == list(map(without_time, whole.records))
    assert all(0 <= record.cost.train_seconds < 60 for record in outcome.records)


def test_torn_records_are_named_and_run_again(sweep, context, tiny_data, tmp_path, monkeypatch, capsys):
    run_plan(plan(sweep, context.store), context, Heard(), StopToken())
    (first, second) = sorted(context.store.root.rglob("seed-*.json"))
    before = [record.metrics for _, record in context.store.records()]
    first.write_text(first.read_text()[:100])
    second.write_text(second.read_text().replace('"schema": 1', '"schema": 7'))
    monkeypatch.setattr(sys, "argv", ["vdae-bench", "status", "tiny.yaml"])
    monkeypatch.chdir(tmp_path)
    code, out = call(monkeypatch, capsys, "status", "tiny.yaml")
    assert (
        code == 0 and "seed-0.json is not read" in out and "seed-1.json is not read: its content does not agree" in out
    )
    outcome = run_plan(plan(sweep, context.store), context, Heard(), StopToken())
    assert len(outcome.records) == 2 and len(list(context.store.root.rglob("*superseded-unreadable*"))) == 2
    assert [record.metrics for _, record in context.store.records()] == before
