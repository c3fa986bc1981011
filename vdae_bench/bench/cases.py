"""The comparisons and their targets: the one place where they are declared.

Targets are for two CPU cores. A peer stays in float32 where ours is mixed: none has a mixed precision of
its own on a CPU. On a GPU the cases run that time work of its own, without targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal, Protocol

from vdae_bench.bench import ours, peers
from vdae_bench.bench.entries import Entry, Environment
from vdae_bench.bench.gradient_noise import GradientNoise
from vdae_bench.bench.ours import Setting, Sizes, Timed
from vdae_bench.bench.plain import PapersWay, PlainLVDAE, VmapJacrev
from vdae_bench.bench.prediction import predicted_and_actual
from vdae_bench.bench.profiling import profile_step
from vdae_bench.bench.startup import start_up
from vdae_bench.bench.timing import Contestant, Measured, interleave, peak, peak_fraction, ratio
from vdae_bench.bench.workers import Workers
from vdae_bench.models.precision import Precision

Factory = Callable[[Setting], Contestant]
PRECISIONS: tuple[Precision, ...] = ("float32", "mixed")

PAPERS_WAY = {16: (5.0, 8.0), 64: (14.0, 25.0), 128: (30.0, 50.0)}
"""m: how many times faster an L-VDAE step is than the paper's way, in float32 and mixed."""
VAE_STEPS = {16: 2.5, 32: 2.5, 64: 2.5, 128: 2.5, 784: 3.0}
"""m: how many VAE steps of the same precision an L-VDAE step takes at most."""
PYTHAE_EPOCH, PYTHAE_NLL, NICE_LIBRARIES = (1.6, 2.5), (1.5, 3.0), (1.1, 2.0)
"""How many times faster ours is, in float32 and mixed."""
GLOW_LIBRARY = (1.0, None)
"""How many times as fast our Glow is, in float32 and mixed."""
PEAK_SHARE = 0.8
START_UP_SECONDS = 3.0
STARTS = (
    ("From the command to the first step", START_UP_SECONDS),
    ("From a cell's records to the next cell's first step", START_UP_SECONDS),
    ("Loading torch alone", None),
    ("`vdae-bench plan` alone: loading torch, counting FLOPs and memory", None),
)
"""Rows about the start of a run, in the order of `StartUpTimes`, each with its target in seconds."""
MIDDLE = 32
"""Number of latents m where a comparison has only one."""
START_UPS = 3
"""Runs of the command, unless the number of rounds is given."""
PREDICTION, PREDICTIONS = 1.25, 2
"""How many times a run may take what was predicted, or less than that; how often it is tried."""

GRADIENTS = "step (forward, backward)"
UPDATE = "step (forward, backward, Adam)"
WHOLE = "whole step (data, noise, forward, backward, Adam)"


@dataclass(frozen=True)
class Pairing:
    """One entry to make of a comparison: ours against the fastest of `against` (none: ours alone)."""

    name: str
    subject: str
    ours: str
    against: tuple[str, ...] = ()
    peer: str | None = None
    target: float | None = None
    direction: Literal["at least", "at most"] = "at least"
    measure: Literal["ratio", "peak_fraction"] = "ratio"
    axis: str | None = None
    position: float | None = None


