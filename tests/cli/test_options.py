"""Options are written once: the line of a job array, the line that goes on, records and workers are read off them."""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from tests.support.specs import LONG
from vdae_bench.cli import resolve
from vdae_bench.cli import run as commands
from vdae_bench.cli.main import cli
from vdae_bench.cli.options import takes
from vdae_bench.errors import Failed, UserError
from vdae_bench.running.context import RunContext, create_context
from vdae_bench.running.execute import Outcome
from vdae_bench.running.group import GroupTask
from vdae_bench.running.options import COUNT, Command, MachineOptions, PlanOptions, RunOptions, SpecOptions, option
from vdae_bench.running.plan import Plan
from vdae_bench.running.pools import Worker
from vdae_bench.spec import check
from vdae_bench.store.records import Store

PARTS = {"spec": SpecOptions, "machine": MachineOptions, "run": RunOptions}


def every_option() -> Iterator[tuple[str, Field[Any]]]:
    for part, kind in PARTS.items():
        for each in fields(kind):
            yield part, each


EVERY = {each.name: (part, each) for part, each in every_option()}
CALLED = ("reproduce", "sweep", "search")


@pytest.fixture
def parsed(monkeypatch):
    """The command that the words of a shell come to, without running it."""
    heard: list[Command] = []
    monkeypatch.setattr(commands, "run_sweeps", lambda names, command: heard.append(command))
    monkeypatch.setattr(commands, "run_search", lambda word, command: heard.append(command))
    monkeypatch.setattr(resolve, "loaded_plugins", dict)  # other tests have loaded some in this process
    monkeypatch.delenv("VDAE_BENCH_DATA", raising=False)

    def parse(*words: str) -> Command:
        cli.main(list(words), standalone_mode=False)
        return heard.pop()

    return parse


def words_for(each: Field[Any]) -> list[list[str]]:
    """Ways to set an option on the command line."""
    parameter = next(one for one in cli.commands["sweep"].params if one.name == each.name)
    assert isinstance(parameter, click.Option)
    if parameter.is_flag:
        return [[flag] for flag in (*parameter.opts, *parameter.secondary_opts)]
    value = parameter.type.choices[-1] if isinstance(parameter.type, click.Choice) else "7"
    return [[flag, value] * (2 if parameter.multiple else 1) for flag in parameter.opts]


def test_every_option_of_a_verb_that_runs_is_a_field():
    others = {"spec", "part", "noise_grid", "plugin"}
    for verb in CALLED:
        assert {each.name for each in cli.commands[verb].params} - others <= EVERY.keys(), verb
    assert {each.name for each in cli.commands["sweep"].params} - others == EVERY.keys()
    planned = {each.name for each in cli.commands["plan"].params}
    assert planned >= {each.name for kind in (SpecOptions, MachineOptions) for each in fields(kind)}


BOUNDED = [
    (kind, each.name, bounds)
    for kind in (SpecOptions, MachineOptions, RunOptions, PlanOptions)
    for each in fields(kind)
    if isinstance(bounds := each.metadata["click"].get("type"), click.IntRange | click.FloatRange)
]


@pytest.mark.parametrize(("kind", "name", "bounds"), BOUNDED, ids=[name for _, name, _ in BOUNDED])
def test_the_bounds_of_an_option_hold_for_values_from_python(kind, name, bounds):
    for inside in (bounds.min, bounds.max or 10**9):
        assert getattr(kind(**{name: inside}), name) == inside
    beyond = [bounds.min - 1, str(bounds.min), True] + ([] if bounds.max is None else [10 * bounds.max])
    for outside in beyond:
        with pytest.raises(UserError, match=f"^{name} is "):
            kind(**{name: outside})


@pytest.mark.parametrize("name", EVERY)
def test_the_line_that_goes_on_gives_the_same_command(parsed, name):
    part, each = EVERY[name]
    for words in words_for(each):
        command = parsed("sweep", "table1", *words)
        assert getattr(getattr(command, part), name) != each.default
        assert parsed(*shlex.split(str(command))[1:]) == command


