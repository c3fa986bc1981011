"""The runner: a sweep's replica groups to published records, on any `concurrent.futures` executor.

A group trains, evaluates and publishes its records together; from its checkpoint it continues with the same bits.
What has a record is not run again, and a group that fails does not take the sweep with it.
"""

from __future__ import annotations

import functools
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from vdae_bench import atomic
from vdae_bench.data.images import Images, load_images
from vdae_bench.data.views import ViewedImages
from vdae_bench.devices import describe, is_out_of_memory, release_memory
from vdae_bench.errors import EnvironmentFault, VdaeBenchError
from vdae_bench.evaluation import Evaluator
from vdae_bench.lease import Held, Lease
from vdae_bench.models.kept import save_model
from vdae_bench.models.registry import get_method
from vdae_bench.plan import Group, Plan, Price, price
from vdae_bench.progress import Progress
from vdae_bench.provenance import provenance
from vdae_bench.samples.evidence import write_evidence
from vdae_bench.samples.gather import gather, load_references
from vdae_bench.store import (
    SCHEMA,
    Cost,
    Curve,
    Metrics,
    Record,
    RecordedCell,
    Store,
    TestMetrics,
    ValidationMetrics,
)
from vdae_bench.training.checkpoint import Checkpoint, Unusable, read_state
from vdae_bench.training.engine import Interrupted, Trainer
from vdae_bench.units import bits_per_dim

REDRAWS = 5
"""Other draws of the test set's noise on which a model without training is scored, to say how much a draw matters."""


SECONDS_BETWEEN_QUESTIONS = 1.0
OUT_OF_MEMORY = (
    "memory is full with one run alone; lower batch_size or hidden_size with --set, or take a machine with more memory"
)


@dataclass(frozen=True)
class Surroundings:
    """Where and on what a sweep runs; changes no number beyond float rounding."""

    store: Store
    device: torch.device
    threads: int
    data_folder: Path | None = None
    seconds_between_checkpoints: float = 60.0
    keep_models: bool = False
    """Whether the weights of each run are kept beside its record, for `api.load`."""


