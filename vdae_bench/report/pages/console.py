"""What the terminal prints at the end of a run: paper beside ours, in plain text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from vdae_bench.report.numbers.cost import total_flops, total_seconds
from vdae_bench.report.numbers.rows import SCORES, Row, Sheet, sheets_of
from vdae_bench.report.numbers.runs import Selection
from vdae_bench.report.numbers.searches import Frozen
from vdae_bench.report.numbers.statistics import cells_of
from vdae_bench.report.numbers.units import Unit
from vdae_bench.report.sections import noise as noise_grid
from vdae_bench.report.sections.head import stamp, title
from vdae_bench.report.sections.results import ours, train_seconds
from vdae_bench.report.sections.search.text import row_notes
from vdae_bench.system import words as quantities

WIDTH = 100
METHOD_WIDTH = {True: 18, False: 36}
"""Of the method, with the paper's numbers beside ours or without."""


def console_text(selection: Selection, path: Path, searches: Sequence[Frozen] = ()) -> str:
    """The text for the page at `path`."""
    return "\n".join(_lines(selection, path, searches))


def _lines(selection: Selection, path: Path, searches: Sequence[Frozen]) -> Iterator[str]:
    sheets = sheets_of(selection)
    grid = noise_grid.curves_of(cells_of(selection))
    yield title(selection)
    yield from _wrap(_plain(stamp(selection, sheets)))
    for sheet in sheets:
        yield ""
        if len(sheets) > 1:
            yield f"{sheet.dataset}, {sheet.unit.name}"
        yield _table(sheet, without_noise_levels=bool(grid))
        for names, said, _ in row_notes(sheet, searches):
            yield from _wrap(_plain(f"Searched hyper-parameters: {names}: {said}."))
    if grid:
        yield ""
        yield "-ELBO in bits/dim against the fixed noise level, coupled and decoupled decoders:"
        headers, rows = noise_grid.pivot(grid, separator="\n")
        yield tabulate(rows, headers, disable_numparse=True, colalign=["right"] * len(headers))
        for paragraph in noise_grid.findings(grid):
            for line in paragraph.split("\n"):
                yield from _wrap(_plain(line))
    yield ""
    yield from _wrap(
        f"Cost: {quantities.duration(total_seconds(selection.runs))} for {len(selection.runs)} runs, "
        f"{quantities.flops(total_flops(selection.runs))}."
    )
    if selection.protocol.cannot_show:
        yield "This protocol cannot show"
        for each in selection.protocol.cannot_show:
            yield from textwrap.wrap(each, WIDTH, initial_indent="- ", subsequent_indent="  ")
    yield f"Report: {short(path)}"


def _table(sheet: Sheet, *, without_noise_levels: bool) -> str:
    compared = any(row.published for row in sheet.rows)
    scores = [heading for name, _ in SCORES for heading in ([f"{name} paper", "ours"] if compared else [name])]
    body = [
        [
            row.latents,
            textwrap.fill(row.method, METHOD_WIDTH[compared]),
            *(cell for _, score in SCORES for cell in _score(row, score, sheet.unit, compared)),
            "" if row.quoted else f"{len(row.ran.completed) if row.ran else 0}/{row.wanted}",
            train_seconds(row),
        ]
        for row in (*sheet.rows, *sheet.baselines)
        if not (without_noise_levels and row.ran and "log_sigma" in dict(row.ran.cell.options))
    ]
    headers = ["latents", "method", *scores, "seeds", "train s"]
    # As a row among the others: tabulate pads real headers, and the width is needed.
    return tabulate(
        [headers, *body],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right", "left", *["right"] * (len(scores) + 2)],
    )


def _score(row: Row, score: str, unit: Unit, compared: bool) -> list[str]:
    printed = getattr(row.published, score) if row.published else None
    paper = [f"{printed.value:.{printed.decimals}f}" if printed else "-"] if compared else []
    return [*paper, ours(row, score, unit)]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)


def _plain(markdown: str) -> str:
    """A stamp without its Markdown."""
    return markdown.replace("**", "").replace("`", "").replace("\\", "").replace("[Records](#records)", "Records")


def short(path: Path) -> str:
    """A path relative to the working directory where it lies inside."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path)
