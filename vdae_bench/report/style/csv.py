"""CSV of a data frame: the same bytes on every machine."""

from __future__ import annotations

import pandas as pd


def csv(frame: pd.DataFrame) -> str:
    """The text of the file; numbers with all their digits, so that reading it back gives the same."""
    return frame.to_csv(index=False, lineterminator="\n")
