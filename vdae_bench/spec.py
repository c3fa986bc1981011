"""Sweep specs: YAML to validated cells, their hyper-parameters and seeds.

`grid` (one or a list) is multiplied out over its axes: data set, method, latents, and any option. `include` adds cells,
`exclude` takes cells away. Every fault is named with its line and the nearest valid word.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vdae_bench.data.registry import find_dataset, parse_dataset_id
from vdae_bench.errors import UserError
from vdae_bench.models.registry import get_method, nearest
from vdae_bench.protocol import Protocol, load_protocol, override, sweeps_folder
from vdae_bench.yaml_file import Location, YamlFile

OPTIMISER_DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "schedule": "linear",
    "adam_beta2": 0.999,
    "adam_eps": 1e-8,
}
AXES = ("dataset", "method", "latents")


class Hyperparameters(BaseModel):
    """All hyper-parameters with their bounds; a spec gives those it wants to change."""

    model_config = ConfigDict(extra="forbid")

    learning_rate: float | None = Field(default=None, gt=0, lt=10)
    schedule: Literal["linear", "none"] | None = None
    adam_beta2: float | None = Field(default=None, ge=0, lt=1)
    adam_eps: float | None = Field(default=None, gt=0, lt=1)
    hidden_size: int | None = Field(default=None, ge=1, le=65536)
    residual_blocks: int | None = Field(default=None, ge=1, le=64)
    couplings: int | None = Field(default=None, ge=2, le=64)
    coupling_layers: int | None = Field(default=None, ge=1, le=64)
    coupling_hidden_size: int | None = Field(default=None, ge=1, le=65536)
    decoder_hidden_size: int | None = Field(default=None, ge=1, le=65536)

    def given(self) -> dict[str, Any]:
        """Those that were given."""
        return self.model_dump(exclude_none=True)


class Range(BaseModel):
    """A continuous or integer interval of a search."""

    model_config = ConfigDict(extra="forbid")

    distribution: Literal["log_uniform_values", "uniform", "int_uniform"]
    min: float
    max: float


class Choices(BaseModel):
    """A categorical set of a search."""

    model_config = ConfigDict(extra="forbid")

    values: list[str | int | float] = Field(min_length=1)


class Metric(BaseModel):
    """What a search optimises."""

    model_config = ConfigDict(extra="forbid")

    name: Literal["validation_elbo"]
    goal: Literal["maximize"]


class SearchSpec(BaseModel):
    """The hyper-parameter search of a spec."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["bayes", "random"] = "bayes"
    metric: Metric = Metric(name="validation_elbo", goal="maximize")
    trials: int = Field(ge=1)
    parameters: dict[str, Range | Choices] = Field(min_length=1)


class CellSpec(BaseModel):
    """A cell written out under `include`, or a pattern under `exclude`."""

    model_config = ConfigDict(extra="forbid")

    dataset: str | None = None
    method: str | None = None
    latents: int | None = None
    options: dict[str, str | int | float | None] = {}
    hyperparameters: Hyperparameters = Hyperparameters()


