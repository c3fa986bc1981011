"""`reports/README.md`: the long runs that are committed, beside the paper's numbers, what each cost, what is missing.

Drawn from records and from the specs of `EVIDENCE` and `EXPERIMENTS` alone; where none of the evidence's runs is there,
there is no such page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vdae_bench.paper.published import find_published, table_names
from vdae_bench.report.numbers.chapters import Chapter, Part, seconds_of
from vdae_bench.report.numbers.claims import Judgement, judge_claims
from vdae_bench.report.numbers.columns import Output
from vdae_bench.report.numbers.comparable import FEW_SAMPLES, few_samples, why_unequal
from vdae_bench.report.numbers.layout import lay_out
from vdae_bench.report.numbers.noise import curves_of
from vdae_bench.report.numbers.pairs import Paired
from vdae_bench.report.numbers.rows import SCORES, title_of
from vdae_bench.report.numbers.runs import Run, alike, load_runs, total_flops, total_seconds
from vdae_bench.report.numbers.units import Unit, unit_of
from vdae_bench.report.numbers.verdict import Verdict, judge_difference
from vdae_bench.report.sections import encoders, representations
from vdae_bench.report.sections.claims import claims_table
from vdae_bench.report.sections.curves import old_kind
from vdae_bench.report.sections.forest import PICTURE as FOREST_PICTURE
from vdae_bench.report.sections.noise import PICTURE, values_and_findings
from vdae_bench.report.sections.results.tables import outside_table
from vdae_bench.report.style.markdown import bullets, code, escape, picture, table
from vdae_bench.spec.protocol import PAPER_EPOCHS
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store
from vdae_bench.system.words import core_hours, counted, rough_duration

NAME = "README.md"
NOTES = "../vdae_bench/paper/README.md"

EVIDENCE = (
    Part("table2", "paper-mixed", seeds=1, search=False, only=("*_vae_*", "*_lvdae_*")),
    Part("table1", "paper-mixed", seeds=1, search=False, only=("*_vae_*", "*_lvdae_*")),
    Part("evidence/binary"),
    Part("evidence/continuous"),
    Part("lvdae-784", "standard"),
    Part("evidence/noise"),
    Part("logits"),
    Part("section6"),
)
"""The sweeps that `make evidence` runs, in its order."""

EXPERIMENTS = (
    Part("readings/latents-64"),
    Part("readings/latents-64", settings=(("log_det_rows", 4),)),
    Part("readings/latents-64-linear"),
    Part("readings/larger-network"),
    Part("readings/smaller-network"),
    Part("readings/overfitting-narrow"),
)
"""Where the evidence differs from the paper, what was tried to see why."""


def render_story(
    store: Store,
    reports: Path,
    beside: Sequence[Path] = (),
    parts: Sequence[Part] = EVIDENCE,
    experiments: Sequence[Part] = EXPERIMENTS,
) -> dict[Path, bytes]:
    """The page by its path, with nothing written; nothing where no run of the evidence is there.

    `beside` are the other pages of the folder, for it to lead to.
    """
    runs = load_runs(store)
    chapters, tried = ([Chapter(part, store, runs) for part in each] for each in (parts, experiments))
    if not any(chapter.runs for chapter in chapters):
        return {}
    return {reports / NAME: page(chapters, tried, judge_claims(runs), [path.name for path in beside]).encode()}


def page(
    chapters: Sequence[Chapter],
    experiments: Sequence[Chapter] = (),
    judged: Sequence[Judgement] = (),
    beside: Sequence[str] = (),
) -> str:
    """The page about all parts."""
    paragraphs = ["# Results of all runs", *_leads(chapters), *_claims(judged), _head(chapters)]
    for chapter in chapters:
        paragraphs += _chapter(chapter)
    paragraphs += _experiments(experiments)
    paragraphs += _others(chapters)
    paragraphs += _remaining(chapters)
    links = [f"[{name.removesuffix('.md')}]({name})" for name in beside]
    paragraphs += ["## Beside these", bullets(links)] if links else []
    return "\n\n".join(paragraphs) + "\n"


def _leads(chapters: Sequence[Chapter]) -> Iterator[str]:
    """L-VDAE less VAE in every part that has both, ours beside the paper's: its claim in one table."""
    rows, shown, apart, bounds = [], set(), [], []
    decided: dict[Verdict, list[str]] = {Verdict.REPRODUCED: [], Verdict.NOT_REPRODUCED: []}
    for chapter in chapters:
        for cell, scores in chapter.leads():
            counts = {each.difference.count for each in scores if each.difference}
            if not counts and (cell in shown or not any(each.printed for each in scores)):
                continue
            shown.add(cell)
            unit, protocol = unit_of(cell.dataset), chapter.spec.protocol
            place = f"[{protocol.name}]({chapter.place}.md)" if chapter.runs else code(protocol.name)
            row = [escape(cell.dataset), str(cell.latents), f"{place}, {counted(protocol.epochs, 'epoch')}"]
            for each in scores:
                row += [_printed(each, unit), escape(_measured(each, unit))]
            rows.append([*row, unit.name, str(max(counts, default=0))])
            vae = Cell(cell.dataset, "vae", cell.latents)
            for verdict, names in _settled(chapter, cell, vae) if counts else ():
                decided[verdict].append(f"{cell.dataset}, m = {cell.latents} ({names})")
            if counts and (unequal := why_unequal([chapter.ran[cell], chapter.ran[vae]])):
                apart.append(
                    escape(f"{cell.dataset}, m = {cell.latents}, {protocol.name}, is not a fair pair: {unequal}.")
                )
            if counts and few_samples([chapter.ran[cell], chapter.ran[vae]]):
                bounds.append(f"{cell.dataset}, m = {cell.latents}, {protocol.name}")
    if not rows:
        return
    yield "## L-VDAE minus VAE, ours beside the paper's"
    yield from (picture(FOREST_PICTURE, f"{each.place}-forest.svg") for each in chapters if _has_forest(each))
    yield (
        "L-VDAE is better where the difference is below zero. Our differences are paired by seed, and have the 95% "
        "interval of the mean if there are two seeds or more. The ± of the paper's difference is its standard "
        "deviation between two single runs, if the paper prints one for both methods. Protocols of fewer epochs than "
        "the paper's 1000 say nothing about the paper's numbers."
    )
    headings = [f"{name} {whose}" for name, _ in SCORES for whose in ("paper", "ours")]
    yield table(["data", "latents", "protocol", *headings, "unit", "seeds"], rows, right=["latents", "seeds"])
    ahead, behind = (escape("; ".join(each)) for each in decided.values())
    said = [f"ahead on {ahead}"] * bool(ahead) + [f"behind on {behind}"] * bool(behind)
    yield f"These records decide that L-VDAE is {' and '.join(said)}." if said else "No row is decided yet."
    yield from _unsearched(chapters)
    if bounds:
        apart.append(
            f"NLLs with {FEW_SAMPLES:.0f} effective samples or fewer are upper bounds, so their differences are only "
            f"differences of bounds: {escape('; '.join(bounds))}."
        )
    yield from [bullets(apart)] if apart else []


