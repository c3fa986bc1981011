"""The verbs: parse, call, print. Nothing heavy is imported until a verb needs it."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from vdae_bench import __version__
from vdae_bench.cli import streams
from vdae_bench.cli.completion import (
    complete_cells,
    complete_formats,
    complete_recorded_sweeps,
    complete_sweeps,
)
from vdae_bench.cli.help import Parts, Verbs, example
from vdae_bench.cli.lists import list_verb
from vdae_bench.cli.options import (
    data_option,
    dataset_argument,
    device_option,
    format_option,
    noise_grid_option,
    plugin_option,
    recorded_protocol_option,
    reports_option,
    results_option,
    takes,
    threads_option,
)
from vdae_bench.errors import VdaeBenchError
from vdae_bench.export import LIBRARIES
from vdae_bench.running.options import FOLDER, MachineOptions, PlanOptions, RunOptions, SpecOptions
from vdae_bench.spec.shipped import SWEEP_OF_PART
from vdae_bench.system.redact import redacted
from vdae_bench.system.words import visible

PARTS = (*SWEEP_OF_PART, "all")
SPEC_OR_GRID = "give the name or file of a spec, or --noise-grid for the sweep behind Figure 1"


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="vdae-bench")
@plugin_option
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks; works before and after the verb.")
def cli() -> None:
    """Reproduce the VDAE paper (Gritsenko, Snoek, Salimans 2019) and compare flows, VAEs and denoising autoencoders."""


cli.add_command(list_verb)


@cli.command(
    short_help="Train and report a table or figure of the paper.",
    epilog=example(
        "vdae-bench reproduce table1", 'vdae-bench reproduce table2 --protocol smoke --only "*_vae_*" --seeds 1'
    ),
)
@click.argument("part", type=click.Choice(PARTS), metavar="PART")
@takes(options=SpecOptions, machine=MachineOptions, run=RunOptions)
def reproduce(part: str, options: SpecOptions, machine: MachineOptions, run: RunOptions) -> None:
    """Train, evaluate and report a part of the paper.

    PART is table1, table2, figure1, figure2, figure3, figure4 or all. The command downloads the data if it is missing,
    and skips runs that have a record. Figures 2 to 4 show samples. The last lines name the page and the figure.
    """
    from vdae_bench.cli import run as commands
    from vdae_bench.cli.resolve import typed_command

    sweeps = list(dict.fromkeys(SWEEP_OF_PART.values())) if part == "all" else [SWEEP_OF_PART[part]]
    commands.run_sweeps(sweeps, typed_command("reproduce", part, options, machine, run))
    if part == "all" and not run.dry_run:
        from vdae_bench.cli.results import show_claims

        show_claims(machine.results, machine.reports, None, "text", check=False)


@cli.command(
    short_help="Train and report the cells of a spec.",
    epilog=example(
        "vdae-bench sweep table1 --protocol standard --seeds 1", "vdae-bench sweep mine.yaml --plugin mine.py"
    ),
)
@click.argument("spec", required=False, shell_complete=complete_sweeps)
@noise_grid_option
@takes(options=SpecOptions, machine=MachineOptions, run=RunOptions)
def sweep(spec: str | None, noise_grid: bool, options: SpecOptions, machine: MachineOptions, run: RunOptions) -> None:
    """Train, evaluate and report the cells of a spec.

    SPEC is a YAML file, or the name of a shipped sweep (`vdae-bench list sweeps`).
    """
    if (spec is None) != noise_grid:
        raise click.UsageError(SPEC_OR_GRID)
    from vdae_bench.cli import run as commands
    from vdae_bench.cli.resolve import typed_command

    command = typed_command("sweep", spec or "--noise-grid", options, machine, run)
    commands.run_sweeps([spec or "figure1"], command)


@cli.command(
    "search",
    short_help="Search hyper-parameters by validation ELBO.",
    epilog=example("vdae-bench search table1 --trials 12"),
)
@click.argument("spec", shell_complete=complete_sweeps)
@takes(options=SpecOptions, machine=MachineOptions, run=RunOptions, without=("search", "shard", "train_again"))
def search_verb(spec: str, options: SpecOptions, machine: MachineOptions, run: RunOptions) -> None:
    """Run only the hyper-parameter search of a spec and keep its winners.

    If you stop the search, the same command continues it.
    """
    from vdae_bench.cli import run as commands
    from vdae_bench.cli.resolve import typed_command

    commands.run_search(spec, typed_command("search", spec, replace(options, search=True), machine, run))


@cli.command(
    short_help="Show what a sweep would run and cost; runs nothing.",
    epilog=example("vdae-bench plan table2 --protocol paper --on a100"),
)
@click.argument("spec", shell_complete=complete_sweeps)
@takes(options=SpecOptions, machine=MachineOptions, asked=PlanOptions)
def plan(spec: str, options: SpecOptions, machine: MachineOptions, asked: PlanOptions) -> None:
    """Show what a sweep would run, what it would cost, and which runs exist already. This verb runs nothing."""
    from vdae_bench.cli import plan as commands

    commands.show_plan(spec, options, machine, asked)


@cli.command(
    short_help="List finished, started, diverged and missing runs.",
    epilog=example("vdae-bench status table1 --protocol quick"),
)
@click.argument("spec", required=False, shell_complete=complete_sweeps)
@noise_grid_option
@takes(options=SpecOptions, machine=MachineOptions, run=RunOptions)
def status(spec: str | None, noise_grid: bool, options: SpecOptions, machine: MachineOptions, run: RunOptions) -> None:
    """List the finished, started, diverged and missing runs of each cell, running processes, and files left over.

    Give the same words as to `sweep` to see the runs of that command. Without a spec, the verb lists all of results/.
    """
    if spec is not None and noise_grid:
        raise click.UsageError(SPEC_OR_GRID)
    from vdae_bench.cli import status as commands

    commands.show_status("figure1" if noise_grid else spec, options, machine)


@cli.command(
    short_help="Show all runs in a browser while they train.", epilog=example("vdae-bench watch table1 --port 8800")
)
@click.argument("spec", required=False, shell_complete=complete_sweeps)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on this machine; default: any free port.")
@takes(options=SpecOptions, machine=MachineOptions)
def watch(spec: str | None, port: int, options: SpecOptions, machine: MachineOptions) -> None:
    """Serve a page about all runs on this machine, with each running process and its curve so far.

    Give the same words as to `sweep` to see only the processes of that command. The page does not slow any run.
    """
    from vdae_bench.cli import watch as commands

    commands.watch(spec, options, machine, port)


@cli.command(
    short_help="Draw pages, figures and tables from records.",
    epilog=example("vdae-bench report --protocol quick", "vdae-bench report --check"),
)
@plugin_option
@recorded_protocol_option("Draw only the pages of this protocol.")
@click.option(
    "--sweep", "sweep_name", shell_complete=complete_recorded_sweeps, help="Draw only the pages of this sweep."
)
@click.option(
    "--format",
    "formats",
    shell_complete=complete_formats,
    help="One or more of md, csv, latex, html, with commas between; default: all.",
)
@click.option("--check", is_flag=True, help="Write nothing; name the files that differ, and then exit with code 1.")
@click.option("--home", is_flag=True, help="Draw only reports/index.html, the page about all runs: half a minute.")
@results_option
@reports_option
def report(
    protocol: str | None,
    sweep_name: str | None,
    formats: str | None,
    check: bool,
    home: bool,
    results: Path,
    reports: Path,
) -> None:
    """Draw the pages, their figures, and their tables as CSV and LaTeX from the records. This verb trains nothing."""
    from vdae_bench.cli import results as commands

    if home:
        if protocol or sweep_name or formats or check:
            raise click.UsageError("--home takes no other options than --results and --reports; leave the others out")
        commands.write_home(results, reports)
        return
    commands.write_reports(results, reports, protocol, sweep_name, formats, check)


@cli.command(
    short_help="Judge the paper's claims from the records.",
    epilog=example("vdae-bench claims --protocol standard"),
)
@plugin_option
@recorded_protocol_option("Use only records of this protocol; default: the best records of any protocol.")
@format_option
@click.option("--check", is_flag=True, help="Exit with code 1 if verdicts differ from reports/<protocol>/claims.json.")
@results_option
@reports_option
def claims(protocol: str | None, form: str, check: bool, results: Path, reports: Path) -> None:
    """Judge each claim of the paper, and show the evidence for the verdict."""
    from vdae_bench.cli import results as commands

    commands.show_claims(results, reports, protocol, form, check)


@cli.command(
    "explain",
    short_help="Show where a number comes from.",
    epilog=example("vdae-bench explain binary-mnist_vae_16 --protocol standard"),
)
@plugin_option
@click.argument("cell", shell_complete=complete_cells)
@recorded_protocol_option("Look only at records of this protocol.")
@click.option("--spec", help="File of the sweep, if the sweep is not shipped.")
@results_option
def explain_verb(cell: str, protocol: str | None, spec: str | None, results: Path) -> None:
    """Show where the numbers of a cell come from (records, commit, command), and what would make it run again.

    CELL is a name such as binary-mnist_vae_16, or the end of its path, such as table2/quick/binary-mnist_vae_16.
    """
    from vdae_bench.cli import results as commands

    commands.show_explanation(results, cell, protocol, spec)


@cli.command(
    "compare",
    short_help="Compare two results folders, cell by cell.",
    epilog=example("vdae-bench compare results elsewhere/results"),
)
@plugin_option
@click.argument("first", metavar="RESULTS_A", type=FOLDER)
@click.argument("second", metavar="RESULTS_B", type=FOLDER)
@format_option
def compare_verb(first: Path, second: Path, form: str) -> None:
    """List the cells whose scores differ between two results folders, and by how much, with intervals over seeds."""
    from vdae_bench.cli import results as commands

    commands.show_comparison(first, second, form)


@cli.command(
    "export",
    short_help="Export records to Parquet, W&B, MLflow or TensorBoard.",
    epilog=example("vdae-bench export --to parquet table2"),
)
@plugin_option
@click.argument("sweep", required=False, shell_complete=complete_recorded_sweeps)
@click.option("--to", type=click.Choice(list(LIBRARIES)), required=True, help="Format to write.")
@recorded_protocol_option("Export only records of this protocol.")
@click.option("--out", type=FOLDER, help="Folder to write to; default: exports/FORMAT.")
@results_option
def export_verb(sweep: str | None, to: str, protocol: str | None, out: Path | None, results: Path) -> None:
    """Write records (settings, metrics, curves, images, provenance) to files for other dashboards.

    Nothing is sent over the network. Each format needs its library: pip install 'vdae-bench[parquet]', and so on.
    If you export again, no run appears twice.
    """
    from vdae_bench.cli import results as commands

    commands.export_records(to, results, out, protocol, sweep)


@cli.command(
    short_help="Draw the paper's models on a toy data set.", epilog=example("vdae-bench illustrate --out picture")
)
@click.option("--out", type=FOLDER, default=Path("reports/illustration"), show_default=True, help="Folder to write to.")
@click.option("--steps", type=click.IntRange(1), help="Training steps of each stage; fewer steps fit worse.")
def illustrate(out: Path, steps: int | None) -> None:
    """Draw the paper's models on a toy data set in the plane: space.svg, space.png and space.csv, in half a minute."""
    from vdae_bench.cli import tools as commands

    commands.draw_illustration(out, steps)