class SpecFile(BaseModel):
    """The file as written."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    description: str = ""
    grid: list[dict[str, Annotated[list[str | int | float | None], Field(min_length=1)]]] = []
    include: list[CellSpec] = []
    exclude: list[CellSpec] = []
    protocol: str | dict[str, Any] | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    search: SearchSpec | None = None
    seeds: int | None = Field(default=None, ge=1, le=1000)

    @field_validator("grid", mode="before")
    @classmethod
    def _one_grid_is_a_list_of_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value


@dataclass(frozen=True)
class Cell:
    """One configuration: a data set, a method, its latents and the options that are not the default."""

    dataset: str
    method: str
    latents: int
    options: tuple[tuple[str, Any], ...] = ()
    hyperparameters: tuple[tuple[str, Any], ...] = field(default=(), compare=False)
    """Set for this cell alone by the spec; part of what it trains with, not of its name."""

    @property
    def slug(self) -> str:
        """Its folder: `<dataset>_<method>_<latents>` and each option that is not the default."""
        options = "".join(f"_{name}-{_word(value)}" for name, value in self.options)
        return f"{self.dataset}_{self.method}_{self.latents}{options}"

    def as_record(self) -> dict[str, Any]:
        """The `cell` entry of a record."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "latents": self.latents,
            "options": dict(self.options),
        }


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep: its cells, protocol and seeds."""

    name: str
    description: str
    cells: tuple[Cell, ...]
    protocol: Protocol
    hyperparameters: dict[str, Any]
    search: SearchSpec | None
    seeds: int

    def resolved_hyperparameters(self, cell: Cell) -> dict[str, Any]:
        """What a cell trains with: defaults, the protocol's sizes, the spec's, the cell's, the user's overrides."""
        defaults = {**OPTIMISER_DEFAULTS, **get_method(cell.method).hyperparameters}
        layers = (
            self.protocol.hyperparameters,
            self.hyperparameters,
            dict(cell.hyperparameters),
            self.protocol.overrides,
        )
        for layer in layers:
            defaults.update({name: value for name, value in layer.items() if name in defaults})
        return defaults


def find_spec(word: str) -> Path:
    """A spec by its path, or a shipped one by its name (`table1`)."""
    path = Path(word)
    if path.suffix in (".yaml", ".yml") or path.exists():
        if not path.is_file():
            raise UserError(f"there is no spec file {word}; give a YAML file or the name of a shipped sweep")
        return path
    shipped = shipped_sweeps()
    if word in shipped:
        return sweeps_folder() / f"{word}.yaml"
    raise UserError(f"there is no sweep {word!r}{nearest(word, shipped)}; shipped are {', '.join(shipped)}")


def shipped_sweeps() -> list[str]:
    """Names of the sweeps that come with the package, such as `table1` and `readings/nice-l2`."""
    folder = sweeps_folder()
    files = (path for path in folder.rglob("*.yaml") if path.parent.name != "protocols")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


def load_spec(
    path: Path,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | None = None,
) -> SweepSpec:
    """Read and check a spec; `protocol`, `overrides` (fields or hyper-parameters) and `seeds` replace the file's.

    Raises:
        UserError: with one line for each fault, naming its place in the file.
    """
    return _Checker(YamlFile.read(path)).spec(protocol, overrides or {}, seeds)


class _Checker:
    """Turns a file into a `SweepSpec`, collecting faults with their lines."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.faults: list[tuple[int, str]] = []

    def fault(self, at: Location, message: str) -> None:
        """Note a fault at a place of the file."""
        self.faults.append((self.file.line(at), message))

    def raise_faults(self) -> None:
        """Raise all faults found so far as one `UserError`."""
        if self.faults:
            lines = [f"{self.file.path}, line {line}: {message}" for line, message in sorted(set(self.faults))]
            raise UserError("\n".join(lines))

    def spec(self, protocol: str | None, overrides: Mapping[str, Any], seeds: int | None) -> SweepSpec:
        """Check everything and build the spec."""
        if not isinstance(self.file.content, dict):
            raise UserError(f"{self.file.path}, line 1: a sweep spec is a mapping with version, name, grid, ...")
        try:
            written = SpecFile.model_validate(self.file.content)
        except ValidationError as error:
            for line, message in faults_of(error, SpecFile, self.file):
                self.faults.append((line, message))
            self.raise_faults()
            raise AssertionError from error
        resolved = self._protocol(written, protocol, overrides)
        cells = self._cells(written)
        if not cells and not self.faults:
            self.fault((), "the sweep has no cells; give grid or include")
        self._check_search(written)
        self.raise_faults()
        assert resolved is not None
        return SweepSpec(
            name=written.name,
            description=written.description,
            cells=tuple(cells),
            protocol=resolved,
            hyperparameters=written.hyperparameters.given(),
            search=written.search,
            seeds=seeds or written.seeds or resolved.seeds,
        )

    def _protocol(self, written: SpecFile, name: str | None, overrides: Mapping[str, Any]) -> Protocol | None:
        fields: dict[str, Any] = {}
        base = "quick"
        if isinstance(written.protocol, str):
            base = written.protocol
        elif isinstance(written.protocol, dict):
            fields = dict(written.protocol)
            base = fields.pop("base", base)
        if name is not None and name != base:
            base, fields = name, {}  # a protocol chosen on the command line replaces the file's
        try:
            protocol = load_protocol(str(base))
        except UserError as error:
            if name is not None:
                raise
            self.fault(("protocol",), str(error))
            return None
        try:
            return apply_overrides(apply_overrides(protocol, fields), overrides)
        except UserError as error:
            if overrides:
                raise
            self.fault(("protocol",), str(error))
            return None

    def _cells(self, written: SpecFile) -> list[Cell]:
        candidates: list[tuple[Location, dict[str, Any], dict[str, Any]]] = []
        for index, grid in enumerate(written.grid):
            place: Location = ("grid", index)
            missing = [axis for axis in AXES if axis not in grid]
            if missing:
                self.fault(place, f"the grid needs the axes {', '.join(missing)} too")
                continue
            for values in itertools.product(*grid.values()):
                candidates.append((place, dict(zip(grid, values, strict=True)), {}))
        for index, cell in enumerate(written.include):
            at: Location = ("include", index)
            absent = [axis for axis in AXES if getattr(cell, axis) is None]
            if absent:
                self.fault(at, f"an included cell needs {', '.join(absent)} too")
                continue
            axes = {axis: getattr(cell, axis) for axis in AXES} | cell.options
            candidates.append((at, axes, cell.hyperparameters.given()))
        cells: dict[str, Cell] = {}
        for at, axes, hyperparameters in candidates:
            if any(_excludes(pattern, axes) for pattern in written.exclude):
                continue
            built = self._cell(at, axes, hyperparameters)
            if not built:
                continue
            twin = cells.setdefault(built.slug, built)
            if twin.hyperparameters != built.hyperparameters:
                self.fault(at, f"cell {built.slug} is there twice with different hyperparameters: make two specs")
        return list(cells.values())

    def _cell(self, at: Location, axes: dict[str, Any], hyperparameters: dict[str, Any]) -> Cell | None:
        options = {name: value for name, value in axes.items() if name not in AXES}
        latents = axes["latents"]
        try:
            view, dataset = parse_dataset_id(str(axes["dataset"]))
            method = get_method(str(axes["method"]))
            if isinstance(latents, bool) or not isinstance(latents, int):
                raise UserError(f"latents must be whole numbers, not {latents!r}")
            method.check(view, latents, math.prod(find_dataset(dataset).image_shape), options)
        except UserError as error:
            self.fault(at, str(error))
            return None
        set_options = {
            name: float(value) if isinstance(value, int) else value
            for name, value in options.items()
            if value != method.options[name].default
        }
        return Cell(
            axes["dataset"],
            method.id,
            latents,
            tuple(sorted(set_options.items())),
            tuple(sorted(hyperparameters.items())),
        )

    def _check_search(self, written: SpecFile) -> None:
        if written.search is None:
            return
        known = Hyperparameters.model_fields
        for name, space in written.search.parameters.items():
            at = ("search", "parameters", name)
            if name not in known:
                why = "seeds are never searched" if name in ("seed", "seeds") else f"unknown{nearest(name, known)}"
                self.fault(at, f"search parameter {name!r}: {why}")
            elif isinstance(space, Range):
                if space.min >= space.max:
                    self.fault(at, f"search parameter {name!r}: min {space.min:g} must be below max {space.max:g}")
                if space.distribution == "log_uniform_values" and space.min <= 0:
                    self.fault(at, f"search parameter {name!r}: a logarithmic interval must start above 0")


