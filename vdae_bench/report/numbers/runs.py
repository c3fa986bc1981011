"""Runs: records with the place where they lie, and which of them may stand in one table.

A table is of the runs asked for last: those that `asked.json` beside the records names, and where there is none the
latest that agree in protocol, in data and, within a cell, in hyper-parameters. Each other record is named with why.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from vdae_bench.data.registry import published_counts
from vdae_bench.errors import UserError
from vdae_bench.report.numbers.units import learn_dims
from vdae_bench.search.winner import damaged_winners
from vdae_bench.spec.protocol import PAPER_IMAGES, Protocol, with_limits
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.asked import Asked, damaged_asked, read_asked
from vdae_bench.store.layout import is_record_of
from vdae_bench.store.records import Record, Store, TestMetrics
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import nearest
from vdae_bench.training.overfitting import rise_since_lowest

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


def portable(command: str) -> str:
    """A command without the places of the machine that it ran on: an absolute path is cut to its last part.

    >>> portable("vdae-bench sweep /home/me/mini.yaml --results=/scratch/r --scheduler tcp://host:8786")
    'vdae-bench sweep .../mini.yaml --results=.../r --scheduler tcp://host:8786'
    """
    return re.sub(r"(?<![\w.~:/-])~?/(?:[^\s/'\"]+/)*([^\s/'\"]+)/?", r".../\1", command)


@dataclass(frozen=True)
class Run:
    """A record, its file, and the sweep and protocol whose folder it lies in."""

    path: Path
    sweep: str
    protocol: str
    record: Record
    asked: Asked | None = field(default=None, repr=False)
    """The runs asked for last of its sweep and protocol, where that is known."""

    @property
    def cell(self) -> Cell:
        """The configuration that ran."""
        return self.record.cell.as_cell(self.record.method_title or "")

    @property
    def seed(self) -> int:
        """Which of the cell's runs it is."""
        return self.record.seed

    @property
    def completed(self) -> bool:
        """True when it has test metrics; a run that diverged has none."""
        return self.record.status == "completed" and self.record.metrics.test is not None

    @property
    def test(self) -> TestMetrics | None:
        """Its test metrics: at the lowest validation where it overfits and was scored there, else at the last epoch."""
        found = self.record.metrics.test_at_best_epoch or self.record.metrics.test
        return found and with_noise_of_the_level(found, self.record.protocol)

    @property
    def effective_samples(self) -> float:
        """Effective samples of its NLL: by the mean over images of 1/S, as an image with one sample spoils the mean."""
        test = self.test
        if test is None:
            return 0.0
        of_all = 2 * test.nll_bias_nats + 1 / max(1, int(self.record.protocol.get("importance_samples", 1)))
        return min(test.effective_sample_size, 1 / of_all)

    @functools.cached_property
    def overfits(self) -> float | None:
        """Nats by which its validation -ELBO has risen since it was lowest; None where it does not overfit."""
        curve = self.record.curve
        return rise_since_lowest(curve.validation_neg_elbo_nats, curve.validation_standard_error_nats)

    @property
    def misplaced(self) -> bool:
        """True when it lies where another run's record belongs."""
        return not is_record_of(self.path, self.cell.slug, self.seed)

    @property
    def searched(self) -> bool:
        """True when a search chose its hyper-parameters."""
        return str(self.record.hyperparameters.get("source", "spec")).startswith("search")

    @property
    def started_at(self) -> str:
        """ISO time in UTC, so that text order is time order."""
        return str(self.record.provenance.get("started_at", ""))

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The origin of each part of a run that several codes or machines took part in; else of the whole run."""
        cost, parts = self.record.cost, self.record.provenance.get("parts")
        found = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        return found or [{**self.record.provenance, "device": cost.device, "threads": cost.threads}]

    @property
    def machines(self) -> frozenset[tuple[str, ...]]:
        """Device, number of threads and processor of its parts; seconds are compared between equal ones only."""
        names = ("device", "threads", "platform")
        return frozenset(tuple(str(part.get(name)) for name in names) for part in self.parts)

    @property
    def on_gpu(self) -> bool:
        """True where some of it was computed on another device than a CPU, whose seconds are not those of cores."""
        return any(part.get("device", self.record.cost.device) != "cpu" for part in self.parts)

    @property
    def core_seconds(self) -> float:
        """Seconds of one core of a run on CPUs: by the clock, times the threads.

        Of a run whose parts had different numbers of threads, each step counts as as many seconds of a core.
        """
        cost, protocol = self.record.cost, protocol_of(self)
        starts: list[tuple[Any, Any]] = [(part.get("from_step"), part.get("threads")) for part in self.parts]
        known = all(isinstance(each, int) for part in starts for each in part)
        if len(starts) > 1 and protocol and known and all(threads > 0 for _, threads in starts):
            last = protocol.epochs * steps_an_epoch(protocol, counts_of([self]))
            ends = [*(step for step, _ in starts[1:]), last]
            steps = [(end - step, threads) for (step, threads), end in zip(starts, ends, strict=True)]
            if all(count >= 0 for count, _ in steps):
                return float(cost.seconds * last / sum(count / threads for count, threads in steps))
        return cost.seconds * cost.threads

    @property
    def command(self) -> str:
        """The command that made it, without the machine's own paths."""
        return portable(self.origin("command"))

    def origin(self, name: str) -> str:
        """One thing that its record says of where it comes from."""
        return str(self.record.provenance.get(name) or "unknown")


