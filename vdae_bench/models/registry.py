"""The registry of methods: what a method declares, and how one is found by its id.

A new method is one file with a `Method` subclass and one line: in `BUILT_IN` below, or, from outside the package, an
entry point of the group `vdae_bench.methods`, or a file given as `--plugin FILE` that calls `register`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

from vdae_bench.data.views import View
from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.log_det import Estimator
from vdae_bench.models.model import Model
from vdae_bench.system.words import nearest

BUILT_IN = {
    "vae": "vdae_bench.models.methods.vae:VAE",
    "lvdae": "vdae_bench.models.methods.lvdae:LVDAE",
    "lvdae-nice": "vdae_bench.models.methods.lvdae_nice:LVDAENice",
    "vdae-resnet": "vdae_bench.models.methods.vdae_resnet:VDAEResNet",
    "vdae-nice": "vdae_bench.models.methods.vdae_nice:VDAENice",
    "vdae-coupled": "vdae_bench.models.methods.vdae_coupled:VDAECoupled",
    "nice": "vdae_bench.models.methods.nice:Nice",
    "independent-pixels": "vdae_bench.models.methods.independent_pixels:IndependentPixels",
}
ENTRY_POINT_GROUP = "vdae_bench.methods"


@dataclass(frozen=True)
class Option:
    """A cell option of a method: one of its choices, or, without any, a number within bounds or null.

    >>> Option("he", ("he", "uniform"), meaning="start of the hidden layers").allowed
    'he, uniform'
    >>> Option(None, meaning="fixed log sigma; null: learned", bounds=(-10.0, 5.0)).allowed
    '[-10, 5] or null'
    """

    default: Any
    choices: tuple[Any, ...] | None = None
    _: KW_ONLY
    meaning: str
    bounds: tuple[float, float] = (-math.inf, math.inf)
    per_replica: bool = False
    """True where cells that differ in nothing else can train side by side as replicas of one model."""
    continuous_only: bool = False
    """True for an option about a Gaussian p(x|z), which binary data does not have."""

    @property
    def allowed(self) -> str:
        """The option's choices, or its bounds as an interval, as a spec writes them."""
        if self.choices is not None:
            return ", ".join("null" if each is None else str(each) for each in self.choices)
        low, high = self.bounds
        return f"[{low:g}, {high:g}{')' if high == math.inf else ']'}{' or null' if self.default is None else ''}"

    def check(self, name: str, value: Any) -> None:
        """Raise `UserError` unless `value` is allowed."""
        if self.choices is not None:
            if value not in self.choices:
                raise UserError(f"option {name} is {value!r}; use one of {self.allowed}")
        elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"option {name} is {value!r}; use a number")
        elif value is not None and not self.bounds[0] <= value <= self.bounds[1]:
            raise UserError(f"option {name} is {value!r}; use a number from {self.bounds[0]:g} to {self.bounds[1]:g}")


PRECISION = {
    "precision": Option(
        None, (None, "float32", "mixed"), meaning="arithmetic of training and evaluation; null: the protocol's"
    )
}
"""An option of every method that trains, so that a sweep can compare both."""


@dataclass(frozen=True)
class Problem:
    """The description of a model that a method builds: sizes, view of the data, hyper-parameters, options.

    Attributes:
        replicas: R, how many train together.
        data_dim: n.
        latents: m.
        view: `binary` or `continuous`.
        hyperparameters: the value of each of the method's hyper-parameters, by name.
        options: the cell's options that differ from their defaults, by name.
        log_det: the estimator of L-VDAE's log-determinant in training.
    """

    replicas: int
    data_dim: int
    latents: int
    view: View
    hyperparameters: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    log_det: Estimator = "subset"
    replica_options: tuple[Mapping[str, Any], ...] = ()
    """Options of each replica, where they differ in those that are `per_replica`; empty: all have `options`."""

    def replica_values(self, name: str, default: Any) -> list[Any]:
        """Return the value of a `per_replica` option for each replica."""
        each = self.replica_options or (self.options,) * self.replicas
        return [options.get(name, default) for options in each]


