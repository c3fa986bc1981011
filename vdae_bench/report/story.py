"""`reports/README.md`: the long runs that are committed, beside the paper's numbers, what each cost, what is missing.

Drawn from records and from the specs of `EVIDENCE` alone; where none of their runs is there, there is no such page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vdae_bench.paper.published import find_published
from vdae_bench.plan import CellPlan, cell_plans, price
from vdae_bench.protocol import digest
from vdae_bench.report.cost import total_flops, total_seconds
from vdae_bench.report.evidence import place_of
from vdae_bench.report.markdown import bullets, code, escape, table
from vdae_bench.report.noise_grid import curves_of
from vdae_bench.report.quantities import duration
from vdae_bench.report.rows import title_of
from vdae_bench.report.runs import Run, load_runs, select
from vdae_bench.report.statistics import CellRuns, cells_of, mean_of
from vdae_bench.report.tables import SCORES, outside_table, with_deviation
from vdae_bench.report.units import unit_of
from vdae_bench.report.verdict import judge_cell
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import Winner, all_winners, with_winners
from vdae_bench.spec import Cell, SweepSpec, find_spec, load_spec
from vdae_bench.store import Store

NAME = "README.md"


@dataclass(frozen=True)
class Part:
    """One long run: a spec, the protocol where it is not the spec's own, and how many seeds come first."""

    spec: str
    protocol: str | None = None
    seeds: int | None = None

    @property
    def command(self) -> str:
        """What runs it, or goes on with it."""
        words = ["vdae-bench sweep", self.spec]
        words += [f"--protocol {self.protocol}"] if self.protocol else []
        words += [f"--seeds {self.seeds}"] if self.seeds else []
        words += ["--search"] if self.resolved.search else []
        return " ".join(words)

    @cached_property
    def resolved(self) -> SweepSpec:
        """The spec under its protocol."""
        return load_spec(find_spec(self.spec), self.protocol)


EVIDENCE = (
    Part("evidence/binary"),
    Part("evidence/continuous"),
    Part("evidence/paper", seeds=1),
    Part("lvdae-784", "standard"),
    Part("evidence/noise"),
)
"""What `make evidence` runs, in its order."""


def render_story(
    store: Store, reports: Path, beside: Sequence[Path] = (), parts: Sequence[Part] = EVIDENCE
) -> dict[Path, bytes]:
    """The page by its path, with nothing written; nothing where no run of the evidence is there.

    `beside` are the other pages of the folder, for it to lead to.
    """
    runs = load_runs(store)
    chapters = [Chapter(part, store, tuple(runs)) for part in parts]
    if not any(chapter.runs for chapter in chapters):
        return {}
    return {reports / NAME: page(chapters, [path.name for path in beside]).encode()}


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
        yield f"## {escape(self.spec.description or self.spec.name)}"
        yield (
            f"Protocol {code(self.spec.protocol.name)}: {self.spec.protocol.epochs} epochs of batch "
            f"{self.spec.protocol.batch_size}. {self.wanted - self.missing} of {self.wanted} runs are here."
        )
        if not self.runs:
            return
        folder = self.spec.protocol.name
        place = f"{folder}/{self.spec.name}.md"
        yield f"All of it, with the record behind each number: [{place}]({place})."
        datasets = list(dict.fromkeys(each.job.cell.dataset for each in self.plans))
        for dataset in datasets:
            yield f"{escape(dataset)}, in {unit_of(dataset).name}, lower is better:"
            yield self._table(dataset)
        grid = any("log_sigma" in dict(cell.options) for cell in self.ran)
        if not grid:
            yield f"![Learning curves]({folder}/{self.spec.name}-curves.svg)"
        elif curves_of(list(self.ran.values())):  # one curve alone is not drawn
            yield f"![Test -ELBO against the fixed noise level]({folder}/{self.spec.name}-noise.svg)"
        notes = [*self._findings(), *self._search()]
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

    def _findings(self) -> Iterator[str]:
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

    def _where(self, cell: Cell) -> str:
        return f" on {cell.dataset}" if len({each.job.cell.dataset for each in self.plans}) > 1 else ""

    def _search(self) -> Iterator[str]:
        for winner in self.winners:
            yield (
                f"Hyper-parameters of {code(str(winner.cell))} and of the same method with other latents: "
                f"{len(winner.trials)} trials of {winner.epochs} epochs, {duration(_seconds(winner))}."
            )

    def remains(self, speed: float) -> Iterator[str]:
        """What is missing, what runs it, and how long that takes at a speed."""
        if self.missing:
            then = f", then without {code('--seeds')} for the other seeds" if self.part.seeds else ""
            yield (
                f"{code(self.part.command)}{then}: {self.missing} runs, about "
                f"{duration(self.missing_flops / speed)} at {speed / 1e9:.0f} GFLOP/s"
                + (f", and {self.unsearched} of its searches before" if self.unsearched else "")
            )


def _architecture(each: CellPlan) -> str:
    return digest([each.job.architecture.cell.slug, each.job.hyperparameters])


def _printed_difference(cell: Cell, other: Cell, score: str) -> float | None:
    numbers = [getattr(found, score) for found in map(find_published, (cell, other)) if found]
    return numbers[0].value - numbers[1].value if len(numbers) == 2 and all(numbers) else None


def _seconds(winner: Winner) -> float:
    return sum(trial.seconds for trial in winner.trials)


def page(chapters: Sequence[Chapter], beside: Sequence[str] = ()) -> str:
    """The page about all parts."""
    runs = [run for chapter in chapters for run in chapter.runs]
    wanted, missing = (sum(getattr(each, name) for each in chapters) for name in ("wanted", "missing"))
    dates = sorted(run.started_at[:10] for run in runs)
    devices = sorted({f"{run.record.cost.device}, {run.record.cost.threads} threads" for run in runs})
    sections = [
        "# What was run, and what came of it",
        f"The long runs that `make evidence` makes: {wanted - missing} of {wanted} are here, from {dates[0]} to "
        f"{dates[-1]} ({'; '.join(devices)}), {duration(total_seconds(runs))} of training and evaluation and "
        f"{duration(sum(each.search_seconds for each in chapters))} of searches. Ours are means over seeds ± their "
        "sample standard deviation. Whether a number may stand beside the paper's is in its own column: runs shorter "
        "than the paper's, whose curves still fall, say nothing of it. Hours and operations are of all seeds of a "
        "row; hours are by the clock, and longer where the machine had other work.",
    ]
    for chapter in chapters:
        sections += chapter.sections()
    sections += ["## Numbers of others", "Other networks and training, and no part of any verdict."]
    for dataset in dict.fromkeys(each.job.cell.dataset for chapter in chapters for each in chapter.plans):
        outside = outside_table(dataset)
        sections += [f"{escape(dataset)}, in {unit_of(dataset).name}:", outside] if outside else []
    speed = total_flops(runs) / total_seconds(runs)
    left = [line for chapter in chapters for line in chapter.remains(chapter.speed or speed)]
    sections += ["## What remains", bullets(left) if left else "Nothing."]
    links = [f"[{name.removesuffix('.md')}]({name})" for name in beside]
    sections += ["## Beside these", bullets(links)] if links else []
    return "\n\n".join(sections) + "\n"
