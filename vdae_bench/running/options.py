"""Options of the verbs that run: a field for each option of the command line, with its flag and its help.

The options that click offers, the line that goes on with a stopped run, the command in a record and the line of a
Slurm array are all read off these fields, so that a new field is in each of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import click

from vdae_bench.errors import UserError
from vdae_bench.running.machines import MACHINES
from vdae_bench.system.arguments import checked
from vdae_bench.system.paths import user_path
from vdae_bench.system.redact import redacted_address
from vdae_bench.system.words import quoted

TIME = "TIME"
STORAGE_VARIABLE = "VDAE_BENCH_STORAGE"
"""Environment variable with a storage's URL: what the command line has, other users of the machine see."""
COUNT = click.IntRange(1)
MOST_THREADS = 4096
"""More than any machine has; far more cannot be started, and end the process without a word."""
MOST_SHARDS = 999_999
"""Tasks of a job array at most, as `--shard` has six digits."""


class UserPath(click.Path):
    """A path on the command line, in which `~` is the home folder also where no shell has put it in."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the path with the home folder in it."""
        return user_path(os.fsdecode(super().convert(value, parameter, context)))


FOLDER = UserPath()
FOR_SCHEDULER = "is for --scheduler"


class WorkerCount(click.IntRange):
    """A number of workers, or `auto`, which is None."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the word."""
        return None if value == "auto" else super().convert(value, param, ctx)


class Rate(click.FloatRange):
    """A number within bounds, which `nan` is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        read = super().convert(value, param, ctx)
        return read if read is None or read == read else self.fail(f"{value!r} is not a number", param, ctx)


GROUPS = ("what to run", "how long", "where", "cluster", "the estimate")
"""The groups of options in the help of a verb, in its order."""


def option(*flags: str, group: str = "", default: Any = None, not_in_array: str = "", **click_words: Any) -> Any:
    """A field that is an option of a group; `not_in_array` ends the sentence that refuses it for a job array."""
    words = {"group": group, **click_words}
    return field(default=default, metadata={"flags": flags, "not_in_array": not_in_array, "click": words})


class Options:
    """Base of the option classes: their values are within the limits of the command line, whoever gives them."""

    def __post_init__(self) -> None:
        """Check the values that are no defaults.

        Raises:
            UserError: one is of another type, or out of bounds.
        """
        given = {each: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]
        for each, value in given.items():
            if value is not each.default:
                object.__setattr__(self, each.name, checked(each.name, value, _kind(type(self), each)))


def _kind(options: type, each: Field[Any]) -> Any:
    """The type of an option's values, with the bounds that click has for it."""
    from pydantic import Field as Limits  # late, as it is for values alone that somebody gives

    kind, bounds = get_type_hints(options)[each.name], each.metadata["click"].get("type")
    if isinstance(bounds, click.IntRange | click.FloatRange):
        return Annotated[kind, Limits(ge=bounds.min, le=bounds.max)]
    return kind


@dataclass(frozen=True)
class SpecOptions(Options):
    """Options that change a spec, or take some of its cells."""

    protocol: str | None = option(
        "--protocol",
        group="how long",
        metavar="NAME|FILE",
        help="smoke, quick, standard, paper-mixed, paper, or a YAML file; default: that of the spec, or else quick.",
    )
    epochs: int | None = option(
        "--epochs", group="how long", type=COUNT, help="Train for this many epochs; this makes a new protocol."
    )
    seeds: int | None = option(
        "--seeds", group="how long", type=click.IntRange(1, 1000), help="Run this many seeds, starting from seed 0."
    )
    only: tuple[str, ...] = option(
        "--only",
        group="what to run",
        default=(),
        multiple=True,
        metavar="GLOB",
        help="Run only the cells whose names match, such as '*_vae_16'.",
    )
    settings: tuple[str, ...] = option(
        "--set",
        group="what to run",
        default=(),
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a field of the protocol or a hyper-parameter.",
    )
    budget: str | None = option(
        "--budget",
        group="how long",
        metavar=TIME,
        help="Choose as many epochs, and then seeds, as fit into a time such as 30m or 8h.",
        not_in_array="measures this machine; give --epochs and --seeds for a cluster",
    )
    search: bool | None = option(
        "--search/--no-search",
        group="what to run",
        help="Search hyper-parameters first, or ignore the winners of searches; default: use existing winners.",
    )
    trials: int | None = option(
        "--trials",
        group="how long",
        type=COUNT,
        help="Number of trials of a search in total; default: that of the spec.",
        not_in_array="is for a search, which runs before the array: vdae-bench search SPEC",
    )


