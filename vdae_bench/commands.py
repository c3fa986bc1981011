"""What the verbs do: from parsed words to runs and printed text. The verbs themselves are in `cli.py`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from vdae_bench import devices
from vdae_bench.budget import fit_budget
from vdae_bench.data.fetch import verify
from vdae_bench.doctor import examine
from vdae_bench.engines import choose_engine
from vdae_bench.errors import Failed, UserError
from vdae_bench.lease import Lease
from vdae_bench.models.registry import loaded_plugins
from vdae_bench.plan import (
    MAX_REPLICAS,
    Calibration,
    Group,
    GroupLimit,
    Plan,
    calibrate,
    foretell,
    group_work,
    plan,
    price,
    train_bytes,
)
from vdae_bench.progress import choose_progress, duration
from vdae_bench.provenance import code_state
from vdae_bench.runner import StopRequest, Surroundings, Workbench
from vdae_bench.schedule import Outcome, clear_leftovers, run_plan
from vdae_bench.search.studies import studies_of, studies_to_run
from vdae_bench.search.sweep import run_studies, search_sweep, search_text, take_winners
from vdae_bench.search.winner import all_winners, trials_frozen
from vdae_bench.shards import parse_shard, shares
from vdae_bench.slurm import job_array
from vdae_bench.spec import SweepSpec, find_spec, load_spec
from vdae_bench.store import Store
from vdae_bench.yaml_file import YamlFile

SURROUNDINGS = ("device", "threads", "results", "data", "checkpoint_every", "keep_checkpoints", "replicas", "workers")
"""The words of a verb that runs something which say where and on what."""


def surroundings(
    device: devices.Choice,
    threads: int | None,
    results: Path,
    data: Path | None,
    checkpoint_every: str = "60s",
    keep_checkpoints: bool = False,
    replicas: int | None = None,
    workers: int | None = None,
) -> Surroundings:
    """Device, threads and folders, set up for this process; the memory is that of each of so many workers."""
    code_state()  # now, before the tree can change under a long run
    chosen = devices.choose(device)
    count = threads or devices.usable_processors()
    devices.prepare(count)
    seconds = parse_duration(checkpoint_every)
    limit = GroupLimit(devices.group_bytes(chosen) // (workers or 1), replicas or MAX_REPLICAS)
    return Surroundings(Store(results), chosen, count, data, seconds, keep_checkpoints, limit)


def parse_settings(settings: Sequence[str], epochs: int | None) -> dict[str, Any]:
    """`--set key=value` words, the values read as YAML, and `--epochs`."""
    values: dict[str, Any] = {"epochs": epochs} if epochs is not None else {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set takes KEY=VALUE, as in --set learning_rate=1e-4; not {word!r}")
        values[key.strip()] = YamlFile(Path("--set"), text).content
    return values


def parse_duration(text: str) -> float:
    """Seconds in a word such as 90s, 30m, 1.5h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise UserError(f"a time is written 90s, 30m or 8h, not {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


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


def run_sweeps(names: Sequence[str], *, reports: Path, dry_run: bool, quiet: bool, **words: Any) -> None:
    """Run sweeps one after the other, then draw and print their reports."""
    stop = stop_request(words)
    shard = parse_shard(words["shard"]) if words["shard"] else None
    if shard and words["search"]:
        raise UserError("--shard takes a part of the final runs; search first: vdae-bench search SPEC")
    around = surroundings(**{name: words[name] for name in SURROUNDINGS})
    for name in names:
        if len(names) > 1 and load_spec(find_spec(name)).search is None:
            spec = resolve(name, around, {**words, "search": None, "trials": None}, may_calibrate=not dry_run)
        else:
            spec = resolve(name, around, words, may_calibrate=not dry_run)
            if words["search"] and dry_run:
                click.echo(search_text(spec, studies_of(spec), around.store))
            elif words["search"]:
                search_sweep(spec, around, words, quiet, stop)
            spec = take_winners(spec, around.store, words["search"], quiet)
        planned = plan(spec, around.store, around.limit, words["only"])
        if shard:
            planned = shard.of(planned, around.store)
        if dry_run:
            click.echo(plan_text(spec, planned))
            continue
        outcome = run_spec(planned, around, quiet, stop, words["workers"], words["scheduler"])
        report_sweep(spec, around.store, reports)
        raise_if_failed(outcome, planned)


def run_spec(
    planned: Plan, around: Surroundings, quiet: bool, stop: StopRequest, workers: int | None, scheduler: str | None
) -> Outcome:
    """Run what has no record; a signal ends it after a checkpoint."""
    clear_leftovers(planned, around.store)
    if not planned.groups:
        return Outcome()
    with (
        stop.listening(),
        choose_progress(lambda: sum(map(group_work, planned.groups)), quiet) as progress,
        choose_engine(workers, scheduler, around, progress.say) as engine,
    ):
        return run_plan(planned, around, progress, stop, engine)


def run_search(word: str, *, reports: Path, dry_run: bool, quiet: bool, **words: Any) -> None:
    """Run the studies of a spec, those of its comparison too, and draw them."""
    around = surroundings(**{name: words[name] for name in SURROUNDINGS})
    spec = resolve(word, around, {**words, "search": True})
    studies = studies_to_run(spec, compare=True)
    if dry_run:
        click.echo(search_text(spec, studies, around.store))
        return
    stop = stop_request(words)
    run_studies(studies, around, words, quiet, stop)
    report_sweep(spec, around.store, reports)


def raise_if_failed(outcome: Outcome, planned: Plan) -> None:
    """Exit code 1 with a list when runs failed or diverged, now or before."""
    lines = [f"{group.label}: {error}" for group, error in outcome.failures]
    lines += [
        f"{record.cell.dataset}_{record.cell.method}_{record.cell.latents} seed {record.seed}: "
        f"{'; '.join(record.flags)}"
        for record in outcome.diverged
    ]
    lines += [
        f"{each.job.cell.slug} seed {seed}: diverged (recorded before)"
        for each in planned.cells
        for seed in each.diverged
    ]
    if lines:
        raise Failed("not all runs came to a result:\n  " + "\n  ".join(lines))


def report_sweep(spec: SweepSpec, store: Store, reports: Path) -> None:
    """Draw the reports that a sweep's records are part of, and print its own."""
    from vdae_bench.report.build import FORMATS, build_reports
    from vdae_bench.report.claims import claims_protocol

    place = (spec.protocol.name, spec.name)
    if any(True for _ in store.records(*place)) or any(True for _ in all_winners(store, spec.name, spec.protocol.name)):
        name = spec.protocol.name
        # The claims that a sweep is evidence for stand on the pages of the paper's other sweeps too.
        others = {claims_protocol(spec.name, name)} - {name, None}
        for protocol in (name, *others):
            if protocol == name or any(True for _ in store.records(protocol)):
                for written in build_reports(store, reports, protocol=protocol, formats=FORMATS):
                    if (written.sweep, written.protocol, written.path.suffix) == (spec.name, name, ".md"):
                        click.echo(written.console)


def illustrate(out: Path, steps: int | None) -> None:
    """Train the toy models and write their picture, with its numbers beside it."""
    from vdae_bench.illustration import STEPS
    from vdae_bench.illustration import illustrate as train
    from vdae_bench.report.illustration import draw, in_words, values_table

    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be is found out before the training
    devices.prepare(1)  # products this small are slower on two threads, and their last bits would depend on the number
    shown = train(steps or STEPS)
    table = values_table(shown).to_csv(index=False, lineterminator="\n")
    for ending, content in {**draw(shown), "csv": table.encode()}.items():
        path = out / f"space.{ending}"
        path.write_bytes(content)
        click.echo(path)
    click.echo(in_words(shown))


def plan_text(spec: SweepSpec, planned: Plan, timings: Sequence[Calibration] = (), where: str = "") -> str:
    """The plan as a table, with the seconds of its groups where they are known."""
    timed = list(zip(planned.groups, timings, strict=False))
    of_cell = {cell: timing.per_seed(group) for group, timing in timed for cell in group.cells}
    rows, runs, flops = [], 0, 0
    epochs = {each.job.cell: each.job.training_settings().epochs for each in planned.cells}
    for each in planned.cells:
        cost = price(each.job)
        runs += len(each.missing)
        flops += cost.flops * len(each.missing)
        rows.append(
            [
                each.job.cell.slug,
                len(each.done),
                len(each.missing),
                f"{cost.parameters / 1e6:.2f} M",
                f"{cost.train_flops / 1e12:.2f}",
                f"{cost.evaluation_flops / 1e12:.2f}",
                f"{train_bytes(each.job) / 2**20:.0f} MiB",
            ]
        )
        if timed:
            timing = of_cell.get(each.job.cell)
            seconds = (timing.epoch_seconds * epochs[each.job.cell], timing.evaluation_seconds) if timing else ()
            rows[-1] += [duration(value) for value in seconds] or ["", ""]
    headers = ["cell", "done", "to run", "parameters", "train TFLOP", "test TFLOP", "memory"]
    total = f"to run: {runs} runs in {len(planned.groups)} groups, {flops / 1e12:.1f} TFLOP; columns are for one seed"
    if timed:
        headers += ["train", "test"]
        training = sum(timing.epoch_seconds * epochs[group.job.cell] for group, timing in timed)
        parts = ("nll", "elbo", "samples")
        nll, elbo, samples = (sum(getattr(each, f"{part}_seconds") for each in timings) for part in parts)
        total += (
            f"\n{where}: about {duration(training + nll + elbo + samples)}, of it {duration(training)} to train, "
            f"{duration(nll)} for the NLL"
        )
        total += f", {duration(samples)} for the evidence of samples" if samples else ""
    if spec.protocol.quality_samples and not any(each.samples_seconds for each in timings):
        total += (
            f"\nnot counted: judging {spec.protocol.quality_samples} samples of each run (--calibrate times it), and "
            "a minute or two for the classifier that does, once a machine"
        )
    protocol = spec.protocol
    return "\n".join(
        [
            f"{spec.name}: {spec.description}" if spec.description else spec.name,
            f"protocol {protocol.name}: {protocol.epochs} epochs of batch {protocol.batch_size}, {spec.seeds} seeds, "
            f"K = {protocol.importance_samples} on {protocol.nll_images} images",
            "",
            tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1))),
            "",
            total,
        ]
    )


