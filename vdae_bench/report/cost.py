"""What all runs of a page cost together, by device and number of threads."""

from __future__ import annotations

from collections.abc import Sequence

from vdae_bench.report.markdown import escape, table
from vdae_bench.report.quantities import duration, flops
from vdae_bench.report.runs import Run, grouped


def total_seconds(runs: Sequence[Run]) -> float:
    """Training, validation and evaluation: each run's share of its group's wall time, so that they add up."""
    costs = [run.record.cost for run in runs]
    return sum(
        cost.train_seconds + validation_seconds(run) + cost.evaluation_seconds
        for run, cost in zip(runs, costs, strict=True)
    )


def validation_seconds(run: Run) -> float:
    """Seconds of the validation curve, where they are recorded."""
    return float(getattr(run.record.cost, "validation_seconds", 0.0))


def total_flops(runs: Sequence[Run]) -> int:
    """Training and, where it is recorded, evaluation."""
    return sum(run.record.cost.train_flops + int(getattr(run.record.cost, "evaluation_flops", 0)) for run in runs)


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
                duration(sum(cost.train_seconds for cost in costs)),
                duration(sum(validation_seconds(run) for run in members)),
                duration(sum(cost.evaluation_seconds for cost in costs)),
                duration(total_seconds(members)),
                flops(total_flops(members)),
            ]
        )
    headers = ["device", "threads", "runs", "training", "validation", "evaluation", "together", "operations"]
    return table(headers, rows, right=headers[1:])
