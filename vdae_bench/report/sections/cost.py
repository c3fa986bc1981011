"""The cost of all runs of a page together, by device and number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vdae_bench.report.numbers.runs import Run, grouped, total_flops, total_seconds, validation_seconds
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import escape, table
from vdae_bench.report.style.section import Section
from vdae_bench.report.style.terminal import wrap
from vdae_bench.system.words import counted, duration, flops, rough_duration


def costs_table(runs: Sequence[Run]) -> str:
    """Sums over runs, diverged ones too."""
    rows = []
    for (device, threads), members in grouped(
        runs, lambda run: (run.record.cost.device, run.record.cost.threads)
    ).items():
        costs = [run.record.cost for run in members]
        rows.append(
            [
                escape(device),
                str(threads),
                str(len(members)),
                rough_duration(sum(cost.train_seconds for cost in costs)),
                rough_duration(sum(validation_seconds(run) for run in members)),
                rough_duration(sum(cost.evaluation_seconds for cost in costs)),
                rough_duration(total_seconds(members)),
                flops(total_flops(members)),
            ]
        )
    headers = ["device", "threads", "runs", "training", "validation", "evaluation", "together", "operations"]
    return table(headers, rows, right=headers[1:])


def _text(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    yield "Sums over all runs, diverged ones too."
    yield costs_table(runs)


def _terminal(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    yield ""
    yield from wrap(
        f"Cost: {duration(total_seconds(runs))} for {counted(len(runs), 'run')}, {flops(total_flops(runs))}."
    )


COST = Section("Cost in total", lambda subject: subject.selection.runs, _text, terminal=_terminal)
