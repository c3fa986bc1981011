"""Hostile inputs: valid ones with parts replaced, removed, repeated or cut, and plain rubbish.

A few hundred are tried in `make test`, 10,000 in `make chaos`, which keeps the figures.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CHAOS = os.environ.get("VDAE_BENCH_CHAOS") == "1"
EXAMPLES = {"specs": 2500, "records": 2000, "results": 1000, "checkpoints": 1500, "data": 1500, "words": 1500}
"""Of each kind in `make chaos`: 10,000."""
ONE_IN = 100
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


WORDS = "nul CON c: .. ../x /etc/passwd a/b a\\b vae nice binary-mnist quick quick+0 * ** [ {} %s é"
ODD = [
    *(None, True, False, 0, 1, -1, 3, 10**6, 10**30, 0.5, -math.inf, math.nan, 1e308),
    *("", " ", "\0", "\n", "\ud800", "x" * 5000, "!!python/object/apply:os.system [id]"),
    *WORDS.split(),
    *([], {}, [[]], {"": ""}, [None], {"a": {"b": [1]}}),
]
"""Values that have broken programs."""

odd = st.one_of(
    st.sampled_from(ODD).map(copy.deepcopy),
    st.integers(),
    st.floats(allow_subnormal=False),
    st.text(max_size=20),
    st.recursive(st.none() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)


MARKUP = [
    *("|", "$x", "$\\frac$", "\\input{x}", "<script>", "</svg>", "```", "{{7*7}}", "](x)", "&", "%", "#"),
    *("\u202e", "\x1b[2J", "=1+1", "seed-0", "search", "../x"),
]
"""Words that mean something to Markdown, LaTeX, HTML, a terminal, a spreadsheet, or to us."""
NUMBERS = [0, -1, 2**63, -(2**63), 10**30, 10**400, 0.0, -0.0, 1e-320, 1e300, -1e308, 1.5]


def alike(value: Any) -> st.SearchStrategy[Any]:
    """What a reader takes for a value of the same type: another number, another word, a list of another length."""
    if isinstance(value, bool) or value is None:
        return st.sampled_from([True, False, None, 0.5, "x"])
    if isinstance(value, int | float):
        return st.sampled_from([*NUMBERS, 2 * value, -value, value + 1])
    if isinstance(value, str):
        return st.sampled_from([*MARKUP, "x" * 5000, "\0", "a\nb", " ", value[:-1], value + "\n", value.upper()])
    if isinstance(value, list):
        return st.sampled_from([[], value[:-1], value[1:], value + value, value[::-1]])
    return st.sampled_from([{}, {**value, "x": 1}, dict(reversed(value.items()))])


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be replaced in a tree of dicts and lists."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*at, key)
        yield from places(value[key], (*at, key))


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """A tree with one to three of its parts replaced, removed, or given a neighbour."""
    tree = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        there = list(places(tree))
        if not there:
            break
        *path, last = draw(st.sampled_from(there))
        parent = tree
        for key in path:
            parent = parent[key]
        kind = draw(st.sampled_from(["replace", "alike", "alike", "remove", "add"]))
        if kind == "replace":
            parent[last] = draw(odd)
        elif kind == "alike":
            parent[last] = draw(alike(parent[last]))
        elif kind == "remove":
            del parent[last]
        elif isinstance(parent, dict):
            parent[str(draw(st.text(max_size=8) | st.sampled_from(["seeds", "options", "search", "schema"])))] = draw(
                odd
            )
        else:
            parent.append(draw(odd))
    return tree


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes that were cut, flipped, overwritten, repeated, or are rubbish altogether."""
    kind = draw(st.sampled_from(["cut", "flip", "overwrite", "repeat", "rubbish"]))
    if kind == "rubbish":
        return draw(st.binary(max_size=300))
    at = draw(st.integers(0, max(0, len(valid) - 1)))
    if kind == "cut":
        return valid[:at]
    if kind == "flip":
        return valid[:at] + bytes([valid[at] ^ (1 << draw(st.integers(0, 7)))]) + valid[at + 1 :]
    other = draw(st.binary(min_size=1, max_size=20))
    return valid[:at] + other + valid[at + (len(other) if kind == "overwrite" else 0) :]


def as_json(tree: Any) -> str:
    """JSON, which is YAML too; with NaN where there is one, as hostile writers do."""
    return json.dumps(tree, ensure_ascii=True)
