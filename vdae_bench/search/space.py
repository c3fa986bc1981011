"""What may vary: the space of a spec as Optuna's distributions, the same for every trial of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from vdae_bench.spec.file import Choices, Range
from vdae_bench.spec.hyperparameters import OF_THE_OPTIMISER

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = TypeVar("Value")


def is_of(space: Mapping[str, Range | Choices], parameters: Mapping[str, Any]) -> bool:
    """Whether parameters are a point of the space."""
    return parameters.keys() == space.keys() and all(space[name].has(value) for name, value in parameters.items())


def distributions(space: Mapping[str, Range | Choices]) -> dict[str, BaseDistribution]:
    """An interval each, logarithmic or not, or an unordered set, as Appendix D's are."""
    return {name: _distribution(each) for name, each in space.items()}


def _distribution(space: Range | Choices) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, Choices):
        return CategoricalDistribution(space.values)
    if space.distribution == "int_uniform":
        return IntDistribution(round(space.min), round(space.max))
    return FloatDistribution(space.min, space.max, log=space.distribution == "log_uniform_values")


def architecture_of(parameters: Mapping[str, Value]) -> dict[str, Value]:
    """Those that decide the network: trials that agree in them are replicas of one model."""
    return {name: value for name, value in parameters.items() if name not in OF_THE_OPTIMISER}


def in_words(parameters: Mapping[str, Any]) -> str:
    """Parameters in one line.

    >>> in_words({"learning_rate": 0.000312345, "schedule": "none"})
    'learning_rate 0.0003123, schedule none'
    """
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    )