@dataclass(frozen=True)
class MachineOptions(Options):
    """Options that say where and on what to run: device, threads, folders, checkpoints."""

    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "--device",
        group="where",
        default="auto",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        show_default=True,
        help="Device to run on; auto takes a CUDA GPU if there is one.",
    )
    threads: int | None = option(
        "--threads",
        group="where",
        type=click.IntRange(1, MOST_THREADS),
        help="Number of threads; default: OMP_NUM_THREADS, or else all processors that this process may use.",
    )
    replicas: int | None = option(
        "--replicas",
        group="where",
        type=COUNT,
        help="Train at most this many runs of a cell together; default: as many as fit in memory.",
    )
    results: Path = option(
        "--results",
        group="where",
        default=Path("results"),
        type=FOLDER,
        show_default=True,
        help="Folder of records.",
    )
    reports: Path = option(
        "--reports", group="where", default=Path("reports"), type=FOLDER, show_default=True, help="Folder of pages."
    )
    data: Path | None = option(
        "--data",
        group="where",
        type=FOLDER,
        envvar="VDAE_BENCH_DATA",
        help="Folder with the four IDX files (plain or .gz); default: download the files and cache them.",
    )
    checkpoint_every: str = option(
        "--checkpoint-every",
        group="how long",
        default="60s",
        show_default=True,
        metavar=TIME,
        help="Write a checkpoint this often; if the run is killed, it loses at most this much work.",
    )
    keep_checkpoints: bool = option(
        "--keep-checkpoints",
        group="what to run",
        default=False,
        is_flag=True,
        help="Keep the weights of each run beside its record, for use in notebooks.",
    )


@dataclass(frozen=True)
class RunOptions(Options):
    """Options of one call: its workers, its share of the runs, when it stops, what it prints."""

    workers: int | None = option(
        "--workers",
        group="where",
        type=WorkerCount(1),
        metavar="auto|N",
        help="Divide --threads among this many processes; default: auto, as many as save time.",
    )
    scheduler: str | None = option(
        "--scheduler",
        group="cluster",
        metavar="ADDRESS",
        help="Run on the workers of this Dask scheduler.",
        not_in_array="has workers of its own; an array's tasks are its workers",
    )
    tls_ca: Path | None = option(
        "--tls-ca",
        group="cluster",
        type=FOLDER,
        metavar="FILE",
        help="Certificate of the CA for a scheduler with TLS, as a PEM file.",
        not_in_array=FOR_SCHEDULER,
    )
    tls_cert: Path | None = option(
        "--tls-cert",
        group="cluster",
        type=FOLDER,
        metavar="FILE",
        help="Certificate of this machine for TLS, as a PEM file.",
        not_in_array=FOR_SCHEDULER,
    )
    tls_key: Path | None = option(
        "--tls-key",
        group="cluster",
        type=FOLDER,
        metavar="FILE",
        help="Key of that certificate, as a PEM file.",
        not_in_array=FOR_SCHEDULER,
    )
    storage: str | None = option(
        "--storage",
        group="cluster",
        metavar="URL",
        envvar=STORAGE_VARIABLE,
        help="Keep studies in this Optuna storage; default: a journal file beside the winners. Do not type a password: "
        f"put it into PGPASSFILE, or the whole URL into the variable {STORAGE_VARIABLE}.",
        not_in_array="is for a search, which runs before the array: vdae-bench search SPEC",
    )
    shard: str | None = option(
        "--shard",
        group="cluster",
        metavar="I/N",
        help="Run share I of N shares of about equal cost; auto takes both numbers from Slurm.",
    )
    time_limit: str | None = option(
        "--time-limit",
        group="how long",
        metavar=TIME,
        help="Stop after this time, such as 55m: write a checkpoint and exit with code 143.",
    )
    train_again: bool = option(
        "--train-again",
        group="what to run",
        default=False,
        is_flag=True,
        help="Keep weights, and train finished runs without weights once more; their records stay.",
        not_in_array="is for one machine; give the sweep's command there",
    )
    dry_run: bool = option(
        "--dry-run",
        group="what to run",
        default=False,
        is_flag=True,
        help="Show what would run, and run nothing.",
        not_in_array="runs nothing; leave it out",
    )
    quiet: bool = option("-q", "--quiet", group="where", default=False, is_flag=True, help="Print no progress.")


