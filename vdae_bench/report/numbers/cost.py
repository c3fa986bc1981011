"""Seconds and FLOPs of runs."""

from __future__ import annotations

from collections.abc import Sequence

from vdae_bench.report.numbers.runs import Run


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