def _unsearched(chapters: Sequence[Chapter]) -> Iterator[str]:
    """The networks of the runs as long as the paper's, where no search chose them as Appendix D's did."""
    long = [chapter for chapter in chapters if chapter.spec.protocol.epochs >= PAPER_EPOCHS]
    runs = [run for chapter in long for run in chapter.runs if not run.searched]
    sizes = (("H", "hidden_size"), ("B", "residual_blocks"))
    known = [run.record.hyperparameters for run in runs]
    used = {name: sorted({str(each[key]) for each in known if key in each}) for name, key in sizes}
    shown = ", ".join(f"{name} = {' or '.join(values)}" for name, values in used.items())
    if runs:
        yield (
            f"No search chose the hyper-parameters of the runs of {counted(PAPER_EPOCHS, 'epoch')} ({shown}). "
            "The paper searched them, H and B too (Appendix D)."
        )


def _settled(chapter: Chapter, cell: Cell, vae: Cell) -> Iterator[tuple[Verdict, str]]:
    """The scores in which records that can decide have L-VDAE ahead of the VAE, or behind it."""
    verdicts = {name: judge_difference(chapter.ran[cell], chapter.ran[vae], score).verdict for name, score in SCORES}
    for verdict in (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED):
        if names := [name for name in verdicts if verdicts[name] is verdict]:
            yield verdict, ", ".join(names)


