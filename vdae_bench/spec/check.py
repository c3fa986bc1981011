"""Sweep specs: YAML to validated cells, their hyper-parameters and seeds.

`grid` (one or a list) is multiplied out over its axes: data set, method, latents, and any option. `include` adds cells,
`exclude` takes cells away (`spec.cells`). All faults are named at once, each with its line and the nearest valid word.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from vdae_bench.data.registry import OwnImages, find_dataset, parse_dataset_id, register_dataset
from vdae_bench.errors import UserError
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.registry import get_method
from vdae_bench.spec.cells import Candidate, CellBuilder
from vdae_bench.spec.file import (
    MAX_CELLS,
    CellPattern,
    CellSpec,
    Choices,
    Metric,
    OwnDataset,
    Range,
    SearchSpec,
    SpecFile,
    StudyGrid,
)
from vdae_bench.spec.hyperparameters import Vocabulary, hyperparameters_of, is_option, place_of_option
from vdae_bench.spec.protocol import Protocol, load_protocol, override, place_in_protocol, with_seeds
from vdae_bench.spec.shipped import shipped_names, shipped_sweeps, sweeps_folder
from vdae_bench.spec.sweep import CELL_AXES, Cell, SweepSpec
from vdae_bench.system.paths import user_path
from vdae_bench.system.words import nearest
from vdae_bench.system.yaml_file import Fault, Location, YamlFile, listed

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def find_spec(word: str) -> Path:
    """A spec by its path, or a shipped one, which nothing in the current folder hides.

    A shipped one has the name of its file (`evidence/binary`), or its own (`binary`).
    """
    shipped = shipped_sweeps()
    if found := word if word in shipped else shipped_names().get(word):
        return sweeps_folder() / f"{found}.yaml"
    path = user_path(word)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the YAML file in it, or the name of a shipped sweep")
    if path.exists():
        raise UserError(f"{word} is a pipe or a device, which cannot be read again; write the spec to a .yaml file")
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"there is no spec file {word}; give a YAML file or the name of a shipped sweep")
    raise UserError(f"there is no sweep {word!r}{nearest(word, shipped)}; `vdae-bench list sweeps` names all")


def load_spec(
    source: Path | Mapping[str, Any],
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    search: Mapping[str, Any] | None = None,
) -> SweepSpec:
    """Read and check a spec; `protocol`, `overrides` (fields or hyper-parameters) and `seeds` replace its own.

    `search` replaces keys of its search section. A spec is a file, or the mapping that such a file holds.

    Raises:
        UserError: with one line for each fault, naming its place in the file.
    """
    faults: list[Fault] = []
    file = YamlFile.read(source, faults) if isinstance(source, Path) else YamlFile.of(source, faults)
    return _Checker(file, faults).spec(protocol, overrides or {}, seeds, search or {})


STAND_INS: Mapping[Location, Any] = {("version",): 1, ("name",): "unnamed", ("search", "trials"): 1}
"""Values of keys that must be there, for the rest of a file to be checked without them."""
MOST_PASSES = 10
"""How often the rest is read again at most, once all that pydantic finds wrong is taken out."""


class _Checker:
    """Turns a file into a `SweepSpec`, collecting every fault with its line before it raises them."""

    def __init__(self, file: YamlFile, faults: list[Fault]) -> None:
        self.file, self.faults = file, faults
        self.one_grid = False
        """True where a single grid is written without a list around it."""
        self.lost: set[Location] = set()
        """Places that were at fault when the file was read: nothing more is said of what is missing there."""

    def fault(self, at: Location, message: str) -> None:
        """Note a fault at a place of the file."""
        if self.one_grid and at[:2] == ("grid", 0):
            at = ("grid", *at[2:])
        self.faults.append((self.file.line(at), message))

    def raise_faults(self) -> None:
        """Raise all faults found so far as one `UserError`."""
        if self.faults:
            raise UserError(listed(self.file.path, self.faults))

    def spec(
        self, protocol: str | None, overrides: Mapping[str, Any], seeds: int | None, search: Mapping[str, Any]
    ) -> SweepSpec:
        """Check everything and build the spec."""
        written = self._read()
        if search:
            written.search = self._search_with(written.search, search)
        self._register(written.datasets)
        builder = CellBuilder(self.fault, self.lost)
        cells = builder.build(written)
        if not written.grid and not written.include and not self.lost:
            self.fault((), "the sweep has no cells; give grid or include")
        used = dict.fromkeys(cell.method for cell in cells) if builder.whole else builder.methods
        vocabulary = Vocabulary(tuple(map(get_method, used)), whole=builder.methods_whole and bool(used))
        settings = {name: value for name, value in overrides.items() if name != "seeds"}
        resolved = self._protocol(written, protocol, settings, vocabulary)
        self._check_hyperparameters(written, vocabulary, builder)
        self._check_options(resolved, builder)
        self._check_images(resolved, cells, chosen={*overrides} if protocol is None else None)
        if written.search is not None:
            self._check_search(written.search, cells, vocabulary, builder)
        self.raise_faults()
        own = written.seeds or resolved.seeds
        spec = SweepSpec(
            name=written.name,
            description=written.description,
            cells=tuple(cells),
            protocol=with_seeds(resolved, seeds or overrides.get("seeds", own)),
            hyperparameters=written.hyperparameters,
            search=written.search,
            spec_seeds=own,
        )
        self._check_sizes(spec, builder, written.protocol, overrides)
        return spec

    def _register(self, datasets: Mapping[str, OwnDataset]) -> None:
        """Make the user's own images known to the registry; with a fault there, nothing more is said of the cells."""
        from vdae_bench.data.own import own_dataset  # with NumPy, which a spec of other data does not need

        def place(word: str | None) -> Path | None:
            return None if word is None else (self.file.path.parent / user_path(word)).resolve()

        wrong = any(at[:1] == ("datasets",) for at in self.lost)
        for name, own in datasets.items():
            images = OwnImages(*map(place, (own.train, own.test, own.train_labels, own.test_labels)))  # type: ignore[arg-type]
            try:
                register_dataset(own_dataset(name, images, own.validation_images, own.sha256))
            except UserError as error:
                self.fault(("datasets", name), str(error))
                wrong = True
        if wrong:
            self.raise_faults()

    def _check_options(self, protocol: Protocol, builder: CellBuilder) -> None:
        """Refuse options that have no effect beside the others and the protocol."""
        settings = protocol.model_dump()
        for candidate, cell in builder.built:
            data_dim = find_dataset(parse_dataset_id(cell.dataset)[1]).data_dim
            method = get_method(cell.method)
            for name, sentence in method.option_faults(cell.latents, data_dim, candidate.options, settings):
                self.fault(candidate.entries[name][0], sentence)

    def _check_sizes(self, spec: SweepSpec, builder: CellBuilder, protocol: Any, overrides: Mapping[str, Any]) -> None:
        """Refuse images that cannot pass a model of a cell's hyper-parameters, each sentence once at a place.

        `protocol` is that of the file as written, `overrides` are those of the command line.
        """
        for candidate, cell in builder.built:
            at: Location | None = candidate.entries["method"][0]
            place = _SizePlace(spec, protocol, overrides, candidate, cell)
            try:
                sizes = spec.resolved_hyperparameters(cell)
                try:
                    place.check(candidate.options, sizes)
                except UserError:
                    at = place.of_fault(sizes)
                    raise
            except UserError as error:
                sentence = f"{cell.method}: {error}"
                if at is None:
                    raise UserError(sentence) from None
                self.fault(at, sentence)
        self.raise_faults()

    def _read(self) -> SpecFile:
        """The file by its schema, without what is at fault: that is noted."""
        if not isinstance(self.file.content, dict):
            self.fault((), "a sweep spec is a mapping with the keys version, name, grid, ...")
            self.raise_faults()
        content = {key: value for key, value in self.file.content.items() if value is not None}
        self.one_grid = isinstance(content.get("grid"), dict)
        if self.one_grid:
            content["grid"] = [content["grid"]]
        content = copy.deepcopy(content)
        for number in range(MOST_PASSES):
            try:
                return SpecFile.model_validate(content)
            except ValidationError as error:
                found = {_place(each["loc"]): sentence_about(each, SpecFile) for each in error.errors()}
                said = " ".join(found.values())
                for at, sentence in found.items():
                    if number == 0:
                        self.lost.add(at)
                        if not (" is missing" in sentence and f"did you mean {at[-1]!r}?" in said):
                            self.fault(at, sentence)
                    _take_out(content, at)
        self.raise_faults()
        raise AssertionError

    def _protocol(
        self, written: SpecFile, name: str | None, overrides: Mapping[str, Any], vocabulary: Vocabulary
    ) -> Protocol:
        fields: dict[str, Any] = {}
        base: Any = "quick"
        if isinstance(written.protocol, str):
            base = written.protocol
        elif isinstance(written.protocol, dict):
            fields = dict(written.protocol)
            base = fields.pop("base", base)
        elif written.protocol is not None:
            what = "a protocol is a name, or a mapping with the fields that differ"
            self.fault(("protocol",), f"{what}, not {shown(written.protocol)}")
        if name is not None and name != base:
            # A protocol chosen on the command line replaces the file's. The one that the file is based on keeps the
            # file's changes: they say how long this sweep is under it.
            base, fields = name, {}
        try:
            protocol = load_protocol(base)
            if faults := [*faults_in_protocol(protocol, base, vocabulary)]:
                raise UserError("\n".join(faults))
            read = {key: vocabulary.read(key, value) for key, value in protocol.hyperparameters.items()}
            protocol = protocol.model_copy(update={"hyperparameters": read})
        except UserError as error:
            if name is not None:
                raise
            self.fault(("protocol", "base"), str(error))
            protocol = load_protocol("quick")  # so that the fields beside it are checked
        faults_of_fields = list(faults_of_overrides(protocol, fields, vocabulary))
        for at, message in faults_of_fields:
            self.fault(("protocol", *at), message)
        if not faults_of_fields:
            protocol = apply_overrides(protocol, fields, vocabulary)
        return apply_overrides(protocol, overrides, vocabulary)

    def _search_with(self, written: SearchSpec | None, values: Mapping[str, Any]) -> SearchSpec:
        if written is None:
            raise UserError(f"{self.file.path} has no search section; add one, with trials and parameters")
        try:
            return SearchSpec.model_validate({**written.model_dump(), **values})
        except ValidationError as error:
            raise UserError("\n".join(sentence_about(each, SearchSpec, "search.") for each in error.errors())) from None

    def _check_hyperparameters(self, written: SpecFile, vocabulary: Vocabulary, builder: CellBuilder) -> None:
        sections: list[tuple[Location, Mapping[str, Any], Vocabulary]] = [
            (("hyperparameters",), written.hyperparameters, vocabulary)
        ]
        cells = {(*candidate.at, "hyperparameters"): cell for candidate, cell in builder.built}
        for index, cell in enumerate(written.include):
            method = builder.methods.get(str(cell.method))
            own = vocabulary
            if method:
                own = Vocabulary((method,), whole=True, lacking=f"method {method.id} does not have it")
            sections.append((("include", index, "hyperparameters"), cell.hyperparameters, own))
        for at, values, words in sections:
            for name, value in values.items():
                if fault := words.fault(name, value) or words.fault_of_none(name) or _fault_beside(name, cells.get(at)):
                    self.fault((*at, name), f"{'.'.join(map(str, (*at, name)))}: {fault}")

    def _check_images(self, protocol: Protocol, cells: list[Cell], chosen: set[str] | None) -> None:
        """Refuse more images than there are; `chosen` are the fields of the command line, None where all are."""
        for dataset in dict.fromkeys(parse_dataset_id(cell.dataset)[1] for cell in cells):
            for name, sentence in protocol.asks_too_much(find_dataset(dataset)):
                if chosen is None or name in chosen:
                    raise UserError(sentence)
                self.fault(("protocol", name), sentence)

    def _check_search(
        self, search: SearchSpec, cells: list[Cell], vocabulary: Vocabulary, builder: CellBuilder
    ) -> None:
        for name in {str(at[2]) for at in self.lost if at[:2] == ("search", "parameters") and len(at) > 2}:
            if not vocabulary.find(name):
                hint = nearest(name, vocabulary.own)
                self.fault(("search", "parameters", name), f"search parameter {name!r}: unknown hyper-parameter{hint}")
        trains = [cell for cell in cells if get_method(cell.method).trains]
        had = {name for cell in trains for name in hyperparameters_of(get_method(cell.method), dict(cell.options))}
        for name, space in search.parameters.items():
            whys = [*_faults_of_space(name, space, vocabulary), vocabulary.fault_of_none(name)]
            if not any(whys) and cells and builder.whole and name not in had:
                whys.append("no cell of this sweep that trains has it; leave it out, or give cells the option with it")
            for why in filter(None, whys):
                self.fault(("search", "parameters", name), f"search parameter {name!r}: {why}")
        options = {name for method in builder.methods.values() for name in method.options}
        for index, axis in enumerate(search.share):
            if not (isinstance(axis, str) and (axis in CELL_AXES or axis in options)):
                hint = nearest(axis, [*CELL_AXES, *sorted(options)])
                self.fault(("search", "share", index), f"{axis!r} is not an axis of this sweep{hint}")
        studies = math.prod(len(values) or 1 for values in search.compare.model_dump().values()) * len(cells)
        if studies > MAX_CELLS:
            self.fault(
                ("search", "compare"),
                f"it compares {studies:,} studies, more than the limit of {MAX_CELLS:,}; leave some out",
            )
        trained = [cell.slug for cell in trains]
        if search.cell is not None and search.share:
            self.fault(("search", "cell"), "give share or cell, not both")
        elif search.cell is not None and search.cell not in trained and cells and builder.whole:
            what = f"{search.cell!r} is not a cell of this sweep that trains{nearest(search.cell, trained)}"
            self.fault(("search", "cell"), f"{what}; cells are {', '.join(trained)}")


