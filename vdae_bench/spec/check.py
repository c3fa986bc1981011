"""Sweep specs: YAML to validated cells, their hyper-parameters and seeds.

`grid` (one or a list) is multiplied out over its axes: data set, method, latents, and any option. `include` adds cells,
`exclude` takes cells away. Every fault is named with its line and the nearest valid word.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vdae_bench.data.registry import find_dataset, parse_dataset_id
from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import whole
from vdae_bench.models.registry import get_method
from vdae_bench.spec.file import (
    MAX_CELLS,
    CellSpec,
    Choices,
    Metric,
    Range,
    SearchSpec,
    SpecFile,
    StudyGrid,
)
from vdae_bench.spec.hyperparameters import Vocabulary, hyperparameters_of
from vdae_bench.spec.protocol import Protocol, load_protocol, override, sweeps_folder, with_seeds
from vdae_bench.spec.sweep import CELL_AXES, Cell, SweepSpec
from vdae_bench.system.words import nearest
from vdae_bench.system.yaml_file import Location, YamlFile


def find_spec(word: str) -> Path:
    """A spec by its path, or a shipped one by its file (`evidence/binary`) or its own name (`binary`)."""
    path = Path(word)
    if path.suffix in (".yaml", ".yml") or path.exists():
        if not path.is_file():
            raise UserError(f"there is no spec file {word}; give a YAML file or the name of a shipped sweep")
        return path
    shipped = shipped_sweeps()
    if found := word if word in shipped else shipped_names().get(word):
        return sweeps_folder() / f"{found}.yaml"
    raise UserError(f"there is no sweep {word!r}{nearest(word, shipped)}; shipped are {', '.join(shipped)}")


def shipped_sweeps() -> list[str]:
    """Names of the sweeps that come with the package, such as `table1` and `readings/nice-l2`."""
    folder = sweeps_folder()
    files = (path for path in folder.rglob("*.yaml") if path.parent.name != "protocols")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


@functools.cache
def shipped_names() -> dict[str, str]:
    """The file of each shipped sweep by the name in it, which is that of its folder of results: `readings/nice-l2`."""
    files = {word: YamlFile.read(sweeps_folder() / f"{word}.yaml").content for word in shipped_sweeps()}
    return {content["name"]: word for word, content in files.items()}


def load_spec(
    path: Path,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    search: Mapping[str, Any] | None = None,
) -> SweepSpec:
    """Read and check a spec; `protocol`, `overrides` (fields or hyper-parameters) and `seeds` replace the file's.

    `search` replaces keys of its search section.

    Raises:
        UserError: with one line for each fault, naming its place in the file.
    """
    return _Checker(YamlFile.read(path)).spec(protocol, overrides or {}, seeds, search or {})


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

    def spec(
        self, protocol: str | None, overrides: Mapping[str, Any], seeds: int | None, search: Mapping[str, Any]
    ) -> SweepSpec:
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
        if search:
            written.search = self._search_with(written.search, search)
        cells = self._cells(written)
        vocabulary = Vocabulary(tuple(map(get_method, dict.fromkeys(cell.method for cell in cells))))
        settings = {name: value for name, value in overrides.items() if name != "seeds"}
        resolved = self._protocol(written, protocol, settings, vocabulary)
        self._check_hyperparameters(written, vocabulary)
        if not cells and not self.faults:
            self.fault((), "the sweep has no cells; give grid or include")
        if written.search is not None:
            self._check_search(written.search, cells, vocabulary)
        self.raise_faults()
        assert resolved is not None
        own = written.seeds or resolved.seeds
        return SweepSpec(
            name=written.name,
            description=written.description,
            cells=tuple(cells),
            protocol=with_seeds(resolved, seeds or overrides.get("seeds", own)),
            hyperparameters=written.hyperparameters,
            search=written.search,
            spec_seeds=own,
        )

    def _protocol(
        self, written: SpecFile, name: str | None, overrides: Mapping[str, Any], vocabulary: Vocabulary
    ) -> Protocol | None:
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
            try:
                read = {key: vocabulary.read(key, value) for key, value in protocol.hyperparameters.items()}
            except UserError as error:
                raise UserError(f"protocol {protocol.name}: {error}") from None
            protocol = protocol.model_copy(update={"hyperparameters": read})
        except UserError as error:
            if name is not None:
                raise
            self.fault(("protocol",), str(error))
            return None
        try:
            return apply_overrides(apply_overrides(protocol, fields, vocabulary), overrides, vocabulary)
        except UserError as error:
            if overrides:
                raise
            self.fault(("protocol",), str(error))
            return None

    def _cells(self, written: SpecFile) -> list[Cell]:
        candidates: list[tuple[Location, dict[str, Any], dict[str, Any]]] = []
        count = len(written.include) + sum(math.prod(map(len, grid.values())) for grid in written.grid)
        if count > MAX_CELLS:
            self.fault(
                ("grid",), f"the sweep has {count:,} cells, where {MAX_CELLS:,} are the most; make several of it"
            )
            return []
        for index, grid in enumerate(written.grid):
            place: Location = ("grid", index)
            missing = [axis for axis in CELL_AXES if axis not in grid]
            if missing:
                self.fault(place, f"the grid needs the axes {', '.join(missing)} too")
                continue
            for values in itertools.product(*grid.values()):
                candidates.append((place, dict(zip(grid, values, strict=True)), {}))
        for index, cell in enumerate(written.include):
            at: Location = ("include", index)
            absent = [axis for axis in CELL_AXES if getattr(cell, axis) is None]
            if absent:
                self.fault(at, f"an included cell needs {', '.join(absent)} too")
                continue
            axes = {axis: getattr(cell, axis) for axis in CELL_AXES} | cell.options
            candidates.append((at, axes, cell.hyperparameters))
        cells: dict[str, Cell] = {}
        for at, axes, hyperparameters in candidates:
            if any(_excludes(pattern, axes) for pattern in written.exclude):
                continue
            built = self._cell(at, axes, hyperparameters)
            if not built:
                continue
            # By the name as the file systems see it that know no capital letters.
            twin = cells.setdefault(built.slug.casefold(), built)
            if twin != built or twin.slug != built.slug:
                self.fault(at, f"two cells have one name, {built.slug}, and would have one folder: leave one out")
            elif twin.hyperparameters != built.hyperparameters:
                self.fault(at, f"cell {built.slug} is there twice with different hyperparameters: make two specs")
        return list(cells.values())

    def _cell(self, at: Location, axes: dict[str, Any], hyperparameters: dict[str, Any]) -> Cell | None:
        options = {name: value for name, value in axes.items() if name not in CELL_AXES}
        latents = whole(axes["latents"])
        try:
            view, dataset = parse_dataset_id(str(axes["dataset"]))
            method = get_method(str(axes["method"]))
            if isinstance(latents, bool) or not isinstance(latents, int):
                raise UserError(f"latents must be whole numbers, not {latents!r}")
            method.check(view, latents, math.prod(find_dataset(dataset).image_shape), options)
            hyperparameters_of(method)
        except UserError as error:
            self.fault(at, str(error))
            return None
        set_options = {
            name: value + 0.0 if isinstance(value, int | float) and not isinstance(value, bool) else value  # no -0.0
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

    def _search_with(self, written: SearchSpec | None, values: Mapping[str, Any]) -> SearchSpec:
        if written is None:
            raise UserError(f"{self.file.path} has no search section; add one, with trials and parameters")
        try:
            return SearchSpec.model_validate({**written.model_dump(), **values})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            hint = nearest(name, SearchSpec.model_fields) if first["type"] == "extra_forbidden" else ""
            place = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
            raise UserError(f"search.{place}: {first['msg']}, not {first['input']!r}{hint}") from None

    def _check_hyperparameters(self, written: SpecFile, vocabulary: Vocabulary) -> None:
        sections: list[tuple[Location, Mapping[str, Any]]] = [(("hyperparameters",), written.hyperparameters)]
        for key, cells in (("include", written.include), ("exclude", written.exclude)):
            sections += [((key, index, "hyperparameters"), cell.hyperparameters) for index, cell in enumerate(cells)]
        for at, values in sections:
            for name, value in values.items():
                if fault := vocabulary.fault(name, value):
                    self.fault((*at, name), f"{'.'.join(map(str, (*at, name)))}: {fault}")

    def _check_search(self, search: SearchSpec, cells: list[Cell], vocabulary: Vocabulary) -> None:
        whole_sweep = not self.faults  # else some cells may be missing
        for name, space in search.parameters.items():
            whys = list(_faults_of_space(name, space, vocabulary))
            if whole_sweep and name not in vocabulary.own and vocabulary.find(name):
                whys.append("no method of this sweep has it; leave it out")
            for why in whys:
                self.fault(("search", "parameters", name), f"search parameter {name!r}: {why}")
        options = {name for cell in cells for name in get_method(cell.method).options}
        for index, axis in enumerate(search.share):
            if axis not in CELL_AXES and axis not in options:
                hint = nearest(axis, [*CELL_AXES, *options])
                self.fault(("search", "share", index), f"{axis!r} is no axis of this sweep{hint}")
        studies = math.prod(len(values) or 1 for values in search.compare.model_dump().values()) * len(cells)
        if studies > MAX_CELLS:
            self.fault(
                ("search", "compare"),
                f"it compares {studies:,} studies, where {MAX_CELLS:,} are the most; leave some out",
            )
        trained = [cell.slug for cell in cells if get_method(cell.method).trains]
        if search.cell is not None and search.share:
            self.fault(("search", "cell"), "give share or cell, not both")
        elif search.cell is not None and search.cell not in trained and cells:
            what = f"{search.cell!r} is no cell of this sweep that trains{nearest(search.cell, trained)}"
            self.fault(("search", "cell"), f"{what}; cells are {', '.join(trained)}")


def _faults_of_space(name: str, space: Range | Choices, vocabulary: Vocabulary) -> Iterator[str]:
    """Sentences that say what is wrong with the space of one parameter."""
    if name in ("seed", "seeds"):
        yield "seeds are never searched"
        return
    values: list[Any]
    if isinstance(space, Choices):
        values = space.values
        if len(set(values)) < len(values):
            yield f"a value is there twice in {values}; write each once"
    else:
        yield from space.faults
        values = [space.min, space.max]
        if space.distribution == "log_uniform_values" and space.min <= 0:
            values = [space.max]
        if space.distribution == "int_uniform":
            values = [int(value) if value.is_integer() else value for value in values]
        for each in vocabulary.find(name):
            if each.kind is int and space.distribution != "int_uniform":
                yield "whole numbers need int_uniform or values"
            elif each.kind is float and space.distribution == "int_uniform":
                yield "int_uniform is for whole numbers; use uniform"
    yield from filter(None, (vocabulary.fault(name, value, strict=True) for value in values))


def _excludes(pattern: CellSpec, axes: Mapping[str, Any]) -> bool:
    wanted = {axis: getattr(pattern, axis) for axis in CELL_AXES if getattr(pattern, axis) is not None}
    wanted |= pattern.options
    return bool(wanted) and all(axes.get(name) == value for name, value in wanted.items())


def apply_overrides(protocol: Protocol, values: Mapping[str, Any], vocabulary: Vocabulary | None = None) -> Protocol:
    """Replace protocol fields and hyper-parameters by name; `vocabulary` is that of the sweep, where there is one.

    Raises:
        UserError: for a name that is neither, with the nearest that is, or a value out of bounds.
    """
    vocabulary = vocabulary or Vocabulary()
    own = ("hyperparameters", "overrides", "name", "base", "description", "cannot_show")
    known = [name for name in Protocol.model_fields if name not in own]
    fields = {name: value for name, value in values.items() if name in known}
    hyper = {name: value for name, value in values.items() if name not in known}
    for name in hyper:
        if not vocabulary.find(name):
            hint = nearest(name, [*known, *vocabulary.own])
            raise UserError(f"{name!r} is no field of a protocol and no hyper-parameter{hint}")
    try:
        return override(protocol, fields, {name: vocabulary.read(name, value) for name, value in hyper.items()})
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
    """True for a part of pydantic's location that names a branch of a union, not a key of the file."""
    return isinstance(part, str) and (part in ("Range", "Choices", "str", "int", "float", "none") or "[" in part)


def _keys_at(model: type[BaseModel], at: tuple[int | str, ...]) -> list[str]:
    """The keys that the model knows at a location."""
    nested: dict[str, type[BaseModel]] = {
        "search": SearchSpec,
        "metric": Metric,
        "compare": StudyGrid,
        "include": CellSpec,
        "exclude": CellSpec,
        "Range": Range,
        "Choices": Choices,
    }
    for part in at:
        model = nested.get(str(part), model)
    return list(model.model_fields)
