"""The checker of shapes and types at every call: beartype, for which an int is a float, as PEP 484 has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped


def of_modules(**kind: Any) -> Callable[[Any], Any]:
    """Check functions and classes of modules, not those that a call makes: each call would compile checks anew."""
    return lambda each: each if "<locals>" in each.__qualname__ else _jaxtyped(**kind)(each)


jaxtyping.jaxtyped = of_modules  # the import hook decorates with it