@dataclass(frozen=True)
class _SizePlace:
    """Finds where the hyper-parameter, or else the option, is set that makes a cell's sizes impossible."""

    spec: SweepSpec
    protocol: Any
    overrides: Mapping[str, Any]
    candidate: Candidate
    cell: Cell

    def check(self, options: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
        """Raise `UserError` where the images of the cell cannot pass a model of these options and sizes."""
        shape = find_dataset(parse_dataset_id(self.cell.dataset)[1]).image_shape
        get_method(self.cell.method).check_sizes(shape, options, sizes)

    def of_fault(self, sizes: Mapping[str, Any]) -> Location | None:
        """The place of what could be changed for the sizes to pass; None for the command line."""
        options, entries = self.candidate.options, self.candidate.entries
        declared = hyperparameters_of(get_method(self.cell.method), options)
        for name, each in declared.items():
            others = [value for value in (each.default, each.ge, each.le, *each.choices) if value is not None]
            if any(self._passes(options, {**sizes, name: value}) for value in others):
                at = next((place for names, place in self._layers() if name in names), ())
                if at != ():
                    return at and (*at, name)
        for name in options:
            if self._passes({key: value for key, value in options.items() if key != name}, sizes):
                return entries[name][0]
        return entries["method"][0]

    def _passes(self, options: Mapping[str, Any], sizes: Mapping[str, Any]) -> bool:
        try:
            self.check(options, sizes)
        except UserError:
            return False
        return True

    def _layers(self) -> Iterator[tuple[Collection[str], Location | None]]:
        """Names that are set and where, the layer that wins first: None on the command line, () outside the file."""
        protocol = self.protocol if isinstance(self.protocol, dict) else {}
        yield self.overrides, None
        yield protocol.keys() & self.spec.protocol.overrides.keys(), ("protocol",)
        yield self.candidate.hyperparameters, (*self.candidate.at, "hyperparameters")
        yield self.spec.hyperparameters, ("hyperparameters",)
        yield self.spec.protocol.hyperparameters, ()
        yield _mapping(self.overrides.get("flow_sizes")), None
        yield _mapping(protocol.get("flow_sizes")), ("protocol", "flow_sizes")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _faults_of_space(name: str, space: Range | Choices, vocabulary: Vocabulary) -> Iterator[str]:
    """Sentences that say what is wrong with the space of one parameter."""
    if name in ("seed", "seeds"):
        yield "seeds are never searched"
        return
    values: list[Any]
    if isinstance(space, Choices):
        values = [value for value in space.values if isinstance(value, str | int | float)]
        wrong = [value for value in space.values if value not in values]
        yield from (f"a value is a word or a number, not {shown(value)}" for value in wrong)
        if len(set(values)) < len(values):
            yield f"a value is there twice in {values}; write each value once"
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


def _fault_beside(name: str, cell: Cell | None) -> str:
    """Sentence about a hyper-parameter that a cell does not have beside its options, though its method knows it."""
    if cell is None or name in hyperparameters_of(get_method(cell.method), dict(cell.options)):
        return ""
    needed = get_method(cell.method).needed_for(name)
    if needed is None:
        return f"method {cell.method} does not have it; leave it out"
    option, values = needed
    return f"method {cell.method} has it only with {option}: {' or '.join(map(str, values))}; leave it out"


def faults_in_protocol(protocol: Protocol, word: Any, vocabulary: Vocabulary) -> Iterator[str]:
    """Sentences about hyper-parameters of a protocol's own file that are unknown, or out of bounds."""
    for key, value in protocol.hyperparameters.items():
        if fault := vocabulary.fault(key, value):
            yield f"{place_in_protocol(word, ('hyperparameters', key))}: {key}: {fault}"
    for key, sentence in _faults_of_flow_sizes(protocol.flow_sizes):
        yield f"{place_in_protocol(word, ('flow_sizes', key))}: {sentence}"


def _faults_of_flow_sizes(sizes: Any) -> Iterator[tuple[str, str]]:
    """(name, sentence) for each name in `flow_sizes` that is no hyper-parameter of a flow, or has no flow's value."""
    declared = [each for kind in FLOWS.values() for each in kind.hyperparameters]
    known = list(dict.fromkeys(each.name for each in declared))
    for name, value in _mapping(sizes).items():
        faults = [each.fault(value) for each in declared if each.name == name]
        if faults and all(faults):
            yield name, f"flow_sizes: {name}: {faults[0]}"
        elif not faults:
            elsewhere = "; put it under hyperparameters" if Vocabulary().find(name) else ""
            hint = elsewhere or nearest(name, known) or f"; the sizes are {', '.join(known)}"
            yield name, f"flow_sizes: no flow has a size {name!r}{hint}"


def faults_of_overrides(
    protocol: Protocol, values: Mapping[str, Any], vocabulary: Vocabulary
) -> Iterator[tuple[Location, str]]:
    """(place, sentence) for each value that cannot replace a field of a protocol, or be a hyper-parameter's."""
    known = protocol_fields()
    for name, value in values.items():
        if name in known:
            continue
        if not vocabulary.find(name):
            hint = nearest(name, [*known, *vocabulary.own]) or "; vdae-bench list hyperparameters prints the known ones"
            unknown = f"{name!r} is neither a field of a protocol nor a hyper-parameter{hint}"
            yield (name,), place_of_option(name) or unknown
        elif fault := vocabulary.fault(name, value) or vocabulary.fault_of_none(name):
            yield (name,), f"{name}: {fault}"
    for name, sentence in _faults_of_flow_sizes(values.get("flow_sizes")):
        yield ("flow_sizes", name), sentence
    try:
        override(protocol, {name: value for name, value in values.items() if name in known}, {})
    except ValidationError as error:
        for each in error.errors():
            yield (str(each["loc"][0]),), sentence_about(each, Protocol)


def apply_overrides(protocol: Protocol, values: Mapping[str, Any], vocabulary: Vocabulary | None = None) -> Protocol:
    """Replace protocol fields and hyper-parameters by name; `vocabulary` is that of the sweep, where there is one.

    Raises:
        UserError: for a name that is neither, with the nearest that is, or a value out of bounds; a line for each.
    """
    vocabulary = vocabulary or Vocabulary()
    if faults := [sentence for _, sentence in faults_of_overrides(protocol, values, vocabulary)]:
        raise UserError("\n".join(faults))
    known = protocol_fields()
    fields = {name: value for name, value in values.items() if name in known}
    hyper = {name: vocabulary.read(name, value) for name, value in values.items() if name not in known}
    return override(protocol, fields, hyper)


def protocol_fields() -> list[str]:
    """Fields of a protocol that a spec or `--set` may replace."""
    own = ("hyperparameters", "overrides", "name", "base", "description", "cannot_show")
    return [name for name in Protocol.model_fields if name not in own]


def sentence_about(fault: ErrorDetails, model: type[BaseModel], prefix: str = "") -> str:
    """Sentence about a fault that pydantic found, with the nearest valid word for one that is not."""
    at = fault["loc"]
    path = prefix + ".".join(map(str, _place(at)))
    kind, given = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        known = _keys_at(model, at[:-1])
        hint = nearest(str(at[-1]), known) or _home_of(str(at[-1]), at) or f"; the keys here are {', '.join(known)}"
        return f"unknown key {path!r}{hint}"
    if kind == "missing":
        return f"the key {path!r} is missing{MISSING.get(str(at[-1]), '')}"
    message = fault["msg"].removeprefix("Value error, ")
    said = KINDS.get(kind) or f"{message[0].lower()}{message[1:]}"
    words = re.findall(r"'([^']*)'", str(fault.get("ctx", {}).get("expected", "")))
    return f"{path}: {said}, not {shown(given)}{nearest(given, words) if isinstance(given, str) else ''}"


KINDS = {
    **dict.fromkeys(("model_type", "dict_type", "model_attributes_type"), "this is a mapping, as in {key: value}"),
    "list_type": "this is a list, as in [a, b]",
}
"""Pydantic's words for kinds of values, in those of YAML."""
MISSING = {"distribution": "; use log_uniform_values, uniform or int_uniform"}
"""Remedies for keys that are missing."""


def _home_of(key: str, at: tuple[int | str, ...]) -> str:
    """Where a key belongs that is known elsewhere: an option of a cell, a hyper-parameter."""
    if at[0] in ("include", "exclude") and is_option(key):
        return "; put it under options"
    if len(at) > 1:
        return ""
    option = place_of_option(key)
    return "; put it under hyperparameters" if Vocabulary().find(key) else f": {option}" if option else ""


def shown(value: Any) -> str:
    """A value as an error shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _take_out(content: Any, at: Location) -> None:
    """Take what is at fault out of a file's content, or put in what must be there, so that the rest can be checked."""
    *above, last = at
    node = content
    for part in above:
        node = node[int(part)] if isinstance(node, list) else node.get(part)
        if not isinstance(node, dict | list):
            return
    if at in STAND_INS:
        node[last] = STAND_INS[at]
    elif isinstance(node, list) and len(above) == 1:
        node[int(last)] = {}  # an item of grid, include or exclude keeps its place
    elif isinstance(node, dict) and last in node:
        del node[last]
    else:  # what lacks a key goes as a whole
        _take_out(content, tuple(above))


def _place(location: tuple[int | str, ...]) -> Location:
    """The keys of pydantic's location, without the kind of space that it took a parameter's for."""
    start = location.index("parameters") + 2 if "parameters" in location[:2] else len(location)
    return (*location[:start], *location[start + 1 :])


def _keys_at(model: type[BaseModel], at: tuple[int | str, ...]) -> list[str]:
    """The keys that the model knows at a location."""
    nested: dict[str, type[BaseModel]] = {
        "search": SearchSpec,
        "metric": Metric,
        "compare": StudyGrid,
        "datasets": OwnDataset,
        "include": CellSpec,
        "exclude": CellPattern,
        "Range": Range,
        "Choices": Choices,
    }
    for part in at:
        model = nested.get(str(part), model)
    return list(model.model_fields)
