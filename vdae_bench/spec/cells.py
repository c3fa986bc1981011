"""Grids, included and excluded cells to the cells of a sweep; each fault is noted at the entry that has it.

Entries are checked one by one first, so that a wrong word in one axis hides no wrong word in another; then what is left
is multiplied out.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vdae_bench.data.registry import find_dataset, parse_dataset_id
from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import whole
from vdae_bench.models.registry import Method, get_method, known_methods
from vdae_bench.spec.file import MAX_CELLS, CellPattern, CellSpec, SpecFile
from vdae_bench.spec.hyperparameters import hyperparameters_of
from vdae_bench.spec.sweep import CELL_AXES, Cell
from vdae_bench.system.words import nearest
from vdae_bench.system.yaml_file import Location

KNOWN_OPTIONS = "; the axes are dataset, method, latents and the names that vdae-bench list options prints"
NoteFault = Callable[[Location, str], None]
SCALARS = (str, int, float)
Entry = tuple[Location, Any]
"""A value of an axis and where it is written."""


@dataclass
class Candidate:
    """A cell as written, before its checks: an entry for each axis, and the hyper-parameters of its own."""

    at: Location
    entries: dict[str, Entry]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> dict[str, Any]:
        """The value on each axis."""
        return {axis: value for axis, (_, value) in self.entries.items()}

    @property
    def options(self) -> dict[str, Any]:
        """The options, with those that are the default."""
        return {axis: value for axis, value in self.axes.items() if axis not in CELL_AXES}


class CellBuilder:
    """Builds the cells of a file, and knows afterwards what was lost to faults.

    Attributes:
        methods: every method that the file names rightly, by its id.
        whole: False where an entry was at fault, so that cells are missing.
        methods_whole: False where the name of a method was.
        built: each cell that is right, with what it was built from.
    """

    def __init__(self, fault: NoteFault, lost: Iterable[Location] = ()) -> None:
        """`lost` are places whose content was at fault already."""
        self._fault, self._lost = fault, set(lost)
        self.methods: dict[str, Method] = {}
        self.built: list[tuple[Candidate, Cell]] = []
        self.whole = not self._lost_in(("grid",)) and not self._lost_in(("include",))
        self.methods_whole = not any("method" in at or len(at) < 3 for at in self._lost if at[0] in ("grid", "include"))
        self._named: dict[str, list[Any]] = {}

    def build(self, written: SpecFile) -> list[Cell]:
        """The cells that are right; what is wrong is noted."""
        count = len(written.include) + sum(math.prod(map(len, grid.values())) for grid in written.grid)
        if count > MAX_CELLS:
            most = f"more than the limit of {MAX_CELLS:,}; make several specs of it"
            self._fault(("grid",), f"the sweep has {count:,} cells, {most}")
            self.whole = self.methods_whole = False
            return []
        candidates = [each for index, grid in enumerate(written.grid) for each in self._of_grid(("grid", index), grid)]
        for index, cell in enumerate(written.include):
            candidates += self._of_include(("include", index), cell)
        patterns = {index: each for index, each in enumerate(written.exclude) if not self._lost_in(("exclude", index))}
        matched: set[int] = set()
        cells: dict[str, Cell] = {}
        for candidate in candidates:
            of_grid = patterns if candidate.at[0] == "grid" else {}
            by = [index for index, pattern in of_grid.items() if _excludes(pattern, candidate.axes)]
            matched.update(by)
            built = None if by else self._cell(candidate)
            if not built:
                continue
            self.built.append((candidate, built))
            # By the name as the file systems see it that know no capital letters.
            twin = cells.setdefault(built.slug.casefold(), built)
            if twin != built or twin.slug != built.slug:
                what = f"two cells have the same name, {built.slug}, and would share a folder; leave one out"
                self._fault(candidate.at, what)
            elif twin.hyperparameters != built.hyperparameters:
                what = f"cell {built.slug} is there twice with different hyperparameters; make two specs"
                self._fault(candidate.at, what)
        for index, pattern in enumerate(written.exclude):
            if index not in matched:
                self._check_idle(("exclude", index), pattern)
        if candidates and self.whole and not cells:
            self._fault(("exclude",), "exclude takes away every cell; leave some")
        return list(cells.values())

    def _of_grid(self, at: Location, grid: Mapping[str, list[Any]]) -> Iterator[Candidate]:
        named = [_method_of(value) for value in grid.get("method", [])]
        own = {name for method in named if method for name in method.options}
        every = {name for method in known_methods() for name in method.options}
        allowed = own if named and all(named) else every
        unknown = [axis for axis in grid if axis not in CELL_AXES and axis not in allowed]
        hints = {axis: nearest(axis, [*CELL_AXES, *sorted(own), *sorted(every)]) for axis in unknown}
        for axis in unknown:
            self._fault((*at, axis), f"unknown axis {axis!r}{_who_has(axis) or hints[axis] or KNOWN_OPTIONS}")
            self.whole = False
        meant = {axis for axis in CELL_AXES if any(repr(axis) in hint for hint in hints.values())}
        missing = [axis for axis in CELL_AXES if axis not in grid and axis not in meant]
        missing = [axis for axis in missing if not self._lost_in((*at, axis)) and at not in self._lost]
        if missing:
            self._fault(at, f"the grid needs the axes {', '.join(missing)} too")
            self.whole = False
        right: dict[str, list[Entry]] = {}
        for axis, values in grid.items():
            entries = [((*at, axis, index), value) for index, value in enumerate(values)]
            self._named.setdefault(axis, []).extend(values)
            right[axis] = entries if axis not in CELL_AXES else self._right(axis, entries)
        if all(right.get(axis) for axis in CELL_AXES) and not unknown:
            for combination in itertools.product(*right.values()):
                yield Candidate(at, dict(zip(right, combination, strict=True)))

    def _of_include(self, at: Location, cell: CellSpec) -> Iterator[Candidate]:
        given = {axis: getattr(cell, axis) for axis in CELL_AXES if getattr(cell, axis) is not None}
        missing = [axis for axis in CELL_AXES if axis not in given and not self._lost_in((*at, axis))]
        if missing and at not in self._lost:
            self._fault(at, f"an included cell needs {', '.join(missing)} too")
            self.whole = False
        entries: dict[str, Entry] = {}
        for axis, value in given.items():
            self._named.setdefault(axis, []).append(value)
            for entry in self._right(axis, [((*at, axis), value)]):
                entries[axis] = entry
        for name, value in cell.options.items():
            if name in CELL_AXES:
                self._fault((*at, "options", name), f"{name} is not an option; put it beside options")
                self.whole = False
                continue
            self._named.setdefault(name, []).append(value)
            entries[name] = ((*at, "options", name), value)
        if all(axis in entries for axis in CELL_AXES):
            yield Candidate(at, entries, cell.hyperparameters)

    def _right(self, axis: str, entries: Iterable[Entry]) -> list[Entry]:
        """The entries of a data set, method or number of latents that are right in themselves."""
        right = []
        for at, written in entries:
            value = whole(written) if axis == "latents" else written
            if sentence := _fault_of_entry(axis, value):
                self._fault(at, sentence)
                self.whole = False
                self.methods_whole &= axis != "method"
                continue
            right.append((at, value))
            if axis == "method":
                self.methods[value] = get_method(value)
        return right

    def _cell(self, candidate: Candidate) -> Cell | None:
        axes = candidate.axes
        method, latents = self.methods[axes["method"]], axes["latents"]
        options = candidate.options
        faults = list(_faults_of_cell(method, axes["dataset"], latents, options))
        for axis, sentence in faults:
            self._fault(candidate.entries[axis][0], sentence)
        if faults:
            self.whole = False
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
            tuple(sorted(candidate.hyperparameters.items())),
        )

    def _check_idle(self, at: Location, pattern: CellPattern) -> None:
        """Say why a pattern excludes nothing: a word that is none, a value that no cell has, or all of it together."""
        wanted = _wanted(pattern)
        if not wanted and not self._lost_in(at):
            self._fault(at, "this pattern is empty; give the axes of the cells that you want to exclude")
        strange = False
        for axis, value in wanted.items():
            place = (*at, axis) if axis in CELL_AXES else (*at, "options", axis)
            known = self._values(axis)
            sentence = _fault_of_entry(axis, value) if axis in CELL_AXES else ""
            if not sentence and not known:
                sentence = f"no cell has the option {axis!r}{nearest(axis, [*self._named, *self._options()])}"
            elif not sentence and self.whole and value not in known:
                hint = nearest(value, known) or f"; there are {', '.join(map(str, known))}"
                sentence = f"no cell has {axis} {value!r}{hint}"
            if sentence:
                self._fault(place, sentence)
                strange = True
        if wanted and not strange and self.whole and not self._lost_in(at):
            self._fault(at, "no cell has all of these values, so the pattern excludes nothing; leave it out")

    def _values(self, axis: str) -> list[Any]:
        """The values that cells have on an axis: those written, and an option's default."""
        defaults = [method.options[axis].default for method in self.methods.values() if axis in method.options]
        plain = (each for each in (*self._named.get(axis, []), *defaults) if each is None or isinstance(each, SCALARS))
        return list(dict.fromkeys(plain))

    def _options(self) -> Iterator[str]:
        return (name for method in self.methods.values() for name in method.options)

    def _lost_in(self, at: Location) -> bool:
        return any(each[: len(at)] == at for each in self._lost)