@cli.command(
    short_help="Compare the speed of training with other libraries.", epilog=example("vdae-bench bench --only nice")
)
@click.option(
    "--only", metavar="WORD", help="Run only cases with this word in their name or unit, such as nice or step."
)
@click.option("--rounds", type=click.IntRange(1), help="Measurements of each case; default: 3 to 7, as time allows.")
@device_option
@threads_option
@results_option
@reports_option
def bench(only: str | None, rounds: int | None, **machine: Any) -> None:
    """Compare the speed of our training steps with other libraries, in at most 10 minutes on two quiet cores.

    The verb writes results/bench/<machine>.json after every case, and reports/performance.md at the end. Install the
    other libraries with pip install -c constraints.txt '.[bench]'. If one is missing, its comparisons are skipped.
    On a GPU the file has the GPU's name, and nothing has a target.
    """
    from vdae_bench.cli import tools as commands

    commands.run_bench(only, rounds, MachineOptions(**machine))


@cli.command(
    short_help="Check a spec and name each mistake with its line.", epilog=example("vdae-bench validate mine.yaml")
)
@plugin_option
@click.argument("spec", shell_complete=complete_sweeps)
def validate(spec: str) -> None:
    """Check a spec, and name each mistake with its line and the nearest valid word."""
    from vdae_bench.cli import plan as commands

    commands.show_validation(spec)


