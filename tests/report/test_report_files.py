"""The same records give the same bytes; the CSV gives back the same numbers; the terminal's text fits."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors

from tests.support.records import made_up_record, publish, publish_table
from vdae_bench.errors import EnvironmentFault
from vdae_bench.report.build import build_reports, differing_files, render_reports
from vdae_bench.report.numbers.runs import load_runs, select
from vdae_bench.report.numbers.statistics import CellRuns, cells_of
from vdae_bench.report.sections import curves as figures
from vdae_bench.report.style.digest import MARK
from vdae_bench.report.style.figure import drawn
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

FIGURES = [f"table1-{name}.{ending}" for name in ("cost", "curves", "forest") for ending in ("png", "svg")]
NAMES = sorted(
    [
        "claims.json",
        "claims.md",
        "records.csv",
        "table1.csv",
        "table1.md",
        "table1-pairs.csv",
        "table1-pairs.tex",
        *FIGURES,
    ]
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "quick").iterdir())}


def cells(store: Store) -> list[CellRuns]:
    return cells_of(select(load_runs(store)))


@pytest.fixture(scope="module")
def table1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up records of Table 1 in results/ and what they give, built once, in reports/."""
    folder = tmp_path_factory.mktemp("table1")
    store = Store(folder / "results")
    publish_table(store)
    build_reports(store, folder / "reports", formats=("md", "csv"))
    return folder


def test_the_same_records_give_the_same_bytes(table1: Path, tmp_path: Path) -> None:
    first = contents(table1 / "reports")
    assert sorted(first) == NAMES
    shutil.copytree(table1 / "results", tmp_path / "elsewhere" / "results")
    # Neither the place, nor the user's settings of matplotlib, nor what was drawn before, may matter.
    with matplotlib.rc_context({"font.size": 20, "xtick.direction": "in", "figure.facecolor": "red"}):
        moved = Store(tmp_path / "elsewhere" / "results")
        build_reports(moved, tmp_path / "elsewhere" / "reports", formats=("md", "csv"))
    assert contents(tmp_path / "elsewhere" / "reports") == first


def test_figures_carry_no_date_and_nothing_of_the_program_but_its_mark(table1: Path) -> None:
    svg, png = (table1 / "reports" / "quick" / f"table1-curves.{ending}" for ending in ("svg", "png"))
    assert "dc:date" not in svg.read_text()
    for figure in (svg, png):
        content = figure.read_bytes()
        assert content.count(matplotlib.__version__.encode()) == len(MARK.findall(content)) == 1
    assert png.read_bytes().count(b"tEXt") == 1
    assert "<text" not in svg.read_text()


@pytest.mark.usefixtures("blank_pictures")
def test_rendering_writes_nothing_and_tells_what_differs(store: Store, reports: Path) -> None:
    publish_table(store)
    rendered = list(render_reports(store, reports))
    assert not reports.exists()
    assert len(differing_files(rendered)) == 11
    build_reports(store, reports)
    assert differing_files(rendered) == []
    (reports / "quick" / "table1.md").write_text("changed by hand")
    assert differing_files(rendered) == [reports / "quick" / "table1.md"]


def test_a_folder_that_cannot_be_written_is_named(store: Store, reports: Path) -> None:
    publish_table(store)
    reports.write_text("a file where the folder should be")
    with pytest.raises(EnvironmentFault, match="choose another folder for reports"):
        build_reports(store, reports, formats=("csv",))


