"""The options of the verbs, each declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several click options as one decorator."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _load_plugins(context: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]) -> None:
    if paths:
        from vdae_bench.models.registry import load_plugin

        for path in paths:
            load_plugin(path)


plugin_option = click.option(
    "--plugin",
    multiple=True,
    type=click.Path(path_type=Path),
    callback=_load_plugins,
    expose_value=False,
    is_eager=True,
    help="Python file that registers methods or data sets.",
)


protocol_option = click.option(
    "--protocol",
    metavar="NAME|FILE",
    help="smoke, quick, standard, paper-mixed, paper, or a YAML file; default: the spec's, else quick.",
)


results_option = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Records."
)


reports_option = click.option(
    "--reports", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="Reports."
)


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="VDAE_BENCH_DATA",
    help="Folder with the four IDX files (plain or .gz); without it they are fetched and cached.",
)


spec_options = options(
    plugin_option,
    protocol_option,
    click.option("--epochs", type=click.IntRange(1), help="Override; makes a protocol of its own."),
    click.option("--seeds", type=click.IntRange(1, 1000), help="How many seeds to run, from seed 0."),
    click.option("--only", multiple=True, metavar="GLOB", help="Only the cells of such names, as in '*_vae_16'."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a field or hyper-parameter."),
    click.option("--budget", metavar="TIME", help="Such as 30m or 8h: as many epochs (then seeds) as fit."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--threads", type=click.IntRange(1), help="Default: the processors this process may use."),
    click.option(
        "--replicas", type=click.IntRange(1), help="Train at most so many runs together; default: what fits the memory."
    ),
    results_option,
    data_option,
)


run_options = options(
    spec_options,
    reports_option,
    click.option(
        "--checkpoint-every", default="60s", show_default=True, metavar="TIME", help="What a kill loses at most."
    ),
    click.option("--time-limit", metavar="TIME", help="Such as 55m: stop after a checkpoint then, with exit code 143."),
    click.option("--keep-checkpoints", is_flag=True, help="Keep each run's weights beside its record, for the API."),
    click.option("--dry-run", is_flag=True, help="Show what would run, run nothing."),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
)


trials_option = click.option("--trials", type=click.IntRange(1), help="Of a search, in total; default: the spec's.")


storage_option = click.option(
    "--storage", metavar="URL", help="Optuna storage of the studies; default: a journal beside the winners."
)


shard_option = click.option(
    "--shard", metavar="I/N", help="A fixed part of the runs, balanced by their cost; auto: this Slurm array job's."
)


cluster_options = options(
    click.option("--workers", type=click.IntRange(1), help="Processes that share this machine's processors (Dask)."),
    click.option("--scheduler", metavar="ADDRESS", help="Run on the workers of this Dask scheduler."),
)


search_options = options(
    click.option(
        "--search/--no-search",
        default=None,
        help="Run the spec's hyper-parameter search first, or take no winners. Default: take those there are.",
    ),
    trials_option,
)


dataset_argument = click.argument("dataset", default="mnist")