@dataclass(frozen=True)
class PlanOptions(Options):
    """Options that `plan` alone has."""

    calibrate: bool = option(
        "--calibrate",
        group="the estimate",
        default=False,
        is_flag=True,
        help="Measure a few steps of each cell on this device to estimate the time.",
    )
    flops_per_second: float | None = option(
        "--flops-per-second",
        group="the estimate",
        type=Rate(1, 1e30),
        help="Estimate the time on a device that reaches this many FLOP/s, for example 1.5e13.",
    )
    on: str | None = option(
        "--on",
        group="the estimate",
        type=click.Choice(list(MACHINES)),
        help="Estimate the time on this machine.",
    )
    form: Literal["text", "json", "slurm"] = option(
        "--format",
        group="cluster",
        default="text",
        type=click.Choice(["text", "json", "slurm"]),
        show_default=True,
        help="Form of the output; slurm prints a job array that you can submit.",
    )
    shards: int | None = option(
        "--shards",
        group="cluster",
        type=click.IntRange(1, MOST_SHARDS),
        help="Number of tasks of the Slurm array; default: one for each group of runs.",
    )
    time_limit: str = option(
        "--time-limit",
        group="cluster",
        default="55m",
        metavar=TIME,
        show_default=True,
        help="Time after which a task of the array stops and is requeued.",
    )


@dataclass(frozen=True)
class Command:
    """A call of a verb that runs something, with all that was said to it."""

    verb: str
    target: tuple[str, ...]
    """The spec's or part's word, or the flag in its place (`--noise-grid`)."""
    spec: SpecOptions = SpecOptions()
    machine: MachineOptions = MachineOptions()
    run: RunOptions = RunOptions()
    plugins: tuple[Path, ...] = ()
    typed: tuple[str, ...] | None = None
    """The fields that the command line set, in its order; without one, those that are not the default."""

    def __post_init__(self) -> None:
        if self.run.shard and self.spec.search:
            raise UserError(
                "--shard takes a part of the final runs and cannot search; search first with vdae-bench search SPEC"
            )
        if self.run.train_again and self.run.shard:
            raise UserError("--train-again takes all finished runs without weights; leave out --shard")

    def __str__(self) -> str:
        """The line that gives the same command again, in a shell and in a record."""
        said = {each.name: (each, value) for each, value in self._said()}
        names = said if self.typed is None else self.typed
        return self._line([word for name in names for word in words_of(*said[name])])

    def array_line(self) -> str:
        """The line of a job array: every option that is set.

        Raises:
            UserError: an option that has no meaning there is set.
        """
        words: list[str] = []
        for each, value in self._said():
            said = words_of(each, value)
            if said and each.metadata["not_in_array"]:
                raise UserError(f"{said[0]} {each.metadata['not_in_array']}")
            words += said
        return self._line(words)

    def _line(self, words: Sequence[str]) -> str:
        plugins = [word for plugin in self.plugins for word in ("--plugin", str(plugin))]
        line = ["vdae-bench", *plugins, self.verb, *self.target, *words]
        return " ".join(map(quoted, map(redacted_address, line)))

    def _said(self) -> Iterator[tuple[Field[Any], Any]]:
        for part in (self.spec, self.machine, self.run):
            for each in fields(part):
                yield each, getattr(part, each.name)


def words_of(option: Field[Any], value: Any) -> list[str]:
    """The words that give an option this value; none where that is its default.

    >>> words_of(fields(SpecOptions)[3], ("*_16", "*_32")), words_of(fields(SpecOptions)[6], False)
    (['--only', '*_16', '--only', '*_32'], ['--no-search'])
    """
    if value == option.default:
        return []
    flag, _, opposite = option.metadata["flags"][0].partition("/")
    if isinstance(value, bool):
        return [flag if value else opposite]
    values = value if isinstance(value, tuple) else (value,)
    return [word for each in values for word in (flag, str(each))]
