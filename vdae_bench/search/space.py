"""The search space: a spec's searched parameters as Optuna's distributions, the same for every trial of a study."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from vdae_bench.spec.file import Choices, Range
from vdae_bench.spec.hyperparameters import OPTIMISER_NAMES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = TypeVar("Value")


def is_point_of(space: Mapping[str, Range | Choices], parameters: Mapping[str, Any]) -> bool:
    """True where the parameters are a point of the space."""
    return parameters.keys() == space.keys() and all(space[name].has(value) for name, value in parameters.items())


def distributions(space: Mapping[str, Range | Choices]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each parameter: an interval, logarithmic or not, or a set, as in Appendix D."""
    return {name: _distribution(each) for name, each in space.items()}


def _distribution(space: Range | Choices) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, Choices):
        return CategoricalDistribution(space.values)
    if space.distribution == "int_uniform":
        return IntDistribution(round(space.min), round(space.max))
    return FloatDistribution(space.min, space.max, log=space.distribution == "log_uniform_values")


def architecture_of(parameters: Mapping[str, Value]) -> dict[str, Value]:
    """Parameters that decide the network: trials that agree in them are replicas of one model."""
    return {name: value for name, value in parameters.items() if name not in OPTIMISER_NAMES}


_verbosity = threading.RLock()


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna without its log lines and its warnings of features that are called experimental; one thread at a time."""
    import optuna

    with _verbosity, warnings.catch_warnings():
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """The parameters in one line, for people.

    >>> parameters_text({"learning_rate": 0.000312345, "schedule": "none"})
    'learning_rate 0.0003123, schedule none'
    """
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    )
