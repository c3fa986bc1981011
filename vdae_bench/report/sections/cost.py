"""The cost of all runs of a page together, by device and number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vdae_bench.report.numbers.runs import Run, alike, grouped, total_flops, total_seconds
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import escape, table
from vdae_bench.report.style.section import Section
from vdae_bench.report.style.terminal import wrap
from vdae_bench.system.words import counted, duration, flops, rough_duration


def costs_table(runs: Sequence[Run]) -> str:
    """Sums over runs, diverged ones too; processors are named where runs differ in nothing else."""
    rows, machines = [], grouped(runs, lambda run: tuple(sorted(run.machines)))
    devices = [_device(machine) for machine in machines]
    for machine, members in machines.items():
        device, threads = _device(machine)
        if devices.count((device, threads)) > 1:
            device += f" ({', then '.join(platform.partition(', ')[2] or platform for *_, platform in machine)})"
        costs = [run.record.cost for run in members]
        rows.append(
            [
                escape(device),
                threads,
                str(len(members)),
                rough_duration(sum(cost.train_seconds for cost in costs)),
                rough_duration(sum(cost.validation_seconds for cost in costs)),
                rough_duration(sum(cost.evaluation_seconds for cost in costs)),
                rough_duration(total_seconds(members)),
                flops(total_flops(members)),
            ]
        )
    headers = ["device", "threads", "runs", "training", "validation", "evaluation", "together", "operations"]
    return table(headers, rows, right=headers[1:])


def _device(machine: Sequence[tuple[str, ...]]) -> tuple[str, str]:
    """Device and threads of runs, each one after the other where a run was continued on another."""
    devices, threads = (", then ".join(dict.fromkeys(part[place] for part in machine)) for place in (0, 1))
    return devices, threads


def _text(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    yield "These are sums over all runs, including diverged ones."
    if not alike(runs):
        yield "The runs differ in machine or number of threads, so compare rows only by their operations."
    yield costs_table(runs)


def _terminal(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    yield ""
    yield from wrap(
        f"Cost: {duration(total_seconds(runs))} for {counted(len(runs), 'run')}, {flops(total_flops(runs))}."
    )


COST = Section("Cost in total", lambda subject: subject.selection.runs, _text, terminal=_terminal)