def _has_forest(chapter: Chapter) -> bool:
    """True where the page of a table has numbers of ours to show beside the paper's."""
    ran = [each for each in chapter.ran.values() if each.completed and find_published(each.cell)]
    return chapter.spec.name in table_names() and bool(ran)


def _measured(paired: Paired, unit: Unit) -> str:
    difference = paired.difference
    return unit.show_interval(difference.mean, difference.interval()) if difference else "not run"


def _printed(paired: Paired, unit: Unit) -> str:
    if paired.printed is None:
        return "-"
    spread = "" if paired.deviation is None else f" ± {unit.show(paired.deviation)}"
    return unit.show_difference(paired.printed) + spread


def _claims(judged: Sequence[Judgement]) -> Iterator[str]:
    """Every claim with its verdict, from all records that are here."""
    if judged:
        yield "## The paper's claims"
        yield (
            "Each claim is judged from the best records of any protocol, and its evidence names them. The pages of "
            "claims beside the tables have the rules and every part of each claim."
        )
        yield claims_table(judged)


def _head(chapters: Sequence[Chapter]) -> str:
    runs = [run for chapter in chapters for run in chapter.runs]
    wanted, missing = (sum(getattr(each, name) for each in chapters) for name in ("wanted", "missing"))
    dates = sorted(run.started_at[:10] for run in runs)
    devices = sorted({f"{run.record.cost.device}, {counted(run.record.cost.threads, 'thread')}" for run in runs})
    search_seconds = sum(each.search_seconds for each in chapters)
    return (
        f"`make evidence` makes the long runs below. {wanted - missing} of {wanted} are here, "
        f"from {escape(dates[0])} to {escape(dates[-1])} ({escape('; '.join(devices))}). They cost "
        f"{_cost(runs)} of training and evaluation, and {rough_duration(search_seconds)} of "
        "searches. Our numbers are means over seeds ± their sample standard "
        "deviation. A column of its own says whether a number can be compared with the paper's: a run that is shorter "
        "than the paper's says nothing about it while its curve is still falling. Hours and operations are those of "
        "all seeds of a row. Hours are by the clock, so they are longer if the machine had other work."
        + _of_machines(runs)
    )


def _cost(runs: Sequence[Run]) -> str:
    """Core-hours of runs on CPUs, and hours of GPUs where some ran there."""
    on_gpus = [run for run in runs if run.on_gpu]
    said = core_hours(sum(run.core_seconds for run in runs if not run.on_gpu))
    return f"{said} and {total_seconds(on_gpus) / 3600:.3g} GPU-hours" if on_gpus else said


def _of_machines(runs: Sequence[Run]) -> str:
    """A warning where hours are of machines, or of numbers of threads, that differ."""
    return (
        "" if alike(runs) else " The hours come from several machines, so compare rows by operations and not by hours."
    )


def _asked_for(chapter: Chapter) -> str:
    """The runs that the whole of a chapter has."""
    seeds = sorted({len(each.done) + len(each.missing) for each in chapter.plans})
    up_to = "up to " if len(seeds) > 1 else ""
    return f"{counted(len(chapter.plans), 'cell')} of {up_to}{counted(seeds[-1], 'seed')}"


