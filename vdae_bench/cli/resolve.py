"""From the options of a command line to what runs: a spec with its overrides, a stop token, the whole command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vdae_bench.cli.options import typed_options
from vdae_bench.errors import UserError
from vdae_bench.models.registry import loaded_plugins
from vdae_bench.running.budget import fit_budget
from vdae_bench.running.context import RunContext
from vdae_bench.running.options import Command, MachineOptions, RunOptions, SpecOptions
from vdae_bench.running.stop import StopToken
from vdae_bench.spec.check import apply_overrides, find_spec, load_spec
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.system.words import parse_duration
from vdae_bench.system.yaml_file import YamlFile


def typed_command(verb: str, target: str, spec: SpecOptions, machine: MachineOptions, run: RunOptions) -> Command:
    """The command that is being typed, with its plugins."""
    return Command(verb, (target,), spec, machine, run, tuple(loaded_plugins()), typed_options())


def parse_settings(settings: Sequence[str], epochs: int | None) -> dict[str, Any]:
    """`--set key=value` words, the values read as YAML, and `--epochs`."""
    values: dict[str, Any] = {"epochs": epochs} if epochs is not None else {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set takes KEY=VALUE, such as --set learning_rate=1e-4, not {word!r}")
        values[key.strip()] = YamlFile(Path("--set"), text).content
    return values


def changed_spec(word: str, options: SpecOptions) -> SweepSpec:
    """The spec with the protocol and overrides of the command line."""
    overrides = parse_settings(options.settings, options.epochs)
    search = {key.removeprefix("search."): overrides.pop(key) for key in list(overrides) if key.startswith("search.")}
    if options.trials:
        if not options.search:
            raise UserError("--trials sets the trials of a search; give --search too")
        search["trials"] = options.trials
    spec = load_spec(find_spec(word), options.protocol, overrides, options.seeds, search)
    for setting in options.settings:
        if not setting.partition("=")[2].strip():  # an empty variable of a shell, which YAML takes for null
            raise UserError(f"--set {setting} has no value; give a value, or null if you mean none")
    return spec


def one_of_several(word: str, options: SpecOptions) -> tuple[SweepSpec, SpecOptions]:
    """The spec as `changed_spec` has it, and the options without a search where the spec has none."""
    plain = replace(options, search=None, trials=None)
    spec = changed_spec(word, plain)
    if spec.search is None:
        return spec, plain
    return changed_spec(word, options) if options.trials else spec, options


def within_budget(
    spec: SweepSpec, options: SpecOptions, context: RunContext, *, may_calibrate: bool = True
) -> SweepSpec:
    """The spec with as many epochs, then seeds, as fit the budget of the command line, where there is one."""
    if not options.budget:
        return spec
    if options.search:
        raise UserError("--budget does not include a search; give --epochs, or search first with vdae-bench search")
    if options.epochs or options.seeds or parse_settings(options.settings, None).keys() & {"epochs", "seeds"}:
        raise UserError("--budget chooses the epochs and seeds; leave out --epochs and --seeds")
    epochs, seeds = fit_budget(spec, parse_duration(options.budget), context, may_calibrate=may_calibrate)
    return replace(spec, protocol=apply_overrides(spec.protocol, {"epochs": epochs, "seeds": seeds}))


def stop_token(options: RunOptions) -> StopToken:
    """Stop token that is set by a signal, or at the time limit of the command line."""
    return StopToken(parse_duration(options.time_limit) if options.time_limit else None)