@cli.command(short_help="Check this machine for problems that would stop a run.", epilog=example("vdae-bench doctor"))
@format_option
@results_option
@reports_option
@data_option
@click.pass_context
def doctor(context: click.Context, form: str, results: Path, reports: Path, data: Path | None) -> None:
    """Check libraries, threads, memory, disk, permissions and data, and say what to do about each problem.

    The exit code is 2 if a problem would stop a run.
    """
    from vdae_bench.cli import tools as commands

    context.exit(commands.show_health(results, reports, data, form))


@cli.group(
    cls=Parts,
    short_help="Download and check the data.",
    epilog=example("vdae-bench data fetch", "vdae-bench data verify fashion-mnist"),
)
def data() -> None:
    """Download and check the data."""


@data.command(
    "fetch",
    short_help="Download the files, verify them, and print their folder.",
    epilog=example("vdae-bench data fetch fashion-mnist"),
)
@plugin_option
@dataset_argument
@data_option
def data_fetch(dataset: str, data: Path | None) -> None:
    """Download the four files into the cache, verify them, and print their folder.

    With --data DIR, the verb verifies the files in that folder instead.
    """
    from vdae_bench.data.fetch import fetch

    click.echo(fetch(dataset, data, lambda line: click.echo(line, err=True)))


@data.command("verify", short_help="Compare each file with its checksum.", epilog=example("vdae-bench data verify"))
@plugin_option
@dataset_argument
@data_option
@click.pass_context
def data_verify(context: click.Context, dataset: str, data: Path | None) -> None:
    """Compare each file with its known checksum. The exit code is 2 if a file is wrong or missing."""
    from vdae_bench.cli import tools as commands

    context.exit(commands.verify_data(dataset, data))


