"""Arguments of Python functions, checked where they enter the package: what is wrong with one is a sentence."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Any, ParamSpec, TypeVar, get_type_hints

from vdae_bench.errors import UserError
from vdae_bench.system.words import nearest

P = ParamSpec("P")
T = TypeVar("T")

WORDS = {
    "array": "a list of strings",
    "boolean": "True or False",
    "null": "None",
    "number": "a number",
    "object": "a mapping, as in {'key': value}",
    "path": "a path",
    "string": "a string",
}
"""Kinds of values by JSON schema's names for them."""


def checked(name: str, value: Any, kind: Any) -> Any:
    """Return an argument if it is of a type, its limits included; nothing is converted but whole numbers of NumPy.

    Raises:
        UserError: it is not; the sentence says what to give.

    >>> from typing import Annotated
    >>> from pydantic import Field
    >>> checked("samples", 2.5, Annotated[int, Field(ge=1)])
    Traceback (most recent call last):
    vdae_bench.errors.UserError: samples is 2.5; give a whole number of at least 1
    """
    from pydantic import TypeAdapter, ValidationError  # late, as most calls of the command line check nothing here

    adapter = TypeAdapter(kind)
    try:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return adapter.validate_python(int(value) if whole else value, strict=True)
    except ValidationError:
        schema = adapter.json_schema()
        near = nearest(value, schema.get("enum", ())) if isinstance(value, str) else ""
        raise UserError(f"{name} is {reprlib.repr(value)}; give {_in_words(schema)}{near}") from None


def _in_words(schema: Mapping[str, Any]) -> str:
    kinds = [*dict.fromkeys(map(_in_words, schema.get("anyOf", ()))), *map(repr, schema.get("enum", ()))]
    if kinds:
        return " or ".join([*([", ".join(kinds[:-1])] if kinds[:-1] else []), kinds[-1]])
    if schema["type"] == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        least = "" if low is None else f" of at least {low}"
        return f"a whole number{least if high is None else f' from {low} to {high}'}"
    if parts := schema.get("prefixItems"):
        return f"a tuple of {len(parts)}: {', '.join(map(_in_words, parts))}"
    return WORDS[schema.get("format", schema["type"])]


def checks_arguments(elsewhere: Collection[str] = ()) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function check its arguments by their annotations, but for tensors and those that are checked `elsewhere`.

    >>> @checks_arguments()
    ... def draw(count: int) -> int:
    ...     return count
    >>> draw("two")
    Traceback (most recent call last):
    vdae_bench.errors.UserError: count is 'two'; give a whole number
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.cache
        def kinds() -> dict[str, Any]:
            from jaxtyping import AbstractArray

            return {
                name: kind
                for name, kind in get_type_hints(function, include_extras=True).items()
                if name not in elsewhere and not (isinstance(kind, type) and issubclass(kind, AbstractArray))
            }

        @functools.wraps(function)
        def call(*args: P.args, **words: P.kwargs) -> T:
            given = signature.bind(*args, **words)
            for name, kind in kinds().items():
                if name in given.arguments:
                    given.arguments[name] = checked(name, given.arguments[name], kind)
            return function(*given.args, **given.kwargs)

        return call

    return decorate