class StopRequest:
    """Whether a signal asked the run to stop: it then ends after a checkpoint. A second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take SIGINT and SIGTERM as requests while the block runs (in the main thread only)."""

        def receive(number: int, frame: FrameType | None) -> None:
            if self.signal is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.signal = number

        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {each: signal.signal(each, receive) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


@functools.lru_cache(maxsize=2)
def _images(name: str, folder: Path | None) -> Images:
    return load_images(name, folder)


class Workbench:
    """A group's data, model and trainer, ready to step."""

    def __init__(self, group: Group, around: Surroundings) -> None:
        job = group.job
        images = _images(job.dataset, around.data_folder)
        self.data = ViewedImages(images, job.view, around.device, job.protocol.train_images)
        self.group = group
        self.model = get_method(job.cell.method).build(group.problem())
        self.trainer = Trainer(
            self.model, self.data, group.seeds, job.adam_settings(len(group.seeds)), job.training_settings()
        )

    def evaluator(self, draw: int = 0) -> Evaluator:
        """An evaluator of the test set as it is now; `draw` other than 0 draws other noise of the view."""
        x = self.data.held_out("test", draw=draw)
        return Evaluator(self.model, x, self.group.seeds, self.group.job.evaluation_settings())


def run_group(
    group: Group, around: Surroundings, report: Callable[[str, float], None], stop: StopRequest
) -> list[Record]:
    """Train, evaluate and publish a group, from its checkpoint where there is one.

    `report(phase, fraction)` is called as it goes. Raises `Interrupted` after a checkpoint when `stop` says so.
    """
    started_at = datetime.now(UTC)
    job = group.job
    cost = functools.cache(lambda: price(job))  # not counted before the first step: it takes a second
    bench = Workbench(group, around)
    trainer = bench.trainer
    checkpoint = Checkpoint(group.checkpoint_path(around.store), group.identity, around.seconds_between_checkpoints)
    evaluation: dict[str, Any] = {"state": None, "seconds": 0.0}
    with checkpoint.restoring():
        if state := checkpoint.load():
            trainer.load_state(state["trainer"])
            started_at = datetime.fromisoformat(state["started_at"])
            evaluation = {"state": state["evaluator"], "seconds": float(state["evaluation_seconds"])}
            if evaluation["state"]:
                bench.evaluator().load_state(evaluation["state"])  # of another form it is found out now

    def save(trainer_state: dict[str, Any]) -> None:
        checkpoint.save(
            {
                "trainer": trainer_state,
                "evaluator": evaluation["state"],
                "evaluation_seconds": evaluation["seconds"],
                "started_at": started_at.isoformat(),
                "runs": [job.run_digest(seed) for job, seed in group.runs],
            }
        )

    def show_training(trainer: Trainer) -> None:
        report(_training_phase(trainer), trainer.step / trainer.steps * (1 - cost().evaluation_share))

    trainer.run(save, lambda: checkpoint.due, stop, show_training)

    began = time.perf_counter() - evaluation["seconds"]
    evaluator = bench.evaluator()
    if evaluation["state"]:
        evaluator.load_state(evaluation["state"])

    def after_chunk() -> None:
        share = cost().evaluation_share
        report("evaluating", 1 - share + share * evaluator.done / len(evaluator.chunks))
        if checkpoint.due:
            save_evaluation()

    def save_evaluation() -> None:
        evaluation["state"], evaluation["seconds"] = evaluator.state(), time.perf_counter() - began
        save(trainer.state())

    if not evaluator.run(stop, after_chunk):
        save_evaluation()
        raise Interrupted
    metrics = evaluator.metrics()
    if not get_method(job.cell.method).trains:
        spread = redraw_standard_deviation(bench)
        metrics = [{**each, "redraw_standard_deviation_nats": spread} for each in metrics]
    seconds = time.perf_counter() - began
    records = _records(group, trainer, metrics, evaluator.flags, cost(), seconds, started_at, around)
    published = list(zip(paths_of(group, around.store), records, strict=True))

    def show_classifier(fraction: float) -> None:
        report(f"a classifier to judge samples, trained once: {fraction:.0%}", 1.0)
        if stop():
            evaluation["state"], evaluation["seconds"] = evaluator.state(), seconds
            save(trainer.state())
            raise Interrupted

    write_beside(published, bench, around, show_classifier)
    around.store.publish(published)
    checkpoint.remove()
    return records


def paths_of(group: Group, store: Store) -> list[Path]:
    """Where the records of a group's runs are, or will be."""
    return [store.path(job.sweep, job.protocol.name, job.cell.slug, seed) for job, seed in group.runs]


def write_beside(
    published: list[tuple[Path, Record]],
    bench: Workbench,
    around: Surroundings,
    show_classifier: Callable[[float], None],
) -> None:
    """Evidence of the samples of each completed run and, where asked for, its weights; before the records."""
    job, model = bench.group.job, bench.model
    completed = [(replica, path) for replica, (path, record) in enumerate(published) if record.status == "completed"]
    if around.keep_models:
        for replica, path in completed:
            save_model(path, published[replica][1].run_digest, model, replica)
    if model.latent_dim is None or not completed:
        return
    images = _images(job.dataset, around.data_folder)
    references = None
    if count := job.protocol.quality_samples:
        references = load_references(images, job.view, around.data_folder, around.device, count, show_classifier)
    digests = [record.run_digest for _, record in published]
    evidence = gather(model, bench.data, images.shape, bench.group.seeds, digests, references)
    for replica, path in completed:
        write_evidence(path, evidence[replica])


def redraw_standard_deviation(bench: Workbench) -> float:
    """Standard deviation of the test NLL (nats an image) over other draws of the test set's noise."""
    values = []
    for draw in range(1, REDRAWS + 1):
        evaluator = bench.evaluator(draw)
        evaluator.run(lambda: False, lambda: None)
        values.append(evaluator.metrics()[0]["nll_nats"])
    return torch.tensor(values, dtype=torch.float64).std().item()


def _training_phase(trainer: Trainer) -> str:
    epoch = min(trainer.step // trainer.steps_per_epoch + 1, trainer.settings.epochs)
    text = f"epoch {epoch}/{trainer.settings.epochs}"
    if trainer.curve["validation"]:
        values = trainer.curve["validation"][-1]
        text += f", validation -ELBO {sum(values) / len(values):.2f} nats"
    return text


def _records(
    group: Group,
    trainer: Trainer,
    metrics: list[dict[str, float]],
    evaluation_flags: list[str],
    cost: Price,
    evaluation_seconds: float,
    started_at: datetime,
    around: Surroundings,
) -> list[Record]:
    replicas = len(group.runs)
    records = []
    for replica, (job, seed) in enumerate(group.runs):
        diverged = trainer.diverged_at()[replica]
        measured = metrics[replica]
        flags = [*trainer.flags()[replica], *evaluation_flags]
        if diverged is not None:
            flags = [*flags, f"diverged at step {diverged}"]
        elif not all(math.isfinite(value) for value in measured.values()):
            diverged, flags = trainer.steps, [*flags, "test metrics are not finite"]
        curve = {split: [row[replica] for row in rows] for split, rows in trainer.curve.items()}
        records.append(
            Record(
                schema_=SCHEMA,
                status="completed" if diverged is None else "diverged",
                cell=RecordedCell(**job.cell.as_record()),
                seed=seed,
                protocol=job.protocol.model_dump(mode="json"),
                hyperparameters={**job.hyperparameters, "source": job.source},
                metrics=Metrics(
                    test=_test_metrics(group, measured) if diverged is None else None,
                    validation=_validation_metrics(curve["validation"]),
                ),
                curve=Curve(
                    epoch=list(range(1, len(curve["train"]) + 1)),
                    train_neg_elbo_nats=[_finite(value) for value in curve["train"]],
                    validation_neg_elbo_nats=[_finite(value) for value in curve["validation"]],
                ),
                flags=flags,
                cost=Cost(
                    train_seconds=trainer.seconds["train"] / replicas,
                    validation_seconds=trainer.seconds["validation"] / replicas,
                    evaluation_seconds=evaluation_seconds / replicas,
                    train_flops=cost.train_flops,
                    evaluation_flops=cost.evaluation_flops,
                    parameters=cost.parameters,
                    device=describe(around.device),
                    threads=around.threads,
                    replicas=replicas,
                ),
                provenance=provenance(job.run_digest(seed), trainer.data.sha256, started_at),
            )
        )
    return records


def _test_metrics(group: Group, measured: dict[str, float]) -> TestMetrics:
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
        }
    )


