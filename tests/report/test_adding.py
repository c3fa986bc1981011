"""A column and a section are values: one more in a tuple is in every output."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import made_up_record, publish, publish_table
from vdae_bench.report.build import FORMATS, build_reports, differing_files, render_reports
from vdae_bench.report.numbers import columns
from vdae_bench.report.numbers.chapters import Part
from vdae_bench.report.numbers.columns import Column, Output
from vdae_bench.report.numbers.layout import lay_out
from vdae_bench.report.numbers.rows import sheets_of
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.pages import sweep
from vdae_bench.report.pages.story import render_story
from vdae_bench.report.style.section import Section
from vdae_bench.store.records import Store

pytestmark = pytest.mark.usefixtures("blank_pictures")

BEST = Column("finest {score}", lambda at: at.sheet.unit.show(at.summary.lowest) if at.summary else "-", of_score=True)


def contents(store: Store, reports: Path) -> dict[str, str]:
    """What is written of a sweep, by the end of the file's name, and what the terminal says of it."""
    written = build_reports(store, reports, sweep="table2", formats=FORMATS)
    texts = {each.path.name: each.path.read_text() for each in written}
    console_text = next(each.console for each in written if each.path.suffix == ".md")
    return {**texts, "console": console_text}


def test_a_column_more_is_in_every_output(store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_table(store, "table2")
    before = contents(store, reports)
    assert not any("finest" in text for text in (before["table2.tex"], before["table2.csv"], before["console"]))
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, BEST))
    after = contents(store, reports)
    scores = [run.record.metrics.test.nll_nats for run in load_runs(store) if run.cell.slug == "binary-mnist_vae_16"]
    best = f"{min(scores):.2f}"
    row = next(row for row in table_with(after["table2.md"], "finest NLL") if row["method"] == "VAE")
    assert row["finest NLL"] == best and "finest -ELBO" in row
    (line,) = [line for line in after["console"].splitlines() if line.split()[:2] == ["16", "VAE"]]
    assert line.split()[-2] == best
    (line,) = [line for line in after["table2.tex"].splitlines() if line.split("&")[:2] == ["     16 ", " VAE "] or
               [cell.strip() for cell in line.split("&")[:2]] == ["16", "VAE"]]  # fmt: skip
    assert best in [cell.strip(" \\") for cell in line.split("&")]
    lines = list(csv.DictReader(after["table2.csv"].splitlines()))
    (line,) = [each for each in lines if (each["cell"], each["score"]) == ("binary-mnist_vae_16", "nll")]
    assert line["finest"] == best
    assert "finest NLL" in after["index.html"] and f">{best}</td>" in after["index.html"]


def test_a_column_more_is_on_the_page_of_the_long_runs(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part("evidence/binary")
    cell, protocol = part.resolved.cells[0], part.resolved.protocol
    publish(store, part.resolved.name, protocol.name, cell.slug, [made_up_record(cell, 0, protocol)])
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, BEST))
    (page,) = render_story(store, reports, parts=[part], experiments=[part]).values()
    for place in (0, 1):
        rows = table_with(page.decode(), "finest NLL", place)
        assert rows[0]["finest NLL"] == "90.00"


def test_a_section_more_is_on_every_page_with_its_files(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text(subject: Subject, seeds: int) -> Iterator[str]:
        yield f"![Seeds]({subject.name}-seeds.svg)"
        yield f"There are {seeds} runs."

    def files(subject: Subject, seeds: int) -> dict[str, bytes]:
        return {"seeds.svg": b"<svg>a drawing</svg>"}

    runs = Section(
        "All runs", lambda subject: len(subject.selection.runs), text, files, lambda subject, seeds: [f"{seeds} runs"]
    )
    publish_table(store, "table2")
    before = contents(store, reports)
    monkeypatch.setattr(sweep, "SECTIONS", (*sweep.SECTIONS, runs))
    assert [path.name for path in differing_files(list(render_reports(store, reports, formats=FORMATS)))] == [
        "table2.md",
        "table2-seeds.svg",
        "index.html",
    ]
    monkeypatch.setattr(sweep, "TERMINAL", (*sweep.TERMINAL, runs))
    after = contents(store, reports)
    assert after["table2.md"].startswith(before["table2.md"])
    assert after["table2.md"].endswith("\n## All runs\n\n![Seeds](table2-seeds.svg)\n\nThere are 17 runs.\n")
    assert (reports / "quick" / "table2-seeds.svg").is_file()
    assert 'href="#table2--all-runs"' in after["index.html"] and "a drawing" in after["index.html"]
    assert after["console"].splitlines()[-2] == "17 runs"


def test_a_section_that_finds_nothing_leaves_no_trace(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_table(store, "table2")
    before = contents(store, reports)
    nothing: Section[Subject, int] = Section("Nothing", lambda subject: None, lambda subject, found: [f"{found}"])
    monkeypatch.setattr(sweep, "SECTIONS", (nothing, *sweep.SECTIONS))
    monkeypatch.setattr(sweep, "TERMINAL", (nothing, *sweep.TERMINAL))
    assert contents(store, reports) == before


@pytest.mark.parametrize("output", list(Output))
@pytest.mark.parametrize("compared", [True, False])
def test_every_output_lays_out_a_heading_and_a_cell_for_each_of_its_columns(
    store: Store, output: Output, compared: bool
) -> None:
    publish_table(store, "table1")
    (sheet,) = sheets_of(select(load_runs(store)))
    ran = [row for row in sheet.everything if row.ran]
    grid = lay_out(sheet, ran, output, compared=compared)
    assert len(grid.rows) == len(ran) and {len(row) for row in grid.rows} == {len(grid.headings)}
    assert set(grid.left) <= set(grid.headings) and not any("{" in heading for heading in grid.headings)
    assert {column.heading for column in grid.columns} == {
        column.heading for column in columns.COLUMNS if output in column.only and (compared or not column.beside_paper)
    }
