"""The command line in tests: in a process of its own, or in this one."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


class Shell:
    """Runs `vdae-bench` in a folder of its own, on the tiny data set."""

    def __init__(self, folder: Path, data: tuple[Path, Path]) -> None:
        self.folder, self.data = folder, data

    def start(self, *words: str, plugins: tuple[Path, ...] = (), fresh: bool = False) -> subprocess.Popen[str] | Forked:
        """Start a verb in a process of its own: a fork of this one, or a fresh one as a user's shell starts it."""
        plugin_words = [word for plugin in (self.data[1], *plugins) for word in ("--plugin", str(plugin))]
        environment = {"PYTHONPATH": str(ROOT), "VDAE_BENCH_DATA": str(self.data[0]), "OMP_NUM_THREADS": "1"}
        if not fresh:
            return Forked([*plugin_words, *words], self.folder, environment)
        return subprocess.Popen(
            [sys.executable, "-m", "vdae_bench", *plugin_words, *words], env={**os.environ, **environment},
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, plugins: tuple[Path, ...] = (), fresh: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        process = self.start(*words, plugins=plugins, fresh=fresh)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


class Forked:
    """A verb in a fork of this process, which spares it the seconds that imports take; otherwise like a `Popen`."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._said = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - until the test is over
        work = words, folder, environment
        importlib.import_module("torch._dynamo")  # counting FLOPs takes it, in each fork anew
        self._process = multiprocessing.get_context("fork").Process(target=self._work, args=work, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def _work(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        from vdae_bench.cli import main as cli
        from vdae_bench.models import registry

        registry._plugins.clear()  # the words name those that are to be loaded
        for number, file in enumerate(self._said, 1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        os.environ.update(environment)
        sys.argv = ["vdae-bench", *words]
        cli.main()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote to stdout and stderr."""
        self._process.join(timeout)
        assert self.returncode is not None, "it did not end"
        for file in self._said:
            file.seek(0)
        out, err = (file.read() for file in self._said)
        return out, err


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a verb in this process: (exit code, stdout)."""
    from vdae_bench.cli import main as cli

    monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().out
