"""`make chaos` keeps the figures of what was tried."""

from __future__ import annotations

import pytest

from tests.support.figures import keep_inputs
from tests.support.hostile import CHAOS, started, tried


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep what `make chaos` tried."""
    if CHAOS and exitstatus == 0:
        keep_inputs(dict(tried), started)