def test_the_csv_reads_back_to_the_numbers_of_the_records(store: Store, reports: Path) -> None:
    records = publish_table(store)
    records += publish_table(store, "table2")
    odd = Cell("binary-mnist", "vae", 16, (("decoder_output", "linear"),))
    extra = [
        made_up_record(odd, 0, diverged=True, flags=("a flag, with a comma",)),
        made_up_record(odd, 1, provenance={"dataset_sha256": "x"}),
    ]
    publish(store, "table2", "quick", odd.slug, extra)
    # The CSV is of the whole protocol, whichever sweep is asked for.
    of_table, written = build_reports(store, reports, sweep="table2", formats=("csv",))
    assert of_table.path.name == "table2.csv"
    frame = pd.read_csv(written.path)
    assert len(frame) == len(records) + 2
    assert written.console.endswith(f"records.csv: {len(frame)} records")
    for _, row in frame.iterrows():
        record = store.read(store.root / row["record"])
        assert record is not None
        assert (row["cell.method"], row["cell.latents"], row["seed"]) == (
            record.cell.method,
            record.cell.latents,
            record.seed,
        )
        assert row["status"] == record.status
        assert row["cost.train_flops"] == record.cost.train_flops
        assert row["hyperparameters.learning_rate"] == record.hyperparameters["learning_rate"]
        assert row["provenance.run_digest"] == record.run_digest
        for name in ("nll_nats", "neg_elbo_nats", "nll_bits_per_dim", "neg_elbo_bits_per_dim"):
            value = getattr(record.metrics.test, name) if record.metrics.test else None
            shown = row[f"metrics.test.{name}"]
            assert np.isnan(shown) if value is None else shown == pytest.approx(value, rel=1e-14)
    by_record = frame.set_index("record")
    diverged = by_record.loc[f"table2/quick/{odd.slug}/seed-0.json"]
    assert (diverged["status"], diverged["cell.options.decoder_output"]) == ("diverged", "linear")
    assert diverged["flags"] == "a flag, with a comma; diverged at step 7"
    assert by_record["left_out"].dropna().to_dict() == {
        f"table2/quick/{odd.slug}/seed-1.json": "other data under the same name"
    }


@pytest.mark.usefixtures("blank_pictures")
def test_the_terminals_text_fits_a_hundred_columns(
    store: Store, reports: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    publish_table(store, "table1", seeds=10)
    publish_table(store, "table2", seeds=10)
    wide = Cell("binary-mnist", "vae", 784, (("decoder_output", "linear"), ("decoder_variance", "a long word")))
    publish(store, "mini", "quick", wide.slug, [made_up_record(wide, seed, nll_nats=1e4 + seed) for seed in (0, 1)])
    for written in build_reports(store, reports):
        if written.path.name == "claims.md":
            continue
        lines = written.console.splitlines()
        assert max(map(len, lines)) <= 100, max(lines, key=len)
        assert lines[-1] == f"Report: reports/quick/{written.sweep}.md"
        assert "This protocol cannot show" in lines
        assert any(line.startswith("Cost: ") for line in lines)


@pytest.mark.usefixtures("blank_pictures")
def test_the_console_has_the_paper_beside_ours(store: Store, reports: Path) -> None:
    publish_table(store, "table2")
    written = build_reports(store, reports)[0]
    row = next(line for line in written.console.splitlines() if " VAE " in line)
    values = row.split()
    assert values[:3] == ["16", "VAE", "83.46"]
    assert values[-2:] == ["2/2", "30.5"]


def test_panels_are_one_for_each_number_of_latents_in_the_unit_of_the_table(store: Store) -> None:
    publish_table(store)
    panels = figures.panels_of(cells(store))
    assert [panel.title for panel in panels] == ["m = 16", "m = 32", "m = 64", "m = 128", "m = 784"]
    assert {panel.unit for panel in panels} == {"bits/dim"}
    line = panels[0].lines[1]
    record = next(run.record for run in load_runs(store) if run.cell == Cell("continuous-mnist", "lvdae", 16))
    nats = np.array(record.curve.validation_neg_elbo_nats, float)
    np.testing.assert_allclose(line.validation[0], nats / (784 * np.log(2)) + 8)
    assert line.validation.shape == (2, 3)


def test_cells_with_options_have_a_panel_for_each_method_and_a_style_for_each_option(store: Store) -> None:
    for output in ("linear", "sigmoid"):
        cell = Cell("binary-mnist", "vae", 16, (("decoder_output", output),))
        publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0)])
    (panel,) = figures.panels_of(cells(store))
    assert panel.title == "m = 16, VAE"
    assert len({line.style for line in panel.lines}) == 2


def test_lines_differ_without_colour_too() -> None:
    assert len({style.marker for style in figures.STYLES}) == len(figures.STYLES)
    assert len({style.colour for style in figures.STYLES}) == len(figures.STYLES)
    vae, lvdae = figures.STYLES[:2]
    assert vae.dashes != lvdae.dashes
    # Luminance: no line vanishes on white paper.
    assert all(np.dot(colors.to_rgb(style.colour), (0.2126, 0.7152, 0.0722)) < 0.7 for style in figures.STYLES)