def _excludes(pattern: CellSpec, axes: Mapping[str, Any]) -> bool:
    wanted = {axis: getattr(pattern, axis) for axis in AXES if getattr(pattern, axis) is not None}
    wanted |= pattern.options
    return bool(wanted) and all(axes.get(name) == value for name, value in wanted.items())


def apply_overrides(protocol: Protocol, values: Mapping[str, Any]) -> Protocol:
    """Replace protocol fields and hyper-parameters by name.

    Raises:
        UserError: for a name that is neither, with the nearest that is, or a value out of bounds.
    """
    own = ("hyperparameters", "overrides", "name", "base", "description", "cannot_show")
    fields = [name for name in Protocol.model_fields if name not in own]
    hyper = {name: value for name, value in values.items() if name in Hyperparameters.model_fields}
    for name in values:
        if name not in fields and name not in hyper:
            known = [*fields, *Hyperparameters.model_fields]
            raise UserError(f"{name!r} is no field of a protocol and no hyper-parameter{nearest(name, known)}")
    try:
        Hyperparameters.model_validate(hyper)
        return override(protocol, {name: values[name] for name in values if name in fields}, hyper)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, not {first['input']!r}") from None


def faults_of(error: ValidationError, model: type[BaseModel], file: YamlFile) -> Iterator[tuple[int, str]]:
    """(line, sentence) for each fault that pydantic found, with the nearest valid key for an unknown one."""
    for each in error.errors():
        at = each["loc"]
        path = ".".join(str(part) for part in at if not _is_branch(part))
        if each["type"] == "extra_forbidden":
            known = _keys_at(model, at[:-1])
            message = f"unknown key {path!r}{nearest(str(at[-1]), known)}"
        elif each["type"] == "missing":
            message = f"the key {path!r} is missing"
        else:
            message = f"{path}: {each['msg'][0].lower()}{each['msg'][1:]}, not {each['input']!r}"
        place = [part for part in at if not _is_branch(part)]
        if place[:2] == ["grid", 0] and isinstance(file.content.get("grid"), dict):
            del place[1]  # a single grid is written without a list around it
        yield file.line(place), message


def _is_branch(part: int | str) -> bool:
    """Whether a part of pydantic's location names a branch of a union, not a key of the file."""
    return isinstance(part, str) and (part in ("Range", "Choices", "str", "int", "float", "none") or "[" in part)


def _keys_at(model: type[BaseModel], at: tuple[int | str, ...]) -> list[str]:
    """The keys that the model knows at a location."""
    nested: dict[str, type[BaseModel]] = {
        "hyperparameters": Hyperparameters,
        "search": SearchSpec,
        "metric": Metric,
        "include": CellSpec,
        "exclude": CellSpec,
        "Range": Range,
        "Choices": Choices,
    }
    for part in at:
        model = nested.get(str(part), model)
    return list(model.model_fields)
