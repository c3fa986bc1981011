"""The page for a browser: one file, no network, opened in a real browser, on a phone's width and by keyboard."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.browser import Tab, opened_tab
from tests.support.records import made_up_evidence, publish_table
from vdae_bench.report.build import build_reports
from vdae_bench.report.pages.web import web_page
from vdae_bench.store.evidence import write_evidence
from vdae_bench.store.records import Store

PHONE = 390
"""Pixels."""


class Outline(HTMLParser):
    """Every start tag with its attributes, and whether tags nest."""

    VOID = ("meta", "img", "br", "hr", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} is closed out of order"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    store = Store(root / "results")
    for record in publish_table(store, "table2")[:2]:
        path = store.path("table2", "quick", "binary-mnist_vae_16", record.seed)
        write_evidence(path, made_up_evidence(record.run_digest))
    (written,) = build_reports(store, root / "reports", formats=("html",))
    return written.path


def test_it_is_one_file_that_is_whole_and_needs_no_network(page: Path) -> None:
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    text = page.read_text()
    outline = Outline(text)
    assert outline.open == []
    assert not outline.all("link") and "@import" not in text
    images = [each["src"] or "" for each in outline.all("img")]
    assert images and all(each.startswith("data:") for each in images)
    assert all("src" not in each for each in outline.all("script"))
    links = [each["href"] or "" for each in outline.all("a") if "href" in each]
    assert not [link for link in links if "://" in link]
    assert "../index.html" not in links  # nobody drew that
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not [link for link in links if link.startswith("#") and link[1:] not in ids]
    records = [link for link in links if not link.startswith("#") and link.endswith(".json")]
    assert len(records) > 15 and all((page.parent / link).is_file() for link in records)


def test_it_has_all_parts_and_says_what_they_are(page: Path) -> None:
    outline = Outline(page.read_text())
    (root,) = outline.all("html")
    assert root["lang"] == "en" and outline.all("main") and outline.all("nav")[0]["aria-label"]
    figures = [each for each in outline.all("svg") if each.get("role") == "img"]
    assert len(figures) == 3 and all(each["aria-label"] for each in figures)
    boxes = [each for each in outline.all("div") if each.get("class") == "scroll"]
    assert len(boxes) == len(outline.all("table")) > 15
    assert len({each["aria-label"] for each in boxes}) == len(boxes)
    titles = re.findall(r"<h2 [^>]*>(.*?)</h2>", page.read_text())
    assert [html.unescape(each).partition(":")[0] for each in titles] == [
        "The paper's claims, quick protocol",
        "Table 2",
    ]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with opened_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (768, False), (1280, False)])
def test_nothing_is_cut_off_and_nobody_is_shut_out(page: Path, tab: Tab, width: int, dark: bool) -> None:
    tab.open(page.as_uri(), width, dark=dark)
    assert tab.complaints == [] and tab.asked_for == [page.as_uri()]
    assert tab.cut_off() == []
    assert width == 768 or tab.faults() == []
    found = tab.run("""(() => {
      const size = (each) => parseFloat(getComputedStyle(each).fontSize);
      const boxes = [...document.querySelectorAll(".scroll, .figure")];
      return {wide: boxes.filter((box) => box.scrollWidth > box.clientWidth).length,
              verdicts: [...document.querySelectorAll(".judged")].map((table) => {
                const head = [...table.querySelectorAll("th")].find((each) => each.textContent === "verdict");
                return head.getBoundingClientRect().right - table.parentElement.getBoundingClientRect().right;
              }),
              who: getComputedStyle(document.querySelector("[data-who]"), "::after").content,
              hint: getComputedStyle(document.querySelector(".figure"), "::before").content,
              claims: boxes[0].scrollWidth - boxes[0].clientWidth,
              small: [...document.querySelectorAll("p, td, th")].filter((each) => size(each) < 13).length,
              picture: document.querySelector("svg").getBoundingClientRect().width};
    })()""")
    assert found["small"] == 0 and found["picture"] > 500
    assert len(found["verdicts"]) > 5 and max(found["verdicts"]) <= 0  # beside the claim, without scrolling
    assert (found["who"] == "none") == (width > 1000)
    assert (found["hint"] == '"Scroll sideways for all of the figure."') == (width == PHONE)
    assert width < 1000 or found["claims"] <= 0  # the table of claims is read without scrolling
    if width == PHONE:
        assert found["wide"] > 10  # the tables scroll in boxes of their own


def test_columns_sort_by_keyboard_with_a_visible_focus(page: Path, tab: Tab) -> None:
    tab.open(page.as_uri())
    tab.press("Tab")
    found = tab.run("""(() => {
      const table = [...document.querySelectorAll("table")].find((each) => each.textContent.includes("NLL ours"));
      const head = [...table.querySelectorAll("th")].find((each) => each.textContent.startsWith("NLL ours"));
      const button = head.querySelector("button"), column = head.cellIndex;
      const cells = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
      button.focus();
      const focused = document.activeElement === button, outline = getComputedStyle(button).outlineStyle;
      button.click();
      const up = cells(column), state = head.getAttribute("aria-sort");
      button.click();
      return {focused, outline, up, state, down: cells(column), then: head.getAttribute("aria-sort")};
    })()""")
    assert found["focused"] and found["outline"] == "solid"
    assert (found["state"], found["then"]) == ("ascending", "descending")
    numbers = [float(text.split()[0]) for text in found["up"] if text[0].isdigit()]
    assert len(numbers) == 8 and numbers == sorted(numbers)
    assert not [text for text in found["up"][len(numbers) :] if text[0].isdigit()]  # what has none comes last
    assert [float(text.split()[0]) for text in found["down"][: len(numbers)]] == numbers[::-1]


def test_the_first_cell_of_a_row_has_all_that_the_row_is_about(page: Path) -> None:
    who = [each["data-who"] for each in Outline(page.read_text()).all("td") if "data-who" in each]
    assert {"VAE", "L-VDAE", "m = 16, NLL, nats, L-VDAE minus VAE"} <= set(who)


def test_a_changed_protocol_is_named_in_words() -> None:
    text = web_page("quick+0123abcd", "quick with epochs 5", "quick", [], {}, home=False)
    assert "<h1>vdae-bench, quick protocol with changes</h1>" in text
    assert "The protocol is quick with epochs 5; its folder is quick+0123abcd." in text
    assert "The claims are those of the quick protocol" in text
    plain = web_page("quick", "quick", "quick", [], {}, home=False)
    assert "<h1>vdae-bench, quick protocol</h1>" in plain and "its folder" not in plain and "claims are" not in plain


def test_a_figure_of_thousands_of_curves_stays_beside_the_page() -> None:
    page, figure = Path("quick/mine.md"), Path("quick/mine-curves.svg")
    files = {page: b"# Mine\n\n![Curves](mine-curves.svg)\n", figure: b"<svg>" + b"<g/>" * 600_000 + b"</svg>"}
    text = web_page("quick", "quick", None, [page], files, home=False)
    assert len(text) < 10**6 and '<a href="mine-curves.svg">Curves</a> (2.3 MB, in a file of its own)' in text
