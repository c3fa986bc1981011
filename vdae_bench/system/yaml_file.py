"""YAML files read into plain values that remember their lines, so that a fault can be named where it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.system import strict_json
from vdae_bench.system.untrusted import LARGEST_SPEC, Unfit, content_of

MAX_NODES = 100_000
"""Bound on a file's nodes, more than any sweep has: its aliases may multiply out beyond it, and it is refused."""

CHARACTERS_OF_A_NODE = 64
"""So many characters of a text count as a node: an alias repeats a long one as easily as a list."""
MAX_DEPTH = 50
SCALAR_TAGS = ("str", "int", "float", "bool", "null")
"""The tags of a single value; any other, written or meant (a date), is refused."""
TAG_PREFIX = "tag:yaml.org,2002:"
HALF_A_CHARACTER = "half a character (\\ud800 to \\udfff), which a record cannot keep; leave it out"

Location = tuple[int | str, ...]
Fault = tuple[int, str]
"""A line of a file, and the sentence about what is wrong there."""


class YamlFile:
    """The plain content of a YAML file and the line of each key and item.

    Read by YAML 1.2, where `1e-5` is a number; merge keys (`<<: *base`) are merged. The reader's tree of nodes is taken
    as it is: no tag constructs anything, and no code is ever run.
    """

    def __init__(self, path: Path, text: str, faults: list[Fault] | None = None) -> None:
        """`faults` takes what is wrong with single values, for a reader who goes on; without it, that is raised."""
        from ruamel.yaml import YAML

        self.path = path
        self._lines: dict[Location, int] = {}
        self._nodes = 0
        self._faults: list[Fault] = []
        if other := re.search(r"^%YAML\s+(?!1\.2\b)(\S+)", text, re.MULTILINE):
            line = text.count("\n", 0, other.start()) + 1
            raise UserError(f"{path}, line {line}: this file says YAML {other[1]}; write YAML 1.2 and delete this line")
        try:
            reader = YAML(typ="safe", pure=True)
            reader.composer.warn_double_anchors = False  # which YAML 1.2 allows: the last one counts
            root = reader.compose(text)
        except Exception as error:  # of what is no YAML; on hostile files its reader fails in any way
            mark = getattr(error, "problem_mark", None)
            place = f", line {mark.line + 1}" if mark else ""
            said = [str(each) for name in ("context", "problem") if (each := getattr(error, name, None))]
            problem = ": ".join(said) or f"its reader says: {error or type(error).__name__}"
            raise UserError(f"{path}{place}: this is not YAML ({problem})") from None
        self._constructor = reader.constructor
        self.content: Any = None if root is None else self._plain(root, ())
        if faults is not None:
            faults += self._faults
        elif self._faults:
            raise UserError(listed(path, self._faults))

    @classmethod
    def read(cls, path: Path, faults: list[Fault] | None = None) -> YamlFile:
        """Read a file; `faults` takes what is wrong with single values, which is raised without it.

        Raises:
            UserError: it cannot be read, or is no YAML.
        """
        try:
            return cls(path, content_of(path, LARGEST_SPEC).decode("utf-8-sig"), faults)
        except (OSError, Unfit, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, Unfit) else getattr(error, "strerror", "it is not UTF-8 text")
            raise UserError(f"cannot read {path}: {reason}") from None

    @classmethod
    def of(cls, content: Mapping[str, Any], faults: list[Fault] | None = None) -> YamlFile:
        """Make the file that would hold a mapping, with a line for each of its keys.

        Raises:
            UserError: a value is of a kind that no file has.
        """
        try:
            lines = [f"{_as_yaml(key)}: {_as_yaml(value)}" for key, value in content.items()]
        except (TypeError, ValueError) as error:
            raise UserError(f"the spec has a value that YAML cannot hold ({error}); give plain values") from None
        return cls(Path("the spec"), "\n".join(lines), faults)

    def _plain(self, node: Any, at: Location) -> Any:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        self._count(at)
        self._nodes += len(node.value) // CHARACTERS_OF_A_NODE if isinstance(node.value, str) else 0
        self._lines.setdefault(at, node.start_mark.line + 1)
        mapping, sequence = isinstance(node, MappingNode), isinstance(node, SequenceNode)
        tag = str(node.tag).removeprefix(TAG_PREFIX)
        if tag not in (("map",) if mapping else ("seq",) if sequence else SCALAR_TAGS):
            self._refuse(node, _about_tag(node, tag))
        if mapping:
            result: dict[str, Any] = {}
            for key, value in self._pairs(node, at):
                self._lines[(*at, key.value)] = key.start_mark.line + 1
                result[key.value] = self._plain(value, (*at, key.value))
            return result
        if sequence:
            for index, item in enumerate(node.value):
                self._lines[(*at, index)] = item.start_mark.line + 1
            return [self._plain(item, (*at, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, tag)

    def _count(self, at: Location) -> None:
        """Bound a file's nodes and depth, which aliases and merge keys multiply."""
        self._nodes += 1
        if self._nodes > MAX_NODES or len(at) > MAX_DEPTH:
            raise UserError(f"{self.path}: too large or too deep for a sweep; write its lists out without aliases")

    def _pairs(self, node: Any, at: Location) -> list[tuple[Any, Any]]:
        """The keys and values of a mapping, each once: its own first, then those that it merges, the first of each."""
        own: dict[str, tuple[Any, Any]] = {}
        merged: dict[str, tuple[Any, Any]] = {}
        for key, value in node.value:
            if str(key.tag) == f"{TAG_PREFIX}merge":
                for base in self._bases(value):
                    self._count(at)
                    for below in self._pairs(base, (*at, key.value)):
                        merged.setdefault(below[0].value, below)
            elif not isinstance(key.value, str) or str(key.tag) != f"{TAG_PREFIX}str":
                said = repr(key.value) if isinstance(key.value, str) else "that is a list or a mapping"
                self._refuse(key, f"the key {said} must be a word; put quotes around it")
            elif not _is_unicode(key.value):
                self._refuse(key, f"a key has {HALF_A_CHARACTER}")
            elif key.value in own:
                self._refuse(key, f"the key {key.value!r} is there twice; keep one of them")
            else:
                own[key.value] = (key, value)
        return [*own.values(), *(pair for word, pair in merged.items() if word not in own)]

    def _bases(self, value: Any) -> list[Any]:
        """The mappings that a merge key names: one, or a list of them."""
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        named = value.value if isinstance(value, SequenceNode) else [value]
        if not all(isinstance(each, MappingNode) for each in named):
            self._refuse(value, "the merge key << takes a mapping, or a list of mappings, as in <<: *base")
        return [each for each in named if isinstance(each, MappingNode)]

    def _scalar(self, node: Any, tag: str) -> Any:
        """The value of a node; where that is refused, one that does no harm to what reads on."""
        if tag == "str" or tag not in SCALAR_TAGS:
            if not _is_unicode(node.value):
                self._refuse(node, f"a text has {HALF_A_CHARACTER}")
            return node.value.encode(errors="replace").decode()
        try:
            if tag == "null" and node.value.lower() not in ("", "~", "null"):
                raise ValueError
            value = getattr(self._constructor, f"construct_yaml_{tag}")(node)
        except (ValueError, KeyError, IndexError):  # a tag that says other than the value, such as !!int x, or 0b_
            self._refuse(node, f"{_short(node.value)} cannot be read as {tag}; put it in quotes if it is a word")
            return node.value
        if tag == "int" and abs(value) >= strict_json.LARGEST_INTEGER:
            self._refuse(node, f"the number {_short(node.value)} is too large")
            return strict_json.LARGEST_INTEGER  # what reads on can take that for a float
        return value

    def _refuse(self, node: Any, sentence: str) -> None:
        self._faults.append((node.start_mark.line + 1, sentence))

    def line(self, at: Sequence[int | str]) -> int:
        """Return the line of the nearest enclosing thing at a location."""
        for depth in range(len(at), 0, -1):
            if tuple(at[:depth]) in self._lines:
                return self._lines[tuple(at[:depth])]
        return 1


def _as_yaml(value: Any) -> str:
    """A value as JSON, but for characters beyond 16 bits, which YAML writes in another way, and what it refuses."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    return "".join(each if each.isascii() and each.isprintable() else f"\\U{ord(each):08x}" for each in text)


def listed(path: Path, faults: Iterable[Fault]) -> str:
    """A line for each fault of a file, in the order of the lines that they name."""
    return "\n".join(f"{path}, line {line}: {sentence}" for line, sentence in sorted(set(faults)))


def _about_tag(node: Any, tag: str) -> str:
    written = f"!!{tag}" if str(node.tag).startswith(TAG_PREFIX) else tag
    if isinstance(node.value, str) and tag in ("timestamp", "value", "merge"):
        return f"{_short(node.value)} is neither a word nor a number here; put it in quotes"
    return f"the tag {written} is not allowed here; write the plain value"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:40]}...")