def show_plan(spec: str, *, measure: bool, flops_per_second: float | None, form: str, **words: Any) -> None:
    """Print what a sweep would run, and for how long: on this device, or on one that achieves so many FLOP/s."""
    if measure and flops_per_second:
        raise UserError("--calibrate times this device, --flops-per-second is for another; give one of them")
    around = surroundings(**{name: words[name] for name in SURROUNDINGS if name in words})
    resolved = resolve(spec, around, words, may_calibrate=measure)
    studies = studies_of(resolved) if words["search"] else []
    resolved = take_winners(resolved, around.store, words["search"], quiet=form != "text")
    planned = plan(resolved, around.store, around.limit, words["only"])
    timings, where = [], "on this device, from a slice of each"
    if flops_per_second:
        timings = [foretell(group, flops_per_second) for group in planned.groups]
        where = f"at {flops_per_second / 1e12:.4g} TFLOP/s"
    elif measure:
        timings = [calibrate(group, lambda group: Workbench(group, around)) for group in planned.groups]
    if form == "slurm":
        click.echo(_slurm_script(spec, planned, timings, around, words), nl=False)
        return
    if form == "text":
        if studies:
            click.echo(search_text(resolved, studies, around.store))
        click.echo(plan_text(resolved, planned, timings, where))
        return
    content = {
        "sweep": resolved.name,
        "protocol": resolved.protocol.model_dump(mode="json"),
        "cells": [
            {
                "cell": each.job.cell.slug,
                "done": list(each.done),
                "to_run": list(each.missing),
                "hyperparameters": each.job.hyperparameters,
                **vars(price(each.job)),
                "train_bytes": train_bytes(each.job),
            }
            for each in planned.cells
        ],
        "groups": [
            {
                "cells": [cell.slug for cell in group.cells],
                "seeds": list(group.seeds),
                "seconds": _seconds_of(group, timings[index]) if timings else None,
            }
            for index, group in enumerate(planned.groups)
        ],
        "search": [
            {
                "study": study.slug,
                "serves": list(study.serves),
                "trials": study.trials,
                "frozen": trials_frozen(study, around.store),
                "epochs": study.epochs,
                "train_flops": study.train_flops,
            }
            for study in studies
        ],
    }
    click.echo(json.dumps(content, indent=1))


