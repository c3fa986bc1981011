"""JSON as this package writes it, read with distrust: content that no writer here writes is refused.

Refused are a number that is not finite or too large to reckon with, text that is no Unicode, a key twice, and nesting
that is deeper than anything recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LARGEST_NUMBER = 1e75
"""Bound on numbers: the fourth power, which a degree of freedom takes, is finite, and any float32 loss far below it."""
LARGEST_INTEGER = 2**63
DEEPEST = 20
CHECKED = {int, float, bool, type(None)}
"""Kinds of values that `loads` has checked where it read them."""
SEAL = "content_digest"
"""Key of the digest of all else in a file."""


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
            raise ValueError("it has text that is not Unicode") from None
    elif isinstance(value, dict | list):
        if depth == DEEPEST:
            raise ValueError("nested too deep")
        inner = (*value, *value.values()) if isinstance(value, dict) else value
        if {*map(type, inner)} <= CHECKED:  # most of a record are numbers
            return
        for each in inner:
            _check(each, depth + 1)


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with a digest of it, which `unsealed` checks."""
    return {**content, SEAL: digest(content)}


def unsealed(text: str | bytes) -> dict[str, Any]:
    """Read the content of a JSON object, without its digest; one of a version that wrote none is read as such.

    Raises:
        ValueError: it is none that is written here, or was changed by as little as a bit.
    """
    content = loads(text)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if SEAL not in content:
        for key, value in content.items():
            others = {name: each for name, each in content.items() if name != key}
            if isinstance(value, str) and len(value) == 64 and value == digest(others):
                raise ValueError(f"its key {key[:20]!r} was {SEAL}: it is damaged")
        return content
    written = json.dumps(content, separators=(",", ":"))
    found = content.pop(SEAL)
    # The digest holds all but the spelling: 1e-8 is 1E-8, but no writer here writes it so.
    if found != digest(content) or _without_spaces(written) != _without_spaces(text):
        raise ValueError(f"its content does not agree with its {SEAL}: it was changed by hand, or is damaged")
    return content


def _without_spaces(text: str | bytes) -> str:
    return "".join((text.decode() if isinstance(text, bytes) else text).split())
