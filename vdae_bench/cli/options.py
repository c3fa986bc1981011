"""The options of the verbs: click's, from the fields in `running.options`, and those that only one verb has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from vdae_bench.cli.completion import COMPLETE, complete_datasets, complete_recorded_protocols
from vdae_bench.cli.help import GroupedOption
from vdae_bench.running.options import FOLDER, MachineOptions, RunOptions, SpecOptions

F = TypeVar("F", bound=Callable[..., Any])


def _load_plugins(context: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]) -> None:
    if paths:
        from vdae_bench.models.registry import load_plugin

        for path in paths:
            load_plugin(path)


plugin_option = click.option(
    "--plugin",
    multiple=True,
    type=FOLDER,
    callback=_load_plugins,
    expose_value=False,
    is_eager=True,
    help="Python file that registers methods, flows or data sets.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the output.",
)


def _name_of_protocol(context: click.Context, parameter: click.Parameter, word: str | None) -> str | None:
    from vdae_bench.spec.protocol import name_of_protocol

    return word and name_of_protocol(word)


def recorded_protocol_option(what: str) -> Callable[[F], F]:
    """The option that chooses records of a protocol, by its name or, as the verbs that train take it, by its file."""
    return click.option("--protocol", shell_complete=complete_recorded_protocols, callback=_name_of_protocol, help=what)


def _click_option(each: Field[Any]) -> Callable[[F], F]:
    words = {**each.metadata["click"], **({"shell_complete": COMPLETE[each.name]} if each.name in COMPLETE else {})}
    return click.option(*each.metadata["flags"], each.name, cls=GroupedOption, default=each.default, **words)


def one_option(kind: type, name: str) -> Callable[[F], F]:
    """The option of a single field, for a verb that has none of the others."""
    return _click_option(next(each for each in fields(kind) if each.name == name))


def takes(*, without: Collection[str] = (), **parts: type) -> Callable[[F], F]:
    """Give a verb the options of option classes but for some, and hand it a value of each class under its keyword."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(**words: Any) -> Any:
            values = {
                keyword: kind(**{each.name: words.pop(each.name) for each in fields(kind) if each.name in words})
                for keyword, kind in parts.items()
            }
            return function(**values, **words)

        decorated: F = call  # type: ignore[assignment]  # it takes other words, which click gives it
        offered = [each for kind in parts.values() for each in fields(kind) if each.name not in without]
        for each in reversed(offered):
            decorated = _click_option(each)(decorated)
        return plugin_option(decorated)

    return decorate


def typed_options() -> tuple[str, ...]:
    """The options that the command line of the verb set, in its order, by the names of their fields."""
    context = click.get_current_context()
    known = {each.name for kind in (SpecOptions, MachineOptions, RunOptions) for each in fields(kind)}
    return tuple(
        name
        for name in context.params
        if name in known and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    )


noise_grid_option = click.option(
    "--noise-grid",
    cls=GroupedOption,
    group="what to run",
    is_flag=True,
    help="Take the grid of fixed sigmas behind Figure 1 (the shipped sweep figure1).",
)
device_option = one_option(MachineOptions, "device")
threads_option = one_option(MachineOptions, "threads")
results_option = one_option(MachineOptions, "results")
reports_option = one_option(MachineOptions, "reports")
data_option = one_option(MachineOptions, "data")
dataset_argument = click.argument("dataset", default="mnist", shell_complete=complete_datasets)
