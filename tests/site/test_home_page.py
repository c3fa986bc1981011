"""The home over all reports: one file, every number from records, used in a real browser at three widths."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Tab, opened_tab
from tests.support.records import PROTOCOL, made_up_evidence, made_up_record, publish, publish_table
from vdae_bench.paper.claims import CLAIMS
from vdae_bench.site.content import POINTS, curve_of
from vdae_bench.site.home import CARDS, render_home
from vdae_bench.site.pictures import Album
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import read_evidence, write_evidence
from vdae_bench.store.records import RecordedCell, Store

LIVE = "</script><img src=x onerror=document.title='broken'>"
"""Text that would be alive if a page took it for HTML."""
WIDTHS = (390, 768, 1280)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home") / "results")
    publish_table(store, "table1")
    records = publish_table(store, "table2")
    live = made_up_record(Cell("binary-mnist", "vae", 8), provenance={"command": LIVE, "platform": LIVE}, flags=(LIVE,))
    publish(store, "mine", "quick", "binary-mnist_vae_8", [live])
    first = store.path("table2", "quick", "binary-mnist_vae_16", 0)
    write_evidence(first, made_up_evidence(records[0].run_digest))
    return store


@pytest.fixture(scope="module")
def page(store: Store) -> Path:
    ((path, content),) = render_home(store, store.root.parent / "reports").items()
    path.parent.mkdir()
    path.write_bytes(content)
    return path


CHANGED = "quick+0123abcd"
"""The folder of a protocol that a sweep changes."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of many sweeps: twelve levels of one method, data in both units, an NLL of few effective samples."""
    store = Store(tmp_path_factory.mktemp("many") / "results")
    changed = PROTOCOL.model_copy(update={"name": CHANGED, "epochs": 5})
    few = {"effective_sample_size": 4.0}
    for level in range(12):
        cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", -level),))
        record = made_up_record(cell, 0, changed, nll_nats=100.0 + level, test=few if level == 3 else None)
        publish(store, "levels", CHANGED, cell.slug, [record])
    for number in range(CARDS + 2):
        cell = Cell("binary-mnist", "vae", 16)
        publish(store, f"sweep-{number:02d}", "quick", cell.slug, [made_up_record(cell, nll_nats=3.0 + number)])
    publish(store, "short", "quick", cell.slug, [made_up_record(cell, curve=[99.0])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdae_bench.site.home.judge_claims", lambda runs: [])  # seconds, on other tests' pages
        ((path, content),) = render_home(store, store.root.parent / "reports").items()
    path.parent.mkdir()
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with opened_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


def content_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def runs_of(page: Path, number: int) -> list[dict[str, Any]]:
    found = re.search(rf'id="details-{number}">(.*?)</script>', page.read_text())
    assert found
    runs: list[dict[str, Any]] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return runs


def test_it_is_one_file_whose_own_scripts_alone_run(page: Path) -> None:
    text = page.read_text()
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts}
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', text)[1])  # type: ignore[index]
    rules = {words[0]: set(words[1:]) for words in (rule.split() for rule in policy.split(";"))}
    assert len(scripts) == 2 and rules["script-src"] == digests and rules["default-src"] == {"'none'"}
    assert "connect-src" not in rules  # only a served page asks anybody for anything
    assert not re.search(r"<link|@import|<script[^>]* src|<img", text)


def test_text_of_records_is_never_alive(page: Path) -> None:
    text = page.read_text()
    assert LIVE not in text and "<img src=x" not in text and "onerror" not in text


def test_every_number_of_the_table_is_from_records(page: Path, store: Store) -> None:
    checked = 0
    for row in content_of(page)["rows"]:
        records = [
            record
            for path, record in store.records(row["protocol"], row["sweep"])
            if path.parent.name == row["id"].rpartition("/")[2]
        ]
        suffix, decimals = ("bits_per_dim", 3) if row["dataset"].startswith("continuous") else ("nats", 2)
        for name, score in (("NLL", "nll"), ("-ELBO", "neg_elbo")):
            values = [getattr(record.metrics.test, f"{score}_{suffix}") for record in records]
            if None in values:
                assert row[name] == "-"
                continue
            mean, *spread = row[name].split(" ± ")
            assert float(mean) == pytest.approx(statistics.fmean(values), abs=0.51 * 10**-decimals)
            assert len(spread) == (len(values) > 1)
            checked += 1
    assert checked > 30


def test_the_same_records_give_the_same_bytes(page: Path, store: Store) -> None:
    assert render_home(store, page.parent) == {page: page.read_bytes()}


def test_no_records_no_home(tmp_path: Path) -> None:
    assert render_home(Store(tmp_path), tmp_path) == {}


def test_a_run_has_its_curve_settings_origin_and_pictures(page: Path, store: Store) -> None:
    rows = content_of(page)["rows"]
    number = next(place for place, row in enumerate(rows) if row["id"] == "table2/quick/binary-mnist_vae_16")
    first, second = runs_of(page, number)
    record = store.read(store.path("table2", "quick", "binary-mnist_vae_16", 0))
    assert record is not None
    assert first["curve"]["validation"] == pytest.approx(record.curve.validation_neg_elbo_nats, rel=1e-5)
    assert (page.parent / first["record"]).is_file() and (store.root / first["evidence"]).is_file()
    parts = {name: dict(facts) for name, facts in first["parts"].items()}
    assert parts["Provenance"]["run_digest"] == record.run_digest
    assert parts["Hyper-parameters"]["schedule"] == record.hyperparameters["schedule"]
    assert [each["title"].partition(":")[0] for each in first["pictures"]] == ["Samples", "Samples", "Reconstructions"]
    assert second["pictures"] == []


def test_pictures_stop_where_there_is_no_more_room(store: Store) -> None:
    record = store.path("table2", "quick", "binary-mnist_vae_16", 0)
    found = read_evidence(record, store.read(record).run_digest)  # type: ignore[union-attr]
    size = sum(len(each["data"]) for each in Album().of(found) or ())
    album = Album(2 * size)
    assert [bool(album.of(found)) for _ in range(3)] == [True, True, False]
    assert album.of(found) is None and album.of(None) == []


@pytest.mark.parametrize("epochs", [0, 1, POINTS, POINTS + 1, 5 * POINTS])
def test_a_long_curve_is_thinned_and_keeps_its_end(epochs: int) -> None:
    every = list(range(1, epochs + 1))
    found = curve_of("binary-mnist", every, [float(each) for each in every], [None] * epochs)
    assert len(found["epoch"]) <= POINTS and found["epoch"][-1:] == every[-1:]
    assert found["train"] == [float(each) for each in found["epoch"]]


@pytest.mark.parametrize(("width", "dark"), zip(WIDTHS, (True, False, True), strict=True))
def test_nothing_is_cut_off_and_nothing_is_complained_of(page: Path, tab: Tab, width: int, dark: bool) -> None:
    tab.open(page.as_uri(), width, dark=dark)
    tab.wait("document.querySelector('#chart canvas')")
    assert tab.complaints == [] and tab.asked_for == [page.as_uri()]
    assert tab.cut_off() == []
    assert tab.faults() == []


def test_filters_leave_what_was_asked_for_and_stand_in_the_address(page: Path, tab: Tab) -> None:
    tab.open(page.as_uri())
    cells = "[...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[%d].textContent)"
    assert len(tab.run(cells % 0)) == 20
    choose = "(() => { const all = document.getElementById('filters').elements; all['%s'].value = '%s'; all['%s']"
    choose += ".dispatchEvent(new Event('change', {bubbles: true})); })()"
    tab.run(choose % ("dataset", "binary-mnist", "dataset"))
    tab.run(choose % ("m", "16", "m"))
    assert tab.run(cells % 0) == ["VAE", "L-VDAE"]
    assert tab.run("location.hash") == "#dataset=binary-mnist&m=16"
    tab.wait("document.getElementById('curves-said').textContent.includes('first 2 cells')")
    tab.open(f"{page.as_uri()}#method=nice")
    assert tab.run(cells % 0) == ["NICE"]
    tab.run("document.querySelector('#filters button').click()")
    assert len(tab.run(cells % 0)) == 20


def test_columns_sort_by_number(page: Path, tab: Tab) -> None:
    tab.open(f"{page.as_uri()}#sweep=table2")
    press = "[...document.querySelectorAll('#table th button')].find((each) => each.textContent === 'NLL').click()"
    column = "[...document.querySelectorAll('#table tbody tr')].map((row) => parseFloat(row.cells[3].textContent))"
    tab.run(press)
    up = tab.run(column)
    tab.run(press)
    assert len(up) == 9 and up == sorted(up) and tab.run(column) == up[::-1]


def test_methods_are_toggled(page: Path, tab: Tab) -> None:
    tab.open(f"{page.as_uri()}#sweep=table2")
    lines = "[...document.querySelectorAll('#chart .u-legend th')].map((each) => each.textContent)"
    tab.wait(f"{lines}.length === 9")
    tab.run("document.querySelector('#methods input[value=vae]').click()")
    tab.wait(f"{lines}.length === 5")
    assert all(name.startswith("L-VDAE") for name in tab.run(lines)[1:])


def test_a_run_is_opened_by_keyboard_and_by_its_address(page: Path, tab: Tab) -> None:
    tab.open(f"{page.as_uri()}#sweep=table2&m=16")
    tab.run("document.querySelector('#table tbody button').focus()")
    tab.press("Enter")
    tab.wait("document.querySelector('dialog[open] canvas')")
    assert tab.run("document.querySelectorAll('dialog img').length") == 3
    assert tab.run("[...document.querySelectorAll('dialog img')].every((each) => each.complete && each.naturalWidth)")
    shown = tab.run("document.querySelector('dialog').textContent")
    assert all(word in shown for word in ("Flags", "Reconstructions", "learning_rate", "run_digest", "nll_nats"))
    assert tab.faults() == []
    tab.press("Escape")
    tab.wait("!document.querySelector('dialog[open]')")
    assert tab.run("document.activeElement === document.querySelector('#table tbody button')")
    tab.open(f"{page.as_uri()}#run=table2/quick/binary-mnist_lvdae_16&seed=1")
    tab.wait("document.querySelector('dialog[open]')")
    assert tab.run("document.getElementById('run-title').textContent") == "L-VDAE, m = 16, binary-mnist, seed 1"
    assert tab.complaints == []


def test_live_text_is_read_and_not_run(page: Path, tab: Tab) -> None:
    tab.open(f"{page.as_uri()}#run=mine/quick/binary-mnist_vae_8")
    tab.wait("document.querySelector('dialog[open]')")
    assert LIVE in tab.run("document.querySelector('dialog ul').textContent")
    assert tab.run("document.title") != "broken" and tab.run("document.querySelectorAll('dialog img').length") == 0


def test_every_claim_has_its_row_and_leads_to_its_cells(page: Path) -> None:
    table = page.read_text().partition('<table class="claims"')[2].partition("</table>")[0]
    assert table.count('<th scope="row">') == len(CLAIMS)
    sources = set(re.findall(r'href="#sweep=([\w.+%-]+)&amp;protocol=([\w.+%-]+)"', table))
    there = {(row["sweep"], row["protocol"]) for row in content_of(page)["rows"]}
    assert sources and sources <= there
    assert set(re.findall(r'href="#(claim-\w+)"', page.read_text())) == set(re.findall(r'id="(claim-\w+)"', table))


def test_hundreds_of_records_are_tables_in_pages_and_curves_on_demand(
    tmp_path: Path, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vdae_bench.site.home.judge_claims", lambda runs: [])  # seconds, on other tests' pages
    store = Store(tmp_path / "results")
    like = [made_up_record(Cell("binary-mnist", "own", 16), seed) for seed in (0, 1)]
    sizes = []
    for methods in (range(30), range(30, 120)):
        for number in methods:
            cell = Cell("binary-mnist", f"own-{number:03d}", 16)
            own = {"cell": RecordedCell(**cell.as_record())}
            publish(store, "many", "quick", cell.slug, [each.model_copy(update=own) for each in like])
        ((path, content),) = render_home(store, tmp_path / "reports").items()
        sizes.append(len(content))
    assert (sizes[1] - sizes[0]) / 180 < 2000  # bytes a record: ten thousand make a page of 20 MB at most
    assert content.index(b"heads();") < content.index(b'id="details-0"')  # the table is in use before they are there
    path.parent.mkdir()
    path.write_bytes(content)
    tab.open(path.as_uri())
    tab.wait("document.querySelector('#chart canvas')")
    assert tab.run("[data.rows.length, document.querySelectorAll('#table tbody tr').length]") == [120, 50]
    assert tab.run("unpacked.size") <= 12  # what nobody looked at is still packed
    tab.run("document.getElementById('after').focus()")
    tab.press("Enter")
    tab.press("Enter")
    assert tab.run("document.activeElement.id") == "before"  # the other one is grey now
    assert tab.run("document.querySelectorAll('#table tbody tr').length") == 20
    assert tab.run("document.getElementById('page').textContent") == "3 of 3"
    assert tab.complaints == []


def test_a_card_leads_to_which_of_two_methods_is_better_where_two_can_be_paired(page: Path) -> None:
    text = page.read_text()
    assert 'href="quick/index.html#table2--any-two-methods"' in text
    assert "#mine--any-two-methods" not in text  # one method alone


def test_lines_of_one_method_are_told_apart_in_colour_and_in_grey(many: Path, tab: Tab) -> None:
    tab.open(f"{many.as_uri()}#sweep=levels")
    tab.wait("document.querySelectorAll('#chart .u-legend th').length === 13")
    looks = tab.run("[...charts][0].series.slice(1).map((each) => [each.dash?.join(' '), each.width, each.stroke()])")
    assert len({(dash, width) for dash, width, _ in looks}) == 12
    assert len({stroke for *_, stroke in looks}) >= 8
    paths = "[...document.querySelectorAll('#chart .u-marker path')].map((each) => each.getAttribute('%s'))"
    assert tab.run(paths % "stroke-dasharray") == [dash or "none" for dash, *_ in looks]
    assert tab.run(paths % "stroke") == [stroke for *_, stroke in looks]
    assert "click a name under the chart to hide or show one line" in tab.run("by('curves-said').textContent")


def test_an_nll_that_is_an_upper_bound_is_marked_and_said(many: Path, tab: Tab) -> None:
    (bound,) = (row for row in content_of(many)["rows"] if row["NLL"].startswith("≤"))
    tab.open(f"{many.as_uri()}#sweep=levels&run={bound['id']}")
    tab.wait("document.querySelector('dialog[open]')")
    said = tab.run("document.querySelector('dialog').textContent")
    assert f"({bound['NLL']} bits/dim) is an upper bound: the NLL with 4.0 effective samples of K = 200" in said
    assert "≤ marks an NLL that is an upper bound only" in tab.run("by('count').textContent")
    tab.open(f"{many.as_uri()}#sweep=short")
    assert "≤" not in tab.run("by('count').textContent")


def test_scores_sort_within_their_unit(many: Path, tab: Tab) -> None:
    tab.open(many.as_uri())
    press = "[...document.querySelectorAll('#table th button')].find((each) => each.textContent === 'NLL').click()"
    rows = (
        "[...document.querySelectorAll('#table tbody tr')].map((row) => [2, 3].map((at) => row.cells[at].textContent))"
    )
    for down in (False, True):
        tab.run(press)
        shown = [(data, float(nll.removeprefix("≤ "))) for data, nll in tab.run(rows)]
        bits = [nll for data, nll in shown if "bits/dim" in data]
        assert shown[:12] == [("continuous-mnist (bits/dim)", nll) for nll in sorted(bits, reverse=down)]
        nats = [nll for _, nll in shown[12:]]
        assert nats == sorted(nats, reverse=down)


def test_what_is_said_of_curves_is_true(many: Path, tab: Tab) -> None:
    said = "by('curves-said').textContent.includes('%s')"
    tab.open(f"{many.as_uri()}#sweep=levels")
    tab.wait(said % "of the first 12 cells")
    tab.run("document.querySelector('#methods input').click()")
    tab.wait(said % "All curves here are hidden; tick a method to show them.")
    tab.run("go({ sweep: '', method: 'vdae-resnet' })")
    tab.wait(said % "All curves here are hidden; tick a method to show them.")
    tab.run("go({ dataset: 'binary-mnist' })")
    tab.wait(said % "No cell is in the table.")


def test_a_changed_protocol_is_named_in_words_and_its_folder_in_small_type(many: Path, tab: Tab) -> None:
    tab.open(f"{many.as_uri()}#protocol={CHANGED}")
    card = "[...document.querySelectorAll('.cards li')].find((each) => each.textContent.includes('levels'))"
    assert tab.run(f"{card}.querySelector('h3').textContent") == "levels, quick with changes"
    small = tab.run(f"{card}.querySelector('small').textContent")
    assert small.startswith("epochs 5, ") and small.endswith(f"; folder {CHANGED}")
    assert tab.run("filters.elements.protocol.selectedOptions[0].textContent").startswith("quick with epochs 5, ")
    assert tab.run("document.querySelector('#table td:last-child').firstChild.data") == "levels, quick with changes"
    for width in WIDTHS:
        tab.open(many.as_uri(), width)
        assert tab.cut_off() == []


def test_many_sweeps_do_not_keep_the_cells_far_below(many: Path, tab: Tab) -> None:
    tab.open(many.as_uri())
    count = "[...document.querySelectorAll('.cards li')].filter((each) => each.checkVisibility()).length"
    assert tab.run(count) == CARDS
    assert tab.run("document.querySelector('details summary').textContent") == "4 more sweeps"
    tab.run("document.querySelector('details summary').click()")
    assert tab.run(count) == CARDS + 4


def test_the_address_is_answered_or_told_that_it_is_not(many: Path, page: Path, tab: Tab) -> None:
    count, claims = "by('count').textContent", "document.querySelector('nav a[href=\"#claims\"]').click()"
    tab.open(f"{many.as_uri()}#method=vea&dataset=binary-mnist&run=x/quick/y")
    assert "No cell has the method vea that the address asks for." in tab.run(count)
    assert "There is no run x/quick/y, which the address asks for." in tab.run(count)
    tab.run("document.querySelector('#filters button').click()")
    assert tab.run(count).startswith("39 of 39 cells.")
    tab.open(f"{page.as_uri()}#run=table2/quick/binary-mnist_lvdae_16&seed=7")
    tab.wait("document.querySelector('dialog[open]')")
    assert "There is no seed 7 here" in tab.run("document.querySelector('dialog').textContent")
    tab.open(f"{page.as_uri()}#sweep=table2")
    tab.run(claims)
    tab.wait("location.hash === '#sweep=table2'")
    tab.wait("by('claims').getBoundingClientRect().top < 100")
    tab.run("location.reload()")
    tab.wait("document.readyState === 'complete' && by('count')?.textContent.startsWith('9 of')")


def test_epochs_are_whole(many: Path, tab: Tab) -> None:
    tab.open(f"{many.as_uri()}#sweep=short")
    tab.wait("document.querySelector('#chart canvas')")
    tab.wait("[...charts][0].axes[0]._splits?.length")
    assert tab.run("[...charts][0].axes[0]._splits") == [0, 1, 2]


def test_on_a_phone_the_column_that_stays_says_who_a_row_is_about(many: Path, tab: Tab) -> None:
    said = "getComputedStyle(document.querySelector('#table tbody th'), '::after').content"
    tab.open(f"{many.as_uri()}#sweep=levels", 390)
    assert tab.run(said) == '"m = 784, continuous-mnist (bits/dim), levels, quick with changes"'
    assert tab.run("document.querySelector('#table tbody th').getBoundingClientRect().width") < 170
    tab.open(f"{many.as_uri()}#sweep=levels", 1280)
    assert tab.run(said) == "none"  # the columns themselves are in view