@data.command("path", short_help="Print the folder of the cached files.", epilog=example("vdae-bench data path"))
@plugin_option
@dataset_argument
def data_path(dataset: str) -> None:
    """Print the folder of the cached files, even if the files are not there yet."""
    from vdae_bench.data.fetch import cache_path

    click.echo(cache_path(dataset))


def main() -> None:
    """Run a verb; turn errors into one sentence and an exit code."""
    streams.prepare()
    # Before torch is imported, and for the workers too. A thread may wait for one that has no processor, on a machine
    # with other work, and a thread that spins then burns its own: with seven runnable threads on two cores a step of a
    # small VAE on two threads took 1.9 s, asleep 0.13 s, as on one thread.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.environ.get("_VDAE_BENCH_COMPLETE"):  # a shell asks: click answers, and ends the process
        cli.main(prog_name="vdae-bench")
    words = [word for word in sys.argv[1:] if word != "--debug"]  # understood before and after the verb
    debug = len(words) < len(sys.argv) - 1
    try:
        # standalone_mode=False hands exceptions over, and returns the code of `context.exit`.
        code = cli.main(words, prog_name="vdae-bench", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("vdae-bench: interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    except SystemExit as ended:  # nothing here ends the process but the last line
        if debug:
            raise RuntimeError("something called sys.exit") from ended
        click.echo(f"vdae-bench: a plugin called sys.exit({ended.code!r}); change it to raise an error", err=True)
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except Exception as error:
        if debug:
            raise
        message, code = _in_a_sentence(error)
        click.echo("\n".join(map(visible, f"vdae-bench: {redacted(message)}".split("\n"))), err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _in_a_sentence(error: Exception) -> tuple[str, int]:
    """Sentence about an error for the user, and the exit code."""
    if isinstance(error, VdaeBenchError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}", 1
    if isinstance(error, MemoryError):
        return "memory is full; close other programs, or use a machine with more memory", 1
    what = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
    registry = sys.modules.get("vdae_bench.models.registry")
    plugins: tuple[Path, ...] = tuple(registry.loaded_plugins()) if registry else ()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if (file := Path(frame.f_code.co_filename).resolve()) in plugins:
            return f"plugin {file.name}, line {line}: {what}; mend it (--debug shows how it came there)", 2
    culprits = " or in the plugin ".join(["this is a bug in vdae-bench", *(file.name for file in plugins)])
    return f"{culprits} ({what}); --debug shows where", 1
