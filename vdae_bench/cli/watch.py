"""The verb `watch`: the home of all reports, served on this machine while something runs."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import click

from vdae_bench.cli.status import asked_spec, refuse_without_spec
from vdae_bench.running.options import MachineOptions, SpecOptions
from vdae_bench.site.live import Watch
from vdae_bench.site.server import serving
from vdae_bench.store.records import Store

NICENESS = 10
"""Drawing the page gives way to trainings on the same processors."""


def watch(word: str | None, options: SpecOptions, machine: MachineOptions, port: int) -> None:
    """Serve the page until Ctrl-C; with a spec the processes that are at it are shown, else all."""
    if word is None:
        refuse_without_spec(options)
    spec = asked_spec(word, options, machine) if word else None
    place = (spec.name, spec.protocol.name) if spec else None
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICENESS)
    click.echo(f"Drawing the page of {machine.results}; its address follows.", err=True)
    with serving(Watch(Store(machine.results), place), port) as address:
        click.echo(
            f"{address}\nOpen this address on this machine; anyone who has it can see the page. Press Ctrl-C to stop."
        )
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
