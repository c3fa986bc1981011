"""How many hostile inputs are tried: a few hundred in `make test`, 10,000 in `make chaos`, which keeps the figures."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings

CHAOS = os.environ.get("VDAE_BENCH_CHAOS") == "1"
EXAMPLES = {"specs": 2500, "records": 2000, "results": 1000, "checkpoints": 1500, "data": 1500, "words": 1500}
"""Of each kind in `make chaos`: 10,000."""
ONE_IN = 30
"""Of these in `make test`."""

settings.register_profile(
    "hostile",
    deadline=None,
    derandomize=not CHAOS,  # `make test` tries the same every time
    suppress_health_check=list(HealthCheck),
    database=None,
)
settings.load_profile("hostile")

started = datetime.now(UTC)
tried: Counter[str] = Counter()
"""Hostile inputs by kind."""


def examples(kind: str) -> settings:
    """The settings of the test of a kind of input."""
    return settings(max_examples=EXAMPLES[kind] if CHAOS else EXAMPLES[kind] // ONE_IN)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep what `make chaos` tried."""
    if CHAOS and exitstatus == 0:
        from tests.chaos.figures import keep_inputs

        keep_inputs(dict(tried), started)
