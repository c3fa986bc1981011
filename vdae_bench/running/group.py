"""The runner: a run group to published records, and the group as a task of the scheduler.

A group trains, evaluates and publishes its records together; from its checkpoint it continues with the same bits.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from vdae_bench.data.units import bits_per_dim
from vdae_bench.evaluation.likelihood import Evaluator
from vdae_bench.models.registry import get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import Price, group_work, price
from vdae_bench.running.job import Job, RunGroup
from vdae_bench.running.progress import scores_text
from vdae_bench.running.task import Busy, Report, run_leased
from vdae_bench.running.workbench import Workbench
from vdae_bench.store.evidence import write_evidence
from vdae_bench.store.provenance import continued, foreign_parts, provenance, this_part
from vdae_bench.store.records import (
    RECORD_SCHEMA,
    Cost,
    Curve,
    Metrics,
    Record,
    RecordedCell,
    Store,
    TestMetrics,
    ValidationMetrics,
    to_checked_json,
)
from vdae_bench.store.weights import save_model
from vdae_bench.system.devices import describe
from vdae_bench.training.trainer import Interrupted, Trainer

REDRAWS = 5
"""Other draws of the test set's noise on which a model without training is scored, to say how much a draw matters."""


def run_group(group: RunGroup, context: RunContext, report: Report, stop: Callable[[], bool]) -> list[Record]:
    """Train, evaluate and publish a group, from its checkpoint where there is one.

    Raises `Interrupted` after a checkpoint when `stop` says so.
    """
    run = _GroupRun(group, context, report, stop)
    run.restore()
    run.train()
    records = run.evaluate()
    run.publish(records)
    return records


class _GroupRun:
    """A group on its way to records, and all that its checkpoint holds."""

    def __init__(self, group: RunGroup, context: RunContext, report: Report, stop: Callable[[], bool]) -> None:
        self.group, self.context, self.report, self.stop = group, context, report, stop
        self.bench = Workbench(group, context)
        self.trainer = self.bench.trainer
        self.checkpoint = group.checkpoint(context.store, context.seconds_between_checkpoints)
        self.started_at = datetime.now(UTC)
        self.scores: dict[str, dict[str, Any]] = {}
        """State of the evaluator of each pass over the test set: at the last epoch, at the lowest validation."""
        self.seconds = 0.0
        """Evaluation so far."""
        self.parts = [this_part(describe(context.device), context.threads)]
        """The code and the machine of each part of the run so far."""
        for record in self.blank_records():  # else found out after the training, and each time again
            to_checked_json(record)

    def blank_records(self) -> list[Record]:
        """The records of the runs with all that is known before they begin."""
        context, replicas = self.context, len(self.group.runs)
        machine: dict[str, Any] = {"device": describe(context.device), "threads": context.threads, "replicas": replicas}
        cost = Cost(train_seconds=0, evaluation_seconds=0, train_flops=0, **machine)
        return [
            Record(
                schema_=RECORD_SCHEMA,
                status="diverged",
                cell=RecordedCell(**job.cell.as_record()),
                seed=seed,
                protocol=job.protocol.model_dump(mode="json"),
                hyperparameters={**job.hyperparameters, "source": job.source},
                metrics=Metrics(test=None, validation=None),
                curve=Curve(epoch=[], train_neg_elbo_nats=[], validation_neg_elbo_nats=[]),
                flags=[],
                cost=cost,
                method_title=get_method(job.cell.method).title,
                method_version=get_method(job.cell.method).version,
                images=job.images,
                provenance=_provenance(self, job, seed),
            )
            for job, seed in self.group.runs
        ]

    @functools.cached_property
    def cost(self) -> Price:
        """The price of a run; not counted before the first step, for it takes a second."""
        return price(self.group.job)

    def restore(self) -> None:
        """Take the checkpoint over, if there is one."""
        with self.checkpoint.restoring():
            if state := self.checkpoint.load():
                self.trainer.load_state(state["trainer"])
                self.parts = continued(state["parts"], self.parts[-1], self.trainer.step)
                self.started_at = datetime.fromisoformat(state["started_at"])
                self.scores, self.seconds = dict(state["scores"]), float(state["evaluation_seconds"])
                for each in self.scores.values():
                    self.bench.evaluator().load_state(each)  # of another form it is found out now

    def save(self, trainer_state: dict[str, Any]) -> None:
        """Write the checkpoint."""
        self.checkpoint.save(
            {
                "trainer": trainer_state,
                "scores": self.scores,
                "evaluation_seconds": self.seconds,
                "started_at": self.started_at.isoformat(),
                "runs": [job.run_digest(seed) for job, seed in self.group.runs],
                "parts": self.parts,
            }
        )

    def train(self) -> None:
        """Train to the last epoch."""

        def show(trainer: Trainer) -> None:
            fraction = trainer.step / trainer.steps * (1 - self.cost.evaluation_share)
            self.report(_training_phase(trainer, self.group), fraction)

        self.trainer.run(self.save, lambda: self.checkpoint.due, self.stop, show)

    def evaluate(self) -> list[Record]:
        """Score the test set after the last epoch and, where a replica overfits, at its lowest validation too."""
        overfitted = self.trainer.overfitted()
        passes = 1 + any(overfitted)
        evaluator = self.score("last", 0, passes)
        metrics = evaluator.metrics()
        if not get_method(self.group.job.cell.method).trains:
            spread = redraw_standard_deviation(self.bench)
            metrics = [{**each, "redraw_standard_deviation_nats": spread} for each in metrics]
        at_best: list[dict[str, float] | None] = [None] * len(metrics)
        if passes == 2:
            with self.trainer.at_its_lowest():
                scored = self.score("lowest", 1, passes).metrics()
            at_best = [each if rises else None for each, rises in zip(scored, overfitted, strict=True)]
        return _records(self, metrics, at_best, evaluator.flags, passes)

    def score(self, which: str, number: int, passes: int) -> Evaluator:
        """One pass over the test set, `number` (from 0) of so many; goes on where it was stopped."""
        began = time.perf_counter() - self.seconds
        evaluator = self.bench.evaluator()
        if which in self.scores:
            evaluator.load_state(self.scores[which])

        def keep() -> None:
            self.scores[which], self.seconds = evaluator.state(), time.perf_counter() - began

        def after_chunk() -> None:
            share, done = self.cost.evaluation_share, (number + evaluator.done / len(evaluator.chunks)) / passes
            self.report("evaluating" if which == "last" else "evaluating its best epoch", 1 - share + share * done)
            if self.checkpoint.due:
                keep()
                self.save(self.trainer.state())

        finished = evaluator.run(self.stop, after_chunk)
        keep()
        if not finished:
            self.save(self.trainer.state())
            raise Interrupted
        return evaluator

    def publish(self, records: list[Record]) -> None:
        """Put evidence, weights and then the records in place; the checkpoint has served."""
        published = list(zip(paths_of(self.group, self.context.store), records, strict=True))

        def show_classifier(fraction: float) -> None:
            self.report(f"training the classifier that judges samples, once: {fraction:.0%}", None)
            if self.stop():
                self.save(self.trainer.state())
                raise Interrupted

        write_beside(published, self.bench, self.context, show_classifier)
        self.context.store.publish(published)
        self.checkpoint.remove()