@dataclass(frozen=True)
class LeftOut:
    """A run that no table shows, and why."""

    run: Run
    reason: str


@dataclass(frozen=True)
class Selection:
    """The runs of one sweep and protocol that stand together, in order of cell and seed, and the others.

    `protocol` is that of the most recent run, under the name of its folder, with the most seeds that are wanted of a
    cell.
    """

    sweep: str
    protocol: Protocol
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]
    wanted: Mapping[Cell, int]
    """How many seeds of each cell: those asked for and, where it has more of the same, those that there are."""
    asked: Asked | None
    """The runs asked for last, where that is known."""
    as_asked: Protocol
    """The protocol with as many images as were asked for; a data set may have fewer."""
    counts: Mapping[str, Mapping[str, int] | None]
    """How many images each split of each data set has; None where neither records nor this package say it."""

    def done_on(self, dataset: str) -> Protocol:
        """The protocol as it was done on one of the data sets; as it was asked for where nothing says how many."""
        return _done_with(self.as_asked, [self.counts_of(dataset)])

    def counts_of(self, dataset: str) -> Mapping[str, int] | None:
        """How many images each split has of a data set of the sweep, whether or not it has runs."""
        return self.counts.get(dataset) or published_counts(dataset)

    @property
    def at_most(self) -> bool:
        """True where its protocol's numbers of images are those asked for, and nothing says how many there were."""
        return None in self.counts.values()

    @property
    def train_images(self) -> int | None:
        """How many images there are to train on; None where data sets differ in it, or nothing says it."""
        found = {there["train"] if there else None for there in self.counts.values()}
        return found.pop() if len(found) == 1 else None

    @property
    def superseded(self) -> bool:
        """True where other runs were asked for since, none of which has a record yet."""
        return self.asked is not None and not any(map(is_asked_for, self.runs))


def with_noise_of_the_level(test: TestMetrics, protocol: Mapping[str, Any]) -> TestMetrics:
    """Test metrics of a record of any age, with the noise of -ELBO in the standard error of the NLL.

    NLL = mean -ELBO - gap, and older records state the error of the gap alone. What -ELBO's error leaves without the
    images that have K samples follows from how its variance is shared: n / K of these, (N - n) / L of the others.
    """
    if test.nll_standard_error_covers == "level" or not test.neg_elbo_standard_error_nats:
        return test
    names = ("elbo_images", "nll_images", "importance_samples", "elbo_samples")
    images, own, samples, others = (max(1, int(protocol.get(name, 1))) for name in names)
    rest = max(0, images - own) / others
    level = test.neg_elbo_standard_error_nats * math.sqrt(rest / (rest + min(own, images) / samples))
    return test.model_copy(update={"nll_standard_error_nats": math.hypot(test.nll_standard_error_nats, level)})


def load_runs(store: Store, protocol: str | None = None, sweep: str | None = None) -> list[Run]:
    """All runs of a results folder, or of one protocol or sweep, in order of sweep, protocol, cell, seed."""
    runs = [run for run in _runs(store, protocol, sweep) if not run.misplaced]
    for run in runs:
        if test := run.record.metrics.test:
            learn_dims(run.cell.dataset, test.nll_nats, test.nll_bits_per_dim)
    return sorted(runs, key=lambda run: (run.sweep, run.protocol, order_of(run.cell), run.seed))


def runs_there(store: Store, protocol: str | None = None, sweep: str | None = None) -> list[Run]:
    """The runs of a results folder, or of one protocol or sweep; a word that names none of what is there is an error.

    Raises:
        UserError: there are records, and none of that protocol or sweep.
    """
    name_what_is_not_read(store, protocol, sweep)
    runs = load_runs(store, protocol, sweep)
    if not runs and (places := store.places()):
        for kind, word, place in (("sweep", sweep, 0), ("protocol", protocol, 1)):
            known = sorted({each[place] for each in places})
            if word is not None and word not in known:
                raise UserError(f"{store.root} has no {kind} {word!r}{nearest(word, known)}; it has {', '.join(known)}")
    return runs