class Method(ABC):
    """A row of the tables: a name, what it may be configured with, and how its model is built.

    A subclass supplies `id`, `title` and `build`, and declares what it has of the rest.
    """

    id: ClassVar[str]
    """Word for the method in specs, records and on the command line."""
    title: ClassVar[str]
    """Name of the method in reports, as the paper prints it."""
    version: ClassVar[int] = 1
    """Part of a run's identity: raise it when a change alters the numbers."""
    views: ClassVar[tuple[View, ...]] = ("binary", "continuous")
    """Kinds of data that the method can model."""
    hyperparameters: ClassVar[tuple[Hyperparameter[Any], ...]] = ()
    """The architecture's hyper-parameters; the optimiser's are common to all methods."""
    options: ClassVar[Mapping[str, Option]] = {}
    """The method's options by name, which make several cells of one method."""
    has_elbo: ClassVar[bool] = True
    """False where log p(x) is exact, and there is no bound to report."""
    trains: ClassVar[bool] = True
    """False where the start from training statistics is all the training there is."""

    def check(self, view: str, latents: int, data_dim: int, options: Mapping[str, Any]) -> None:
        """Raise `UserError` with one sentence when this method cannot model such a cell."""
        if view not in self.views:
            raise UserError(f"method {self.id} is for {' or '.join(self.views)} data, not for {view} data")
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise UserError(f"method {self.id} has no option {name}{nearest(name, self.options)} (it has: {known})")
            self.options[name].check(name, value)
            if self.options[name].continuous_only and view == "binary" and value != self.options[name].default:
                raise UserError(f"option {name} is for continuous data; leave it out for {view} data")
        self.check_latents(latents, data_dim)

    def check_latents(self, latents: int, data_dim: int) -> None:
        """Raise `UserError` unless the method can have that many latents."""
        if not 1 <= latents <= data_dim:
            raise UserError(f"method {self.id} needs 1 <= latents <= {data_dim}, not {latents}")

    @abstractmethod
    def build(self, problem: Problem) -> Model:
        """Build the model of a cell with `problem.replicas` replicas, its parameters not yet drawn."""

    def option(self, problem: Problem, name: str) -> Any:
        """Return the value of an option, or its default."""
        return problem.options.get(name, self.options[name].default)


_registered: dict[str, Method] = {}


def register(method: type[Method]) -> type[Method]:
    """Make a method known under its id; usable as a decorator in a plugin file.

    Raises:
        UserError: the class lacks an id or a title, or another method has its id.
    """
    for name in ("id", "title"):
        if not isinstance(getattr(method, name, None), str):
            raise UserError(f"method class {method.__name__} has no {name}; give it one, as in {name} = 'mine'")
    if not all(isinstance(each, Hyperparameter) for each in method.hyperparameters):
        raise UserError(f"method {method.id}: its hyperparameters are a tuple of values of the class Hyperparameter")
    place = f"{method.__module__}:{method.__qualname__}"
    known = _registered.get(method.id)
    taken = BUILT_IN.get(method.id) or (known and f"{type(known).__module__}:{type(known).__qualname__}")
    if taken and taken != place:
        raise UserError(f"the method id {method.id!r} is that of {taken}; give {method.__name__} another id")
    _registered[method.id] = method()
    return method


def method_ids() -> list[str]:
    """Ids of all known methods, in alphabetical order."""
    return sorted({*BUILT_IN, *_registered, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def known_methods() -> list[Method]:
    """Every known method: the built-in ones as the paper's tables have them, then those from outside."""
    return [get_method(method_id) for method_id in dict.fromkeys((*BUILT_IN, *method_ids()))]


def get_method(method_id: str) -> Method:
    """The method with that id.

    Raises:
        UserError: there is none, or it cannot be imported; the message names the nearest.

    >>> get_method("lvdae").title
    'L-VDAE'
    """
    if method_id not in _registered:
        if method_id in BUILT_IN:
            module, _, name = BUILT_IN[method_id].partition(":")
            register(getattr(importlib.import_module(module), name))
        else:
            for point in entry_points(group=ENTRY_POINT_GROUP, name=method_id):
                try:
                    register(point.load())
                except Exception as error:
                    raise UserError(f"method {method_id} cannot be imported from {point.value}: {error}") from error
    if method_id not in _registered:
        known = method_ids()
        raise UserError(
            f"there is no method {method_id!r}{nearest(method_id, known)}; the methods are {', '.join(known)}"
        )
    return _registered[method_id]


_plugins: list[Path] = []


def loaded_plugins() -> tuple[Path, ...]:
    """The files that `load_plugin` has imported, for other processes to do the same."""
    return tuple(_plugins)


def load_plugin(path: Path) -> None:
    """Import a Python file that registers methods or data sets (`--plugin FILE`).

    Raises:
        UserError: there is no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise UserError(f"plugin {path} is not a file; give the path of a Python file that registers a method")
    spec = importlib.util.spec_from_file_location(f"vdae_bench_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"plugin {path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"plugin {path} cannot be imported: {type(error).__name__}: {error}") from error
    _plugins.append(path.resolve())
