"""The notebooks: they run from top to bottom, and what is committed of them was run so and names no machine."""

from __future__ import annotations

import json
import re
import runpy
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scripts.notebooks import colab, repository, set_address
from tests.support.shell import ROOT, Forked, block

BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BOOK = pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
SHORTER = {"STEPS = 300": "STEPS = 10", '"epochs": 12, "train_images": 2000': '"epochs": 2, "train_images": 400'}
"""What makes a run of the tests short; `make notebooks` runs them as they are."""


def cells(book: Path, kind: str) -> list[dict[str, Any]]:
    return [each for each in json.loads(book.read_text())["cells"] if each["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_there_are_two() -> None:
    assert [book.stem for book in BOOKS] == ["own-posterior", "vae-to-flow"]


@BOOK
def test_it_was_run_from_top_to_bottom_and_names_no_machine(book: Path) -> None:
    code = cells(book, "code")
    assert [each["execution_count"] for each in code] == list(range(1, len(code) + 1))
    outputs = [output for each in code for output in each["outputs"]]
    assert not [each for each in outputs if each["output_type"] == "error" or each.get("name") == "stderr"]
    shown = [each.get("data", {}) for each in outputs]
    assert sum("image/png" in each for each in shown) >= 2
    texts = [str(each.get("text", "")) for each in outputs]
    texts += [str(value) for each in shown for kind, value in each.items() if kind.startswith("text/")]
    assert not [text for text in texts if re.search(r"(?<![\w.])/(home|root|tmp|work|usr|var|opt|mnt)\b", text)]
    assert book.stat().st_size < 600_000


@BOOK
def test_it_opens_in_colab_where_the_repository_has_an_address(book: Path) -> None:
    text, address = json.loads(book.read_text())["cells"], repository()
    (title, *_), (code, *_) = cells(book, "markdown"), cells(book, "code")
    assert f"\n\n{colab(book.name, address)}\n\n" in source(title)
    assert f'ADDRESS = "{address}"' in source(code) and "OWNER" not in str(text)
    joined = [{**each, "source": source(each)} for each in text]
    set_address(joined, book.name, "https://github.com/someone/vdae-bench")
    badge = f"https://colab.research.google.com/github/someone/vdae-bench/blob/main/notebooks/{book.name}"
    assert f"]({badge})\n\n" in joined[0]["source"]
    assert 'ADDRESS = "https://github.com/someone/vdae-bench"' in "".join(each["source"] for each in joined)


def test_the_method_is_that_of_the_readme() -> None:
    assert any(block("python", '"isotropic-vae"') in source(each) for each in cells(BOOKS[0], "code"))


def test_ones_own_posterior_is_compared_with_l_vdae() -> None:
    (compared,) = (each for each in cells(BOOKS[0], "code") if "api.pairs(" in source(each))
    (shown,) = ("".join(each["data"]["text/plain"]) for each in compared["outputs"])
    assert re.search(r"-ELBO +(lvdae +isotropic-vae|isotropic-vae +lvdae) +-?\d", shown)


@BOOK
def test_its_links_lead_to_files(book: Path) -> None:
    links = [link for each in cells(book, "markdown") for link in re.findall(r"\]\(([^)\s]+)\)", source(each))]
    assert not [each for each in links if "://" not in each and not (book.parent / each).exists()]


@pytest.mark.slow
@pytest.mark.mnist
@BOOK
def test_it_runs(book: Path, tmp_path: Path) -> None:
    code = "\n\n".join(source(each) for each in cells(book, "code"))
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    assert any(short in code for short in SHORTER.values())
    script = tmp_path / "book.py"
    script.write_text(code)
    process = Forked(partial(runpy.run_path, str(script), run_name="__main__"), tmp_path, {"PYTHONPATH": str(ROOT)})
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
