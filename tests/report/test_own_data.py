"""Pages of data sets of a user's own: they have the numbers of images that records say, whoever draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.markdown_tables import table_with
from tests.support.records import made_up_record, publish
from vdae_bench.data.registry import DATASETS, find_dataset
from vdae_bench.report.build import build_reports
from vdae_bench.report.numbers.runs import Run
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import ImageCounts, Record, Store

MNIST = find_dataset("mnist")
SMALL = ImageCounts(train=300, validation=60, test=70, trained=300, validated=60, nll=70, elbo=70)
MINE = Cell("binary-mine", "vae", 2)


def page_of(tmp_path: Path, *records: Record) -> str:
    store = Store(tmp_path / "results")
    publish(store, "own", "quick", MINE.slug, list(records))
    return build_reports(store, tmp_path / "reports")[0].path.read_text()


def small_record(seed: int, images: ImageCounts | None, **words: Any) -> Record:
    return made_up_record(MINE, seed, load_protocol("quick"), **words).model_copy(update={"images": images})


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Registers `mine`, as a spec or a plug-in does: with other numbers than any record's, which no page may take."""
    return lambda: monkeypatch.setitem(DATASETS, "mine", replace(MNIST, name="mine", validation_images=7))


@pytest.fixture
def made_up(registered: Callable[[], None]) -> Callable[..., Record]:
    """Makes records of `mine`, which takes it to be known, and forgets it again."""

    def make(*arguments: Any, **words: Any) -> Record:
        registered()
        try:
            return small_record(*arguments, **words)
        finally:
            del DATASETS["mine"]

    return make


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("known", [SMALL, None])
def test_a_page_is_the_same_whether_or_not_its_data_set_is_known_here(tmp_path, made_up, registered, known):
    records = [made_up(seed, known) for seed in (0, 1)]
    without = page_of(tmp_path, *records)
    registered()
    assert page_of(tmp_path, *records) == without


@pytest.mark.usefixtures("blank_pictures")
def test_a_page_of_a_small_data_set_has_the_numbers_of_images_in_its_records(tmp_path, made_up):
    page = page_of(tmp_path, made_up(0, SMALL), made_up(1, None))  # of the same data, by their checksum
    assert "For each of 70 test images" in page and "at most" not in page
    assert "`validation_images` 60 instead of 2500, `nll_images` 70 instead of 500" in page


@pytest.mark.usefixtures("blank_pictures")
def test_a_page_of_older_records_of_a_data_set_says_at_most(tmp_path, made_up):
    page = page_of(tmp_path, made_up(0, None))
    assert "over at most 10000 test images, with K = 200 samples from the posterior on at most 500 of them" in page
    rows = {row["setting"]: row["here"] for row in table_with(page, "setting")}
    assert rows["`nll_images`"] == "at most 500" and rows["`epochs`"] == "2"


def test_seconds_of_a_core_count_the_steps_that_the_records_images_take(tmp_path, made_up):
    parts = [{"from_step": 0, "threads": 1}, {"from_step": 2, "threads": 2}]  # of the 4 steps of two epochs
    cost = {"train_seconds": 3.0, "validation_seconds": 0.0, "evaluation_seconds": 0.0}
    record = made_up(0, SMALL, provenance={"parts": parts}, cost=cost)
    assert Run(tmp_path, "own", "quick", record).core_seconds == pytest.approx(4.0)
