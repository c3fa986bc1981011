"""The registry of methods: what a method declares, and how one is found by its id.

A new method is one file with a `Method` subclass and one line: in `BUILT_IN` below, or, from outside the package, an
entry point of the group `vdae_bench.methods`, or a file given as `--plugin FILE` that calls `register`. The flows of
`models.flows.FLOWS` are methods too, each a row of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from vdae_bench.data.views import View
from vdae_bench.errors import UserError
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import FlowKind
from vdae_bench.models.hyperparameters import Hyperparameter, check_declared
from vdae_bench.models.model import Model
from vdae_bench.models.problem import Problem as Problem  # where methods look for it
from vdae_bench.models.space import Logits, OnLogits
from vdae_bench.system.untrusted import LARGEST_CODE, content_of
from vdae_bench.system.words import nearest

BUILT_IN = {
    "vae": "vdae_bench.models.methods.vae:VAE",
    "lvdae": "vdae_bench.models.methods.lvdae:LVDAE",
    "lvdae-nice": "vdae_bench.models.methods.lvdae_nice:LVDAENice",
    "vdae-resnet": "vdae_bench.models.methods.vdae_resnet:VDAEResNet",
    "vdae-nice": "vdae_bench.models.methods.vdae_nice:VDAENice",
    "vdae-coupled": "vdae_bench.models.methods.vdae_coupled:VDAECoupled",
    "conditioned": "vdae_bench.models.methods.conditioned:ConditionedFlow",
    "nice": "vdae_bench.models.methods.nice:Nice",
    "independent-pixels": "vdae_bench.models.methods.independent_pixels:IndependentPixels",
}
ROW_OF_FLOW = "vdae_bench.models.methods.flow_row:row_of"
ENTRY_POINT_GROUP = "vdae_bench.methods"
OWN_FLOWS = frozenset(FLOWS)
OWN_METHODS = frozenset({*BUILT_IN, *OWN_FLOWS})
"""Ids of the flows and methods that this package has, whatever plug-ins are loaded."""


@dataclass(frozen=True)
class Option:
    """A cell option of a method: one of its choices or, without any, a number within bounds; null only if a default.

    >>> Option("he", ("he", "uniform"), meaning="start of the hidden layers").allowed
    'he, uniform'
    >>> Option(None, meaning="fixed log sigma; null: learned", bounds=(-10.0, 5.0)).allowed
    '[-10, 5] or null'
    """

    default: Any
    choices: Collection[Any] | None = field(default=None, hash=False)  # a live view of a table has no hash
    _: KW_ONLY
    meaning: str
    bounds: tuple[float, float] = (-math.inf, math.inf)
    per_replica: bool = False
    """True where cells that differ in nothing else can train side by side as replicas of one model."""
    continuous_only: bool = False
    """True for an option about a Gaussian p(x|z), which binary data does not have."""
    only_with: tuple[str, Collection[Any]] | None = field(default=None, hash=False)
    """Another option of the method and its values without which this one changes nothing; None: it always counts."""

    @property
    def allowed(self) -> str:
        """The option's choices, or its bounds as an interval, as a spec writes them."""
        if self.choices is not None:
            return ", ".join("null" if each is None else str(each) for each in self.choices)
        low, high = self.bounds
        return f"[{low:g}, {high:g}{')' if high == math.inf else ']'}{' or null' if self.default is None else ''}"

    def check(self, name: str, value: Any) -> None:
        """Raise `UserError` unless `value` is allowed."""
        written = "null" if value is None else repr(value)
        if self.choices is not None:
            if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.choices):
                hint = nearest(value, filter(None, self.choices)) if isinstance(value, str) else ""
                raise UserError(f"option {name} is {written}; use one of {self.allowed}{hint}")
        elif value is None and self.default is None:
            return
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"option {name} is {written}; use a number")
        elif not self.bounds[0] <= value <= self.bounds[1]:
            raise UserError(f"option {name} is {written}; use a number from {self.bounds[0]:g} to {self.bounds[1]:g}")


SPACE = {
    "space": Option(
        "pixels",
        ("pixels", "logit"),
        meaning="what is modelled: pixels, or logit(alpha + (1 - 2 alpha) x) with linear decoders; scored as pixels",
        continuous_only=True,
    ),
    "alpha": Option(
        1e-6,
        meaning="alpha of the space logit; its bounds keep logits finite, and apart by more than float32's rounding",
        bounds=(1e-9, 0.49),
        continuous_only=True,
        only_with=("space", ("logit",)),
    ),
}
"""Options of every method of continuous data."""
PRECISION = {
    "precision": Option(
        None, (None, "float32", "mixed"), meaning="arithmetic of training and evaluation; null: that of the protocol"
    )
}
"""An option of every method that trains, so that a sweep can compare both."""


