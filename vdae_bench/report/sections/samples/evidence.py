"""The evidence of samples that lies beside records: of a cell its best run, and the numbers of all its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from vdae_bench.models.registry import OWN_METHODS, get_method
from vdae_bench.report.numbers.rows import place_of, title_of
from vdae_bench.report.numbers.runs import Run, Selection
from vdae_bench.report.numbers.statistics import CellRuns, Summary, cells_of, summarise
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Kind, Numbers, Quality, read_evidence, read_numbers

SIGMAS = ("log_sigma", "initial_log_sigma")
LEAST_LEVELS = 3
"""Fewer noise levels than this of one model are rows among others, not a family with a figure of its own."""


def best_run(cell: CellRuns) -> Run | None:
    """The run with the best test ELBO (of a flow: likelihood), as the paper chooses whose samples it shows."""

    def score(run: Run) -> float:
        test = run.record.metrics.test
        assert test is not None
        return test.nll_nats if test.neg_elbo_nats is None else test.neg_elbo_nats

    return min(cell.completed, key=score, default=None)


@dataclass(frozen=True)
class SampledCell:
    """A cell whose best run has evidence."""

    cell: CellRuns
    run: Run
    evidence: Evidence

    @cached_property
    def with_numbers(self) -> list[tuple[Run, Numbers]]:
        """All completed runs that have evidence."""
        found = [(run, read_numbers(run.path, run.record.run_digest)) for run in self.cell.completed]
        return [(run, numbers) for run, numbers in found if numbers]

    @property
    def numbers(self) -> list[Numbers]:
        """The stored numbers of every completed run that has evidence."""
        return [numbers for _, numbers in self.with_numbers]

    def qualities(self, kind: Kind) -> list[Quality]:
        """The quality of the samples of one kind, for each run where it was measured."""
        return [each.quality[kind] for each in self.numbers if kind in each.quality]

    def summary(self, name: str) -> Summary | None:
        """One of the stored numbers, in short over runs."""
        return summarise(getattr(each, name) for each in self.numbers)

    @property
    def log_sigma(self) -> float | None:
        """The log sigma that was fixed, or that the best run came to."""
        return self.evidence.numbers.scales.get("log_sigma")

    @property
    def size(self) -> str:
        """The number of latents, where it is not that of the pixels."""
        cell = self.cell.cell
        return f", m = {cell.latents}" if 0 < cell.latents < self.evidence.arrays["data"].shape[-1] else ""

    @property
    def level(self) -> str:
        """The noise level: fixed, or reached and from where."""
        options = dict(self.cell.cell.options)
        level = f"log sigma = {self.log_sigma:.2f}".rstrip("0").rstrip(".")
        if "log_sigma" in options:
            return level
        start = options.get("initial_log_sigma", _default_start(self.cell.cell.method))
        return level if start is None else f"{level}, from {start:g}"


@dataclass(frozen=True)
class Family:
    """Cells that are drawn together: rows of one data set, or the noise levels of one model (`title`)."""

    title: str
    dataset: str
    members: tuple[SampledCell, ...]

    @property
    def levels(self) -> bool:
        """True when the members differ in their noise level, and are labelled by it."""
        return bool(self.title)

    def label(self, member: SampledCell) -> str:
        """The label of a member's row: its noise level, or its model."""
        return member.level if self.levels else f"{title_of(member.cell.cell)}{member.size}"


def families_of(selection: Selection) -> list[Family]:
    """The cells with evidence: noise levels of one model together, all others by data set."""
    sampled = []
    for cell in sorted(cells_of(selection), key=lambda each: place_of(each.cell)):
        run = best_run(cell)
        evidence = read_evidence(run.path, run.record.run_digest) if run else None
        if run and evidence:
            sampled.append(SampledCell(cell, run, evidence))
    levels: dict[tuple[Cell, str], list[SampledCell]] = {}
    for each in sampled:
        if each.log_sigma is not None and (how := _noise(each.cell.cell)):
            levels.setdefault((_without_sigma(each.cell.cell), how), []).append(each)
    for each in sampled:
        if (place := (each.cell.cell, "learned")) in levels:  # the default start is one of the starts
            levels[place].append(each)
    families = [
        Family(
            f"{title_of(model)}, {how} noise",
            model.dataset,
            tuple(sorted(members, key=lambda each: each.log_sigma or 0.0)),
        )
        for (model, how), members in levels.items()
        if len(members) >= LEAST_LEVELS
    ]
    taken = {member.cell.cell for family in families for member in family.members}
    rest = [each for each in sampled if each.cell.cell not in taken]
    for dataset in dict.fromkeys(each.cell.cell.dataset for each in rest):
        families.append(Family("", dataset, tuple(each for each in rest if each.cell.cell.dataset == dataset)))
    return families


def leveled(families: Sequence[Family]) -> list[Family]:
    """Families of noise levels whose samples' quality was measured."""
    return [
        family for family in families if family.levels and any(member.qualities("drawn") for member in family.members)
    ]


def by_latents(families: Sequence[Family]) -> list[SampledCell]:
    """VAE and L-VDAE as they are, which are compared at several numbers of latents."""
    members = [member for family in families for member in family.members]
    found = [each for each in members if each.cell.cell.method in ("vae", "lvdae") and not each.cell.cell.options]
    return found if len({each.cell.cell.latents for each in found}) > 1 else []


def _default_start(method: str) -> float | None:
    if method not in OWN_METHODS:  # a plugin's: no page hangs on its being loaded
        return None
    option = get_method(method).options.get("initial_log_sigma")
    start: float | None = option.default if option else None
    return start


def _noise(cell: Cell) -> str:
    """How a cell comes to its noise level, where its options say."""
    options = dict(cell.options)
    return "fixed" if "log_sigma" in options else "learned" if "initial_log_sigma" in options else ""


def _without_sigma(cell: Cell) -> Cell:
    return replace(cell, options=tuple(each for each in cell.options if each[0] not in SIGMAS))