@pytest.mark.parametrize("name", EVERY)
def test_the_line_of_an_array_has_every_option_or_refuses_it_with_a_reason(parsed, name):
    part, each = EVERY[name]
    for words in words_for(each):
        if name == "search" and words == ["--search"]:
            with pytest.raises(UserError, match="--shard takes a part of the final runs"):
                parsed("sweep", "table1", *words, "--shard", "auto")
            continue
        command = parsed("sweep", "table1", *words)
        if each.metadata["not_in_array"]:
            with pytest.raises(UserError, match=rf"^{each.metadata['flags'][0]} .*{each.metadata['not_in_array']}"):
                command.array_line()
        else:
            again = parsed(*shlex.split(command.array_line())[1:])
            assert getattr(again, part) == getattr(command, part)


@dataclass(frozen=True)
class NewOptions(RunOptions):
    """As if somebody had added a field."""

    niceness: int | None = option("--niceness", type=COUNT)
    fast: bool = option("--fast/--slow", default=False)
    here: str | None = option("--here", not_in_array="is for one machine")


def test_a_new_field_is_in_every_line_without_another_word():
    command = Command("sweep", ("table1",), run=NewOptions(niceness=3, fast=True))
    assert str(command) == command.array_line() == "vdae-bench sweep table1 --niceness 3 --fast"
    assert RunContext(Store(Path()), torch.device("cpu"), 1, command=str(command)).command == str(command)
    with pytest.raises(UserError, match="--here is for one machine"):
        replace(command, run=NewOptions(here="x")).array_line()
    heard = []

    @click.command()
    @takes(run=NewOptions)
    def verb(run: NewOptions) -> None:
        heard.append(run)

    verb.main(["--niceness", "3", "--fast"], standalone_mode=False)
    assert heard == [command.run]


@dataclass(frozen=True)
class NewContext(RunContext):
    """As if somebody had added a folder."""

    scratch: Path = Path("scratch")


def test_a_worker_is_told_everything_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = NewContext(Store(Path("results")), torch.device("cpu"), 3, Path("data"), 5.0, True, command="vdae-bench x")
    told = pickle.loads(pickle.dumps(Worker.of(here, Path("stop")))).context
    for each in fields(NewContext):
        expected, value = getattr(here, each.name), getattr(told, each.name)
        if isinstance(expected, Path):
            assert value == tmp_path / expected
        elif isinstance(expected, Store):
            assert value.root == tmp_path / "results"
        else:
            assert value == expected, each.name


def test_a_plain_command_reads_as_it_was_typed(parsed, monkeypatch, tiny_data):
    for line in (
        "vdae-bench reproduce table1",
        "vdae-bench sweep table1 --seeds 2 --epochs 3 --protocol smoke --no-search -q",
        "vdae-bench sweep --noise-grid --set 'a=b c' --only '*_16' --only '*_32' --data there",
        "vdae-bench search table1 --trials 3 --storage sqlite:///x.db --time-limit 55m",
    ):
        words = shlex.split(line)
        assert str(parsed(*words[1:])) == line
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    command = parsed("sweep", "table1")
    assert str(command) == "vdae-bench sweep table1" and command.machine.data == tiny_data[0]
    assert f"--data {tiny_data[0]}" in command.array_line()  # another machine has another environment
    plugin = replace(command, plugins=(Path("mine.py"),))
    assert str(plugin) == "vdae-bench --plugin mine.py sweep table1"
    assert plugin.array_line().startswith("vdae-bench --plugin mine.py sweep table1 ")


def test_every_option_of_the_machine_is_in_the_context(tmp_path):
    values = {
        "device": "cpu",
        "threads": 1,
        "replicas": 3,
        "results": tmp_path,
        "reports": tmp_path,  # where pages go, which no run knows
        "data": tmp_path,
        "checkpoint_every": "7s",
        "keep_checkpoints": True,
    }
    assert values.keys() == {each.name for each in fields(MachineOptions)}, "a new field: say below where it acts"
    context = create_context(MachineOptions(**values), command="vdae-bench x")
    assert (context.device.type, context.threads, context.limit.replicas) == ("cpu", 1, 3)
    assert (context.store.root, context.data_folder) == (tmp_path, tmp_path)
    assert (context.seconds_between_checkpoints, context.keep_models, context.command) == (7.0, True, "vdae-bench x")


