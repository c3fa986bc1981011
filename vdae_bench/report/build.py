"""Reports from a results folder: for each protocol a folder with pages, figures, tables, one page for a browser."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vdae_bench.errors import UserError
from vdae_bench.report.numbers.claims import claims_protocol, concerning, judge_claims, with_pages
from vdae_bench.report.numbers.runs import Run, by_folder, left_out_of, load_runs, nothing_there, select
from vdae_bench.report.numbers.searches import current, load_searches
from vdae_bench.report.numbers.settings import in_words
from vdae_bench.report.numbers.subject import SearchSubject, Subject
from vdae_bench.report.pages.claims import FILE as CLAIMS_FILE
from vdae_bench.report.pages.claims import claims_json, claims_page
from vdae_bench.report.pages.files import frame, results_csv, results_latex, to_csv
from vdae_bench.report.pages.sweep import console_text, search_page, sweep_page
from vdae_bench.report.style.digest import same_file
from vdae_bench.report.style.terminal import short
from vdae_bench.search.winner import all_winners
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.words import counted, nearest

COMMITTED = ("md", "csv", "latex")
"""The formats whose files are committed: `report --check` compares these."""
COMMITTED_ENDINGS = (".md", ".csv", ".tex", ".json", ".svg", ".png")
"""The ends of the names of committed files."""
FORMATS = (*COMMITTED, "html")
"""Every format; a page for a browser is drawn where it is read or published, and git ignores it."""
WEB_PAGE = "index.html"
OTHERS = ("illustration",)
"""Folders beside those of protocols, which other verbs write."""


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written: its main file, and what the terminal says of it.

    `sweep` is "" for what has all sweeps of its protocol: the records' CSV, the claims, the page for a browser.
    """

    sweep: str
    protocol: str
    path: Path
    console: str
    figures: tuple[Path, ...] = ()
    """Figures of the page, each once, as PNG."""


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

    `md` gives `<protocol>/<sweep>.md` with its figures as .svg and .png, and `claims.md` and `claims.json`;
    `csv` gives `<protocol>/<sweep>.csv` and `records.csv`; `latex` gives `<protocol>/<sweep>.tex`;
    `html` gives `<protocol>/index.html`, all of it in one file.

    Raises:
        UserError: there is no such record, or no such format.
        EnvironmentFault: a file cannot be written.
    """
    rendered = list(render_reports(store, reports, protocol=protocol, sweep=sweep, formats=formats))
    _require_apart(rendered)
    for each in rendered:
        for path, content in each.files.items():
            atomic.write(path, content, option="--reports")
    return [each.report for each in rendered]


def _require_apart(rendered: Collection[RenderedReport]) -> None:
    """Raise `UserError` where two sweeps would write one file: `a` with a section `b-c`, and `a-b` with one `c`."""
    by: dict[Path, RenderedReport] = {}
    for each in rendered:
        for path, content in each.files.items():
            other = by.setdefault(path, each)
            if other.files[path] != content:
                names = " and ".join(repr(report.report.sweep or "all sweeps") for report in (other, each))
                raise UserError(f"the reports of {names} would both be {path}: rename one of the folders in results/")


def differing_files(rendered: Collection[RenderedReport]) -> list[Path]:
    """The files of reports that are not on disk with that content: what `report --check` names.

    A figure that another version of matplotlib drew counts by the digest of its values (`report.style.digest`).
    """
    return [path for each in rendered for path, content in each.files.items() if not same_file(path, content)]


def unexplained_files(rendered: Collection[RenderedReport], reports: Path) -> list[Path]:
    """Files in the folders of protocols that no record gives: what was deleted from results/ and not from reports/.

    A page for a browser is never one of them: it is not committed. Nor is what nothing here draws.
    """
    known = {path for each in rendered for path in each.files}
    folders = {path for path in reports.iterdir() if path.name not in OTHERS} if reports.is_dir() else set()
    there = (
        path for folder in folders for path in folder.rglob("*") if path.is_file() and _may_be_drawn(path, reports)
    )
    return sorted(path for path in there if path not in known)


def _may_be_drawn(path: Path, reports: Path) -> bool:
    """True for a file of a kind that is drawn and committed: not what a file manager leaves, such as .DS_Store."""
    hidden = any(part.startswith((".", "~")) for part in path.relative_to(reports).parts)
    return path.suffix in COMMITTED_ENDINGS and not hidden


def render_reports(
    store: Store,
    reports: Path,
    *,
    protocol: str | None = None,
    sweep: str | None = None,
    formats: Collection[str] = ("md",),
) -> Iterator[RenderedReport]:
    """The reports that `build_reports` writes, with nothing written."""
    for each in formats:
        if each not in FORMATS:
            raise UserError(
                f"there is no report format {each!r}{nearest(each, FORMATS)}; use one or more of {', '.join(FORMATS)}"
            )
    every = load_runs(store)  # once: each page needs some of them
    runs = [run for run in every if protocol in (None, run.protocol)]
    searched = searched_alone(store, protocol, sweep, runs) if {"md", "html"} & set(formats) else []
    wanted = {place: members for place, members in by_folder(runs).items() if sweep in (None, place[1])}
    if not wanted and not searched:
        raise UserError(nothing_there(store, protocol, sweep))
    for name in sorted({name for name, _ in (*wanted, *searched)}):
        yield from _Folder(store, reports / name, every, searched).render(sweep, formats)


def searched_alone(store: Store, protocol: str | None, sweep: str | None, runs: list[Run]) -> list[tuple[str, str]]:
    """(protocol, sweep) of searches that no final run has followed yet."""
    places = {store.place(path) for path, _ in all_winners(store, sweep, protocol)}
    found = {(place.protocol, place.sweep) for place in places}
    return sorted(found - {(run.protocol, run.sweep) for run in runs})


class _Folder:
    """The reports of one protocol, from all runs there are; its pages are drawn once, for all formats they go into."""

    def __init__(self, store: Store, path: Path, runs: Iterable[Run], searched: Iterable[tuple[str, str]]) -> None:
        self.store, self.path, self.name = store, path, path.name
        self.every = tuple(runs)
        self.runs = {sweep: members for (name, sweep), members in by_folder(self.every).items() if name == self.name}
        self.searched = [sweep for name, sweep in searched if name == self.name]
        self.claims_protocol = next(iter(with_pages(run for members in self.runs.values() for run in members)), None)
        self.judged = judge_claims(self.every, self.claims_protocol) if self.claims_protocol else []

    @property
    def claims_path(self) -> Path:
        """The page of claims: in the folder of the protocol that a sweep's own override stands for."""
        return self.path.parent / (self.claims_protocol or self.name) / "claims.md"

    def render(self, sweep: str | None, formats: Collection[str]) -> Iterator[RenderedReport]:
        """The reports in these formats, of one sweep where asked; what has all sweeps has them all in any case."""
        pages = [
            self._page(each)
            for each in (*self.runs, *self.searched)
            if ("md" in formats and sweep in (None, each)) or "html" in formats
        ]
        if "md" in formats:
            yield from (each for each in pages if sweep in (None, each.report.sweep))
            yield from self._claims()
        if "csv" in formats:
            yield from (self._table(each, "csv") for each in self.runs if sweep in (None, each))
            yield self._records()
        if "latex" in formats:
            yield from (self._table(each, "tex") for each in self.runs if sweep in (None, each))
        if "html" in formats:
            yield self._web_page(pages)

    def _page(self, sweep: str) -> RenderedReport:
        path = self.path / f"{sweep}.md"
        if sweep in self.runs:
            subject = self._subject(sweep, path)
            page, console = sweep_page(subject), console_text(subject)
        else:
            searches = load_searches(self.store, sweep, self.name)
            page = search_page(SearchSubject(path, searches))
            studies = counted(len(current(searches)), "study", "studies")
            console = f"Searched: {studies}; there is no final run yet.\nReport: {short(path)}"
        files = {path.with_name(name): content for name, content in page.items()}
        figures = tuple(file for file in files if file.suffix == ".png")
        return RenderedReport(WrittenReport(sweep, self.name, path, console, figures), files)

    def _subject(self, sweep: str, path: Path) -> Subject:
        selection = select(self.runs[sweep])
        ours = {run.cell for run in selection.runs} if claims_protocol(sweep, self.name) else set()
        return Subject(
            path=path,
            searches=load_searches(self.store, sweep, self.name),
            selection=selection,
            under_all=[run for run in self.every if run.sweep == sweep],
            judged=concerning(self.judged, ours),
            claims=self.claims_path,
        )

    def _claims(self) -> Iterator[RenderedReport]:
        if self.claims_protocol:
            path = self.claims_path
            files = {
                path: claims_page(self.judged, self.claims_protocol).encode(),
                path.with_name(CLAIMS_FILE): claims_json(self.judged, self.claims_protocol).encode(),
            }
            yield RenderedReport(WrittenReport("", self.name, path, f"Claims: {short(path)}"), files)

    def _table(self, sweep: str, ending: str) -> RenderedReport:
        path = self.path / f"{sweep}.{ending}"
        subject = self._subject(sweep, path)
        text = (
            results_csv(subject.sheets)
            if ending == "csv"
            else results_latex(subject.sheets, subject.title, sweep, subject.best)
        )
        return RenderedReport(
            WrittenReport(sweep, self.name, path, short(path)), {path: text.encode(errors="backslashreplace")}
        )

    def _records(self) -> RenderedReport:
        path = self.path / "records.csv"
        runs = [run for members in self.runs.values() for run in members]
        files = {path: to_csv(frame(runs, left_out_of(runs), self.store.root)).encode(errors="backslashreplace")}
        return RenderedReport(
            WrittenReport("", self.name, path, f"{short(path)}: {counted(len(runs), 'record')}"), files
        )

    def _web_page(self, pages: Collection[RenderedReport]) -> RenderedReport:
        from vdae_bench.report.pages.web import web_page  # what renders HTML takes a while to load

        path, shown = self.path / WEB_PAGE, [*self._claims(), *pages]
        files = {file: content for each in shown for file, content in each.files.items()}
        home = (self.path.parent / WEB_PAGE).is_file()
        selections = map(select, self.runs.values())
        words = next((in_words(each.protocol, each.train_images) for each in selections), self.name)
        content = web_page(
            self.name, words, self.claims_protocol, [each.report.path for each in shown], files, home=home
        )
        return RenderedReport(
            WrittenReport("", self.name, path, short(path)), {path: content.encode(errors="backslashreplace")}
        )
