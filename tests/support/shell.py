"""The command line in tests: in a process of its own, or in this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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

    def start(self, *words: str, plugins: tuple[Path, ...] = ()) -> subprocess.Popen[str]:
        """Start a verb in a process of its own."""
        plugin_words = [word for plugin in (self.data[1], *plugins) for word in ("--plugin", str(plugin))]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "VDAE_BENCH_DATA": str(self.data[0]),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "vdae_bench", *plugin_words, *words],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, plugins: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        process = self.start(*words, plugins=plugins)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a verb in this process: (exit code, stdout)."""
    from vdae_bench.cli import main as cli

    monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().out