@pytest.mark.parametrize("words", [(), ("--seeds", "1"), ("--search",), ("--budget", "1h")])
def test_a_verb_reads_each_spec_once(monkeypatch, tmp_path, words):
    read: list[Path] = []
    planned: list[tuple[int, int]] = []

    def load(path: Path, *more: Any) -> Any:
        read.append(path)
        return check.load_spec(path, *more)

    monkeypatch.setattr(resolve, "load_spec", load)
    monkeypatch.setattr(resolve, "fit_budget", lambda *_, **__: (3, 1))
    monkeypatch.setattr(commands, "search_text", lambda *_: "")
    monkeypatch.setattr(commands, "plan", lambda spec, *_: planned.append((spec.protocol.epochs, spec.seeds)))
    monkeypatch.setattr(commands, "plan_text", lambda *_: "")
    cli.main(["reproduce", "all", "--dry-run", "--results", str(tmp_path), *words], standalone_mode=False)
    assert len(read) == len(set(read)) == len(planned) == 5
    assert words != ("--budget", "1h") or set(planned) == {(3, 1)}


@pytest.mark.parametrize(
    ("only", "sweeps"),
    [
        ("*_lvdae_*", ["table1", "table2"]),
        ("*_log_sigma--2", ["figure1", "figure3", "figure4"]),
        ("binary-*_vae_16", ["table2"]),
    ],
)
def test_the_whole_paper_leaves_out_the_sweeps_without_the_named_cells(monkeypatch, tmp_path, only, sweeps):
    planned: list[str] = []
    monkeypatch.setattr(commands, "plan", lambda spec, *_: planned.append(spec.name))
    monkeypatch.setattr(commands, "plan_text", lambda *_: "")
    words = ["reproduce", "all", "--dry-run", "--results", str(tmp_path), "--only"]
    cli.main([*words, only], standalone_mode=False)
    assert planned == sweeps
    with pytest.raises(UserError, match="'nothing' names no cell"):
        cli.main([*words, only, "--only", "nothing"], standalone_mode=False)
    assert planned == sweeps


@pytest.mark.usefixtures("no_pages")
def test_the_whole_paper_goes_on_after_a_sweep_that_failed(monkeypatch, tmp_path):
    ran: list[str] = []

    def run_groups(planned: Plan, *_: Any) -> Outcome:
        ran.append(planned.cells[0].job.sweep)
        failed = planned.cells[0].job.sweep in ("table1", "figure3")
        return Outcome(failures=[(GroupTask(planned.groups[0].runs), RuntimeError("no luck"))] if failed else [])

    monkeypatch.setattr(commands, "run_groups", run_groups)
    with pytest.raises(Failed) as caught:
        cli.main(["reproduce", "all", "-q", "--results", str(tmp_path)], standalone_mode=False)
    assert ran == ["table1", "table2", "figure1", "figure3", "figure4"]
    assert [line.split(":")[0] for line in str(caught.value).splitlines() if line[0] != " "] == ["table1", "figure3"]


@pytest.mark.parametrize(("part", "ends"), [("all", True), ("table1", False)])
def test_the_whole_paper_ends_with_its_claims(monkeypatch, tmp_path, capsys, part, ends):
    monkeypatch.setattr(commands, "run_sweeps", lambda *_: None)
    cli.main(["reproduce", part, "--results", str(tmp_path)], standalone_mode=False)
    assert ("The bound tightens to the flow's likelihood" in capsys.readouterr().out) is ends


@pytest.mark.usefixtures("no_pages")
def test_the_line_of_a_stopped_run_and_of_its_records_is_the_command(shell):
    LONG.but(protocol={"epochs": 2}).write(shell.folder)
    words = ["sweep", "tiny.yaml", "-q", "--threads", "1"]
    stopped = shell.run(*words, "--time-limit", "0.001s")
    line = f"vdae-bench --plugin {shell.data[1]} sweep tiny.yaml -q --threads 1"
    assert stopped.returncode == 143 and stopped.stderr.endswith(f":\n  {line} --time-limit 0.001s\n")
    assert shell.run(*words).returncode == 0
    records = [record for _, record in Store(shell.folder / "results").records()]
    assert {record.provenance["command"] for record in records} == {line}