def paths_of(group: RunGroup, store: Store) -> list[Path]:
    """Paths of the records of a group's runs, written or not yet."""
    return [store.path(job.sweep, job.protocol.name, job.cell.slug, seed) for job, seed in group.runs]


def write_beside(
    published: list[tuple[Path, Record]],
    bench: Workbench,
    context: RunContext,
    show_classifier: Callable[[float], None],
) -> None:
    """Evidence of the samples of each completed run and, where asked for, its weights; before the records."""
    model = bench.model
    completed = [(replica, path) for replica, (path, record) in enumerate(published) if record.status == "completed"]
    if context.keep_models:
        for replica, path in completed:
            save_model(path, published[replica][1].run_digest, model, replica)
    if not completed:
        return
    evidence = bench.evidence([record.run_digest for _, record in published], bench.references(show_classifier))
    for replica, path in completed if evidence else ():
        write_evidence(path, evidence[replica])


def redraw_standard_deviation(bench: Workbench) -> float:
    """Standard deviation of the test NLL (nats an image) over other draws of the test set's noise."""
    values = []
    for draw in range(1, REDRAWS + 1):
        evaluator = bench.evaluator(draw)
        evaluator.run(lambda: False, lambda: None)
        values.append(evaluator.metrics()[0]["nll_nats"])
    return torch.tensor(values, dtype=torch.float64).std().item()


