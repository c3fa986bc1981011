"""Made-up winners, without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vdae_bench.search.studies import Study
from vdae_bench.search.winner import Trial, Winner, freeze


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
