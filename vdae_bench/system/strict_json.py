"""JSON as this package writes it, read with distrust: content that no writer here writes is refused.

Refused are a number that is not finite or too large to reckon with, text that is no Unicode, a key twice, and nesting
that is deeper than anything recorded.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

LARGEST_NUMBER = 1e75
"""Bound on numbers: the fourth power, which a degree of freedom takes, is finite, and any float32 loss far below it."""
LARGEST_INTEGER = 2**63
DEEPEST = 20


def loads(text: str | bytes) -> Any:
    """Read the content of a JSON text.

    Raises:
        ValueError: it is no JSON, or none that is written here; the message says why.
    """
    try:
        content = json.loads(
            text, parse_float=_number, parse_constant=_number, parse_int=_integer, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    _check(content, 0)
    return content


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) < LARGEST_NUMBER:
        raise ValueError(f"it has the number {text[:20]}")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not abs(int(text)) < LARGEST_INTEGER:
        raise ValueError(f"it has the number {text[:20]}")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("it has a key twice")
    return content


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("it has text that is no Unicode") from None
    elif isinstance(value, dict | list):
        if depth == DEEPEST:
            raise ValueError("nested too deep")
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(each, depth + 1)


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
