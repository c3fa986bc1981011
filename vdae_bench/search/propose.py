"""Proposals and pruning: which parameters to try next, which trials not to finish, by Optuna's samplers and pruner.

Optuna stores no state of its samplers. Here there is none to store: the parameters of a batch follow from the trials
before it, the study's seed and the batch's number, so that a study resumed anywhere asks what it would have asked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from vdae_bench.data.noise import stream_seed
from vdae_bench.search.space import distributions, quiet_optuna
from vdae_bench.search.studies import Study
from vdae_bench.search.winner import Trial

STARTUP = 8
"""Trials at random before a sampler learns, and complete trials before any is pruned."""


def _sampler(name: str, seed: int) -> BaseSampler:
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
    return TPESampler(
        seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True, warn_independent_sampling=False
    )


def observations(history: Sequence[Trial]) -> list[tuple[dict[str, Any], float]]:
    """(parameters, -ELBO) pairs that a sampler is told, also of pruned and diverged trials, which Optuna's overlook.

    One that diverged counts as the worst that did not. One that was pruned counts as far above the median of the final
    values as it was above the median of its epoch, but as no worse than the worst. Otherwise a sampler whose best guess
    diverges or is pruned would guess the same again.
    """
    complete = [each for each in history if each.state == "complete"]
    finals = [each.value for each in complete if each.value is not None]
    if not finals:
        return []
    told = []
    for each in history:
        value = max(finals)
        if each.state == "complete" and each.value is not None:
            value = each.value
        elif each.state == "pruned":
            epoch, last = each.curve[-1]
            level = statistics.median(dict(other.curve)[epoch] for other in complete)
            value = min(value, statistics.median(finals) + last - level)
        told.append((each.parameters, value))
    return told


def propose(study: Study, history: Sequence[Trial], batch: int, count: int) -> list[dict[str, Any]]:
    """Parameters of the first `count` trials of a batch, each asked with those before it running.

    `history` has all trials of the batches before, in their order. A longer batch begins with the same trials.
    """
    space = distributions(study.space)
    with quiet_optuna():
        # One sampler a batch, not one a trial: each ask sees those before it as running, and one that learns keeps away
        # from them. The batch's number seeds it, as a kill would make it forget what it drew in earlier batches.
        seed = stream_seed(study.seed, "search", batch) % 2**32
        memory = optuna.create_study(sampler=_sampler(study.sampler, seed), direction="minimize")
        memory.add_trials(
            [
                optuna.trial.create_trial(params=parameters, distributions=space, value=value)
                for parameters, value in observations(history)
            ]
        )
        return [memory.ask(space).params for _ in range(count)]


class Pruner:
    """Decides after each epoch if a trial is stopped: by the median there of the complete trials of earlier batches.

    Trials of the same batch have no say, so that decisions do not depend on what trains at the same time or on where a
    batch was interrupted. None is stopped in the first third, where beta and the rate warm up and curves cross.
    """

    def __init__(self, study: Study, history: Sequence[Trial]) -> None:
        self._active = study.pruning and len(history) > 0
        self._rule = optuna.pruners.MedianPruner(
            n_startup_trials=STARTUP, n_warmup_steps=max(1, math.ceil(study.epochs / 3))
        )
        with quiet_optuna():
            self._study = optuna.create_study(direction="minimize")
            self._study.add_trials(
                [
                    optuna.trial.create_trial(value=each.value, intermediate_values=dict(each.curve))
                    for each in history
                    if each.state == "complete"
                ]
            )

    def __call__(self, curve: Sequence[tuple[int, float]]) -> bool:
        """True where a trial with this (epoch, -ELBO) curve so far is to be stopped."""
        if not self._active:
            return False
        trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(curve))
        return bool(self._rule.prune(self._study, trial))
