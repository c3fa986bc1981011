"""The verbs `plan` and `validate`, which run nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click
from tabulate import tabulate

from vdae_bench.cli.resolve import changed_spec, within_budget
from vdae_bench.data.registry import find_dataset, own_datasets, parse_dataset_id
from vdae_bench.errors import UserError
from vdae_bench.models.registry import loaded_plugins
from vdae_bench.running.context import RunContext, create_context
from vdae_bench.running.cost import Calibration, calibrate, group_work, predict_seconds, price, train_bytes
from vdae_bench.running.job import RunGroup
from vdae_bench.running.machines import MACHINES
from vdae_bench.running.options import Command, MachineOptions, PlanOptions, SpecOptions
from vdae_bench.running.plan import Plan, named_cells, plan
from vdae_bench.running.shards import shares
from vdae_bench.running.slurm import job_array
from vdae_bench.running.workbench import Workbench
from vdae_bench.search.searches import search_text, take_winners
from vdae_bench.search.studies import studies_to_run
from vdae_bench.search.winner import trials_frozen
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.system.words import counted, duration, parse_duration


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
    what = f"{counted(runs, 'run')} in {counted(len(planned.groups), 'group')}, {flops / 1e12:.1f} TFLOP"
    total = f"to run: {what}; the columns are for one seed"
    if timed:
        headers += ["train", "test"]
        training = sum(timing.epoch_seconds * epochs[group.job.cell] for group, timing in timed)
        parts = ("nll", "elbo", "samples")
        nll, elbo, samples = (sum(getattr(each, f"{part}_seconds") for each in timings) for part in parts)
        total += (
            f"\n{where}: about {duration(training + nll + elbo + samples)}: {duration(training)} to train, "
            f"{duration(nll)} for the NLL"
        )
        total += f", {duration(samples)} for the evidence of samples" if samples else ""
    if spec.protocol.quality_samples and not any(each.samples_seconds for each in timings):
        total += (
            f"\nnot counted: the quality of {counted(spec.protocol.quality_samples, 'sample')} of each run "
            "(vdae-bench plan --calibrate measures it), and a minute or two to train its classifier, once on each "
            "machine"
        )
    protocol, (batch, images) = spec.protocol, _on_images(spec)
    return "\n".join(
        [
            f"{spec.name}: {spec.description}" if spec.description else spec.name,
            f"protocol {protocol.name}: {counted(protocol.epochs, 'epoch')} of batch {batch}, "
            f"{counted(spec.seeds, 'seed')}, "
            f"K = {protocol.importance_samples} on {images}",
            "",
            tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1))),
            "",
            total,
        ]
    )


def _on_images(spec: SweepSpec) -> tuple[str, str]:
    """Batch and test images with K samples, as they will be: a data set may have fewer than the protocol asks for."""
    datasets = dict.fromkeys(parse_dataset_id(cell.dataset)[1] for cell in spec.cells)
    done = {name: spec.protocol.done_on(find_dataset(name)) for name in datasets}
    batches = {name: str(protocol.batch_size) for name, protocol in done.items()}
    images = {name: counted(protocol.nll_images, "image") for name, protocol in done.items()}
    return _each(batches), _each(images)


def _each(words: Mapping[str, str]) -> str:
    """A word for each data set, or the one that all have."""
    alike = [*dict.fromkeys(words.values())]
    return alike[0] if len(alike) == 1 else ", ".join(f"{word} of {name}" for name, word in words.items())


def show_plan(word: str, options: SpecOptions, machine: MachineOptions, asked: PlanOptions) -> None:
    """Print what a sweep would run, and for how long: on this device, or on one that achieves so many FLOP/s."""
    if sum(map(bool, (asked.calibrate, asked.flops_per_second, asked.on))) > 1:
        raise UserError(
            "--calibrate, --flops-per-second and --on are three ways to estimate the time; give one of them"
        )
    context = create_context(machine, computes=asked.calibrate)
    resolved = within_budget(changed_spec(word, options), options, context, may_calibrate=asked.calibrate)
    cells = named_cells(resolved.cells, options.only)
    studies = studies_to_run(resolved, cells, compare=False) if options.search else []
    resolved = take_winners(resolved, context.store, options.search, quiet=asked.form != "text")
    planned = plan(resolved, context.store, context.limit, options.only)
    timings, where = [], "on this device, from a few steps of each"
    if asked.flops_per_second:
        timings = [predict_seconds(group, asked.flops_per_second) for group in planned.groups]
        where = f"at {asked.flops_per_second / 1e12:.4g} TFLOP/s"
    elif asked.on:
        machine_there = MACHINES[asked.on]
        rates = [machine_there.flops_per_second(group.job.own_protocol.precision) for group in planned.groups]
        timings = [predict_seconds(group, rate) for group, rate in zip(planned.groups, rates, strict=True)]
        where = machine_there.where
    elif asked.calibrate:
        timings = [calibrate(group, lambda group: Workbench(group, context)) for group in planned.groups]
    if asked.form == "slurm":
        command = Command("sweep", (word,), options, machine, plugins=tuple(loaded_plugins()))
        click.echo(_slurm_script(command, planned, timings, context, asked), nl=False)
        return
    if asked.form == "text":
        if studies:
            click.echo(search_text(resolved, studies, context.store))
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
                "images": each.job.images.model_dump(),
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
                "frozen": trials_frozen(study, context.store),
                "epochs": study.epochs,
                "train_flops": study.train_flops,
            }
            for study in studies
        ],
    }
    click.echo(json.dumps(content, indent=1))


def _slurm_script(
    command: Command, planned: Plan, timings: Sequence[Calibration], context: RunContext, asked: PlanOptions
) -> str:
    """A job array for a sweep; as many shares as asked for, else one a group."""
    groups = planned.all_groups
    count = asked.shards or len(groups)
    longest = None
    if timings:
        timed = zip(planned.groups, timings, strict=True)
        seconds = {
            (job.cell, seed): sum(_seconds_of(group, timing.per_seed(group)).values())
            for group, timing in timed
            for job, seed in group.runs
        }
        of_group = [sum(seconds.get((job.cell, seed), 0.0) for job, seed in group.runs) for group in groups]
        longest = max(
            sum(of_group[index] for index in part) for part in shares([group_work(group) for group in groups], count)
        )
    limit = parse_duration(asked.time_limit)
    gpu = command.machine.device == "cuda"
    return job_array(planned.cells[0].job.sweep, command, count, limit, context.threads, gpu, longest)


def _seconds_of(group: RunGroup, timing: Calibration) -> dict[str, float]:
    epochs = group.job.training_settings().epochs
    return {
        "train": timing.epoch_seconds * epochs,
        "nll": timing.nll_seconds,
        "elbo": timing.elbo_seconds,
        "samples": timing.samples_seconds,
    }


def show_validation(word: str) -> None:
    """Check a spec and print how many cells it has, and the checksum of each data set of its own."""
    spec = load_spec(find_spec(word))
    for each in own_datasets():
        counts = ", ".join(f"{count:,} {split}" for split, count in each.counts.items())
        size = " x ".join(map(str, each.image_shape))
        click.echo(f"{each.name}: {size} pixels; {counts}; sha256 {each.sha256}")
    size = f"{counted(len(spec.cells), 'cell')}, {counted(spec.seeds, 'seed')} each"
    click.echo(f"{spec.name}: {size}, protocol {spec.protocol.name}")