class Method(ABC):
    """A method, which is a row of the tables: its name, its settings, and how to build its model.

    A subclass supplies `id`, `title` and `build`, and may declare the rest.
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
    """The architecture's hyper-parameters of a cell without options; the optimiser's are common to all methods."""
    options: ClassVar[Mapping[str, Option]] = {}
    """The method's options by name, which make several cells of one method."""
    has_elbo: ClassVar[bool] = True
    """False where log p(x) is exact, and there is no bound to report."""
    trains: ClassVar[bool] = True
    """False if the start from training statistics is the whole training."""
    plugin_sha256: str | None = None
    """Digest of the plug-in's code that the method was imported from, part of a run's identity; None for our own."""

    @property
    def code(self) -> dict[str, Any]:
        """The method's part of a run's identity: its version and, from outside the package, its code's bytes."""
        own = {"method_version": self.version}
        return own if self.plugin_sha256 is None else {**own, "plugin_sha256": self.plugin_sha256}

    def code_with(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The code's part of a run's identity: the method's and, from outside, that of the flow it takes."""
        flow = options.get("flow", self.id)
        return {**self.code, "flow_sha256": _foreign_flows[flow].sha256} if flow in _foreign_flows else self.code

    def __init_subclass__(cls) -> None:
        """Give every method of continuous data the options of `SPACE`."""
        if "continuous" in cls.views:
            cls.options = {**cls.options, **SPACE}

    def check(self, view: str, latents: int, data_dim: int, options: Mapping[str, Any]) -> None:
        """Raise `UserError` with one sentence when this method cannot model such a cell."""
        self.check_view(view)
        for name, value in options.items():
            self.check_option(name, value, view)
        for _, sentence in self.option_faults(latents, data_dim, options):
            raise UserError(sentence)
        self.check_latents(latents, data_dim)

    def check_view(self, view: str) -> None:
        """Raise `UserError` unless the method is for such data."""
        if view not in self.views:
            raise UserError(f"method {self.id} is for {' or '.join(self.views)} data, not for {view} data")

    def check_option(self, name: str, value: Any, view: str) -> None:
        """Raise `UserError` unless the method has such an option, and it may have that value."""
        if name not in self.options:
            known = ", ".join(self.options) or "none"
            raise UserError(f"method {self.id} has no option {name}{nearest(name, self.options)} (it has: {known})")
        self.options[name].check(name, value)
        if self.options[name].continuous_only and view == "binary" and value != self.options[name].default:
            raise UserError(f"option {name} is for continuous data; leave it out for {view} data")

    def option_faults(
        self, latents: int, data_dim: int, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield (option, sentence) for each option as written that has no effect beside the others (`only_with`).

        `settings` are the fields of the protocol, which decide where an option is null; without them such an option
        is not judged. A subclass adds which other values contradict each other.
        """
        for name in options:
            other, wanted = self.options[name].only_with or ("", ())
            if other not in self.options:
                continue
            value = options.get(other, self.options[other].default)
            if value is None and None not in wanted:
                if settings is None:
                    continue
                value = settings.get(other)
            if value not in wanted:
                words = " or ".join("null" if each is None else str(each) for each in wanted)
                yield name, f"option {name} needs {other}: {words}; leave {name} out, or set {other} to {words}"

    def check_latents(self, latents: int, data_dim: int) -> None:
        """Raise `UserError` unless the method can have that many latents."""
        if not 1 <= latents <= data_dim:
            raise UserError(f"method {self.id} needs 1 <= latents <= {data_dim}, not {latents}")

    def check_sizes(  # noqa: B027
        self, shape: tuple[int, int], options: Mapping[str, Any], sizes: Mapping[str, Any]
    ) -> None:
        """Raise `UserError` where a model of these hyper-parameters cannot take images of that shape.

        `options` are as written, with those that are the default.
        """

    def hyperparameters_with(self, options: Mapping[str, Any]) -> tuple[Hyperparameter[Any], ...]:
        """Return the hyper-parameters of a cell with these options; by default all have the same."""
        return self.hyperparameters

    @property
    def possible_hyperparameters(self) -> tuple[Hyperparameter[Any], ...]:
        """The hyper-parameters of all cells of the method together, whatever their options."""
        return self.hyperparameters

    def needed_for(self, hyperparameter: str) -> tuple[str, list[Any]] | None:
        """Return the option, and its values, that a cell needs to have a hyper-parameter; None where each has it."""
        for name, option in self.options.items():
            choices = option.choices or ()
            having = [
                value
                for value in choices
                if any(each.name == hyperparameter for each in self.hyperparameters_with({name: value}))
            ]
            if 0 < len(having) < len(choices):
                return name, having
        return None

    @abstractmethod
    def build(self, problem: Problem) -> Model:
        """Build the model of a cell with `problem.replicas` replicas, its parameters not yet drawn."""

    def model(self, problem: Problem) -> Model:
        """Build the model of a cell in the space that its options ask for."""
        built = self.build(problem)
        on_logits = problem.options.get("space") == "logit"
        return OnLogits(built, Logits(self.option(problem, "alpha"))) if on_logits else built

    def option(self, problem: Problem, name: str) -> Any:
        """Return the value of an option, or its default."""
        return problem.options.get(name, self.options[name].default)


_registered: dict[str, Method] = {}


def register(method: type[Method]) -> type[Method]:
    """Make a method known under its id; a plugin file uses it as a decorator.

    Raises:
        UserError: the class lacks an id or a title, another method or flow has its id, one from outside its title, or
            its code is in no file.
    """
    for name in ("id", "title"):
        if not isinstance(getattr(method, name, None), str):
            raise UserError(f"method class {method.__name__} has no {name}; give it one, as in {name} = 'mine'")
    words = [method.id, *(each for option in method.options.values() for each in option.choices or ())]
    for word in words:
        if isinstance(word, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", word):
            raise UserError(
                f"method {method.id!r}: {word!r} is part of the name of a folder; "
                "use letters, digits, '.', '_', '+' and '-' for ids and the choices of options"
            )
    check_declared(f"method {method.id}", method.hyperparameters)
    place = f"{method.__module__}:{method.__qualname__}"
    known = _registered.get(method.id)
    taken = BUILT_IN.get(method.id) or (known and f"{type(known).__module__}:{type(known).__qualname__}")
    if method.id in FLOWS and method.id not in BUILT_IN and method.__module__ != ROW_OF_FLOW.partition(":")[0]:
        taken = f"the flow {FLOWS[method.id].title}"
    if taken and taken != place:
        raise UserError(f"the method id {method.id!r} is already that of {taken}; give {method.__name__} another id")
    own = {*BUILT_IN, *FLOWS}  # a copy of one of these is told by its id
    registered = list(_registered.values())
    others = {plain_title(each.title): each.id for each in registered if each.id not in own | {method.id}}
    if method.id not in own and (like := others.get(plain_title(method.title))):
        raise UserError(f"the title {method.title!r} is already that of {like}; give {method.__name__} another title")
    instance = method()
    if not method.__module__.startswith("vdae_bench."):
        instance.plugin_sha256 = _loading[-1] if _loading else _package_sha256(method.__module__.partition(".")[0])
    _registered[method.id] = instance
    return method


def plain_title(title: str) -> str:
    """A title in lower case and with single spaces: titles that differ only in these look the same in a table."""
    return " ".join(title.split()).casefold()


def method_ids() -> list[str]:
    """Ids of all known methods, in alphabetical order."""
    return sorted({*BUILT_IN, *FLOWS, *_registered, *(point.name for point in _installed())})


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """The methods of installed packages; looking for them opens a file of each."""
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def known_methods() -> list[Method]:
    """Every known method: the built-in ones as the paper's tables have them, then those from outside."""
    return [get_method(method_id) for method_id in dict.fromkeys((*BUILT_IN, *FLOWS, *method_ids()))]


def get_method(method_id: str) -> Method:
    """The method with that id.

    Raises:
        UserError: there is none, or it cannot be imported; the message names the nearest.

    >>> get_method("lvdae").title
    'L-VDAE'
    """
    if method_id not in _registered:
        if method_id in BUILT_IN:
            register(_imported(BUILT_IN[method_id]))
        elif method_id in FLOWS:
            register(_imported(ROW_OF_FLOW)(method_id))
        else:
            for point in (each for each in _installed() if each.name == method_id):
                with foreign(f"method {method_id} cannot be imported from {point.value}"):
                    register(point.load())
    if method_id not in _registered:
        known = method_ids()
        hint = nearest(method_id, known)
        own = "" if hint else "; register a method of your own in a plugin, with --plugin FILE or load_plugin"
        raise UserError(f"there is no method {method_id!r}{hint}; the methods are {', '.join(known)}{own}")
    return _registered[method_id]


def _imported(place: str) -> Any:
    """The object that `module:name` names; imported when it is asked for, because methods import this module."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


_plugins: dict[Path, str] = {}
"""Files that `load_plugin` has imported, and the digest of what was in them then."""
_loading: list[str] = []
"""Digest of the plug-in file that is being imported, if any."""


class _FlowFile(NamedTuple):
    path: Path
    sha256: str
    """Digest of the file, part of the identity of a run that takes the flow."""


_foreign_flows: dict[str, _FlowFile] = {}
"""The plug-in file of each flow from outside."""


def loaded_plugins() -> dict[Path, str]:
    """The files that `load_plugin` has imported, with the digest of each, for other processes to do the same."""
    return dict(_plugins)


def load_plugin(path: Path) -> None:
    """Import a Python file that registers methods, flows or data sets (`--plugin FILE`).

    Raises:
        UserError: there is no such file, it cannot be imported, or a flow of it has a name that is taken.
    """
    if not path.is_file():
        raise UserError(f"plugin {path} is not a file; give the path of a Python file that registers a method")
    spec = importlib.util.spec_from_file_location(f"vdae_bench_plugin_{path.stem}", path)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise UserError(f"plugin {path} is not a Python file; its name must end in .py")
    module, before, same_name = importlib.util.module_from_spec(spec), dict(FLOWS), sys.modules.get(spec.name)
    with foreign(f"plugin {path} cannot be imported"):
        try:
            # The bytes that are digested are those that run: a file can change in between, and Python's cache of
            # compiled files tells an edit within one second from none by its length alone.
            content = content_of(path, LARGEST_CODE)
            sha256 = hashlib.sha256(content).hexdigest()
            _loading.append(sha256)
            sys.modules[spec.name] = module  # where dataclasses, type hints and pickle look for it
            exec(spec.loader.source_to_code(content, str(path)), vars(module))
        except BaseException:
            _take_back(before)
            sys.modules.pop(spec.name, None)
            if same_name:
                sys.modules[spec.name] = same_name
            raise
        finally:
            _loading.clear()
    _admit_flows(before, _FlowFile(path.resolve(), sha256))
    _plugins[path.resolve()] = sha256


def _take_back(before: Mapping[str, FlowKind]) -> None:
    """Restore the table of flows as it was before a plug-in."""
    FLOWS.clear()
    FLOWS.update(before)


def _admit_flows(before: Mapping[str, FlowKind], file: _FlowFile) -> None:
    """Keep the flows of a plug-in, none of which may stand for another: their names are in runs' identities."""
    new = {name: kind for name, kind in FLOWS.items() if before.get(name) is not kind}
    taken = [
        name
        for name in new
        if (name in before and (name not in _foreign_flows or _foreign_flows[name].path != file.path))
        or (name not in before and name in (*BUILT_IN, *_registered))
    ]
    odd = [name for name, kind in new.items() if not isinstance(kind, FlowKind)]
    unnamed = [name for name in new if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9-]*", name))]
    if unnamed or taken or odd or before.keys() - FLOWS.keys():
        _take_back(before)
    if unnamed:
        raise UserError(
            f"plugin {file.path}: the name of a flow, {unnamed[0]!r}, must be of lower-case letters, digits and -"
        )
    if taken:
        raise UserError(f"plugin {file.path}: the name {taken[0]!r} is already that of another flow or method")
    if odd:
        raise UserError(f"plugin {file.path}: FLOWS[{odd[0]!r}] must be a FlowKind")
    for name in new:
        _foreign_flows[name] = file
        _registered.pop(name, None)  # the row of the file as it was before an edit


@contextmanager
def foreign(fault: str) -> Iterator[None]:
    """Run a plugin's code: whatever it raises is a fault of the plugin, and what it prints goes to stderr.

    Ctrl-C passes through. `SystemExit` counts as a fault too, because it would end the command as if it were done.
    """
    try:
        with redirect_stdout(sys.stderr):  # stdout is the command's own: JSON, a script for Slurm
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        kind = "" if isinstance(error, UserError) else type(error).__name__
        raise UserError(": ".join(filter(None, (fault, kind, str(error))))) from error


def _package_sha256(name: str) -> str:
    """Digest of all Python files of an imported package, or of the one file of a module.

    Raises:
        UserError: it has no file, as a notebook's cells have none, and an edit of its code would go unseen.
    """
    package = sys.modules[name]
    files = [file for folder in getattr(package, "__path__", ()) for file in sorted(Path(folder).rglob("*.py"))]
    if not files and getattr(package, "__file__", None):
        files = [Path(str(package.__file__))]
    if not files:
        raise UserError(
            "a method that is defined in a notebook or a shell has no file that says which code a run had; "
            "write it to a file and load that with load_plugin"
        )
    return hashlib.sha256(
        b"".join(hashlib.sha256(content_of(file, LARGEST_CODE)).digest() for file in files)
    ).hexdigest()