class Case(Protocol):
    """A case as `run` sees it: a name, and entries when it is run."""

    @property
    def name(self) -> str:
        """Name of the case, in which `--only` looks for its word."""

    @property
    def per(self) -> str:
        """The unit of its work, whose seconds are measured; `--only` looks there, too."""

    @property
    def on_gpu(self) -> bool:
        """True where the case says something about a GPU."""

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Measure; None chooses the number of rounds."""


@dataclass(frozen=True)
class SideBySide:
    """Contestants that take turns, and the entries made of them."""

    name: str
    per: str
    contestants: Mapping[str, Factory]
    rows: tuple[Pairing, ...]
    on_gpu: ClassVar[bool] = True

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Time all contestants whose library is there, and the peak of each precision, in the same rounds."""
        built: dict[str, Contestant] = {}
        missing: dict[str, str] = {}
        for name, factory in self.contestants.items():
            try:
                built[name] = factory(setting)
            except peers.MissingPeer as error:
                missing[name] = str(error)
        for precision in sorted({each.precision for each in built.values()}):
            built[_peak_name(precision)] = peak(precision, setting.context.device)
        measured = interleave(built, rounds, setting.least_seconds, setting.clock)
        return [self._entry(row, measured, missing, run) for row in self.rows]

    def _entry(
        self, row: Pairing, measured: Mapping[str, Measured], missing: Mapping[str, str], run: Environment
    ) -> Entry:
        mine = measured[row.ours]
        best = measured[_peak_name(mine.contestant.precision)]
        entry = Entry(
            name=row.name,
            peer=row.peer,
            target=row.target,
            case=self.name,
            subject=row.subject,
            per=self.per,
            precision=mine.contestant.precision,
            measure=row.measure,
            direction=row.direction,
            axis=row.axis,
            position=row.position,
            run=run,
        )
        absent = [missing[name] for name in row.against if name in missing]
        if absent:
            return entry.model_copy(update={"skipped": "; ".join(absent)})
        entry.ours_seconds, entry.ours_rounds = mine.seconds, mine.rounds
        entry.flops, entry.memory_bytes = mine.flops, mine.contestant.memory_bytes
        entry.peak_fraction = peak_fraction(mine, best)
        entry.peak_flops_per_second = best.flops / best.seconds if best.flops else None
        if row.against:
            fastest = min(row.against, key=lambda name: measured[name].seconds)
            theirs = measured[fastest]
            faster = row.direction == "at least"
            found = ratio(theirs.rounds, mine.rounds) if faster else ratio(mine.rounds, theirs.rounds)
            entry.peer = row.peer or fastest
            entry.peer_seconds, entry.peer_rounds, entry.peer_flops = theirs.seconds, theirs.rounds, theirs.flops
            entry.ratio, entry.spread = found.value, (found.low, found.high)
        return entry


def _peak_name(precision: Precision) -> str:
    return f"peak {precision}"


@dataclass(frozen=True)
class Profiles:
    """Where the time of a training step goes."""

    name: str
    steps: tuple[tuple[str, Callable[[Setting], Timed]], ...]
    per: ClassVar[str] = WHOLE
    on_gpu: ClassVar[bool] = False

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Profile a few steps of each subject."""
        return [self._entry(title, of(setting), setting, run) for title, of in self.steps]

    def _entry(self, title: str, subject: Timed, setting: Setting, run: Environment) -> Entry:
        seconds, profile = profile_step(subject.workbench(setting).trainer.train_step)
        return Entry(
            name=f"{title}, {subject.precision}, under the profiler",
            ours_seconds=seconds,
            case=self.name,
            subject=title.partition(" step")[0],
            per=self.per,
            precision=subject.precision,
            profile=profile,
            run=run,
        )


@dataclass(frozen=True)
class StartUp:
    """From the command to the first step, and from cell to cell."""

    name: str
    per: ClassVar[str] = "start"
    on_gpu: ClassVar[bool] = True

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Run the command a few times."""
        with TemporaryDirectory() as folder:
            times = [start_up(setting, Path(folder)) for _ in range(rounds or START_UPS)]
        return [
            Entry(
                name=name,
                ours_seconds=median(seconds),
                target=target,
                case=self.name,
                subject="start-up",
                per=self.per,
                measure="ours_seconds",
                direction="at most",
                ours_rounds=seconds,
                run=run,
            )
            for (name, target), seconds in zip(STARTS, zip(*times, strict=True), strict=True)
        ]


