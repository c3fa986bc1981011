"""The verbs on results: report, claims, explain, compare, export; they read records and train nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from vdae_bench.bench.page import render_performance
from vdae_bench.errors import UserError, VdaeBenchError
from vdae_bench.export.exporters import export
from vdae_bench.report.build import (
    COMMITTED,
    FORMATS,
    RenderedReport,
    WrittenReport,
    build_reports,
    differing_files,
    render_reports,
    unexplained_files,
)
from vdae_bench.report.compare import compare, compare_content, compare_text
from vdae_bench.report.explain import explain
from vdae_bench.report.numbers.claims import judge_claims, protocols_of, with_pages
from vdae_bench.report.numbers.runs import Run, load_runs, name_what_is_not_read
from vdae_bench.report.pages.claims import FILE, changed_verdicts, claims_json, claims_text
from vdae_bench.report.pages.reliability import render_reliability
from vdae_bench.report.pages.story import render_story
from vdae_bench.running.options import MachineOptions
from vdae_bench.search.winner import all_winners
from vdae_bench.store.layout import not_hidden
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.words import counted


class Differs(VdaeBenchError):
    """Error of `--check`: a committed file is not what the records give."""

    exit_code = 1


def write_reports(
    results: Path, reports: Path, protocol: str | None, sweep: str | None, formats: str | None, check: bool
) -> None:
    """Draw reports from the records there are, or say which files differ from that."""
    every = COMMITTED if check else FORMATS
    chosen = [word.strip() for word in formats.split(",") if word.strip()] if formats else list(every)
    if not chosen:
        raise UserError(f"--format takes one or more of {', '.join(FORMATS)}, with commas between, not {formats!r}")
    store = Store(results)
    if check:
        check_reports(store, reports, protocol, sweep, chosen)
        return
    beside = {} if protocol or sweep else _beside_records(results, reports)
    name_what_is_not_read(store, protocol, sweep)
    home = _draw_home(store, reports, [protocol] if protocol else None) if "html" in chosen else []  # others lead to it
    if has_results(store) or not beside:
        for written in build_reports(store, reports, protocol=protocol, sweep=sweep, formats=chosen):
            click.echo(written.path)
    for path in home:
        click.echo(path)
    for path, content in beside.items():
        atomic.write(path, content, option="--reports")
        click.echo(path)


def write_home(results: Path, reports: Path) -> None:
    """Draw the page over all runs alone, and say how to open it."""
    drawn = _draw_home(Store(results), reports, drawn=())
    if not drawn:
        raise UserError(f"there are no records in {results}; run `vdae-bench reproduce table1 --protocol smoke` first")
    for path in drawn:
        click.echo(f"Open {path.absolute()} in a browser: the page shows every run and links to its report.")


def _draw_home(store: Store, reports: Path, drawn: Collection[str] | None) -> list[Path]:
    from vdae_bench.site.home import render_home  # what renders HTML takes a while to load

    files = render_home(store, reports, drawn)
    for path, content in files.items():
        atomic.write(path, content, option="--reports")
    return list(files)


def check_reports(store: Store, reports: Path, protocol: str | None, sweep: str | None, formats: Sequence[str]) -> None:
    """Raise `Differs` with the names of the files that are not what the records give.

    Files that no record gives are named too, where every committed format of every protocol is checked.
    """
    rendered: list[RenderedReport] = []
    if has_results(store) or protocol or sweep:
        rendered += render_reports(store, reports, protocol=protocol, sweep=sweep, formats=formats)
    everything = not protocol and not sweep
    if everything and (files := _beside_records(store.root, reports)):
        rendered.append(RenderedReport(WrittenReport("", "", next(iter(files)), ""), files))
    lines = [f"{path} {'differs' if path.is_file() else 'is missing'}" for path in differing_files(rendered)]
    if everything and set(COMMITTED) <= set(formats):
        lines += [f"{path} does not come from any record" for path in unexplained_files(rendered, reports)]
    if lines:
        raise Differs("the reports do not agree with the records; run `vdae-bench report`:\n  " + "\n  ".join(lines))
    count = counted(sum(len(each.files) for each in rendered), "file")
    click.echo(f"checked {count}: all agree with the records in {store.root}")


def has_results(store: Store) -> bool:
    """True where there is a record or the winner of a search."""
    return any(True for _ in store.records()) or any(True for _ in all_winners(store))


def _beside_records(results: Path, reports: Path) -> dict[Path, bytes]:
    """The pages about all sweeps and about the code itself: content by path."""
    performance = render_performance(results, reports) if not_hidden(Store(results).bench.glob("*.json")) else {}
    files = performance | render_reliability(results, reports)
    return files | render_story(Store(results), reports, [path for path in files if path.suffix == ".md"])


def show_claims(results: Path, reports: Path, protocol: str | None, form: str, check: bool) -> None:
    """Print the verdict on every claim; with `check`, raise `Differs` where it is not the committed one."""
    if not results.is_dir() and results != MachineOptions().results:  # where nothing ran yet
        raise UserError(f"there is no folder {results}; give the folder of records with --results")
    name_what_is_not_read(Store(results), protocol)
    runs = load_runs(Store(results))
    there = with_pages(runs)
    names = [protocol] if protocol else []
    if check and not protocol:
        names = sorted({*there, *(path.parent.name for path in reports.glob(f"*/{FILE}"))})
    texts, changed = [], []
    if not names:
        judged = judge_claims(runs)
        texts.append(claims_json(judged, None) if form == "json" else f"{_of_all(runs)}\n\n{claims_text(judged)}\n")
    for name in names:
        judged = judge_claims(runs, name)
        texts.append(claims_json(judged, name) if form == "json" else f"Protocol {name}\n\n{claims_text(judged)}\n")
        committed = reports / name / FILE
        if check and (committed.is_file() or name in there):
            changed += [f"{name}, {line}" for line in changed_verdicts(judged, committed)]
    if form == "json" and check and not protocol:  # one document too where there are several protocols
        texts = [f"[{','.join(texts)}]\n"]
    click.echo("\n".join(texts), nl=False)
    if changed:
        raise Differs("verdicts differ from the committed ones:\n  " + "\n  ".join(changed))


def _of_all(runs: Sequence[Run]) -> str:
    names = ", ".join(reversed(protocols_of(runs))) or "there are no records"
    return f"The best evidence for each part, from all protocols ({names})"


def show_explanation(results: Path, cell: str, protocol: str | None, spec: str | None) -> None:
    """Print where a cell's numbers come from."""
    click.echo(explain(Store(results), cell, protocol, spec))


def show_comparison(first: Path, second: Path, form: str) -> None:
    """Print which cells of two results folders moved."""
    found = compare(Store(first), Store(second))
    click.echo(json.dumps(compare_content(found), indent=1) if form == "json" else compare_text(found))


def export_records(to: str, results: Path, out: Path | None, protocol: str | None, sweep: str | None) -> None:
    """Write records for a dashboard, and print how to look at them."""
    folder = out or Path("exports") / to
    count, line = export(to, Store(results), folder, protocol, sweep)
    click.echo(f"{counted(count, 'run')} in {folder}; {line}")