def test_curves_with_gaps_and_one_point_are_drawn(store: Store) -> None:
    short = Cell("binary-mnist", "vae", 16)
    publish(store, "mini", "quick", short.slug, [made_up_record(short, 0, curve=[100.0])])
    gaps = Cell("binary-mnist", "lvdae", 16)
    curve = [None, 110.0, 105.0]
    publish(store, "mini", "quick", gaps.slug, [made_up_record(gaps, seed, curve=curve) for seed in (0, 1)])
    files = drawn("curves", lambda: figures.learning_curves(cells(store)))
    assert sorted(files) == ["curves.png", "curves.svg"]
    assert io.BytesIO(files["curves.png"]).read(4) == b"\x89PNG"


def test_the_first_epochs_do_not_flatten_a_long_curve(store: Store) -> None:
    cell = Cell("binary-mnist", "vae", 16)
    curve: list[float | None] = [500.0, 200.0, *(100.0 - epoch / 50 for epoch in range(58))]
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0, curve=curve)])
    figure = figures.learning_curves(cells(store))
    low, high = figure.axes[0].get_ylim()
    assert 95 < low < high < 105


def test_a_points_standard_error_is_a_band_in_the_unit_of_the_panel(store: Store) -> None:
    for cell in (Cell("binary-mnist", "lvdae", 16), Cell("continuous-mnist", "lvdae", 16)):
        made = made_up_record(cell, 0)
        made.curve.validation_standard_error_nats = [0.5, 0.25, 0.0]
        publish(store, "mini", "quick", cell.slug, [made])
    binary, continuous = figures.panels_of(cells(store))
    np.testing.assert_allclose(binary.lines[0].error, [0.5, 0.25, 0.0])
    np.testing.assert_allclose(continuous.lines[0].error, np.array([0.5, 0.25, 0.0]) / (784 * np.log(2)))
    figure = figures.learning_curves(cells(store))
    (band,) = figure.axes[0].collections
    at_first = band.get_paths()[0].vertices
    heights = at_first[at_first[:, 0] == 1][:, 1]
    assert max(heights) - min(heights) == pytest.approx(1.0)
    assert any("standard error" in text.get_text() for legend in figure.legends for text in legend.get_texts())


@pytest.mark.parametrize(
    ("part", "method", "estimator", "said"),
    [
        ("fixed", "lvdae", "subset", True),
        ("fixed", "lvdae", "projected", True),
        ("fixed", "lvdae", "exact", False),
        ("fixed", "vae", "subset", False),
        ("rotating", "lvdae", "subset", False),
    ],
)
def test_curves_of_the_older_kind_are_called_out_where_they_stand(
    store: Store, reports: Path, blank_pictures: None, part: Any, method: str, estimator: str, said: bool
) -> None:
    cell = Cell("binary-mnist", method, 16)
    made = made_up_record(cell, 0)
    made.curve.validation_part = part
    made.protocol["log_det"] = estimator
    publish(store, "mini", "quick", cell.slug, [made])
    page = build_reports(store, reports)[0].path.read_text()
    section = page.partition("Learning curves\n")[2].partition("\n## ")[0]
    assert ("come from the same part of the images in every epoch" in section) == said
    assert page.count("the same part of the images in every epoch") == said


def test_there_is_no_figure_of_what_was_not_trained(store: Store, reports: Path) -> None:
    cell = Cell("binary-mnist", "independent-pixels", 0)
    publish(store, "mini", "quick", cell.slug, [made_up_record(cell, 0, trained=False, exact=True)])
    (written,) = build_reports(store, reports)
    assert "There are no curves, because no run was trained to the end." in written.path.read_text()
    assert list(written.path.parent.glob("*-curves.*")) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles_with_the_packages_that_it_names_and_fits_the_line(store: Store, tmp_path: Path) -> None:
    for name in ("table1", "table2"):
        publish_table(store, name)
        odd = Cell("continuous-mnist", "vdae-resnet", 784, (("initial_log_sigma", -6.0),))
        publish(store, name, "quick", odd.slug, [made_up_record(odd, 0)])  # another data set, a long name, underscores
    written = build_reports(store, tmp_path, formats=("latex",))
    tables = [each.path.read_text() for each in written]
    packages = set(re.findall(r"% needs (.+)", "".join(tables)))
    document = "\n".join([r"\documentclass{article}", *packages, r"\begin{document}", *tables, r"\end{document}"])
    (tmp_path / "paper.tex").write_text(document)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").is_file() and "Overfull" not in done.stdout
