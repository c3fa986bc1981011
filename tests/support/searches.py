"""Searches in tests: run as the verb runs them, compared without times, or made up without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

from vdae_bench.running.context import RunContext
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.stop import StopToken
from vdae_bench.search.ledger import open_storage
from vdae_bench.search.run import run_study
from vdae_bench.search.studies import Study
from vdae_bench.search.winner import Trial, Winner, freeze


def search(study: Study, context: RunContext, stop: StopToken | None = None, url: str | None = None) -> Winner:
    """Run or continue a study as the verb does."""
    folder = context.store.searches(study.sweep, study.protocol.name)
    folder.mkdir(parents=True, exist_ok=True)
    return run_study(
        study, context, lambda: open_storage(folder, url), QuietProgress(lambda: 1.0), stop or StopToken()
    ).winner


def outcome(winner: Winner) -> dict[str, Any]:
    """The winner's file without times."""
    content = winner.model_dump()
    for trial in content["trials"]:
        trial.pop("seconds")
    return content


def entries(study: Study, context: RunContext) -> list[optuna.trial.FrozenTrial]:
    """Optuna's trials of a study."""
    storage = open_storage(context.store.searches(study.sweep, study.protocol.name), None)
    return optuna.load_study(study_name=study.name, storage=storage).trials


def made_up_winner(
    study: Study, parameters: Sequence[dict[str, Any]], values: Sequence[float | None] | None = None
) -> Winner:
    """A winner of trials with those values (by default 100, 101, ...); None: it diverged."""
    values = [100.0 + number for number in range(len(parameters))] if values is None else values
    return freeze(
        study,
        [
            Trial(
                number=number,
                state="diverged" if value is None else "complete",
                parameters=each,
                value=value,
                epochs=study.epochs if value is not None else 1,
                seconds=1.5,
                seed=study.trial_seed(number),
                curve=[] if value is None else [(study.epochs, value)],
                diverged_at=7 if value is None else None,
            )
            for number, (each, value) in enumerate(zip(parameters, values, strict=True))
        ],
    )
