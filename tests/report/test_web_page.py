"""The page for a browser: one file, no network, opened in a real browser, on a phone's width and by keyboard."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import publish_table
from vdae_bench.report.build import build_reports
from vdae_bench.store.records import Store

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
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
    publish_table(store, "table2")
    (written,) = build_reports(store, root / "reports", formats=("html",))
    return written.path


def test_it_is_one_file_that_is_whole_and_needs_no_network(page: Path) -> None:
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    text = page.read_text()
    outline = Outline(text)
    assert outline.open == []
    assert not outline.all("link") and not outline.all("img") and "@import" not in text
    assert all("src" not in each for each in outline.all("script"))
    links = [each["href"] or "" for each in outline.all("a") if "href" in each]
    assert not [link for link in links if "://" in link]
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


def in_browser(page: Path, folder: Path, script: str, width: int) -> Any:
    """What a script returns that is run with the page in a frame of a width, in a headless browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        assert not os.environ.get("CI"), f"continuous integration needs one of {', '.join(BROWSERS)}"
        pytest.skip("no Chromium here")
    content = json.dumps(page.read_text()).replace("</", "<\\/")
    outer = folder / "outer.html"
    outer.write_text(
        f'<!doctype html><iframe id="frame" style="width: {width}px; height: 800px; border: 0"></iframe>'
        f'<pre id="out"></pre><script>const frame = document.getElementById("frame");'
        f"frame.onload = () => {{ const page = frame.contentDocument, view = frame.contentWindow;"
        f'document.getElementById("out").textContent = JSON.stringify((() => {{ {script} }})()); }};'
        f"frame.srcdoc = {content};</script>"
    )
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    words += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", outer.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="out">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("width", [PHONE, 1200])
def test_the_page_itself_never_scrolls_sideways(page: Path, tmp_path: Path, width: int) -> None:
    script = """
      const size = (each) => parseFloat(view.getComputedStyle(each).fontSize);
      const root = page.documentElement, boxes = [...page.querySelectorAll(".scroll, .figure")];
      return {width: root.clientWidth, needed: Math.max(root.scrollWidth, page.body.scrollWidth),
              wide: boxes.filter((box) => box.scrollWidth > box.clientWidth).length,
              claims: boxes[0].scrollWidth - boxes[0].clientWidth,
              small: [...page.querySelectorAll("p, td, th")].filter((each) => size(each) < 13).length,
              picture: page.querySelector("svg").getBoundingClientRect().width};
    """
    found = in_browser(page, tmp_path, script, width)
    assert found["width"] == width and found["needed"] <= width
    assert found["small"] == 0 and found["picture"] > 500
    assert width == PHONE or found["claims"] <= 0  # the table of claims is read without scrolling
    if width == PHONE:
        assert found["wide"] > 10  # the tables scroll in boxes of their own


def test_columns_sort_by_keyboard_with_a_visible_focus(page: Path, tmp_path: Path) -> None:
    script = """
      const table = [...page.querySelectorAll("table")].find((each) => each.textContent.includes("NLL ours"));
      const head = [...table.querySelectorAll("th")].find((each) => each.textContent.startsWith("NLL ours"));
      const button = head.querySelector("button"), column = head.cellIndex;
      const cells = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
      button.focus();
      const focused = page.activeElement === button, outline = view.getComputedStyle(button).outlineStyle;
      button.click();
      const up = cells(column), state = head.getAttribute("aria-sort"), latents = cells(0);
      button.click();
      return {focused, outline, up, state, latents, down: cells(column), then: head.getAttribute("aria-sort"),
              boxes: [...page.querySelectorAll(".scroll")].every((box) => box.tabIndex === 0)};
    """
    found = in_browser(page, tmp_path, script, 1200)
    assert found["focused"] and found["outline"] == "solid" and found["boxes"]
    assert (found["state"], found["then"]) == ("ascending", "descending")
    numbers = [float(text.split()[0]) for text in found["up"] if text[0].isdigit()]
    assert len(numbers) == 8 and numbers == sorted(numbers)
    assert [text for text in found["up"] if not text[0].isdigit()] == found["up"][
        len(numbers) :
    ]  # what has none comes last
    assert [float(text.split()[0]) for text in found["down"][: len(numbers)]] == numbers[::-1]
