"""One part of the committed evidence: what its spec asks for, which of its runs are there, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vdae_bench.paper.published import find_published
from vdae_bench.report.numbers.cost import total_flops, total_seconds
from vdae_bench.report.numbers.rows import SCORES, place_of, title_of
from vdae_bench.report.numbers.runs import Run, select
from vdae_bench.report.numbers.statistics import CellRuns, cells_of, mean_of
from vdae_bench.report.numbers.units import unit_of
from vdae_bench.report.numbers.verdict import judge_cell
from vdae_bench.report.sections import noise as noise_grid
from vdae_bench.report.sections.results import with_deviation
from vdae_bench.report.style.markdown import bullets, code, escape, table
from vdae_bench.running.cost import price
from vdae_bench.running.plan import CellPlan, cell_plans
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import Winner, all_winners, with_winners
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import rough_duration


@dataclass(frozen=True)
class Part:
    """One long run: a spec, the protocol where it is not the spec's own, settings, and how many seeds come first."""

    spec: str
    protocol: str | None = None
    seeds: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def command(self) -> str:
        """What runs it, or goes on with it."""
        words = ["vdae-bench sweep", self.spec]
        words += [f"--protocol {self.protocol}"] if self.protocol else []
        words += [f"--set {key}={value}" for key, value in self.settings]
        words += [f"--seeds {self.seeds}"] if self.seeds else []
        words += ["--search"] if self.resolved.search else []
        return " ".join(words)

    @cached_property
    def resolved(self) -> SweepSpec:
        """The spec under its protocol, with its settings."""
        return load_spec(find_spec(self.spec), self.protocol, dict(self.settings))


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
        """What the spec says of itself."""
        return self.spec.description or self.spec.name

    @property
    def place(self) -> str:
        """Where its own page and figures are, from the folder of reports, without what their names end with."""
        return f"{self.spec.protocol.name}/{self.spec.name}"

    @cached_property
    def plans(self) -> list[CellPlan]:
        """Of the spec with the hyper-parameters that its search chose, where there is one."""
        return cell_plans(with_winners(self.spec, self.store) if self.winners else self.spec, self.store)

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
        """Of all trials."""
        return sum(map(_seconds, self.winners))

    @cached_property
    def missing_flops(self) -> float:
        """Of the runs without a record; cells of one architecture cost the same."""
        prices: dict[str, int] = {}
        for each in self.plans:
            if each.missing:
                key = _architecture(each)
                prices[key] = prices.get(key) or price(each.job).flops
        return float(sum(prices[_architecture(each)] * len(each.missing) for each in self.plans if each.missing))

    @property
    def speed(self) -> float:
        """FLOP/s of its runs, training and evaluation together; 0 where there are none."""
        seconds = total_seconds(self.runs)
        return total_flops(self.runs) / seconds if seconds else 0.0

    def sections(self) -> Iterator[str]:
        """Markdown: the table, the curves, what the rows say beside each other."""
        yield f"## {escape(self.title)}"
        yield (
            f"Protocol {code(self.spec.protocol.name)}: {self.spec.protocol.epochs} epochs of batch "
            f"{self.spec.protocol.batch_size}. {self.wanted - self.missing} of {self.wanted} runs are here."
        )
        if not self.runs:
            return
        yield f"All of it, with the record behind each number: [{self.place}.md]({self.place}.md)."
        datasets = list(dict.fromkeys(each.job.cell.dataset for each in self.plans))
        for dataset in datasets:
            yield f"{escape(dataset)}, in {unit_of(dataset).name}, lower is better:"
            yield self._table(dataset)
        grid = any("log_sigma" in dict(cell.options) for cell in self.ran)
        if not grid:
            yield f"![Learning curves]({self.place}-curves.svg)"
        elif curves := noise_grid.curves_of(list(self.ran.values())):  # one curve alone is not drawn
            yield f"![Test -ELBO against the fixed noise level]({self.place}-noise.svg)"
            yield from noise_grid.values_and_findings(curves)
        notes = [*self.findings(), *self._search()]
        yield from [bullets(notes)] if notes else []

    def _table(self, dataset: str) -> str:
        unit, plans = unit_of(dataset), [each for each in self.plans if each.job.cell.dataset == dataset]
        scores = [f"{name} {of}" for name, _ in SCORES for of in ("paper", "ours")]
        headers = ["latents", "method", *scores, "the paper's number?", "seeds", "hours", "TFLOP"]
        rows = []
        for each in sorted(plans, key=lambda each: place_of(each.job.cell)):
            cell, ran = each.job.cell, self.ran.get(each.job.cell)
            if "log_sigma" in dict(cell.options):
                continue  # a point of a figure, not a row
            published = find_published(cell)
            shown = []
            for _, score in SCORES:
                printed = getattr(published, score) if published else None
                summary = ran.score(score, unit) if ran else None
                shown += [str(printed or "-"), with_deviation(summary, unit) if summary else "-"]
            judged = judge_cell(ran, "nll") if ran else None
            rows.append(
                [
                    str(cell.latents),
                    escape(title_of(cell)),
                    *shown,
                    str(judged.verdict) if judged else "missing" if not ran else "-",
                    f"{len(each.done)} of {len(each.done) + len(each.missing)}",
                    f"{total_seconds(ran.runs) / 3600:.2f}" if ran else "-",
                    f"{total_flops(ran.runs) / 1e12:.0f}" if ran else "-",
                ]
            )
        return table(headers, rows, right=["latents", *scores, "hours", "TFLOP"])

    def findings(self) -> Iterator[str]:
        """L-VDAE beside the VAE of the same latents, paired by seed, and what the paper prints of the same."""
        for cell, ran in self.ran.items():
            vae = self.ran.get(Cell(cell.dataset, "vae", cell.latents))
            if cell.method != "lvdae" or cell.options or vae is None:
                continue
            unit, parts = unit_of(cell.dataset), []
            for name, score in SCORES:
                ours, theirs = ran.by_seed(score, unit), vae.by_seed(score, unit)
                paired = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
                if paired:
                    found = mean_of(paired)
                    printed = _printed_difference(cell, vae.cell, score)
                    paper = f" (paper: {unit.show_difference(printed)})" if printed is not None else ""
                    parts.append(f"{name} {unit.show_interval(found.mean, found.interval())}{paper}")
            if parts:
                seeds = min(len(ran.completed), len(vae.completed))
                yield (
                    f"L-VDAE less VAE at m = {cell.latents}{self._where(cell)}, "
                    f"{seeds} seed{'s'[: seeds != 1]}, 95% interval: " + escape(f"{', '.join(parts)} {unit.name}.")
                )

    def outcomes(self) -> Iterator[list[str]]:
        """A row for each cell that ran: settings, method, scores, their unit, epochs, seeds, hours and the page."""
        settings = " ".join(f"{key}={value}" for key, value in self.part.settings) or "-"
        for cell, ran in sorted(self.ran.items(), key=lambda item: place_of(item[0])):
            unit = unit_of(cell.dataset)
            scores = [ran.score(score, unit) for _, score in SCORES]
            yield [
                settings,
                escape(title_of(cell)),
                *(with_deviation(score, unit) if score else "-" for score in scores),
                unit.name,
                str(self.spec.protocol.epochs),
                str(len(ran.completed)),
                f"{total_seconds(ran.runs) / 3600:.2f}",
                f"[{self.spec.name}]({self.place}.md)",
            ]

    def _where(self, cell: Cell) -> str:
        return f" on {cell.dataset}" if len({each.job.cell.dataset for each in self.plans}) > 1 else ""

    def _search(self) -> Iterator[str]:
        for winner in self.winners:
            yield (
                f"Hyper-parameters of {code(str(winner.cell))} and of the same method with other latents: "
                f"{len(winner.trials)} trials of {winner.epochs} epochs, {rough_duration(_seconds(winner))}."
            )

    def remains(self, speed: float) -> Iterator[str]:
        """What is missing, what runs it, and how long that takes at a speed."""
        if self.missing:
            then = f", then without {code('--seeds')} for the other seeds" if self.part.seeds else ""
            yield (
                f"{code(self.part.command)}{then}: {self.missing} runs, about "
                f"{rough_duration(self.missing_flops / speed)} at {speed / 1e9:.0f} GFLOP/s"
                + (f", and {self.unsearched} of its searches before" if self.unsearched else "")
            )


def _architecture(each: CellPlan) -> str:
    return digest([each.job.architecture.cell.slug, each.job.hyperparameters])


def _printed_difference(cell: Cell, other: Cell, score: str) -> float | None:
    numbers = [getattr(found, score) for found in map(find_published, (cell, other)) if found]
    return numbers[0].value - numbers[1].value if len(numbers) == 2 and all(numbers) else None


def _seconds(winner: Winner) -> float:
    return sum(trial.seconds for trial in winner.trials)