def _training_phase(trainer: Trainer, group: RunGroup) -> str:
    epoch = min(trainer.step // trainer.steps_per_epoch + 1, trainer.settings.epochs)
    text = f"epoch {epoch}/{trainer.settings.epochs}"
    if trainer.curve["validation"]:
        cells = (job.cell for job, _ in group.runs)
        text += f", validation -ELBO {scores_text(zip(cells, trainer.curve['validation'][-1], strict=True))}"
    return text


def _records(
    run: _GroupRun,
    metrics: list[dict[str, float]],
    at_best: list[dict[str, float] | None],
    evaluation_flags: list[str],
    passes: int,
) -> list[Record]:
    group, trainer, cost = run.group, run.trainer, run.cost
    replicas = len(group.runs)
    records = []
    for replica, blank in enumerate(run.blank_records()):
        diverged = trainer.diverged_at()[replica]
        measured, best = metrics[replica], at_best[replica]
        flags = [*trainer.flags()[replica], *evaluation_flags, *foreign_parts(run.parts, trainer.steps)]
        if diverged is not None:
            flags = [*flags, f"diverged at step {diverged}"]
        elif not all(math.isfinite(value) for value in measured.values()):
            diverged, flags = trainer.steps, [*flags, "test metrics are not finite"]
        finite_best = best is not None and diverged is None and all(map(math.isfinite, best.values()))
        curve = {split: [row[replica] for row in rows] for split, rows in trainer.curve.items()}
        known: dict[str, Any] = {
            "status": "completed" if diverged is None else "diverged",
            "metrics": Metrics(
                test=_test_metrics(group, measured) if diverged is None else None,
                test_at_best_epoch=_test_metrics(group, best) if best and finite_best else None,
                validation=_validation_metrics(curve["validation"]),
            ),
            "curve": Curve(
                epoch=list(range(1, len(curve["train"]) + 1)),
                train_neg_elbo_nats=[_finite(value) for value in curve["train"]],
                validation_neg_elbo_nats=[_finite(value) for value in curve["validation"]],
                validation_part="rotating",
                validation_standard_error_nats=[_finite(value) for value in curve["validation_error"]],
            ),
            "flags": flags,
            "provenance": _provenance(run, *group.runs[replica]),
            "cost": Cost(
                train_seconds=trainer.seconds["train"] / replicas,
                validation_seconds=trainer.seconds["validation"] / replicas,
                evaluation_seconds=run.seconds / replicas,
                train_flops=cost.train_flops,
                evaluation_flops=passes * cost.evaluation_flops,
                parameters=cost.parameters,
                device=blank.cost.device,
                threads=blank.cost.threads,
                replicas=replicas,
            ),
        }
        records.append(blank.model_copy(update=known))
    return records


def _provenance(run: _GroupRun, job: Job, seed: int) -> dict[str, Any]:
    found = provenance(job.run_digest(seed), run.trainer.data.sha256, run.started_at, run.context.command, run.parts)
    plugin = get_method(job.cell.method).plugin_sha256
    return found if plugin is None else {**found, "plugin_sha256": plugin}


def _test_metrics(group: RunGroup, measured: dict[str, float]) -> TestMetrics:
    continuous = group.job.view == "continuous"
    has_elbo = get_method(group.job.cell.method).has_elbo
    dims = group.job.data_dim
    bits = {name: bits_per_dim(measured[f"{name}_nats"], dims) if continuous else None for name in ("neg_elbo", "nll")}
    if not has_elbo:
        measured = {**measured, "neg_elbo_nats": None, "nll_images_neg_elbo_nats": None}  # type: ignore[dict-item]
    return TestMetrics.model_validate(
        {
            **measured,
            "neg_elbo_bits_per_dim": bits["neg_elbo"] if has_elbo else None,
            "nll_bits_per_dim": bits["nll"],
            "nll_standard_error_covers": "level",
        }
    )


def _validation_metrics(curve: list[float]) -> ValidationMetrics | None:
    finite = [value for value in curve if math.isfinite(value)]
    if not finite or not math.isfinite(curve[-1]):
        return None
    return ValidationMetrics(neg_elbo_nats=curve[-1], best_epoch=curve.index(min(finite)) + 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class GroupTask(RunGroup):
    """A run group as a task of the scheduler: its result is the records of its runs."""

    @functools.cached_property
    def work(self) -> float:
        """FLOPs of all runs of the group."""
        return group_work(self)

    def run(self, context: RunContext, report: Report, stop: Callable[[], bool]) -> list[Record] | Busy:
        """Run the group, or what of it others have not published; where they published all, take that."""
        found = self.records(context.store)
        there = [record for record in found if record]
        if len(there) == len(found):
            self.checkpoint(context.store).remove()  # whoever published was killed
            return there
        if there and not self.begun(context.store):  # processes that group the same runs in other ways
            lacking = tuple(run for run, record in zip(self.runs, found, strict=True) if not record)
            rest = run_leased(GroupTask(lacking), context, report, stop)
            return rest if isinstance(rest, Busy) else [*there, *rest]
        report("", 0.0)
        return run_group(self, context, report, stop)

    def halves(self) -> tuple[GroupTask, ...]:
        """Two groups of half the runs each, with the same numbers; none where there is only one run."""
        return tuple(map(GroupTask, self.halved()))