def _validation_metrics(curve: list[float]) -> ValidationMetrics | None:
    finite = [value for value in curve if math.isfinite(value)]
    if not finite or not math.isfinite(curve[-1]):
        return None
    return ValidationMetrics(neg_elbo_nats=curve[-1], best_epoch=curve.index(min(finite)) + 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class SerialExecutor(Executor):
    """Runs each call at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call and return a finished future; `Interrupted` and Ctrl-C pass through."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Outcome:
    """What came of a sweep."""

    records: list[Record] = field(default_factory=list)
    failures: list[tuple[Group, Exception]] = field(default_factory=list)

    @property
    def diverged(self) -> list[Record]:
        """Runs that did not stay finite."""
        return [record for record in self.records if record.status == "diverged"]


def run_plan(
    planned: Plan, around: Surroundings, progress: Progress, stop: StopRequest, executor: Executor | None = None
) -> Outcome:
    """Run all groups of a plan; what fails is kept and reported, what follows still runs.

    A group that another process works on comes last, and is waited for. One that does not fit the memory runs as two.
    """
    outcome = Outcome()
    executor = executor or SerialExecutor()
    left, in_vain, started = deque(planned.groups), 0, 0
    while left:
        group = left.popleft()
        lease = Lease(group.checkpoint_path(around.store).with_suffix(".lease"))
        try:
            lease.take()
        except Held as held:
            left.append(group)
            in_vain += 1
            if in_vain == len(left):
                progress.say(f"waiting for {group.label}: {held}")
            if in_vain >= len(left):
                _pause(stop)
            continue
        in_vain = 0
        with lease.kept():
            found = group.records(around.store)
            there = [record for record in found if record]
            if len(there) == len(found):
                Checkpoint(group.checkpoint_path(around.store), group.identity).remove()  # whoever published was killed
                outcome.records += there
                continue
            if there and not group.begun(around.store):  # processes that group the same runs in other ways
                outcome.records += there
                left.appendleft(Group(tuple(run for run, record in zip(group.runs, found, strict=True) if not record)))
                continue
            started += 1
            progress.group_started(group.label, started, started + len(left))
            work = functools.cache(functools.partial(group_work, group))

            def report(phase: str, fraction: float, label: str = group.label, work: Callable[[], float] = work) -> None:
                progress.update(label, phase, work(), fraction)

            future = executor.submit(run_group, group, around, report, stop)
            error = future.exception()
        if error is None:
            records = future.result()
            outcome.records += records
            progress.group_ended(group.label, _outcome_line(records), work())
        elif is_out_of_memory(error) and len(group.runs) > 1:
            del future, error  # and with them what the failed run held
            release_memory()
            progress.group_ended(group.label, "memory is full: it goes on as two groups of half the replicas", 0)
            left.extendleft(reversed(group.halves()))
        elif isinstance(error, VdaeBenchError | RuntimeError | OSError | MemoryError):
            if is_out_of_memory(error):
                error = EnvironmentFault(OUT_OF_MEMORY)
            outcome.failures.append((group, error))
            progress.group_ended(group.label, f"failed: {error}", work())
        else:
            raise error
    return outcome


def clear_leftovers(planned: Plan, store: Store) -> None:
    """Remove what kills left of a sweep: temporary files and leases of dead processes, checkpoints of recorded runs."""
    job = planned.cells[0].job
    folder = store.folder(job.sweep, job.protocol.name, "checkpoints")
    for each in folder.parent.glob("*/"):
        atomic.clear(each)
        for path in each.glob("*.lease"):
            Lease(path).clear()
    waiting = {group.checkpoint_path(store).stem for group in planned.groups}
    left = [path for path in folder.glob("*.pt") if path.stem.removesuffix(".previous") not in waiting]
    left = [path for path in left if not path.name.startswith("search-")]
    recorded = {record.run_digest for _, record in store.records(job.protocol.name, job.sweep)} if left else set()
    for path in left:
        lease = Lease(folder / f"{path.stem.removesuffix('.previous')}.lease")
        with suppress(Held, EnvironmentFault, Unusable, OSError):  # another process is at it, or it is none of ours
            runs = read_state(path).get("runs")
            if isinstance(runs, list) and runs and recorded.issuperset(map(str, runs)):
                lease.take()
                with lease.kept():
                    path.unlink()


def _pause(stop: StopRequest) -> None:
    """Before others are asked again."""
    if stop():
        raise Interrupted
    time.sleep(SECONDS_BETWEEN_QUESTIONS)


def group_work(group: Group) -> float:
    """FLOPs of a group, for the progress display."""
    cost = price(group.job)
    return float(cost.flops * len(group.seeds)) or 1.0


def _outcome_line(records: list[Record]) -> str:
    done = [record for record in records if record.metrics.test]
    lost = len(records) - len(done)
    parts = [f"{lost} diverged"] if lost else []
    if done:
        tests = [record.metrics.test for record in done if record.metrics.test]
        nll = sum(test.nll_nats for test in tests) / len(tests)
        elbos = [test.neg_elbo_nats for test in tests if test.neg_elbo_nats is not None]
        parts += [f"-ELBO {sum(elbos) / len(elbos):.2f}"] if elbos else []
        parts.append(f"NLL {nll:.2f} nats")
        seconds = sum(record.cost.train_seconds + record.cost.evaluation_seconds for record in records)
        parts.append(f"{seconds:.0f} s")
    return ", ".join(parts)
