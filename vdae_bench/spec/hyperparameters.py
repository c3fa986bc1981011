"""The hyper-parameters that a spec may set: the optimiser's, which are declared here, and those of its methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.registry import Method, known_methods
from vdae_bench.spec.protocol import Protocol
from vdae_bench.system.words import nearest

Schedule = Literal["linear", "none"]

LEARNING_RATE = Hyperparameter(
    "learning_rate", float, 1e-3, ge=1e-10, lt=10, meaning="learning rate at its highest, after the warm-up"
)
SCHEDULE: Hyperparameter[Schedule] = Hyperparameter(
    "schedule", str, "linear", choices=get_args(Schedule), meaning="schedule of the learning rate after the warm-up"
)
ADAM_BETA2 = Hyperparameter("adam_beta2", float, 0.999, ge=0, lt=1, meaning="decay of Adam's second moment")
ADAM_EPS = Hyperparameter("adam_eps", float, 1e-8, ge=1e-20, lt=1, meaning="Adam's epsilon")
OPTIMISER: tuple[Hyperparameter[Any], ...] = (LEARNING_RATE, SCHEDULE, ADAM_BETA2, ADAM_EPS)
"""Hyper-parameters that every method trains with; `training.adam.AdamSettings` has their values."""
OPTIMISER_NAMES = frozenset(each.name for each in OPTIMISER)

RESERVED_NAMES = OPTIMISER_NAMES | {*Protocol.model_fields, "seed", "source"}
"""Words that mean something else where a hyper-parameter is set or recorded."""


def hyperparameters_of(method: Method, options: Mapping[str, Any] | None = None) -> dict[str, Hyperparameter[Any]]:
    """All that a cell of a method trains with, by name: the optimiser's hyper-parameters, then the method's own.

    Raises:
        UserError: the method calls one of its own by a name that is taken.
    """
    own = method.hyperparameters_with(options or {})
    for each in own:
        if each.name in RESERVED_NAMES:
            raise UserError(
                f"method {method.id} calls a hyper-parameter {each.name!r}, but that name is taken; rename it"
            )
    return {each.name: each for each in (*OPTIMISER, *own)}


@dataclass(frozen=True)
class Vocabulary:
    """The names that a spec may set, and what its methods take for a value of each.

    Attributes:
        whole: True where these are all methods of the sweep, so that a name which none of them has changes nothing.
        lacking: what is said of such a name.
    """

    methods: tuple[Method, ...] = ()
    whole: bool = False
    lacking: str = "no method of this sweep has it"

    @cached_property
    def own(self) -> dict[str, list[Hyperparameter[Any]]]:
        """Declarations of the optimiser and the sweep's methods by name: mostly one each, more where methods differ."""
        return _by_name((*OPTIMISER, *(each for method in self.methods for each in method.possible_hyperparameters)))

    def find(self, name: str) -> list[Hyperparameter[Any]]:
        """The declarations of a name; a name that only other methods have is known too, and changes nothing."""
        return self.own.get(name) or _of_any_method().get(name, [])

    def fault_of_none(self, name: str) -> str:
        """Sentence that says that a name is known, and that no method here has it; "" where one has."""
        return f"{self.lacking}; leave it out" if self.whole and name not in self.own and self.find(name) else ""

    def read(self, name: str, value: Any) -> Any:
        """Return the value of a hyper-parameter as its methods take it.

        Raises:
            UserError: it is out of bounds or of another type, or nothing has that name.
        """
        if fault := self.fault(name, value):
            raise UserError(f"{name}: {fault}")
        return self.find(name)[0].read(value)

    def fault(self, name: str, value: Any, *, strict: bool = False) -> str:
        """Sentence that says what is wrong with setting a hyper-parameter to a value; "" where nothing is."""
        found = self.find(name)
        try:
            for each in found:
                each.read(value, strict=strict)
        except UserError as error:
            return str(error)
        return "" if found else place_of_option(name) or f"unknown hyper-parameter{nearest(name, self.own)}"


def is_option(name: str) -> bool:
    """True if some method has an option of that name."""
    return any(name in method.options for method in known_methods())


def place_of_option(name: str) -> str:
    """Sentence about an option of a method that is given elsewhere; "" for what is none."""
    if not is_option(name):
        return ""
    return f"{name} is an option of a cell; set it in a spec, as an axis of a grid or under the options of a cell"


def _by_name(declared: Iterable[Hyperparameter[Any]]) -> dict[str, list[Hyperparameter[Any]]]:
    found: dict[str, list[Hyperparameter[Any]]] = {}
    for each in dict.fromkeys(declared):
        found.setdefault(each.name, []).append(each)
    return found


def _of_any_method() -> dict[str, list[Hyperparameter[Any]]]:
    return _by_name(each for method in known_methods() for each in method.hyperparameters)
