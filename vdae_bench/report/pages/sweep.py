"""A page: one sweep under one protocol, in Markdown; each number of ours traceable to records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vdae_bench.paper.published import PublishedTable, load_table, table_names
from vdae_bench.report.numbers.claims import Judgement
from vdae_bench.report.numbers.rows import Sheet, sheets_of
from vdae_bench.report.numbers.runs import Run, Selection, grouped
from vdae_bench.report.numbers.searches import Frozen, current
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.sections import compute as equal_compute
from vdae_bench.report.sections import noise as noise_grid
from vdae_bench.report.sections.claims import claims_table
from vdae_bench.report.sections.compute import Contest
from vdae_bench.report.sections.cost import costs_table
from vdae_bench.report.sections.deviations import deviations_table
from vdae_bench.report.sections.estimates import estimates, redraw_sentence
from vdae_bench.report.sections.head import stamp, title
from vdae_bench.report.sections.origin import origin
from vdae_bench.report.sections.results import (
    baselines_table,
    outside_table,
    results_table,
    variance_table,
    verdicts_table,
)
from vdae_bench.report.sections.samples import text as samples
from vdae_bench.report.sections.samples.evidence import Family
from vdae_bench.report.sections.search.text import notes_for_table, section
from vdae_bench.report.style.markdown import anchor, bullets, code, escape, link, portable


def page(
    selection: Selection,
    path: Path,
    curves: bool,
    searches: Sequence[Frozen] = (),
    contests: Sequence[Contest] = (),
    families: Sequence[Family] = (),
    judged: Sequence[Judgement] = (),
    claims: Path = Path("claims.md"),
) -> str:
    """The page that is to lie at `path`; `curves` is whether the learning curves lie beside it.

    `searches` are the winners of the sweep's hyper-parameter search, `contests` what L-VDAE and VAE cost,
    `families` the cells whose samples were kept, `judged` the paper's claims that the sweep is evidence for, `claims`
    where all of them stand.
    """
    sheets = sheets_of(selection)
    paper = load_table(selection.sweep) if selection.sweep in table_names() else None
    sections = [f"# {title(selection)}", stamp(selection, sheets), *_noise_grid(selection)]
    for sheet in sheets:
        sections += [f"## {sheet.dataset}"] if len(sheets) > 1 else []
        sections += _results(sheet, paper, searches, path)
    sections += samples.section(selection.sweep, families)
    if judged:
        part_by_part = f"All of them, part by part: {link(claims, path, 'claims.md')}."
        sections += ["## The paper's claims", part_by_part, claims_table(judged)]
    sections += ["## How NLL and -ELBO were estimated", *estimates(selection.protocol, sheets)]
    sections += ["## What varies", *_variance(sheets, searches)]
    sections += ["## What this protocol cannot show", _cannot_show(selection)]
    sections += ["## Deviations from the paper's protocol", deviations_table(selection) or "None."]
    if current(searches):
        sections += ["## Hyper-parameter search", *section(searches, path)]
    sections += ["## Learning curves", *_curves(selection, curves)]
    if contests:
        sections += ["## Cost beside quality", *_contests(selection, contests)]
    sections += ["## Cost in total", "Sums over all runs, diverged ones too.", costs_table(selection.runs)]
    sections += ["## Provenance", *origin(selection.runs)]
    sections += ["## Flags", _flags(selection)]
    sections += ["## Records", *_records(selection, path)]
    return "\n\n".join(sections) + "\n"


def search_page(sweep: str, protocol: str, searches: Sequence[Frozen], path: Path) -> str:
    """The page of a sweep of which so far only the search has run."""
    sections = [f"# Sweep {sweep}, {protocol} protocol", "Searched, and no final run yet.", "## Hyper-parameter search"]
    return "\n\n".join([*sections, *section(searches, path)]) + "\n"


def _results(sheet: Sheet, paper: PublishedTable | None, searches: Sequence[Frozen], path: Path) -> Iterator[str]:
    compared = "; difference: ours - paper" if any(row.published for row in sheet.rows) else ""
    yield (
        f"In {sheet.unit.name}, lower is better. Ours: mean ± sample standard deviation over "
        f"seeds{compared}. Seconds and operations are those of one seed."
    )
    if sheet.rows:
        yield results_table(sheet)
        yield from notes_for_table(sheet, searches, path)
    if paper and paper.dataset == sheet.dataset:
        yield _about_paper(paper)
    yield from _verdicts(sheet)
    if sheet.baselines:
        yield "Trivial baselines, ours. A row that is worse in NLL says nothing for a deep generative model."
        yield baselines_table(sheet)
    redraw = redraw_sentence(sheet)
    if redraw:
        yield redraw
    outside = outside_table(sheet.dataset)
    if outside:
        yield f"Numbers of others, in {sheet.unit.name}; other networks and training, and no part of any verdict."
        yield outside


def _verdicts(sheet: Sheet) -> Iterator[str]:
    judged = verdicts_table(sheet)
    if judged:
        margin = next(table.margin for table in map(load_table, table_names()) if table.dataset == sheet.dataset)
        yield (
            "Is it the paper's number? `reproduced`: the 95% interval of the difference (Welch's t over seeds; where "
            f"the paper prints no ±, the rounding of its number) lies within ±{margin:g} {sheet.unit.name}, as far as "
            "faithful implementations differ; `not reproduced`: it lies outside. A number is comparable at the paper's "
            "length, K and images, or where the validation curve leaves less open than a quarter of the difference (or "
            "of that margin), with the paper's networks."
        )
        yield judged


def _variance(sheets: Sequence[Sheet], searches: Sequence[Frozen]) -> Iterator[str]:
    yield (
        "Three sources, kept apart. Seeds: standard deviation between training runs, the only one that ± and intervals "
        "on this page are made of. Evaluation: standard error of one model's NLL, from its samples and images, and of "
        "its -ELBO, from its samples alone. Search: how far the worst of the best tenth of trials is above the best."
    )
    for sheet in sheets:
        if varies := variance_table(sheet, searches):
            yield f"In {sheet.unit.name}{f', {sheet.dataset}' if len(sheets) > 1 else ''}:"
            yield varies


def _contests(selection: Selection, contests: Sequence[Contest]) -> Iterator[str]:
    name = f"{selection.sweep}-cost"
    yield f"![Validation -ELBO against training operations and seconds, VAE and L-VDAE]({name}.svg)"
    yield f"{equal_compute.CAPTION} As pixels: [{name}.png]({name}.png)."
    yield from equal_compute.findings(contests)


def _about_paper(paper: PublishedTable) -> str:
    """What the marks and +- mean, and where quoted numbers are from; each said once."""
    marks = {row.footnote for row in paper.rows}
    notes = [f"{escape(mark)} {text}" for mark, text in paper.footnotes.items() if mark in marks]
    if any(row.nll.plus_minus for row in paper.rows):
        notes.append(f"Paper: means over {paper.runs} runs; ±: {paper.plus_minus}.")
    else:
        notes.append(
            f"Paper: means over {paper.runs} runs, printed without ±, so that gaps of 0.01 or 0.02 cannot be "
            "decided from print."
        )
    quoted = [row for row in paper.rows if row.origin == "quoted"]
    if quoted:
        convolutional = ", ".join(row.method for row in quoted if row.convolutional)
        notes.append(f"Quoted: by the paper from {paper.quoted_from}; {convolutional} are convolutional.")
    return bullets(notes)


def _noise_grid(selection: Selection) -> Iterator[str]:
    """Figure 1's panel and what it says, where the sweep has fixed noise levels."""
    grid = noise_grid.curves_of(cells_of(selection))
    if grid:
        name = f"{selection.sweep}-noise"
        yield f"![Test -ELBO against the fixed noise level]({name}.svg)"
        yield (
            "Test -ELBO in bits/dim, lower is better; mean over seeds, bands from the lowest to the highest; far "
            f"higher values run off the top. As pixels: [{name}.png]({name}.png); the values: [{name}.csv]({name}.csv)."
        )
        yield from noise_grid.values_and_findings(grid)


