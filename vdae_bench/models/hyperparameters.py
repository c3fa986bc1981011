"""A hyper-parameter is a value: its name, type, default, bounds and meaning, declared once by whoever trains with it.

A method lists its own; specs, `--set`, protocols, searches, reports and `vdae-bench list` read them from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from vdae_bench.errors import UserError

T = TypeVar("T", bound=int | float | str)


@dataclass(frozen=True)
class Hyperparameter(Generic[T]):
    """A number within bounds or one of a few words, with its default and a line on what it means.

    >>> width = Hyperparameter("width", int, 256, ge=1, le=1024, meaning="units of a layer")
    >>> width.allowed, width.read(64.0), width.of({"width": 32, "depth": 2})
    ('[1, 1024]', 64, 32)
    """

    name: str
    kind: type[int] | type[float] | type[str]
    """Type of the value: `str` for one of `choices`; numbers have bounds instead."""
    default: T
    """The paper's value, or one of those that it tried."""
    _: KW_ONLY
    meaning: str
    choices: tuple[T, ...] = ()
    gt: int | float | None = None
    ge: int | float | None = None
    lt: int | float | None = None
    le: int | float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise UserError(f"the hyper-parameter name {self.name!r} must be lower-case letters, digits and '_'")
        if self.kind not in (int, float, str) or (self.kind is str) != bool(self.choices):
            raise UserError(f"hyper-parameter {self.name}: it is an int or a float with bounds, or a str with choices")
        if not self.meaning:
            raise UserError(f"hyper-parameter {self.name}: give its meaning in one line")
        try:
            self.read(self.default, strict=True)
        except UserError as error:
            raise UserError(f"hyper-parameter {self.name}: its default: {error}") from None

    @cached_property
    def _validate(self) -> Callable[..., T]:
        words: Any = Literal[self.choices]
        finite = False if self.kind is float else None
        number: Any = Annotated[self.kind, Field(gt=self.gt, ge=self.ge, lt=self.lt, le=self.le, allow_inf_nan=finite)]
        return TypeAdapter(words if self.choices else number).validate_python

    @property
    def bounds(self) -> dict[str, int | float]:
        """The bounds that a number has, by pydantic's names: `gt` above, `ge` from, `lt` below, `le` up to."""
        named = {"gt": self.gt, "ge": self.ge, "lt": self.lt, "le": self.le}
        return {name: bound for name, bound in named.items() if bound is not None}

    @property
    def allowed(self) -> str:
        """The choices, or the bounds as an interval: `(0, 10)` is without its ends, `[1, 64]` with them."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        low = f"[{self.ge:g}" if self.ge is not None else f"({'-inf' if self.gt is None else f'{self.gt:g}'}"
        high = f"{self.le:g}]" if self.le is not None else f"{'inf' if self.lt is None else f'{self.lt:g}'})"
        return f"{low}, {high}"

    def read(self, value: Any, *, strict: bool = False) -> T:
        """Return a value in this hyper-parameter's type: 1 is 1.0 where fractions are meant.

        Where whole numbers are meant 1e2 is 100, unless `strict`. No word is a number, nor is true.

        Raises:
            UserError: the value is of another type, out of bounds, or none of the choices.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        try:
            return self._validate(value, strict=strict or not number)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise UserError(f"{said[0].lower()}{said[1:]}, not {value!r}") from None

    def fault(self, value: Any) -> str:
        """Return what is wrong with a value; "" where nothing is."""
        try:
            self.read(value)
        except UserError as error:
            return str(error)
        return ""

    def of(self, values: Mapping[str, Any]) -> T:
        """Return this hyper-parameter's value among those that a cell trains with.

        Raises:
            UserError: the cell has none, because its method does not declare the hyper-parameter that it reads.
        """
        if self.name not in values:
            raise UserError(
                f"a method reads the hyper-parameter {self.name!r}; list it in the `hyperparameters` of the method"
            )
        value: T = values[self.name]
        return value


def whole(value: Any) -> Any:
    """A number without a fraction as an int, as 1e2 is in a spec; anything else as it is.

    >>> whole(1e2), whole(0.5), whole("1"), whole(True)
    (100, 0.5, '1', True)
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_declared(whose: str, declared: Any) -> None:
    """Raise `UserError` unless what a method or a flow declares as its hyper-parameters is a tuple of them."""
    if not isinstance(declared, tuple | list) or not all(isinstance(each, Hyperparameter) for each in declared):
        raise UserError(f"{whose}: its hyperparameters must be a tuple of Hyperparameter values")


def defaults(declared: Iterable[Hyperparameter[Any]]) -> dict[str, Any]:
    """The default of each hyper-parameter by its name."""
    return {each.name: each.read(each.default) for each in declared}
