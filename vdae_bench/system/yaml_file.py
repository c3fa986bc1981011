"""YAML files read into plain values that remember their lines, so that a fault can be named where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.system import strict_json
from vdae_bench.system.untrusted import LARGEST_SPEC, Unfit, content_of

MAX_NODES = 100_000
"""Bound on a file's nodes, more than any sweep has: its aliases may multiply out beyond it, and it is refused."""
CHARACTERS_OF_A_NODE = 64
"""So many characters of a text count as a node: an alias repeats a long one as easily as a list."""

Location = tuple[int | str, ...]


class YamlFile:
    """The plain content of a YAML file and the line of each key and item.

    Read by YAML 1.2, where `1e-5` is a number. Tags are refused and no code is ever run.
    """

    def __init__(self, path: Path, text: str) -> None:
        from ruamel.yaml import YAML

        self.path = path
        self._lines: dict[Location, int] = {}
        self._nodes = 0
        try:
            content = YAML(typ="rt").load(text)
        except Exception as error:  # of what is no YAML; on hostile files its reader fails in any way
            mark = getattr(error, "problem_mark", None)
            place = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or f"its reader says: {error or type(error).__name__}"
            raise UserError(f"{path}{place}: this is not YAML ({problem})") from None
        self.content: Any = self._plain(content, ())

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file.

        Raises:
            UserError: it cannot be read, or is no YAML.
        """
        try:
            return cls(path, content_of(path, LARGEST_SPEC).decode())
        except (OSError, Unfit, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, Unfit) else getattr(error, "strerror", "it is not UTF-8 text")
            raise UserError(f"cannot read {path}: {reason}") from None

    def _plain(self, node: Any, at: Location) -> Any:
        self._nodes += 1 + (len(node) // CHARACTERS_OF_A_NODE if isinstance(node, str) else 0)
        if self._nodes > MAX_NODES or len(at) > 50:
            raise UserError(f"{self.path}: too large or too deep for a sweep; write its lists out without aliases")
        position = getattr(node, "lc", None)
        if isinstance(node, dict):
            result = {}
            for key, value in node.items():
                if not isinstance(key, str):
                    raise UserError(f"{self.path}, line {self.line(at)}: the key {key!r} must be a word")
                self._lines[(*at, key)] = position.key(key)[0] + 1 if position else 0
                result[str(key)] = self._plain(value, (*at, key))
            return result
        if isinstance(node, list):
            for index in range(len(node)):
                self._lines[(*at, index)] = position.item(index)[0] + 1 if position else 0
            return [self._plain(item, (*at, index)) for index, item in enumerate(node)]
        if isinstance(node, bool) or node is None:
            return node
        if isinstance(node, int) and abs(node) >= strict_json.LARGEST_INTEGER:
            raise UserError(f"{self.path}, line {self.line(at)}: the number is too large")
        for kind in (int, float, str):
            if isinstance(node, kind):
                return kind(node)
        raise UserError(f"{self.path}, line {self.line(at)}: a value of type {type(node).__name__} has no place here")

    def line(self, at: Sequence[int | str]) -> int:
        """Return the line of the nearest enclosing thing at a location."""
        for depth in range(len(at), 0, -1):
            if tuple(at[:depth]) in self._lines:
                return self._lines[tuple(at[:depth])]
        return 1
