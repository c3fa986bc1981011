"""The lines that end a run: its page, its figures, the command that a reader may want next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.records import PROTOCOL, publish_table
from vdae_bench.cli import run as commands
from vdae_bench.cli.main import cli
from vdae_bench.cli.results import write_home, write_reports
from vdae_bench.errors import UserError
from vdae_bench.report.build import build_reports
from vdae_bench.running.options import Command, MachineOptions, SpecOptions
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.store.records import Store


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize(("verb", "target"), [("sweep", "table2"), ("search", "table2")])
def test_a_run_ends_with_its_page_and_the_next_command(verb, target, store: Store, tmp_path: Path, capsys):
    publish_table(store, "table2")
    machine, options = MachineOptions(results=store.root, reports=tmp_path / "reports"), SpecOptions(trials=6)
    commands.report_sweep(load_spec(find_spec("table2")), store, Command(verb, (target,), options, machine))
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("Report: "))
    page, browser, home, *named, last = lines[start:]
    assert home == f"All runs on one page: vdae-bench report --home --results {store.root} --reports {machine.reports}"
    figures = " ".join(named)
    assert page.startswith("Report: ") and Path(page.removeprefix("Report: ")).is_file()
    assert Path(browser.removeprefix("For a browser: ")).is_file()
    assert figures.startswith("Figures in ") and "table2-curves.png" in figures
    folder = f"--results {store.root}"
    if verb == "search":
        assert last == f"Next: vdae-bench sweep table2 {folder} --reports {machine.reports}"  # it searches nothing
    else:
        assert last == f"Next: vdae-bench explain binary-mnist_vae_16 --protocol quick {folder}"
        words = shlex.split(last.removeprefix("Next: "))[1:]
        assert CliRunner().invoke(cli, words).exit_code == 0


@pytest.mark.usefixtures("blank_pictures")
def test_a_figure_of_the_paper_is_named(store: Store, tmp_path: Path, capsys, monkeypatch):
    publish_table(store, "table2")
    monkeypatch.setitem(commands.FIGURE_OF_PART, "figure2", "curves")  # made-up records have no samples
    command = Command("reproduce", ("figure2",), machine=MachineOptions(results=store.root, reports=tmp_path / "r"))
    commands.report_sweep(load_spec(find_spec("table2")), store, command)
    assert "\nFigure 2 of the paper: " in capsys.readouterr().out


@pytest.mark.usefixtures("blank_pictures")
def test_the_page_over_all_runs_alone_leads_to_pages_that_are_there(store: Store, reports: Path, capsys, monkeypatch):
    monkeypatch.setattr("vdae_bench.site.home.judge_claims", lambda runs: [])  # seconds, on other tests' pages
    publish_table(store, "table2")
    build_reports(store, reports, formats=("md",))
    write_home(store.root, reports)
    page = reports / "index.html"
    assert f"Open {page} in a browser" in capsys.readouterr().out
    links = re.findall(r'href="(quick/[^"]+)"', page.read_text())
    assert links == ["quick/table2.md", "quick/table2.md#any-two-methods"] and (reports / links[0]).is_file()
    assert "## Any two methods" in (reports / links[0]).read_text()
    (reports / "quick" / "index.html").touch()  # a browser shows this better, where it is there
    write_home(store.root, reports)
    links = re.findall(r'href="(quick/[^"]+)"', page.read_text())
    assert links == ["quick/index.html#table2", "quick/index.html#table2--any-two-methods"]


@pytest.mark.usefixtures("blank_pictures")
def test_the_pages_of_one_protocol_lead_to_none_that_nobody_drew(store: Store, reports: Path, monkeypatch):
    monkeypatch.setattr("vdae_bench.site.home.judge_claims", lambda runs: [])
    publish_table(store, "table2")
    publish_table(store, "table2", PROTOCOL.model_copy(update={"name": "longer"}))
    write_reports(store.root, reports, "quick", None, "html", False)
    page = (reports / "index.html").read_text()
    assert set(re.findall(r'href="((?:quick|longer)/[^"#]+)', page)) == {"quick/index.html"}
    assert page.count("Cells of table2, quick") == 2


def test_the_page_over_all_runs_takes_no_other_option(tmp_path: Path):
    words = ["report", "--home", "--check", "--results", str(tmp_path)]
    assert "takes no other options" in CliRunner().invoke(cli, words).output
    with pytest.raises(UserError, match=r"no records in .*; run `vdae-bench reproduce"):
        write_home(tmp_path, tmp_path / "reports")
