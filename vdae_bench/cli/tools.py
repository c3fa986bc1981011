"""The verbs `illustrate`, `data verify`, `doctor` and `bench`."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from vdae_bench.bench import peers
from vdae_bench.bench.cases import declared
from vdae_bench.bench.data import find_data
from vdae_bench.bench.ours import Setting
from vdae_bench.bench.run import run_cases
from vdae_bench.cli.doctor import examine
from vdae_bench.data.fetch import verify
from vdae_bench.running.options import MachineOptions
from vdae_bench.system import devices
from vdae_bench.system.redact import redacted_command
from vdae_bench.system.words import counted


def draw_illustration(out: Path, steps: int | None) -> None:
    """Train the toy models and write their picture, with its numbers beside it."""
    from vdae_bench.illustration.picture import draw, in_words, values_table
    from vdae_bench.illustration.toy import STEPS
    from vdae_bench.illustration.toy import illustrate as train

    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be is found out before the training
    devices.prepare(1)  # products this small are slower on two threads, and their last bits would depend on the number
    shown = train(steps or STEPS)
    table = values_table(shown).to_csv(index=False, lineterminator="\n")
    for ending, content in {**draw(shown), "csv": table.encode()}.items():
        path = out / f"space.{ending}"
        path.write_bytes(content)
        click.echo(path)
    click.echo(in_words(shown))


def verify_data(dataset: str, folder: Path | None) -> int:
    """Print a line a file; 0 when all are right, else 2."""
    checks = verify(dataset, folder)
    for check in checks:
        click.echo(f"{'ok   ' if check.ok else 'WRONG'} {check.file} {check.found}")
    return 0 if all(check.ok for check in checks) else 2


def show_health(results: Path, reports: Path, folder: Path | None, form: str) -> int:
    """Print what the machine has for a run; 0 when it can start, else 2."""
    findings = list(examine(results, reports, folder))
    if form == "json":
        click.echo(json.dumps([vars(each) for each in findings], indent=1))
    for each in findings if form == "text" else ():
        click.echo(f"{each.state:5} {each.name}: {each.found}")
        if each.remedy:
            click.echo(f"      {each.remedy}")
    return 2 if any(each.state == "wrong" for each in findings) else 0


def run_bench(only: str | None, rounds: int | None, machine: MachineOptions) -> None:
    """Run the performance comparisons, keep their figures and draw the page.

    Raises:
        MissingPeer: after all that could run did, where a library to compare with is not there.
    """
    from vdae_bench.bench.page import build_performance
    from vdae_bench.running.context import create_context

    with TemporaryDirectory() as folder:
        data = find_data(Path(folder))
        command = redacted_command(shlex.join(["vdae-bench", *sys.argv[1:]]))
        setting = Setting(create_context(replace(machine, data=data.folder), command=command), data)
        outcome = run_cases(declared(), setting, machine.results, only, rounds)
    click.echo(outcome.path)
    click.echo(build_performance(machine.results, machine.reports))
    if outcome.skipped:
        reasons = "; ".join(dict.fromkeys(outcome.skipped))
        skipped = counted(len(outcome.skipped), "comparison")
        raise peers.MissingPeer(f"skipped: {skipped}: {reasons}; {peers.INSTALL} installs it")