def _cannot_show(selection: Selection) -> str:
    return bullets([escape(each) for each in selection.protocol.cannot_show]) or "Nothing is noted."


def _curves(selection: Selection, curves: bool) -> Iterator[str]:
    if not curves:
        yield "There are none: nothing was trained to the end."
        return
    name = f"{selection.sweep}-curves"
    yield f"![Learning curves of every cell]({name}.svg)"
    yield (
        "-ELBO at beta = 1 by epoch (for NICE: NLL); each panel has its own scale. Validation: after the "
        "epoch; training: mean over the epoch's batches, while the weights change. Diverged seeds are not "
        f"drawn. As pixels: [{name}.png]({name}.png)."
    )


def _flags(selection: Selection) -> str:
    found: dict[tuple[str, str], list[str]] = {}
    for run in selection.runs:
        for flag in run.record.flags:
            found.setdefault((run.cell.slug, flag), []).append(str(run.seed))
    items = [
        f"{code(slug)}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {escape(flag)}"
        for (slug, flag), seeds in found.items()
    ]
    return bullets(items) or "None."


def _records(selection: Selection, path: Path) -> Iterator[str]:
    yield (
        "Every number of ours on this page is in one of these, or a mean or sum over some of them. Where no command "
        "stands beside them, all are by the one under [Provenance](#provenance)."
    )
    cells = grouped(selection.runs, lambda run: run.cell.slug)
    alike = len({_command(run) for run in selection.runs}) == 1
    yield bullets([_cell_records(runs, path, with_command=not alike) for runs in cells.values()])
    if selection.left_out:
        yield "Left out of everything above:"
        yield bullets(
            [f"{code(each.run.cell.slug)}: {_link(each.run, path)}, {each.reason}" for each in selection.left_out]
        )


def _command(run: Run) -> str:
    return portable(str(run.record.provenance.get("command") or "unknown"))


def _cell_records(runs: Sequence[Run], path: Path, *, with_command: bool) -> str:
    commands = ", ".join(map(code, dict.fromkeys(map(_command, runs)))) if with_command else ""
    links = ", ".join(_link(run, path) for run in runs)
    return f'<a id="{anchor(runs[0])}"></a>{code(runs[0].cell.slug)}: {links}{f"; by {commands}" if commands else ""}'


def _link(run: Run, path: Path) -> str:
    return f"{link(run.path, path, f'seed {run.seed}')}{'' if run.completed else ' (diverged)'}"
