"""Words of the command line turned into values: settings, durations, a spec with its overrides, a request to stop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vdae_bench.errors import UserError
from vdae_bench.running.budget import fit_budget
from vdae_bench.running.stop import StopRequest
from vdae_bench.running.workbench import Surroundings
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.system.words import parse_duration
from vdae_bench.system.yaml_file import YamlFile

SURROUNDINGS = ("device", "threads", "results", "data", "checkpoint_every", "keep_checkpoints", "replicas", "workers")
"""The words of a verb that runs something which say where and on what."""


def parse_settings(settings: Sequence[str], epochs: int | None) -> dict[str, Any]:
    """`--set key=value` words, the values read as YAML, and `--epochs`."""
    values: dict[str, Any] = {"epochs": epochs} if epochs is not None else {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set takes KEY=VALUE, as in --set learning_rate=1e-4; not {word!r}")
        values[key.strip()] = YamlFile(Path("--set"), text).content
    return values


def resolve(word: str, around: Surroundings, words: dict[str, Any], *, may_calibrate: bool = True) -> SweepSpec:
    """The spec with the protocol, overrides and budget of the command line."""
    overrides = parse_settings(words["settings"], words["epochs"])
    search = {key.removeprefix("search."): overrides.pop(key) for key in list(overrides) if key.startswith("search.")}
    if words.get("trials"):
        if not words.get("search"):
            raise UserError("--trials is the number of a search; give --search too")
        search["trials"] = words["trials"]
    spec = load_spec(find_spec(word), words["protocol"], overrides, words["seeds"], search)
    if not words["budget"]:
        return spec
    if words.get("search"):
        raise UserError("--budget does not reckon with a search; give --epochs, or search first with vdae-bench search")
    if words["epochs"] or words["seeds"]:
        raise UserError("--budget chooses epochs and seeds itself; leave out --epochs and --seeds")
    epochs, seeds = fit_budget(spec, parse_duration(words["budget"]), around, may_calibrate=may_calibrate)
    return load_spec(find_spec(word), words["protocol"], {**overrides, "epochs": epochs}, seeds, search)


def stop_request(words: dict[str, Any]) -> StopRequest:
    """On a signal, or at the time limit of the command line."""
    return StopRequest(parse_duration(words["time_limit"]) if words["time_limit"] else None)
