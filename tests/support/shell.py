"""The command line in tests: in a process of its own, or in this one."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = re.DOTALL | re.MULTILINE
FENCE = r"^```{}\n(.*?)^```"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "vdae_bench/paper/README.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
"""Pages that people read: what they are told to type has to work."""


def blocks(language: str, page: Path | None = None) -> list[str]:
    """The code blocks of a language on a page, or on all of them, each text once."""
    texts = [each.read_text() for each in ([page] if page else PAGES)]
    return list(dict.fromkeys(block for text in texts for block in re.findall(FENCE.format(language), text, FLAGS)))


def block(language: str, words: str) -> str:
    """The one code block that has these words, whichever page it is on."""
    (found,) = [each for each in blocks(language) if words in each]
    return found


class Shell:
    """Runs `vdae-bench` in a folder of its own, on the tiny data set."""

    def __init__(self, folder: Path, data: tuple[Path, Path]) -> None:
        self.folder, self.data = folder, data

    def start(self, *words: str, plugins: tuple[Path, ...] = (), fresh: bool = False) -> subprocess.Popen[str] | Forked:
        """Start a verb in a process of its own: a fork of this one, or a fresh one as a user's shell starts it."""
        plugin_words = [word for plugin in (self.data[1], *plugins) for word in ("--plugin", str(plugin))]
        environment = {"PYTHONPATH": str(ROOT), "VDAE_BENCH_DATA": str(self.data[0]), "OMP_NUM_THREADS": "1"}
        if not fresh:
            return Forked(partial(run_verb, *plugin_words, *words), self.folder, environment)
        return subprocess.Popen(
            [sys.executable, "-m", "vdae_bench", *plugin_words, *words], env={**os.environ, **environment},
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, plugins: tuple[Path, ...] = (), fresh: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        process = self.start(*words, plugins=plugins, fresh=fresh)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


WARM = ("torch._dynamo", "pandas", "matplotlib.pyplot", "scipy.stats", "optuna", "sqlalchemy.orm", "vdae_bench.cli.run",
        "vdae_bench.cli.plan", "vdae_bench.cli.results", "vdae_bench.report.pages.sweep")  # fmt: skip
"""Modules that verbs load on their way: seconds of a processor in each fork of a process that has not."""


class Forked:
    """Work in a fork of this process, which spares it the seconds that imports take; otherwise like a `Popen`."""

    def __init__(self, work: Callable[[], object], folder: Path, environment: Mapping[str, str]) -> None:
        self._said = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - until the test is over
        for module in WARM:
            importlib.import_module(module)
        started = partial(self._start, work, folder, environment)
        self._process = multiprocessing.get_context("fork").Process(target=started, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def _start(self, work: Callable[[], object], folder: Path, environment: Mapping[str, str]) -> None:
        os.setsid()  # as a terminal starts a command
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored where tests run in the background
        multiprocessing.current_process().daemon = False  # it may have workers
        for number, file in enumerate(self._said, 1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        os.environ.update(environment)
        work()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def said(self) -> str:
        """What it wrote to stdout so far."""
        return os.pread(self._said[0].fileno(), 2**16, 0).decode()

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote to stdout and stderr."""
        self._process.join(timeout)
        assert self.returncode is not None, "it did not end"
        for file in self._said:
            file.seek(0)
        out, err = (file.read() for file in self._said)
        return out, err


def run_verb(*words: str) -> None:
    """Run a verb in a fork."""
    from vdae_bench.cli import main as cli
    from vdae_bench.models import registry

    registry._plugins.clear()  # the words name those that are to be loaded
    sys.argv = ["vdae-bench", *words]
    cli.main()


def run_verb_of(copy: Path, *words: str) -> None:
    """Run a verb of another copy of the package in a fork: the libraries are loaded, the package is not yet."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "vdae_bench"]:
        del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("jaxtyping")]
    sys.path.insert(0, str(copy))
    run_module("vdae_bench", *words)


def run_module(name: str, *words: str) -> None:
    """Run a module in a fork, as `python -m` does."""
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a verb in this process: (exit code, stdout)."""
    from vdae_bench.cli import main as cli

    monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().out