@dataclass(frozen=True)
class Prediction:
    """How far a run's time is from what `plan --calibrate` predicted."""

    name: str
    per: ClassVar[str] = "sweep of five cells at quick sizes"
    on_gpu: ClassVar[bool] = True

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Predict and run the same sweep a few times; the ratio is the longer over the shorter."""
        with TemporaryDirectory() as folder:
            times = [predicted_and_actual(setting, Path(folder)) for _ in range(rounds or PREDICTIONS)]
        predicted, taken = zip(*times, strict=True)
        ratios = [max(pair) / min(pair) for pair in times]
        return [
            Entry(
                name="A run beside what `plan --calibrate` foretells",
                ours_seconds=median(predicted),
                peer="the run",
                peer_seconds=median(taken),
                ratio=median(ratios),
                spread=(min(ratios), max(ratios)),
                target=PREDICTION,
                case=self.name,
                subject="plan",
                per=self.per,
                direction="at most",
                ours_rounds=predicted,
                peer_rounds=taken,
                run=run,
            )
        ]


def declared(sizes: Sizes | None = None) -> list[Case]:
    """All cases, in the order in which they run."""
    sizes = sizes or Sizes()
    return [
        *(_lvdae(m) for m in VAE_STEPS),
        _vae_epoch(),
        _nll(sizes),
        _nice(),
        _glow(),
        _whole_steps(),
        *_growth(sizes),
        Profiles("profile", tuple(_profiled())),
        *(GradientNoise(f"gradient-noise-{m}", m) for m in (64, 784)),
        StartUp("start-up"),
        Prediction("plan"),
        Workers("workers"),
    ]


def _with(make: Callable[[Setting, Timed], Contestant], subject: Timed) -> Factory:
    """A contestant about a subject whose latents 784 mean: as many as pixels."""

    def build(setting: Setting) -> Contestant:
        latents = setting.data_dim if subject.latents == 784 else subject.latents
        return make(setting, replace(subject, latents=latents))

    return build


def _each_precision(make: Callable[[Setting, Timed], Contestant], subject: Timed, word: str) -> dict[str, Factory]:
    """A contestant of ours for each precision."""
    return {f"{word} {each}": _with(make, replace(subject, precision=each)) for each in PRECISIONS}


def _lvdae(m: int) -> SideBySide:
    lvdae, vae = Timed("lvdae", m), Timed("vae", m)
    contestants = _each_precision(ours.gradients, lvdae, "L-VDAE") | _each_precision(ours.gradients, vae, "VAE")
    plain: dict[str, type[PlainLVDAE]] = {"the paper's way": PapersWay, "vmap(jacrev)": VmapJacrev}
    if m in PAPERS_WAY:
        contestants |= {name: _with(partial(peers.plain_lvdae, way), lvdae) for name, way in plain.items()}
    rows = []
    for index, each in enumerate(PRECISIONS):
        key, step = f"L-VDAE {each}", f"L-VDAE step, m = {m}, {each}"
        if m in PAPERS_WAY:
            targets = (PAPERS_WAY[m][index], None)
            rows += [
                Pairing(f"{step}, against {way}", "L-VDAE", key, (way,), way, target)
                for way, target in zip(plain, targets, strict=True)
            ]
        vae_step = f"VAE {each}"
        rows.append(Pairing(f"{step}, in VAE steps", "L-VDAE", key, (vae_step,), "our VAE", VAE_STEPS[m], "at most"))
    return SideBySide(f"lvdae-{m}", GRADIENTS, contestants, tuple(rows))


def _vae_epoch() -> SideBySide:
    vae = Timed("vae", MIDDLE)
    contestants = _each_precision(ours.epoch, vae, "ours") | {"pythae": _with(peers.pythae_epoch, vae)}
    rows = tuple(
        Pairing(f"VAE epoch, m = {MIDDLE}, {each}", "VAE", f"ours {each}", ("pythae",), "pythae's trainer", target)
        for each, target in zip(PRECISIONS, PYTHAE_EPOCH, strict=True)
    )
    return SideBySide("vae-epoch", "epoch of whole steps", contestants, rows)


def _nll(sizes: Sizes) -> SideBySide:
    vae = Timed("vae", MIDDLE)
    contestants = _each_precision(ours.nll, vae, "ours") | {"pythae": _with(peers.pythae_nll, vae)}
    rows = tuple(
        Pairing(
            f"NLL of a VAE, m = {MIDDLE}, {each}", "VAE NLL", f"ours {each}", ("pythae",), "pythae's get_nll", target
        )
        for each, target in zip(PRECISIONS, PYTHAE_NLL, strict=True)
    )
    return SideBySide("nll", f"image with {sizes.samples:,} importance samples", contestants, rows)


def _nice() -> SideBySide:
    nice = Timed("nice", 784, "continuous")
    contestants = _each_precision(partial(ours.gradients, adam=True), nice, "ours")
    rows = []
    for word, targets in (("fused", NICE_LIBRARIES), ("default", (None, None))):
        libraries = {f"zuko, {word} Adam": peers.zuko_nice, f"normflows, {word} Adam": peers.normflows_nice}
        for name, library in libraries.items():
            contestants[name] = _with(partial(peers.flow_update, library, word == "fused"), nice)
        for precision, target in zip(PRECISIONS, targets, strict=True):
            title = f"NICE step, {precision}, against libraries with torch's {word} Adam"
            rows.append(Pairing(title, "NICE", f"ours {precision}", tuple(libraries), None, target))
    return SideBySide("nice", UPDATE, contestants, tuple(rows))


def _glow() -> SideBySide:
    glow = Timed("glow", 784, "continuous")
    library = _with(partial(peers.flow_update, peers.normflows_glow, True), glow)
    contestants = _each_precision(partial(ours.gradients, adam=True), glow, "ours") | {"normflows": library}
    rows = tuple(
        Pairing(f"Glow step, {each}", "Glow", f"ours {each}", ("normflows",), "normflows, fused Adam", target)
        for each, target in zip(PRECISIONS, GLOW_LIBRARY, strict=True)
    )
    return SideBySide("glow", UPDATE, contestants, rows)


def _whole_steps() -> SideBySide:
    """Whole steps, as a user's training takes them: the share of the peak that counts."""
    contestants: dict[str, Factory] = {}
    rows = []
    subjects = [("VAE", f", m = {m}", Timed("vae", m)) for m in (16, MIDDLE, 128)]
    for title, size, subject in (*subjects, ("NICE", "", Timed("nice", 784, "continuous"))):
        name = f"{title} whole step{size}"
        contestants |= _each_precision(ours.whole_step, subject, name)
        for each, target in zip(PRECISIONS, (PEAK_SHARE, None), strict=True):
            rows.append(Pairing(f"{name}, {each}", title, f"{name} {each}", target=target, measure="peak_fraction"))
    return SideBySide("peak", WHOLE, contestants, tuple(rows))


