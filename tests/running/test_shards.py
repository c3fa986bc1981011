"""Shares of a sweep: fixed, disjoint, complete, balanced; a job array that stops in time and goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.runs import StopAfter, numbers, run, wait_for
from tests.support.specs import LONG, PAIR
from vdae_bench.errors import UserError
from vdae_bench.running.cost import GroupLimit, train_bytes
from vdae_bench.running.group import run_group
from vdae_bench.running.options import Command, MachineOptions
from vdae_bench.running.plan import plan
from vdae_bench.running.shards import Shard, parse_shard, shares
from vdae_bench.running.slurm import job_array
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.training.trainer import Interrupted


@given(st.lists(st.integers(0, 10**15), max_size=30), st.integers(1, 12))
def test_shares_are_disjoint_complete_and_balanced(works, count):
    parts = shares(works, count)
    assert len(parts) == count and sorted(index for part in parts for index in part) == list(range(len(works)))
    loads = [sum(works[index] for index in part) for part in parts]
    assert max(loads) - min(loads) <= max(works, default=0) * (1 + 1e-9)


def test_a_share_is_the_same_whatever_has_a_record(sweep, context):
    before = plan(sweep, context.store)
    parts = [Shard(number, 3).part_of(before, context.store) for number in (1, 2, 3)]
    runs = [{run_ for group in part.groups for run_ in map(str, group.runs)} for part in parts]
    assert sum(map(len, runs)) == sum(len(group.runs) for group in before.groups) == len(set.union(*runs))
    assert all(part.groups for part in parts)
    for each in parts[:2]:
        run(sweep, context, planned=each)
    after = plan(sweep, context.store)
    assert [Shard(number, 3).part_of(after, context.store).groups for number in (1, 2)] == [(), ()]
    assert Shard(3, 3).part_of(after, context.store).groups == parts[2].groups


def test_machines_of_different_memory_cut_the_same_shares(context, tiny_data, tmp_path):
    """Ten seeds, which one machine trains together and another one by one."""
    spec = load_spec(PAIR.but(seeds=10).write(tmp_path))
    large, small = (plan(spec, context.store, GroupLimit(memory=size)) for size in (2**40, 1))
    assert (len(large.groups), len(small.groups)) == (2, 20)
    for number in (1, 2):
        parts = [Shard(number, 2).part_of(each, context.store) for each in (large, small)]
        runs = [sorted((job.cell.slug, seed) for group in part.groups for job, seed in group.runs) for part in parts]
        assert runs[0] == runs[1] and len(runs[0]) == 10
        assert [len(part.groups) for part in parts] == [1, 10]


def test_a_group_that_was_begun_goes_on_whole_in_one_share(context, tiny_data, tmp_path, monkeypatch):
    """Ten seeds that trained together on a large machine, of an array whose shares have four of them at most."""
    spec = load_spec(LONG.but(protocol={"epochs": 1}, seeds=10).write(tmp_path))
    (group,) = plan(spec, context.store, GroupLimit(memory=2**40)).groups
    with pytest.raises(Interrupted):
        run_group(group, context, lambda *_: None, StopAfter(2))
    monkeypatch.setattr("vdae_bench.running.plan.GROUP_BYTES", 4 * train_bytes(group.job))
    planned = plan(spec, context.store, GroupLimit(memory=2**40))
    assert [len(each.runs) for each in planned.all_groups] == [4, 4, 2]
    parts = [Shard(number, 3).part_of(planned, context.store).groups for number in (1, 2, 3)]
    assert sorted(map(len, parts)) == [0, 0, 1] and [*filter(None, parts)] == [(group,)]


@pytest.mark.parametrize(
    ("task", "first", "step", "count", "number"),
    [("1", "1", "1", "4", 1), ("4", "1", "1", "4", 4), ("0", "0", "1", "3", 1), ("5", "1", "2", "3", 3)],
)
def test_auto_is_the_place_in_the_array(task, first, step, count, number):
    told = {"ID": task, "MIN": first, "STEP": step, "COUNT": count}
    environment = {f"SLURM_ARRAY_TASK_{name}": value for name, value in told.items()}
    assert parse_shard("auto", environment) == Shard(number, int(count))


@pytest.mark.parametrize("array", ["3", "2,5,7", "4-6"])
def test_auto_is_refused_where_an_array_is_submitted_in_part(array):
    tasks = [4, 5, 6] if array == "4-6" else [int(task) for task in array.split(",")]
    told = {"ID": tasks[-1], "MIN": min(tasks), "MAX": max(tasks), "STEP": 1, "COUNT": len(tasks)}
    with pytest.raises(UserError, match=r"submitted in part .*; give --shard \$SLURM_ARRAY_TASK_ID/N"):
        parse_shard("auto", {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()})


@pytest.mark.parametrize("array", ["3", "2,5,7", "1-7"])
def test_a_task_that_is_submitted_again_takes_its_own_share_whichever_others_are(array, tmp_path):
    (tmp_path / "vdae-bench").write_text('#!/bin/bash\necho "$@"\n')
    (tmp_path / "vdae-bench").chmod(0o755)
    script = job_array("tiny", Command("sweep", ("tiny",)), 7, 60, 1, gpu=False)
    tasks = range(1, 8) if array == "1-7" else list(map(int, array.split(",")))
    for task in tasks:
        own = {"ID": task, "COUNT": len(tasks), "MIN": min(tasks), "MAX": max(tasks), "STEP": 1}
        slurm = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in own.items()}
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, **slurm, **path}
        )
        assert f"--shard {task}/7 --time-limit 1m" in done.stdout, done.stderr


def test_the_words_of_a_share_in_a_path_stay_its_own():
    machine = MachineOptions(data=Path("a --shard auto b"))
    script = job_array("tiny", Command("sweep", ("tiny",), machine=machine), 7, 60, 1, gpu=False)
    assert "--data 'a --shard auto b'" in script and script.count('--shard "$SLURM_ARRAY_TASK_ID/7"') == 1


def test_an_array_for_gpus_is_printed_where_there_is_none(shell, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    LONG.write(shell.folder)
    done = shell.run("plan", "tiny.yaml", "--format", "slurm", "--device", "cuda")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --gres=gpu:1\n" in done.stdout and "--device cuda" in done.stdout


@pytest.mark.parametrize("word", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", "", "auto", "AUTO", "1/99999999"])
def test_a_bad_share_is_refused(word):
    with pytest.raises(UserError, match="--shard"):
        parse_shard(word, {})


def test_shares_by_hand_come_to_the_records_of_one_process(sweep, context, whole):
    for number in (1, 2, 3):
        run(sweep, context, planned=Shard(number, 3).part_of(plan(sweep, context.store), context.store))
    assert numbers(context.store.root) == numbers(whole[0].root)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages", "no_counts")
def test_at_its_time_limit_a_run_stops_after_a_checkpoint_and_goes_on(shell):
    LONG.but(protocol={"epochs": 30}).write(shell.folder)
    words = ["--results", "whole", "--shard", "1/1"]
    assert shell.run("sweep", "tiny.yaml", *words, "-q").returncode == 0
    stopped = shell.run("sweep", "tiny.yaml", "--time-limit", "0.1s", "-q")
    assert (stopped.returncode, "the same command continues" in stopped.stderr) == (143, True)
    assert list((shell.folder / "results").rglob("*.pt")) and not numbers(shell.folder / "results")
    assert shell.run("sweep", "tiny.yaml", "-q").returncode == 0
    assert numbers(shell.folder / "results") == numbers(shell.folder / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("no_pages", "no_counts")
def test_the_job_array_is_a_script_whose_command_runs(shell):
    LONG.but(protocol={"epochs": 2}).write(shell.folder)
    words = ["plan", "tiny.yaml", "--format", "slurm", "--set", "hidden_size=4", "--flops-per-second", "1e12"]
    words += ["--replicas", "1"]  # each seed is a group of its own, and a share
    script = shell.run(*words).stdout
    path = Path(shell.folder / "array.sh")
    path.write_text(script)
    subprocess.run(["bash", "-n", path], check=True)
    assert re.search(r"^#SBATCH --array=1-2$", script, re.MULTILINE) and "the longest about" in script
    (command,) = (line for line in script.splitlines() if line.startswith("vdae-bench "))
    assert "--set hidden_size=4" in command and '--shard "$SLURM_ARRAY_TASK_ID/2" --time-limit 55m' in command
    assert "exit code" not in script and "scontrol requeue" in script
    done = shell.run(*command.replace('"$SLURM_ARRAY_TASK_ID/2"', "1/1").split()[1:])
    assert done.returncode == 0, done.stderr
    records = [record for _, record in Store(shell.folder / "results").records()]
    assert [(record.seed, record.cost.replicas) for record in records] == [(0, 1), (1, 1)]


COMMAND = """\
#!/bin/bash
trap 'sleep 0.3; touch checkpoint; exit 143' TERM
[ -e at-limit ] && exit 143
touch started
for _ in {1..600}; do sleep 0.1; done
"""


@pytest.mark.parametrize("at_limit", [True, False])
def test_the_script_requeues_at_its_own_limit_and_waits_for_the_checkpoint_when_it_is_told_to_stop(tmp_path, at_limit):
    for name, text in {"vdae-bench": COMMAND, "scontrol": '#!/bin/bash\necho "$@" > requeued\n'}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    if at_limit:
        (tmp_path / "at-limit").touch()
    told = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    script = job_array("tiny", Command("sweep", ("tiny",)), 2, 60, 1, gpu=False)
    process = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env={**os.environ, **told}, start_new_session=True)
    if not at_limit:
        wait_for((tmp_path / "started").exists)
        os.killpg(process.pid, signal.SIGTERM)  # scancel and preemption tell all processes, bash too
    assert process.wait(timeout=60) == 143
    assert (tmp_path / "checkpoint").exists() != at_limit
    assert (tmp_path / "requeued").exists() == at_limit  # what was cancelled must not come back
    if at_limit:
        assert (tmp_path / "requeued").read_text() == "requeue 7_2\n"


@pytest.mark.parametrize(
    ("seconds", "limit", "minutes"), [(3300, "55m", 60), (0.5, "0.5s", 6), (90, "90s", 7), (5400, "90m", 95)]
)
def test_the_command_has_the_limit_that_was_asked_for_and_the_job_some_minutes_more(seconds, limit, minutes):
    script = job_array("tiny", Command("sweep", ("tiny",)), 2, seconds, 1, gpu=False)
    assert f"--time-limit {limit} " in script and f"#SBATCH --time={minutes}\n" in script
