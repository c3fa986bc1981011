"""Appendix D's warm-ups and schedules at their corner steps."""

import pytest

from vdae_bench.training.schedules import kl_weight, learning_rate

STEPS = 1000


@pytest.mark.parametrize("schedule", ["linear", "none"])
def test_rate_warms_up_over_one_percent(schedule):
    assert learning_rate(0, STEPS, 1e-3, schedule) == pytest.approx(1e-5)
    assert learning_rate(5, STEPS, 1e-3, schedule) == pytest.approx((1e-5 + 1e-3) / 2)
    assert learning_rate(10, STEPS, 1e-3, schedule) == pytest.approx(1e-3)


def test_linear_ends_at_zero_and_none_at_the_peak():
    assert learning_rate(STEPS - 1, STEPS, 1e-3, "linear") == 0.0
    assert learning_rate((STEPS - 1 + 10) // 2, STEPS, 1e-3, "linear") == pytest.approx(0.5e-3, rel=2e-3)
    assert learning_rate(STEPS - 1, STEPS, 1e-3, "none") == 1e-3


def test_a_run_of_a_few_steps_has_finite_rates():
    for steps in (1, 2, 3):
        for step in range(steps):
            assert 0 <= learning_rate(step, steps, 1e-3, "linear") <= 1e-3


def test_beta_warms_up_over_ten_percent():
    assert kl_weight(0, STEPS) == 0.0
    assert kl_weight(50, STEPS) == pytest.approx(0.5)
    assert kl_weight(100, STEPS) == 1.0
    assert kl_weight(STEPS - 1, STEPS) == 1.0