def _growth(sizes: Sizes) -> Iterator[SideBySide]:
    """Step time along each axis, the others at their usual place; float32."""
    axes: dict[str, tuple[int, ...]] = {
        "m": (16, 32, 64, 128),
        "H": tuple(sizes.hidden * quarters // 4 for quarters in (1, 2, 4, 8, 16)),
        "B": (1, 2, 4),
        "batch": tuple(sizes.batch * quarters // 4 for quarters in (1, 2, 4, 8, 20)),  # no short last batch
        "R": (1, 2, 5, 10),
    }
    for axis, positions in axes.items():
        contestants: dict[str, Factory] = {}
        rows = []
        for title, method in (("VAE", "vae"), ("L-VDAE", "lvdae")):
            for position in positions:
                name = f"{title} whole step, {axis} = {position}"
                subject = _at(Timed(method, MIDDLE), axis, position)
                contestants[name] = _with(partial(ours.whole_step, memory=axis == "R"), subject)
                rows.append(Pairing(name, title, name, axis=axis, position=position))
        yield SideBySide(f"growth-{axis}", WHOLE, contestants, tuple(rows))


def _at(subject: Timed, axis: str, position: int) -> Timed:
    """A subject moved along an axis."""
    if axis == "m":
        return replace(subject, latents=position)
    if axis == "R":
        return replace(subject, replicas=position)
    field = {"H": "hidden_size", "B": "residual_blocks", "batch": "batch_size"}[axis]
    return replace(subject, changes=((field, position),))


def _profiled() -> Iterator[tuple[str, Callable[[Setting], Timed]]]:
    def nice(precision: Precision, setting: Setting) -> Timed:
        return Timed("nice", setting.data_dim, "continuous", precision)

    def resnet(method: str, precision: Precision, setting: Setting) -> Timed:
        return Timed(method, MIDDLE, precision=precision)

    for precision in PRECISIONS:
        yield f"VAE step, m = {MIDDLE}", partial(resnet, "vae", precision)
        yield f"L-VDAE step, m = {MIDDLE}", partial(resnet, "lvdae", precision)
        yield "NICE step", partial(nice, precision)