def _chapter(chapter: Chapter) -> Iterator[str]:
    """The table, the curves, what the rows say beside each other."""
    protocol = chapter.spec.protocol
    yield f"## {escape(chapter.title)}"
    yield (
        f"Protocol {code(protocol.name)}: {counted(protocol.epochs, 'epoch')} of batch {protocol.batch_size}. "
        f"{chapter.wanted - chapter.missing} of {counted(chapter.wanted, 'run')} "
        f"{'is' if chapter.wanted == 1 else 'are'} here ({_asked_for(chapter)})"
        + (f", which cost {_cost(chapter.runs)}." if chapter.runs else ".")
    )
    if not chapter.runs:
        return
    yield (
        f"[{chapter.place}.md]({chapter.place}.md) has all numbers, with the record behind each. "
        "That page counts only the runs that somebody asked for."
    )
    for dataset in chapter.datasets:
        sheet = chapter.sheet(dataset)
        yield f"{escape(dataset)}, in {sheet.unit.name}, lower is better:"
        grid = lay_out(sheet, sheet.rows, Output.STORY)
        yield table(grid.headings, [list(map(escape, cells)) for cells in grid.rows], left=grid.left)
    yield from _figure(chapter)
    notes = [*_differences(chapter), *_searches(chapter)]
    yield from [bullets(notes)] if notes else []


def _figure(chapter: Chapter) -> Iterator[str]:
    """The figure that its sweep is there for, else its learning curves."""
    cells = list(chapter.ran.values())
    if any("log_sigma" in dict(each.cell.options) for each in cells):
        if curves := curves_of(cells):  # one curve alone is not drawn
            yield picture(PICTURE, f"{chapter.place}-noise.svg")
            yield from values_and_findings(curves)
    elif spaces := representations.pairs_of(cells):
        yield from representations.described(spaces, f"{chapter.place}-representations")
    elif contests := encoders.contests_of(cells):
        yield from encoders.described(contests, f"{chapter.place}-encoders")
    else:
        yield picture("Learning curves", f"{chapter.place}-curves.svg")
        yield from old_kind(cells)


def _differences(chapter: Chapter) -> Iterator[str]:
    """L-VDAE beside the VAE with the same latents, and what the paper prints of the same."""
    for ran, vae, paired in chapter.differences():
        unit = unit_of(ran.cell.dataset)
        where = f" on {ran.cell.dataset}" if len(chapter.datasets) > 1 else ""
        seeds = max(each.difference.count for each in paired if each.difference)
        interval = ", 95% interval" if seeds > 1 else ""
        shown = ", ".join(_difference(each, unit) for each in paired)
        doubts = "; ".join(filter(None, [f"{shown} {unit.name}", why_unequal([ran, vae]), few_samples([ran, vae])]))
        yield (
            f"L-VDAE minus VAE at m = {ran.cell.latents}{where}, {counted(seeds, 'seed')}{interval}: "
            + escape(f"{doubts}.")
        )


def _difference(paired: Paired, unit: Unit) -> str:
    paper = f" (paper: {unit.show_difference(paired.printed)})" if paired.printed is not None else ""
    return f"{paired.score} {_measured(paired, unit)}{paper}"


def _searches(chapter: Chapter) -> Iterator[str]:
    for winner in chapter.winners:
        yield (
            f"Hyper-parameters of {code(str(winner.cell))} and of the same method with other latents: "
            f"{counted(len(winner.trials), 'trial')} of {counted(winner.epochs, 'epoch')}, "
            f"{rough_duration(seconds_of(winner))}."
        )


