"""Tables that are drawn from the package as the site is built: what a spec may say, and what each method has.

- `listing`: what `vdae-bench list` prints of a kind;
- `methods`: a section for each method, with its equation, options and hyper-parameters;
- `schema`: the fields of a pydantic model and of the models in it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from vdae_bench.cli.lists import LISTINGS, row_of_table
from vdae_bench.models.methods.flow_row import FlowRow
from vdae_bench.models.registry import Method, known_methods
from vdae_bench.spec.file import SpecFile
from vdae_bench.spec.hyperparameters import OPTIMISER_NAMES
from vdae_bench.store.records import Record

Row = dict[str, Any]
CODE = {
    "name",
    "default",
    "allowed",
    "methods",
    "only_with",
    "sweep",
    "hyperparameters",
    "options",
    "field",
    "type",
    "protocol",
}
"""Columns whose words are typed as they stand."""


class Listing(SphinxDirective):
    """The table of `vdae-bench list KIND`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = list(map(row_of_table, LISTINGS[self.arguments[0]]()))
        trained = [method.id for method in known_methods() if method.trains]
        for row in rows:
            if row.get("methods") == trained:
                row["methods"] = []
        return self.parse_text_to_nodes(table(rows))


class Methods(SphinxDirective):
    """A section for each method: its docstring, and what a spec may set of it."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        listed = {kind: list(LISTINGS[kind]()) for kind in ("options", "hyperparameters")}
        text = "\n\n".join(part for method in known_methods() for part in _method(method, listed))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _method(method: Method, listed: dict[str, list[Row]]) -> Iterator[str]:
    place = type(method)
    yield f"## `{method.id}`: {method.title}"
    documented = FlowRow if isinstance(method, FlowRow) else place  # a row's own class is made as it is asked for
    directive = f".. autoclass:: {documented.__module__}.{documented.__qualname__}"
    yield f"```{{eval-rst}}\n{directive}\n   :no-members:\n   :no-index:\n```"
    if documented is FlowRow:
        yield place.__doc__ or ""
    for kind, rows in listed.items():
        own = [
            {key: row[key] for key in ("name", "default", "allowed", "meaning", "only_with")}
            for row in (_of_method(each, method.id) for each in rows)
            if method.id in row["methods"] and row["name"] not in OPTIMISER_NAMES
        ]
        if own:
            yield f"{kind.replace('parameters', '-parameters').capitalize()}:\n\n{table(own)}"


def _of_method(row: Row, method: str) -> Row:
    """A row with the conditions of one method alone."""
    own = [{**each, "methods": row["methods"]} for each in row["only_with"] if method in each["methods"]]
    return row_of_table({**row, "only_with": own})


class Schema(SphinxDirective):
    """The fields of a pydantic model, `module:Model`, and of the models that they hold."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table for each model."""
        module, _, name = self.arguments[0].partition(":")
        whole = getattr(import_module(module), name)
        text = "\n\n".join(part for model in _models(whole) for part in _fields(model))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _models(whole: type[BaseModel]) -> list[type[BaseModel]]:
    """The model, and those that its fields hold, each once."""
    found = [whole]
    for model in found:
        for field in model.model_fields.values():
            waiting = [field.annotation, *field.metadata]
            while waiting:
                each = waiting.pop()
                waiting += getattr(each, "__args__", ())
                if inspect.isclass(each) and issubclass(each, BaseModel) and each not in found:
                    found.append(each)
    return found


def _fields(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema(ref_template="{model}")
    meanings = ModuleAnalyzer.for_module(model.__module__).find_attr_docs()
    rows = []
    for name, field in schema["properties"].items():
        found = (meanings[each.__name__, name] for each in model.__mro__ if (each.__name__, name) in meanings)
        said = " ".join(next(found, field.get("description", "").splitlines()[:1]))
        default = "*required*" if name in schema.get("required", ()) else f"`{json.dumps(field.get('default'))}`"
        rows.append({"field": name.removesuffix("_"), "type": _type(field), "default of it": default, "meaning": said})
    yield f"## {model.__name__}"
    yield inspect.cleandoc(model.__doc__ or "")
    yield table(rows).replace("default of it", "default", 1)


def _type(field: Row) -> str:
    """The type of a field in words, from its JSON schema."""
    if "anyOf" in field or "oneOf" in field:
        return " or ".join(dict.fromkeys(_type(each) for each in field.get("anyOf", field.get("oneOf"))))
    if "$ref" in field:
        return str(field["$ref"])
    if "enum" in field or "const" in field:
        return ", ".join(map(str, field.get("enum", [field.get("const")])))
    kind = field.get("type", "anything")
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    if kind == "object":
        return f"mapping to {_type(values)}" if isinstance(values := field.get("additionalProperties"), dict) else kind
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " ".join([kind, *(f"{sign} {field[name]:g}" for name, sign in bounds.items() if name in field)])


def table(rows: Iterable[Row]) -> str:
    """The rows as a table of Markdown."""
    rows = list(rows)
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[_cell(key, value) for key, value in row.items()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(key: str, value: Any) -> str:
    if key == "methods" and not value:
        return "all that train"
    if isinstance(value, list):
        return ", ".join(_cell(key, each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    word = "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    word = word.replace("|", "\\|").replace("\n", " ")
    return f"`{word}`" if key in CODE and word else word


SCHEMAS = {"spec": SpecFile, "record": Record}


def _write_schemas(app: Sphinx) -> None:
    """Write JSON schemas, which the pages link to: for editors and other programs."""
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    for name, model in SCHEMAS.items():
        text = json.dumps(model.model_json_schema(), indent=1).replace('"schema_"', '"schema"')
        (folder / f"{name}.schema.json").write_text(text + "\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.connect("builder-inited", _write_schemas)
    for name, directive in (("listing", Listing), ("methods", Methods), ("schema", Schema)):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
