"""The results of a sweep: for each data set a table of scores beside the paper's, and what is to be known of it."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Collection, Iterator

from vdae_bench.paper.published import PublishedTable, load_table, table_names
from vdae_bench.report.numbers.columns import Column, Output
from vdae_bench.report.numbers.layout import lay_out
from vdae_bench.report.numbers.noise import curves_of
from vdae_bench.report.numbers.rows import Row, Sheet
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.numbers.units import NATS, dims_of
from vdae_bench.report.sections.results.searched import notes_for_table, row_notes
from vdae_bench.report.sections.results.tables import baselines_table, outside_table, verdicts_table
from vdae_bench.report.style import terminal
from vdae_bench.report.style.markdown import anchor, bullets, escape, strong, table
from vdae_bench.report.style.section import Section
from vdae_bench.spec.sweep import Cell

METHOD_WIDTH = {True: 18, False: 36}
"""Columns of the terminal for the method, with the paper's numbers beside ours or without."""


def results_table(sheet: Sheet, best: Collection[tuple[Cell, str]] = ()) -> str:
    """The results as a page shows them, each row leading to its records, and the best in bold."""
    grid = lay_out(sheet, sheet.rows, Output.PAGE, compared=sheet.compared, best=best)
    body = [
        [
            strong(text) if (number, place) in grid.bold else text
            for place, text in enumerate(map(functools.partial(_markdown, row), grid.columns, cells))
        ]
        for number, (row, cells) in enumerate(zip(sheet.rows, grid.rows, strict=True))
    ]
    return table(grid.headings, body, left=grid.left)


def _markdown(row: Row, column: Column, text: str) -> str:
    if column.to_records and row.ran:
        return f"[{text}](#{anchor(row.ran.cell.slug)})"
    return escape(text)


def terminal_table(sheet: Sheet, *, noise_levels: bool) -> str:
    """The results as the terminal shows them, the baselines under them; with or without rows of fixed noise levels."""
    rows = [
        row for row in sheet.everything if noise_levels or not (row.ran and "log_sigma" in dict(row.ran.cell.options))
    ]
    grid = lay_out(sheet, rows, Output.TERMINAL, compared=sheet.compared)
    body = [
        [
            textwrap.fill(text, METHOD_WIDTH[sheet.compared]) if heading in grid.left else text
            for heading, text in zip(grid.headings, cells, strict=True)
        ]
        for cells in grid.rows
    ]
    return terminal.table(grid.headings, body, grid.left, dense=True)


def redraw_sentence(sheet: Sheet) -> str | None:
    """How much another draw of the test set's noise would change a number, where it was measured."""
    name = "redraw_standard_deviation_nats"
    found = [(row, summary) for row in sheet.everything if row.ran and (summary := row.ran.metric(name))]
    if not found:
        return None
    largest = max(summary.highest for _, summary in found)
    noise = "binarisation" if sheet.unit is NATS else "dequantisation"
    dims = None if sheet.unit is NATS else dims_of(sheet.dataset)
    in_bits = f" ({largest / (dims * math.log(2)):.5f} bits/dim)" if dims else ""
    measured = ", ".join(escape(row.method) for row, _ in found)
    return (
        f"All methods and seeds are tested on the same draw of the {noise} noise. Another draw would change "
        f"a number by about {largest:.2g} nats{in_bits} as standard deviation (measured on {measured})."
    )


def _about_sheet(subject: Subject, sheet: Sheet) -> Iterator[str]:
    compared = "; difference: ours - paper" if sheet.compared else ""
    yield (
        f"In {sheet.unit.name}, lower is better. Ours: mean ± sample standard deviation over "
        f"seeds{compared}. Seconds and operations are those of one seed."
    )
    if sheet.rows:
        yield results_table(sheet, subject.best)
        yield from notes_for_table(sheet, subject.searches, subject.path)
    paper = load_table(subject.name) if subject.name in table_names() else None
    if paper and paper.dataset == sheet.dataset:
        yield _about_paper(paper)
    yield from _verdicts(sheet)
    if any(row.ran for row in sheet.baselines):
        yield "These trivial baselines are ours. A deep generative model should have a better NLL than these."
        yield baselines_table(sheet)
    if redraw := redraw_sentence(sheet):
        yield redraw
    if outside := outside_table(sheet.dataset):
        yield (
            f"These numbers of others are in {sheet.unit.name}. Their networks and training differ; "
            "no verdict uses them."
        )
        yield outside


def _verdicts(sheet: Sheet) -> Iterator[str]:
    if judged := verdicts_table(sheet):
        margin = next(table.margin for table in map(load_table, table_names()) if table.dataset == sheet.dataset)
        yield (
            "The verdict on each number says whether it is the paper's. `reproduced` means that the 95% interval of "
            f"the difference is within ±{margin:g} {sheet.unit.name}, because faithful implementations differ by as "
            "much. The interval is the wider of Welch's and of Student's with one variance for both, since a few seeds "
            "may agree by chance; it has the rounding of the paper's number too. `not reproduced` means that it is "
            "outside. A number is comparable if it has the paper's length, K, images and networks, or "
            "the paper's networks and a validation curve that leaves less than a quarter of the difference (or of "
            "that margin) open. The margin is wider than many gaps of the table. So a second verdict says whether the "
            "order among the rows with as many latents is the paper's, paired by seed."
        )
        yield judged


def _about_paper(paper: PublishedTable) -> str:
    """Notes on the paper's marks and ±, and on where quoted numbers are from; each said once."""
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
        notes += _about_quoted(paper)
    return bullets(notes)


def _about_quoted(paper: PublishedTable) -> Iterator[str]:
    """Sentences on what stands beside quoted numbers, and on which of these are in other units."""
    if beside := [row.method for row in paper.rows if row.beside]:
        alike = ", ".join(row.method for row in paper.rows if row.beside and row.space == "logit")
        yield (
            f"Beside {', '.join(beside)} are flows of ours of the same kind. They model logits of pixels, as {alike} "
            "does, with the sizes and the length of this protocol. At `smoke` and `quick` they are far too small and "
            "short to come near it. A score on logits is a score on pixels too, but the change of the data alone is "
            "worth more than most changes of the method (fidelity notes)."
        )
    caveats: dict[str, list[str]] = {}
    for row in paper.rows:
        if row.units != "same":
            caveats.setdefault(row.caveat, []).append(row.method)
    for caveat, methods in caveats.items():
        yield f"{', '.join(methods)}: {caveat}; ours are bits per 784 dimensions, without padding."


def _text(subject: Subject, sheets: list[Sheet]) -> Iterator[str]:
    for sheet in sheets:
        if len(sheets) > 1:
            yield f"## {sheet.dataset}"
        yield from _about_sheet(subject, sheet)


def _terminal(subject: Subject, sheets: list[Sheet]) -> Iterator[str]:
    for sheet in sheets:
        yield ""
        if len(sheets) > 1:
            yield f"{sheet.dataset}, {sheet.unit.name}"
        yield terminal_table(sheet, noise_levels=not curves_of(subject.cells))
        if caveats := {
            row.method: row.published.caveat for row in sheet.rows if row.ran and row.quoted and row.published
        }:
            said = "; ".join(f"{method}: {caveat}" for method, caveat in caveats.items())
            yield from terminal.wrap(f"Ours beside numbers of others, small flows on logits of pixels: {said}.")
        for names, said, _ in row_notes(sheet, subject.searches):
            yield from terminal.wrap(terminal.plain(f"Searched hyper-parameters: {names}: {said}."))


RESULTS = Section("", lambda subject: subject.sheets, _text, terminal=_terminal)