def _slurm_script(
    name: str, planned: Plan, timings: Sequence[Calibration], around: Surroundings, words: dict[str, Any]
) -> str:
    """A job array for the command line's sweep; as many shares as asked for, else one a group."""
    if words["budget"]:
        raise UserError("--budget is for this machine; give --epochs and --seeds for a cluster")
    groups = planned.everything
    count = words["shards"] or len(groups)
    options: list[str] = []
    for plugin in loaded_plugins():
        options += ["--plugin", str(plugin)]
    options += ["sweep", name]
    for option in ("protocol", "epochs", "seeds", "replicas", "data"):
        if words[option] is not None:
            options += [f"--{option}", str(words[option])]
    for pattern in words["only"]:
        options += ["--only", pattern]
    for setting in words["settings"]:
        options += ["--set", setting]
    options += ["--results", str(words["results"]), "--device", words["device"]]
    if words["search"] is False:
        options += ["--no-search"]
    longest = None
    if timings:
        timed = zip(planned.groups, timings, strict=True)
        seconds = {group.identity: sum(_seconds_of(group, timing).values()) for group, timing in timed}
        parts = shares([group_work(group) for group in groups], count)
        longest = max(sum(seconds.get(groups[index].identity, 0.0) for index in part) for part in parts)
    limit = parse_duration(words["time_limit"])
    gpu = words["device"] == "cuda"
    return job_array(planned.cells[0].job.sweep, options, count, limit, around.threads, gpu, longest)


