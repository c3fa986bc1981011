"""The warm-ups and the learning-rate schedule of Appendix D, by step, at the same fractions in every protocol."""

from __future__ import annotations

from vdae_bench.spec.hyperparameters import Schedule

START_RATE = 1e-5
RATE_WARM_UP = 0.01
"""Fraction of the steps over which the rate rises: 10 of 1000 epochs."""
KL_WARM_UP = 0.1
"""Fraction of the steps over which beta rises: 100 of 1000 epochs."""


def learning_rate(step: int, steps: int, peak: float, schedule: Schedule) -> float:
    """Learning rate of a step, 0 <= step < steps: from 1e-5 up to `peak` over the first 1% of the steps, then on.

    `linear` falls to 0 at the last step, `none` stays at the peak.

    >>> [round(learning_rate(step, 1001, 1e-3, "linear"), 9) for step in (0, 1000)]
    [1e-05, 0.0]
    """
    warm_up = RATE_WARM_UP * steps
    if step < warm_up:
        return START_RATE + (peak - START_RATE) * step / warm_up
    if schedule == "none":
        return peak
    last = steps - 1
    return peak * (last - step) / max(last - warm_up, 1)


def kl_weight(step: int, steps: int) -> float:
    """Weight beta of the divergence: from 0 to 1 over the first 10% of the steps (Bowman et al., 2015), then 1.

    It is of training alone: validation and test are at 1.

    >>> kl_weight(0, 1000), kl_weight(50, 1000), kl_weight(100, 1000)
    (0.0, 0.5, 1.0)
    """
    return min(1.0, step / (KL_WARM_UP * steps))