def name_what_is_not_read(store: Store, protocol: str | None = None, sweep: str | None = None) -> None:
    """Print a line for each file that nothing reads: numbers without it say something else than before."""
    for path, reason in not_read(store, protocol, sweep):
        print(f"{path} is not read: {reason}", file=sys.stderr)


def not_read(store: Store, protocol: str | None = None, sweep: str | None = None) -> Iterator[tuple[Path, str]]:
    """The files in the places of records and of winners that no report reads, and why."""
    yield from store.unreadable(protocol, sweep)
    for path in damaged_winners(store, sweep, protocol):
        yield path, "it is damaged; take it from a backup, or delete it and search again"
    for place in store.places():
        if sweep in (None, place[0]) and protocol in (None, place[1]):
            yield from ((store.asked(*place), why) for why in damaged_asked(store, *place))
    for run in _runs(store, protocol, sweep):
        if run.misplaced:
            yield run.path, f"it is the record of {run.cell.slug}, seed {run.seed}"


def _runs(store: Store, protocol: str | None, sweep: str | None) -> Iterator[Run]:
    asked = functools.cache(lambda sweep, protocol: read_asked(store, sweep, protocol))
    for path, record in store.records(protocol, sweep):
        place = store.place(path)
        yield Run(path, place.sweep, place.protocol, record, asked(place.sweep, place.protocol))


def order_of(cell: Cell) -> tuple[str, str, int, tuple[tuple[str, float, str], ...]]:
    """The order of slugs, with numbers as numbers."""
    options = (
        (name, float(value), "") if isinstance(value, int | float) else (name, 0.0, str(value))
        for name, value in cell.options
    )
    return cell.dataset, cell.method, cell.latents, tuple(options)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Runs or cells by a key, in the order in which they come."""
    groups: dict[Key, list[Item]] = {}
    for each in items:
        groups.setdefault(key(each), []).append(each)
    return groups


def by_folder(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each (protocol, sweep): what one page shows."""
    return dict(sorted(grouped(runs, lambda run: (run.protocol, run.sweep)).items()))


def select(runs: list[Run]) -> Selection:
    """The runs that may stand in one table, of those in one protocol's folder of a sweep.

    Raises:
        UserError: no record has a protocol that this version of the package understands.
    """
    resolved = {run.path: protocol_of(run) for run in runs}
    reasons = {run.path: FOREIGN for run in runs if resolved[run.path] is None}
    if any(map(is_asked_for, _without(runs, reasons))):
        reasons |= {run.path: _superseded(run) for run in _without(runs, reasons) if not is_asked_for(run)}
    for scope, property_, reason in AGREEMENTS:
        for group in grouped(_without(runs, reasons), scope).values():
            ways = grouped(group, property_)
            drawn = max(ways, key=lambda way: (max(run.started_at for run in ways[way]), len(ways[way])))
            reasons |= {run.path: reason for run in group if property_(run) != drawn}
    kept = _without(runs, reasons)
    if not kept:
        raise UserError(
            f"no record in {runs[0].path.parent.parent} has a protocol of this version of vdae-bench; "
            "move that folder away and run the sweep again"
        )
    latest = resolved[max(kept, key=lambda run: run.started_at).path]
    assert latest is not None
    asked = max(protocol.seeds for run in kept if (protocol := resolved[run.path]))
    found = Counter(run.cell for run in kept)
    trained = {run.cell for run in kept if run.record.curve.epoch}
    most = max(asked, *found.values())
    wanted = {cell: most if cell in trained else 1 for cell in found}
    if kept[0].asked and is_asked_for(kept[0]):
        wanted = {cell: max(seeds, found[cell]) for cell, seeds in kept[0].asked.wanted.items()}
        most = max(wanted.values())
    as_asked = latest.model_copy(update={"name": runs[0].protocol, "seeds": most})
    counts = {dataset: counts_of(members) for dataset, members in grouped(kept, lambda run: run.cell.dataset).items()}
    fitted = [run for run in kept if run.record.curve.epoch]
    selection = Selection(
        sweep=runs[0].sweep,
        protocol=_done_with(as_asked, counts.values()),
        runs=tuple(kept),
        left_out=tuple(LeftOut(run, reasons[run.path]) for run in runs if run.path in reasons),
        wanted=wanted,
        asked=runs[0].asked,
        as_asked=as_asked,
        counts=counts,
    )
    limited = with_limits(
        selection.protocol,
        searched=all(run.searched for run in fitted),
        ran=[run.record.hyperparameters for run in fitted],
        images=selection.train_images,
    )
    return replace(selection, protocol=limited)


def left_out_of(runs: Iterable[Run]) -> dict[Path, str]:
    """Why each run is in no table that is in none."""
    reasons: dict[Path, str] = {}
    for members in by_folder(runs).values():
        try:
            reasons |= {each.run.path: each.reason for each in select(members).left_out}
        except UserError:
            reasons |= {run.path: FOREIGN for run in members}
    return reasons


