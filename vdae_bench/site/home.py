"""`reports/index.html`: the home over all protocols and sweeps, in one file that opens from a mail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from vdae_bench import __version__
from vdae_bench.paper.published import table_names
from vdae_bench.report.numbers.claims import judge_claims
from vdae_bench.report.numbers.runs import Run, by_folder, load_runs
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.sections.forest import FOREST, PICTURE
from vdae_bench.report.style.html import inline_figure, inline_json, render
from vdae_bench.site.content import Card, cards, claim_lines, details_of, selection_of, shown_cells, styles_of, tally
from vdae_bench.store.records import Store
from vdae_bench.system.words import counted

NAME = "index.html"
HERE = Path(__file__).parent
SERVED = ("connect-src 'self'",)
"""The page may ask its server for what runs, where `vdae-bench watch` serves it."""
CARDS = 24
"""Cards of sweeps that stand open; more are folded, so that the cells do not start many screens below."""
PAIRS = "any-two-methods"
"""The name of the section that compares any two methods, in addresses."""


class _Headline(NamedTuple):
    title: str
    figure: Markup


def render_home(store: Store, reports: Path, drawn: Collection[str] | None = None) -> dict[Path, bytes]:
    """The page by its path, with nothing written; nothing where there is no record.

    It leads to the pages of the protocols that are `drawn` with it, by default all, and to those that lie there.
    """
    runs = load_runs(store)
    path = reports / NAME
    return {path: home_page(runs, path, store.root, drawn=drawn).encode(errors="backslashreplace")} if runs else {}


def home_page(
    runs: Sequence[Run], path: Path, root: Path, live: str = "", *, drawn: Collection[str] | None = None
) -> str:
    """The page of some runs, to lie there; a `live` one, of that version, asks its server what runs now."""
    cells, places, sweeps = shown_cells(runs), by_folder(runs), cards(runs)
    data: Mapping[str, Any] = {
        "live": live,
        "colours": styles_of(cells),
        "protocols": {each.protocol: each.words for each in sweeps},
        "rows": [each.row for each in cells],
    }
    claims = claim_lines(judge_claims(runs), places) if runs else []
    return render(
        HERE / "home.html.j2",
        scripts=[HERE / "uplot" / "uPlot.iife.min.js", HERE / "home.js"],
        styles=[HERE / "uplot" / "uPlot.min.css", HERE / "home.css"],
        allowed=SERVED if live else (),
        live=live,
        version=__version__,
        picture=PICTURE,
        counts=f"{counted(len(runs), 'record')} of {counted(len(cells), 'cell')} in {counted(len(places), 'sweep')}",
        cards=[(each, _pages_of(each, path.parent, drawn)) for each in sweeps],
        opened=CARDS,
        claims=claims,
        tally=tally(claims),
        headlines=_headlines(runs),
        data=inline_json(data),
        details=details_of(cells, path, root),
    )


class _Pages(NamedTuple):
    sweep: str
    pairs: str
    """Where its page compares any two methods; "" where it does not."""


def _pages_of(card: Card, reports: Path, drawn: Collection[str] | None) -> _Pages | None:
    """The addresses of a sweep's page, for a browser before Markdown; None where there is neither."""
    folder, sweep = reports / card.protocol, quote(card.sweep)
    if drawn is None or card.protocol in drawn or (folder / NAME).is_file():
        page, pairs = f"{NAME}#{sweep}", f"{NAME}#{sweep}--{PAIRS}"
    elif (folder / f"{card.sweep}.md").is_file():
        page, pairs = f"{sweep}.md", f"{sweep}.md#{PAIRS}"
    else:
        return None
    return _Pages(*(f"{quote(card.protocol)}/{each}" for each in (page, pairs if card.paired else "")))


def _headlines(runs: Sequence[Run]) -> list[_Headline]:
    """The forest plots of the paper's tables, of the protocol with the most epochs that has one."""
    found: dict[str, tuple[int, _Headline]] = {}
    for (protocol, sweep), members in by_folder(runs).items():
        if sweep not in table_names():
            continue
        selection = selection_of(members)
        if selection is None:
            continue
        subject = Subject(Path(protocol) / f"{sweep}.md", [], selection, members, [], Path())
        forest = FOREST.finds(subject)
        epochs = subject.selection.protocol.epochs
        if forest is None or found.get(sweep, (0,))[0] >= epochs:
            continue
        svg = FOREST.files(subject, forest)["forest.svg"]
        found[sweep] = epochs, _Headline(subject.title, inline_figure(svg, f"forest-{sweep}", PICTURE))
    return [headline for _, (_, headline) in sorted(found.items(), key=lambda item: -item[1][0])]