def _experiments(chapters: Sequence[Chapter]) -> Iterator[str]:
    rows, headings, left = [], [], []
    runs = [run for chapter in chapters for run in chapter.runs]
    for chapter in chapters:
        settings = " ".join(f"{key}={value}" for key, value in chapter.part.settings) or "-"
        records = f"[{chapter.spec.name}]({chapter.place}.md)"
        for sheet in chapter.tried():
            grid = lay_out(sheet, sheet.rows, Output.EXPERIMENTS, compared=False)
            headings = ["what", "settings", *grid.headings, "records"]
            left = ["what", "settings", *grid.left, "records"]
            rows += [[escape(chapter.title), settings, *map(escape, cells), records] for cells in grid.rows]
    if not rows:
        return
    yield "## Why it differs: experiments"
    decided = f"The [fidelity notes]({NOTES}) say what we concluded."
    yield f"These are scores of test images, as above. {decided}{_of_machines(runs)}"
    yield table(headings, rows, left=left)
    best = [f"{escape(chapter.title)}: {line}" for chapter in chapters for line in _best_epochs(chapter)]
    found = best + [f"{escape(chapter.title)}: {line}" for chapter in chapters for line in _differences(chapter)]
    yield from [bullets(found)] if found else []


def _best_epochs(chapter: Chapter) -> Iterator[str]:
    """Which numbers are those of the lowest validation, because the model overfits."""
    for cell in chapter.ran.values():
        runs = [run for run in cell.completed if run.overfits and run.record.metrics.test_at_best_epoch]
        epochs = sorted({run.record.metrics.validation.best_epoch for run in runs if run.record.metrics.validation})
        if epochs:
            said = ", ".join(map(str, epochs))
            yield f"{escape(title_of(cell.cell))} overfits, so its scores are those at its best epoch, {said}."


def _others(chapters: Sequence[Chapter]) -> Iterator[str]:
    yield "## Numbers of others"
    yield "These come from other networks and other training, and no verdict uses them."
    for dataset in dict.fromkeys(dataset for chapter in chapters for dataset in chapter.datasets):
        if outside := outside_table(dataset):
            yield f"{escape(dataset)}, in {unit_of(dataset).name}:"
            yield outside


def _remaining(chapters: Sequence[Chapter]) -> Iterator[str]:
    runs = [run for chapter in chapters for run in chapter.runs]
    left = [(chapter, _speed(chapter, runs)) for chapter in chapters if chapter.missing]
    yield "## What remains"
    if left:
        searches = sum(chapter.unsearched for chapter, _ in left)
        before = f" Not counted: {counted(searches, 'search', 'searches')}." if searches else ""
        yield f"Missing with `--seeds` as below: {_amount(left, first=True)}; without: {_amount(left)}.{before}"
    yield bullets([_missing(*each) for each in left]) if left else "Nothing."


def _speed(chapter: Chapter, every: Sequence[Run]) -> float | None:
    """FLOP/s of one core in the runs of a chapter; where it has none in those of its protocol, or else in all."""
    for runs in (chapter.runs, [run for run in every if run.protocol == chapter.spec.protocol.name], every):
        timed = [run for run in runs if not run.on_gpu and run.record.cost.flops and run.core_seconds]
        if timed:
            return total_flops(timed) / sum(run.core_seconds for run in timed)
    return None


def _amount(left: Sequence[tuple[Chapter, float | None]], *, first: bool = False) -> str:
    """How many runs are missing, of all seeds or of those that come first, and their cost at the speeds of a core."""
    found = [(*chapter.missing_up_to(chapter.part.seeds if first else None), speed) for chapter, speed in left]
    known = [flops / speed for _, flops, speed in found if speed]
    runs = counted(sum(count for count, *_ in found), "run")
    return f"{runs}, about {core_hours(sum(known))}" if len(known) == len(found) else runs


def _missing(chapter: Chapter, speed: float | None) -> str:
    """The command that makes the missing runs, what that costs at the speed of a core, and what it leaves out."""
    left = [(chapter, speed)]
    then = f"{_amount(left, first=True)}; without {code('--seeds')} all " if chapter.part.seeds else ""
    said = f"{code(chapter.part.command)}: {then}{_amount(left)}"
    said += f", at {speed / 1e9:.0f} GFLOP/s of a core" if speed else ""
    said += f", and {chapter.unsearched} of its searches before" if chapter.unsearched else ""
    later = [f"{title_of(cell)}, m = {cell.latents}" for cell in chapter.part.left_for_later]
    return said + (f". Not in it: {escape('; '.join(later))}" if later else "")
