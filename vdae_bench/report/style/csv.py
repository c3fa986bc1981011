"""CSV of a data frame: the same bytes on every machine."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pandas as pd

from vdae_bench.system.words import visible

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Starts of a text that a spreadsheet takes for a formula, and runs."""


def csv(frame: pd.DataFrame) -> str:
    """The text of the file; numbers with all their digits, so that reading it back gives the same."""
    shown = frame.rename(columns=_text)
    for name in shown.columns:
        if not pd.api.types.is_numeric_dtype(shown[name]):
            shown[name] = shown[name].map(_text, na_action="ignore")
    return shown.to_csv(index=False, lineterminator="\n")


def _text(value: Any) -> Any:
    """Text of one line that is no formula: one that could be begins with an apostrophe, as spreadsheets have it."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    with suppress(ValueError):
        float(text)
        return text
    return f"'{text}" if text.strip().startswith(FORMULA) and text != "-" else text
