"""Reports from a results folder: for each protocol a folder with a page a sweep, its figure, and one CSV."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.models.registry import nearest
from vdae_bench.report import figures, noise_grid, samples, search_figures
from vdae_bench.report.console import console_text, short
from vdae_bench.report.page import page, search_page
from vdae_bench.report.runs import Run, by_folder, load_runs, select
from vdae_bench.report.search import Frozen, compared, comparison_name, current, figure_name, load_searches
from vdae_bench.report.statistics import cells_of
from vdae_bench.report.tidy_csv import frame, to_csv
from vdae_bench.search.winner import all_winners
from vdae_bench.store import Store

FORMATS = ("md", "csv")


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written: its main file, and what the terminal says of it.

    `sweep` is "" for the CSV, which has all sweeps of its protocol.
    """

    sweep: str
    protocol: str
    path: Path
    console: str


@dataclass(frozen=True)
class RenderedReport:
    """A report not yet written: the content of its files by their path."""

    report: WrittenReport
    files: dict[Path, bytes] = field(repr=False)


def build_reports(
    store: Store,
    reports: Path,
    *,
    protocol: str | None = None,
    sweep: str | None = None,
    formats: Collection[str] = ("md",),
) -> list[WrittenReport]:
    """Write the reports of a results folder, or of one protocol or sweep of it, into the folder `reports`.

    `md` gives `<protocol>/<sweep>.md` with `<sweep>-curves.svg` and `.png`,
    `csv` gives `<protocol>/records.csv`.

    Raises:
        UserError: there is no such record, or no such format.
        EnvironmentFault: a file cannot be written.
    """
    rendered = list(render_reports(store, reports, protocol=protocol, sweep=sweep, formats=formats))
    for each in rendered:
        for path, content in each.files.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise EnvironmentFault(
                    f"cannot write {path}: {error.strerror}; free space or choose another --reports folder"
                ) from error
    return [each.report for each in rendered]


def differing_files(rendered: Collection[RenderedReport]) -> list[Path]:
    """The files of reports that are not on disk with that content: what `report --check` names."""
    return [
        path
        for each in rendered
        for path, content in each.files.items()
        if not path.is_file() or path.read_bytes() != content
    ]


def render_reports(
    store: Store,
    reports: Path,
    *,
    protocol: str | None = None,
    sweep: str | None = None,
    formats: Collection[str] = ("md",),
) -> Iterator[RenderedReport]:
    """The same reports as `build_reports`, with nothing written."""
    for each in formats:
        if each not in FORMATS:
            raise UserError(f"there is no report format {each!r}{nearest(each, FORMATS)}; use {' or '.join(FORMATS)}")
    # A protocol's CSV has all its sweeps, whichever page is asked for.
    runs = load_runs(store, protocol)
    wanted = [run for run in runs if sweep in (None, run.sweep)]
    searched = searched_alone(store, protocol, sweep, runs) if "md" in formats else []
    if not wanted and not searched:
        raise UserError(_nothing(store, protocol, sweep))
    if "md" in formats:
        for (name, of_sweep), members in by_folder(wanted).items():
            searches = load_searches(store, of_sweep, name)
            yield _rendered_page(members, reports / name / f"{of_sweep}.md", searches)
        for name, of_sweep in searched:
            path = reports / name / f"{of_sweep}.md"
            searches = load_searches(store, of_sweep, name)
            files = {path: search_page(of_sweep, name, searches, path).encode(), **_search_files(searches, path)}
            console = f"Searched: {len(current(searches))} studies, no final run yet.\nReport: {short(path)}"
            yield RenderedReport(WrittenReport(of_sweep, name, path, console), files)
    if "csv" in formats:
        for name in sorted({run.protocol for run in wanted}):
            yield _rendered_csv(
                [run for run in runs if run.protocol == name], store.root, reports / name / "records.csv"
            )


def searched_alone(store: Store, protocol: str | None, sweep: str | None, runs: list[Run]) -> list[tuple[str, str]]:
    """(protocol, sweep) of searches that no final run has followed yet."""
    places = {path.parents[1] for path, _ in all_winners(store, sweep or "*", protocol or "*")}
    found = {(place.name, place.parent.name) for place in places}
    return sorted(found - {(run.protocol, run.sweep) for run in runs})


def _search_files(searches: list[Frozen], path: Path) -> dict[Path, bytes]:
    """The figures of a search, for the page at `path`."""
    here = current(searches)
    drawn = {figure_name(path.stem, each): search_figures.draw(each) for each in here if not each.winner.label}
    for group in compared(here):
        drawn[comparison_name(path.stem, group[0])] = search_figures.draw_comparison(group)
    return {
        path.with_name(f"{name}.{ending}"): content
        for name, files in drawn.items()
        for ending, content in files.items()
    }


def _rendered_page(runs: list[Run], path: Path, searches: list[Frozen]) -> RenderedReport:
    selection = select(runs)
    cells = cells_of(selection)
    # A grid of noise levels has its own figure; its learning curves would be a hundred lines in one panel.
    curves = figures.draw([each for each in cells if "log_sigma" not in dict(each.cell.options)])
    files = {path: page(selection, path, bool(curves), searches).encode(), **_search_files(searches, path)}
    grid = noise_grid.curves_of(cells)
    if grid:
        drawn = noise_grid.draw(grid, noise_grid.reference_nll(cells), noise_grid.note(selection))
        files |= {path.with_name(f"{path.stem}-noise.{ending}"): content for ending, content in drawn.items()}
        values = noise_grid.values_table(grid).to_csv(index=False, lineterminator="\n")
        files[path.with_name(f"{path.stem}-noise.csv")] = values.encode()
    files |= samples.files(selection, path)
    files |= {path.with_name(f"{path.stem}-curves.{ending}"): content for ending, content in curves.items()}
    report = WrittenReport(selection.sweep, selection.protocol.name, path, console_text(selection, path, searches))
    return RenderedReport(report, files)


def _rendered_csv(runs: list[Run], root: Path, path: Path) -> RenderedReport:
    left_out = {each.run.path: each.reason for members in by_folder(runs).values() for each in select(members).left_out}
    files = {path: to_csv(frame(runs, left_out, root)).encode()}
    report = WrittenReport("", runs[0].protocol, path, f"{short(path)}: {len(runs)} records")
    return RenderedReport(report, files)


def _nothing(store: Store, protocol: str | None, sweep: str | None) -> str:
    of = " ".join(
        part
        for part in (
            f"of sweep {sweep!r}" if sweep else "",
            f"under protocol {protocol!r}" if protocol else "",
        )
        if part
    )
    known = sorted({f"{run.sweep} under {run.protocol}" for run in load_runs(store)})
    there = f"there are {', '.join(known)}" if known else "run `vdae-bench reproduce table1` first"
    return f"no records {of + ' ' if of else ''}in {store.root}: {there}"
