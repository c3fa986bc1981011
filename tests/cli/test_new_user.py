"""What a new user types or has lying about: plugins that end the process, `~` in paths, no HOME, other systems."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.shell import call
from tests.support.specs import PAIR
from vdae_bench.cli import main as cli
from vdae_bench.system import devices, paths, processes
from vdae_bench.system.paths import cache_folder

MISCHIEF = {
    "sys.exit": ("import sys; sys.exit(0)", 2, "SystemExit: 0"),
    "exit with words": ("raise SystemExit('done')", 2, "SystemExit: done"),
    "generator": ("raise GeneratorExit", 2, "GeneratorExit"),
    "own base": ("class Odd(BaseException): pass\nraise Odd('x')", 2, "Odd: x"),
    "any error": ("1 / 0", 2, "ZeroDivisionError"),
    "no Python": ("def", 2, "SyntaxError"),
    "Ctrl-C": ("raise KeyboardInterrupt", 130, "interrupted"),
}


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_no_plugin_ends_a_command_as_if_it_were_done(tmp_path, monkeypatch, capfd, mischief):
    code, status, said = MISCHIEF[mischief]
    plugin = tmp_path / "plugin.py"
    plugin.write_text(code)
    monkeypatch.setattr("sys.argv", ["vdae-bench", "--plugin", str(plugin), "validate", "table1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capfd.readouterr()
    assert ended.value.code == status and said in err and "Traceback" not in err and "cells" not in out


def test_a_plugin_that_prints_leaves_stdout_to_the_command(tmp_path, monkeypatch, capsys):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("print('hello')")
    code, out = call(monkeypatch, capsys, "--plugin", str(plugin), "list", "protocols", "--format", "json")
    assert code == 0 and json.loads(out)


def test_sys_exit_in_the_middle_of_a_command_is_an_error(tmp_path, monkeypatch, capsys):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import sys\nfrom vdae_bench.models.methods.vae import VAE\nfrom vdae_bench.models.registry import register\n"
        "class Leaves(VAE):\n    id = 'leaves'\n    def check_latents(self, *words): sys.exit(0)\nregister(Leaves)\n"
    )
    path = PAIR.but(grid={"method": ["leaves"], "dataset": ["binary-mnist"]}).write(tmp_path)
    code, out = call(monkeypatch, capsys, "--plugin", str(plugin), "validate", str(path))
    assert code == 2 and not out


@pytest.mark.parametrize("kind", ["method", "dataset"])
def test_a_plugin_that_was_forgotten_is_hinted_at(tmp_path, monkeypatch, capfd, kind):
    path = PAIR.but(grid={"dataset": ["binary-mnist"], kind: ["zzz-own"]}).write(tmp_path)
    monkeypatch.setattr("sys.argv", ["vdae-bench", "validate", str(path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "with --plugin FILE" in capfd.readouterr().err


def test_every_option_that_is_a_path_knows_the_home_folder(tmp_path, monkeypatch):
    """Found by its type, so that a new option of a path is in it."""
    import click

    monkeypatch.setenv("HOME", str(tmp_path))
    found = []

    def walk(command: click.Command, name: str) -> None:
        for each in command.params:
            if isinstance(each.type, click.Path):
                found.append(f"{name} {each.name}")
                one = each.type.convert("~/x y", each, None)
                assert one == tmp_path / "x y", found[-1]
        for word, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {word}")

    walk(cli.cli, "")
    assert {" sweep results", " sweep data", " compare first", " illustrate out", " plan plugin"} <= set(found)


def test_a_spec_and_a_protocol_in_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VDAE_BENCH_DATA", "~/data")
    PAIR.but(grid={"dataset": ["binary-mnist"]}).write(tmp_path)
    (tmp_path / "short.yaml").write_text("base: smoke\nepochs: 1\nseeds: 1\n")
    words = ("plan", "~/tiny.yaml", "--protocol", "~/short.yaml", "--results=~/results", "--format", "json")
    code, out = call(monkeypatch, capsys, *words)
    assert code == 0 and json.loads(out)["protocol"]["name"] == "short"


def test_what_cannot_be_read_again_is_no_spec(tmp_path, monkeypatch, capsys):
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    code, _ = call(monkeypatch, capsys, "validate", str(pipe))
    assert code == 2


def test_without_a_home_folder_the_cache_alone_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os.path, "expanduser", str)  # as where HOME is not set and the user has no name
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(paths.UserError, match="set HOME, or set XDG_CACHE_HOME"):
        cache_folder()
    assert call(monkeypatch, capsys, "data", "path")[0] == 2
    assert call(monkeypatch, capsys, "validate", "table1")[0] == 0
    _, out = call(monkeypatch, capsys, "doctor", "--data", str(tmp_path))
    assert "note  cache" in out and "set HOME" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "threads"),
    [
        ("1", 1),
        ("3", 3),
        ("9", 4),
        ("2,4", 2),
        (" 2 ", 2),
        ("0", 4),
        ("-1", 4),
        ("two", 4),
        ("", 4),
        ("²", 4),
        (None, 4),
    ],
)
def test_threads_are_those_that_the_environment_says(monkeypatch, asked, threads):
    monkeypatch.setattr(devices, "usable_processors", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert devices.default_threads() == threads


def test_one_of_a_kind_is_in_the_singular(tmp_path, monkeypatch, capsys, tiny_data):
    spec = PAIR.but(grid={"method": ["vae"]}, protocol={"epochs": 1})
    path = spec.but(seeds=1).write(tmp_path)
    _, validated = call(monkeypatch, capsys, "validate", str(path))
    _, planned = call(monkeypatch, capsys, "plan", str(path), "--results", str(tmp_path / "results"))
    assert "1 cell, 1 seed each" in validated
    assert "1 epoch of batch 50, 1 seed," in planned and "to run: 1 run in 1 group," in planned


ONLY_ON_SOME = ("sysconf", "sched_getaffinity", "getuid", "geteuid", "getpgid", "killpg", "fork", "uname", "getloadavg")
"""What `os` has on Linux, and not on Windows or macOS."""


def test_a_sweep_runs_by_what_every_system_has(tmp_path, monkeypatch, capsys, tiny_data):
    """Not a proof that other systems run it: these paths of it ask for nothing that they lack, and signal nobody."""
    for name in ONLY_ON_SOME:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("on Windows this is Ctrl-C, or the end of the process"))
    monkeypatch.setattr(devices, "CONTROL_GROUPS", tmp_path / "none")
    with monkeypatch.context() as windows:
        windows.setattr(devices.ctypes, "CDLL", lambda name: name + "")  # of no name Windows has no library
        devices.keep_freed_memory.__wrapped__()
    processes.place.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    PAIR.but(grid={"method": ["vae"]}, protocol={"epochs": 1}).but(seeds=1).write(tmp_path)
    for words in (("plan", "tiny.yaml"), ("sweep", "tiny.yaml", "-q"), ("status", "tiny.yaml")):
        assert call(monkeypatch, capsys, *words)[0] == 0, words
    assert list(Path("results").rglob("seed-0.json"))
    monkeypatch.setattr("platform.system", lambda: "Windows")
    _, out = call(monkeypatch, capsys, "doctor", "--data", str(tmp_path))
    assert "note  system: Windows" in out and "only Linux is tested" in out
    processes.place.cache_clear()