def _seconds_of(group: Group, timing: Calibration) -> dict[str, float]:
    epochs = group.job.training_settings().epochs
    return {
        "train": timing.epoch_seconds * epochs,
        "nll": timing.nll_seconds,
        "elbo": timing.elbo_seconds,
        "samples": timing.samples_seconds,
    }


def show_status(word: str, protocol: str | None, results: Path) -> None:
    """Print finished, started, diverged and missing runs."""
    store = Store(results)
    names = ["table1", "table2"] if word == "all" else [word]
    for name in names:
        spec = load_spec(find_spec(name), protocol)
        with contextlib.suppress(UserError):  # a winner of another search says nothing of what is missing
            spec = take_winners(spec, store, asked=None, quiet=True)
        planned = plan(spec, store)
        started = {cell for group in planned.groups if group.begun(store) for cell in group.cells}
        rows = [
            [
                each.job.cell.slug,
                len(each.done) - len(each.diverged),
                "yes" if each.job.cell in started else "",
                len(each.diverged),
                len(each.missing),
            ]
            for each in planned.cells
        ]
        for path, reason in store.unreadable(spec.protocol.name, spec.name):
            click.echo(f"{path} is not read, and kept aside when its run is run again: {reason}")
        click.echo(f"{spec.name}, protocol {spec.protocol.name}")
        click.echo(tabulate(rows, ["cell", "finished", "checkpoint", "diverged", "missing"]))
        for lease in sorted(store.folder(spec.name, spec.protocol.name, "checkpoints").glob("*.lease")):
            if note := Lease(lease).read_note():
                share = "" if note["fraction"] is None else f", {note['fraction']:.0%}"
                at = f"{note['phase']}{share}" if note["phase"] else "starts"
                click.echo(f"process {note['process']} on {note['host']}: {note['label']}: {at}")
        click.echo()


def validate(word: str) -> None:
    """Print what a valid spec holds."""
    spec = load_spec(find_spec(word))
    click.echo(f"{spec.name}: {len(spec.cells)} cells, {spec.seeds} seeds each, protocol {spec.protocol.name}")


def verify_data(dataset: str, folder: Path | None) -> int:
    """Print a line a file; 0 when all are right, else 2."""
    checks = verify(dataset, folder)
    for name, right, digest in checks:
        click.echo(f"{'ok   ' if right else 'WRONG'} {name} {digest or 'missing'}")
    return 0 if all(right for _, right, _ in checks) else 2


def show_health(results: Path, reports: Path, folder: Path | None, form: str) -> int:
    """Print what the machine has for a run; 0 when it can start, else 2."""
    findings = list(examine(results, reports, folder))
    if form == "json":
        click.echo(json.dumps([vars(each) for each in findings], indent=1))
    for each in findings if form == "text" else ():
        click.echo(f"{each.state:5} {each.name}: {each.found}")
        if each.remedy:
            click.echo(f"      {each.remedy}")
    return 2 if any(each.state == "wrong" for each in findings) else 0