def _superseded(run: Run) -> str:
    if run.asked and run.cell not in run.asked.wanted:
        return "its cell is none that was asked for last"
    return "superseded: another run of its cell and seed was asked for since"


def is_asked_for(run: Run) -> bool:
    """True where the run is one of those asked for last; False too where nothing says which those are."""
    return run.asked is not None and run.asked.has(run.cell, run.seed, run.record.run_digest)


def _without(runs: list[Run], reasons: dict[Path, str]) -> list[Run]:
    return [run for run in runs if run.path not in reasons]


def protocol_of(run: Run) -> Protocol | None:
    """The protocol in a record; None where this version of the package does not understand it."""
    try:
        return Protocol.model_validate(run.record.protocol)
    except ValidationError:
        return None


def steps_an_epoch(protocol: Protocol, counts: Mapping[str, int] | None) -> int:
    """Batches of an epoch under a protocol, of as many images as `counts_of` says; where it is None, of the paper's."""
    there = counts["train"] if counts else PAPER_IMAGES
    return math.ceil(min(protocol.train_images or there, there) / min(protocol.batch_size, there))


def counts_of(runs: Iterable[Run]) -> Mapping[str, int] | None:
    """How many images each split has of the one data set that runs share; None where nothing says it.

    It is not asked what a spec or a plug-in has registered in this process, so that a page is the same in all.
    """
    members = list(runs)
    found = (run.record.images.there for run in members if run.record.images)
    return next(found, None) or published_counts(members[0].cell.dataset)


def _done_with(protocol: Protocol, counts: Iterable[Mapping[str, int] | None]) -> Protocol:
    """The protocol as it was done on data sets, of which the one with most test images says; as asked if unsure."""
    known = list(counts)
    if None in known:
        return protocol
    return protocol.done_with(max(filter(None, known), key=lambda there: there["test"]))


def _content_digest(run: Run) -> str:
    protocol = protocol_of(run)
    return digest(protocol.content()) if protocol else ""


def _trained_with(run: Run) -> str:
    return digest({name: value for name, value in run.record.hyperparameters.items() if name != "source"})


def _method_code(run: Run) -> str:
    """The method's version and its plug-in, which older records do not say; those asked for agree by their identity."""
    said = (run.record.method_version, run.record.provenance.get("plugin_sha256"))
    return "" if is_asked_for(run) else str(said)


FOREIGN = "its protocol is of another version of vdae-bench"
AGREEMENTS: tuple[tuple[Callable[[Run], str], Callable[[Run], str], str], ...] = (
    (lambda run: "", _content_digest, "another content of the protocol under the same name"),
    (
        lambda run: run.cell.dataset,
        lambda run: str(run.record.provenance.get("dataset_sha256")),
        "other data under the same name",
    ),
    (lambda run: run.cell.slug, _trained_with, "other hyper-parameters than the cell's other seeds"),
    (lambda run: run.cell.slug, _method_code, "another version of its method than the cell's other seeds"),
)
"""(scope, property, what is said of a run that differs): within a scope, runs drawn agree on the property."""


def alike(runs: Iterable[Run]) -> bool:
    """True where one machine with one number of threads took all the runs, so that their seconds can be compared."""
    return len(frozenset[tuple[str, ...]]().union(*(run.machines for run in runs))) <= 1


def total_seconds(runs: Sequence[Run]) -> float:
    """Seconds of all that runs did."""
    return sum(run.record.cost.seconds for run in runs)


def total_flops(runs: Sequence[Run]) -> int:
    """FLOPs of all that runs did."""
    return sum(run.record.cost.flops for run in runs)


def nothing_there(store: Store, protocol: str | None, sweep: str | None) -> str:
    """Say that there are no such records, and which there are."""
    of = [*([f"of sweep {sweep!r}"] if sweep else []), *([f"under protocol {protocol!r}"] if protocol else [])]
    said = " ".join(["there are no records", *of, f"in {store.root}"])
    runs = load_runs(store)
    if not runs:
        return f"{said}: run `vdae-bench reproduce table1` first"
    sweeps, protocols = ({getattr(run, name) for run in runs} for name in ("sweep", "protocol"))
    if sweep in (None, *sweeps) and protocol in protocols:
        there = ("the protocols of that sweep", "", {run.protocol for run in runs if run.sweep == sweep})
    elif sweep and sweep not in sweeps:
        there = ("its sweeps", nearest(sweep, sweeps), sweeps)
    else:
        there = ("its protocols", nearest(str(protocol), protocols), protocols)
    what, hint, names = there
    return f"{said}{hint}; {what} are {', '.join(sorted(names))}"