def _method_of(value: Any) -> Method | None:
    try:
        return get_method(value) if isinstance(value, str) else None
    except UserError:
        return None


def _who_has(option: str) -> str:
    """Words about an axis that is an option of methods which are not in the grid; "" where it is no option."""
    ids = [method.id for method in known_methods() if option in method.options]
    return f": no method of this grid has that option, which belongs to {', '.join(ids)}" if ids else ""


def _fault_of_entry(axis: str, value: Any) -> str:
    """Sentence about a data set, method or number of latents that is none; "" where it is one."""
    if axis == "latents":
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole else f"latents must be whole numbers, not {value!r}"
    if not isinstance(value, str):
        return f"{'a data set' if axis == 'dataset' else 'a method'} is given by its name, not {value!r}"
    try:
        if axis == "dataset":
            parse_dataset_id(value)
        else:
            hyperparameters_of(get_method(value))
    except UserError as error:
        return str(error)
    return ""


def _faults_of_cell(
    method: Method, dataset_id: str, latents: int, options: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """(axis, sentence) for each thing in which values that are right in themselves do not go together."""
    view, dataset = parse_dataset_id(dataset_id)
    data_dim = find_dataset(dataset).data_dim
    parts: list[tuple[str, Callable[[], None]]] = [
        ("method", functools.partial(method.check_view, view)),
        ("latents", functools.partial(method.check_latents, latents, data_dim)),
        *((name, functools.partial(method.check_option, name, value, view)) for name, value in options.items()),
    ]
    found = False
    for axis, check in parts:
        try:
            check()
        except UserError as error:
            found = True
            yield axis, str(error)
    if found:
        return
    faults = list(method.option_faults(latents, data_dim, options))
    yield from faults
    if not faults:  # what a method says of a cell beyond that
        try:
            method.check(view, latents, data_dim, options)
        except UserError as error:
            yield "method", str(error)


def _wanted(pattern: CellPattern) -> dict[str, Any]:
    return {axis: getattr(pattern, axis) for axis in CELL_AXES if getattr(pattern, axis) is not None} | pattern.options


def _excludes(pattern: CellPattern, axes: Mapping[str, Any]) -> bool:
    """Tell whether a pattern takes a cell away; an option that the cell does not set has its default."""
    wanted = _wanted(pattern)
    method = _method_of(axes["method"])
    defaults = {name: option.default for name, option in method.options.items()} if method else {}
    effective = {**defaults, **axes}
    return bool(wanted) and all(name in effective and effective[name] == value for name, value in wanted.items())
