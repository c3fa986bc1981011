"""The help of the verbs, and what a shell completes."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from tests.support.records import publish_table
from vdae_bench.cli.help import ORDER
from vdae_bench.cli.main import cli, main
from vdae_bench.report.build import FORMATS
from vdae_bench.running.options import GROUPS, MachineOptions, PlanOptions, RunOptions, SpecOptions
from vdae_bench.spec.check import find_spec
from vdae_bench.store.records import Store

VERB = pytest.mark.parametrize("verb", cli.commands)


def help_of(*words: str) -> str:
    return CliRunner().invoke(cli, [*words, "--help"], terminal_width=100).output


def test_every_verb_is_listed_once_in_the_order_of_use_in_a_line_of_its_own():
    text = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    places = [text.index(f"\n  {name} ") for names in ORDER.values() for name in names]
    assert places == sorted(places) and sorted(cli.commands) == sorted(n for names in ORDER.values() for n in names)
    assert cli.list_commands(click.Context(cli)) == [name for names in ORDER.values() for name in names]
    for name, command in cli.commands.items():
        assert re.search(rf"^  {name} +{re.escape(command.short_help)}$", text, re.MULTILINE), name
        assert command.short_help.endswith(".") and "..." not in command.short_help


@VERB
def test_the_examples_of_a_help_are_commands(verb):
    text = help_of(verb)
    lines = [line.strip() for line in text.partition("Example")[2].splitlines()[1:] if line.strip()]
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "vdae-bench" and words[0] == verb
        command = cli.commands[verb]
        while isinstance(command, click.Group):
            command, words = command.commands[words[1]], words[1:]
        ctx = command.make_context(verb, [word for word in words[1:] if word not in ("--plugin", "mine.py")])
        spec = str(ctx.params.get("spec") or "")
        assert not spec or spec.endswith(".yaml") or find_spec(spec)


@pytest.mark.parametrize("verb", ["reproduce", "sweep", "search", "plan", "status"])
def test_options_stand_in_groups(verb):
    headings = re.findall(r"^([A-Z][a-z ]+):$", help_of(verb), re.MULTILINE)
    groups = [each.capitalize() for each in GROUPS]
    shown = [each for each in headings if each in groups]
    assert shown == [each for each in groups if each in shown] and shown[:3] == groups[:3]
    if verb == "plan":
        assert "The estimate" in shown


def test_every_option_has_a_group():
    kinds = (SpecOptions, MachineOptions, RunOptions, PlanOptions)
    assert {each.metadata["click"]["group"] for kind in kinds for each in fields(kind)} == {*GROUPS}


def completed(*words: str) -> list[str]:
    *args, incomplete = words
    return [each.value for each in ShellComplete(cli, {}, "vdae-bench", "_").get_completions(args, incomplete)]


def test_a_shell_completes_sweeps_methods_cells_and_settings(tmp_path: Path):
    store = Store(tmp_path / "results")
    publish_table(store, "table2")
    assert completed("sweep", "tab") == ["table1", "table2"]
    assert completed("reproduce", "figure") == [f"figure{number}" for number in range(1, 5)]
    assert completed("list", "me") == ["methods"]
    assert "binary-mnist_lvdae_16" in completed("sweep", "table2", "--only", "binary-mnist_lv")
    assert "binary-mnist_lvdae_16" in completed("reproduce", "figure2", "--only", "binary-mnist_lv")
    assert "continuous-mnist_nice_784" in completed("reproduce", "all", "--only", "continuous-mnist_ni")
    assert not {"name=", "base=", "overrides="} & set(completed("sweep", "table2", "--set", ""))
    assert completed("sweep", "table2", "--only", "*_lvdae-") == ["*_lvdae-nice_*"]
    assert completed("plan", "table1", "--protocol", "stan") == ["standard"]
    assert completed("sweep", "table1", "--set", "learn") == ["learning_rate="]
    assert completed("data", "fetch", "fash") == ["fashion-mnist"]
    assert completed("explain", "--results", str(store.root), "binary-mnist_vae_1") == [
        "binary-mnist_vae_128",
        "binary-mnist_vae_16",
    ]
    words = ("--results", str(store.root))
    assert completed("report", *words, "--sweep", "ta") == completed("export", *words, "ta") == ["table2"]
    assert completed("claims", *words, "--protocol", "q") == ["quick"]
    assert completed("sweep", "latents-64") == ["latents-64", "latents-64-linear"]  # without their folder
    assert completed("report", "--format", "md,l") == ["md,latex"]
    assert completed("report", "--format", "") == list(FORMATS)


def test_a_shell_that_asks_gets_an_answer_and_no_complaint(monkeypatch: pytest.MonkeyPatch, capsys):
    asked = {"_VDAE_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "vdae-bench sweep tabl", "COMP_CWORD": "2"}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    assert capsys.readouterr() == ("plain,table1\nplain,table2\n", "") and not ended.value.code
