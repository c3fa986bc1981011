"""Parts of the committed evidence: what each one's spec asks for, which of its runs are there, what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vdae_bench.paper.published import find_published
from vdae_bench.report.numbers.pairs import Paired, paired, vae_beside
from vdae_bench.report.numbers.rows import Row, Sheet, place_of, title_of
from vdae_bench.report.numbers.runs import Run, select
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.numbers.units import unit_of
from vdae_bench.running.cost import price
from vdae_bench.running.plan import CellPlan, cell_plans, named_cells
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import Winner, all_winners, with_winners
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system.strict_json import digest


@dataclass(frozen=True)
class Part:
    """One long run: a spec, the protocol where it is not the spec's own, settings, and how many seeds come first.

    `search` is False where a part of the paper runs with the hyper-parameters of its spec; `only` are patterns of its
    cells, where the others are left for later.
    """

    spec: str
    protocol: str | None = None
    seeds: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    search: bool = True
    only: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that runs it, or goes on with it."""
        words = ["vdae-bench", "sweep" if self.search else "reproduce", self.spec]
        words += [f"--protocol {self.protocol}"] if self.protocol else []
        words += [f"--set {key}={value}" for key, value in self.settings]
        words += [] if self.search else ["--no-search"]
        words += [f"--only '{pattern}'" for pattern in self.only]
        words += [f"--seeds {self.seeds}"] if self.seeds else []
        words += ["--search"] if self.resolved.search else []
        return " ".join(words)

    @cached_property
    def whole(self) -> SweepSpec:
        """The spec under its protocol, with its settings and all its cells."""
        return load_spec(find_spec(self.spec), self.protocol, dict(self.settings))

    @cached_property
    def resolved(self) -> SweepSpec:
        """The spec with the cells of this part, and without its search where that is not made."""
        cells = named_cells(self.whole.cells, self.only) if self.only else self.whole.cells
        return replace(self.whole, cells=cells, search=self.whole.search if self.search else None)

    @property
    def left_for_later(self) -> list[Cell]:
        """The cells of the spec that are not in this part."""
        return [cell for cell in self.whole.cells if cell not in self.resolved.cells]


class Chapter:
    """One part of the evidence: what its spec asks for, and the runs that are there."""

    def __init__(self, part: Part, store: Store, every: Sequence[Run]) -> None:
        self.part, self.store = part, store
        self.spec = part.resolved
        place = (self.spec.name, self.spec.protocol.name)
        self.runs = [run for run in every if (run.sweep, run.protocol) == place]
        own = {study.spec_digest for study in studies_of(self.spec)} if self.spec.search else set()
        self.winners = [winner for _, winner in all_winners(store, *place) if winner.spec_digest in own]
        self.unsearched = len(own) - len(self.winners)

    @property
    def title(self) -> str:
        """The description that the spec has of itself."""
        return self.spec.description or self.spec.name

    @property
    def place(self) -> str:
        """Where its own page and figures are, from the folder of reports, without what their names end with."""
        return f"{self.spec.protocol.name}/{self.spec.name}"

    @cached_property
    def plans(self) -> list[CellPlan]:
        """The cells of the spec, with the hyper-parameters that its search chose where there is one."""
        return cell_plans(with_winners(self.spec, self.store) if self.winners else self.spec, self.store)

    @property
    def datasets(self) -> list[str]:
        """The data sets of the spec, in its order."""
        return list(dict.fromkeys(each.job.cell.dataset for each in self.plans))

    @cached_property
    def ran(self) -> dict[Cell, CellRuns]:
        """The runs that may stand in one table, by cell."""
        return {each.cell: each for each in cells_of(select(self.runs))} if self.runs else {}

    @property
    def wanted(self) -> int:
        """Runs of the whole spec."""
        return sum(len(each.done) + len(each.missing) for each in self.plans)

    @property
    def missing(self) -> int:
        """Runs without a record."""
        return sum(len(each.missing) for each in self.plans)

    @property
    def search_seconds(self) -> float:
        """Seconds of all trials of its searches."""
        return sum(map(seconds_of, self.winners))

    @cached_property
    def _prices(self) -> dict[str, int]:
        """FLOPs of a run, by architecture, wherever a run is missing."""
        prices: dict[str, int] = {}
        for each in self.plans:
            if each.missing:
                key = _architecture(each)
                prices[key] = prices.get(key) or price(each.job).flops
        return prices

    def missing_up_to(self, seeds: int | None = None) -> tuple[int, float]:
        """(runs without a record, their FLOPs), of the first so many seeds of each cell, or of all."""
        counts = [(each, sum(seeds is None or seed < seeds for seed in each.missing)) for each in self.plans]
        flops = sum(self._prices[_architecture(each)] * count for each, count in counts if count)
        return sum(count for _, count in counts), float(flops)

    def sheet(self, dataset: str) -> Sheet:
        """The table of a data set; a point of a figure over noise levels is no row."""
        plans = sorted(self.plans, key=lambda each: place_of(each.job.cell))
        here = [each for each in plans if each.job.cell.dataset == dataset]
        rows = [self._row(each) for each in here if "log_sigma" not in dict(each.job.cell.options)]
        return Sheet(dataset, unit_of(dataset), tuple(rows), ())

    def _row(self, plan: CellPlan) -> Row:
        """A cell of the spec, whether it ran or not; its finished runs are those that the spec asks for now."""
        cell, done = plan.job.cell, len(plan.done)
        wanted = done + len(plan.missing)
        return Row(str(cell.latents), title_of(cell), find_published(cell), self.ran.get(cell), wanted, done)

    def tried(self) -> Iterator[Sheet]:
        """Each cell that ran, as a table of one row: its unit is its own."""
        for cell, ran in sorted(self.ran.items(), key=lambda item: place_of(item[0])):
            row = Row(str(cell.latents), title_of(cell), find_published(cell), ran, len(ran.runs))
            yield Sheet(cell.dataset, unit_of(cell.dataset), (row,), ())

    def leads(self) -> Iterator[tuple[Cell, list[Paired]]]:
        """(L-VDAE's cell, its scores less those of the VAE with the same latents) for each pair that the spec has."""
        cells = [each.job.cell for each in self.plans]
        for cell in cells:
            vae = vae_beside(cell)
            if vae in cells:
                yield cell, paired(self.ran, cell, vae)

    def differences(self) -> Iterator[tuple[CellRuns, CellRuns, list[Paired]]]:
        """(L-VDAE, the VAE with the same latents, their scores less each other) wherever both ran with equal seeds."""
        for cell, ran in self.ran.items():
            vae = vae_beside(cell)
            found = [each for each in paired(self.ran, cell, vae) if each.difference] if vae in self.ran else []
            if vae and found:
                yield ran, self.ran[vae], found


def _architecture(each: CellPlan) -> str:
    return digest([each.job.architecture.cell.slug, each.job.hyperparameters])


def seconds_of(winner: Winner) -> float:
    """Seconds of all trials of a search."""
    return sum(trial.seconds for trial in winner.trials)
