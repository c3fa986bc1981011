"""The classifier: trained once, found again, trained anew where its file is torn; it learns what can be learnt."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from vdae_bench.data.images import Images, Labels
from vdae_bench.data.views import ViewedImages
from vdae_bench.evaluation import classifier, gather
from vdae_bench.evaluation.classifier import ClassifierSettings, trained_classifier
from vdae_bench.evaluation.quality import Reference
from vdae_bench.training.trainer import Interrupted

CPU = torch.device("cpu")
SETTINGS = ClassifierSettings(channels=(8, 8), features=16, dropout=0.0, epochs=20, batch_size=40, shift=0)


@pytest.fixture(scope="module")
def quadrants() -> tuple[Images, Labels]:
    """Noisy 8 x 8 images with one bright quadrant, the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (480,), generator=generator)
    pixels = torch.randint(0, 60, (480, 2, 4, 2, 4), generator=generator)
    pixels[torch.arange(480), labels // 2, :, labels % 2, :] += 190
    rows = pixels.to(torch.uint8).flatten(1)
    parts = rows[:400], rows[400:440], rows[440:]
    return Images("quadrants", (8, 8), *parts, "0" * 64), Labels(labels[:400], labels[400:440], labels[440:])


def test_trained_once_and_found_again(quadrants, cache, monkeypatch):
    state = torch.random.get_rng_state()
    first = trained_classifier(*quadrants, SETTINGS, CPU)
    assert torch.equal(torch.random.get_rng_state(), state)
    for view in ("continuous", "binary"):
        reference = Reference(first, ViewedImages(quadrants[0], view, CPU), quadrants[1].test, 1000)
        assert reference.accuracy > 0.95 and reference.count == 40
    (file,) = (cache / "classifiers").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(classifier, "_train", None)
        assert trained_classifier(*quadrants, SETTINGS, CPU).identity == first.identity
    file.write_bytes(file.read_bytes()[:1000])
    assert trained_classifier(*quadrants, SETTINGS, CPU).identity == first.identity
    assert trained_classifier(*quadrants, ClassifierSettings(epochs=1), CPU).identity != first.identity
    assert len(list((cache / "classifiers").iterdir())) == 2


@pytest.mark.parametrize("ending", [Interrupted, KeyboardInterrupt])
def test_stopped_or_killed_at_any_step_it_goes_on_to_the_same_weights(ending, quadrants, cache, monkeypatch):
    settings = ClassifierSettings(channels=(4, 4), features=8, dropout=0.2, epochs=3, batch_size=60, shift=1)
    whole = trained_classifier(*quadrants, settings, CPU).identity
    (cache / "classifiers").rename(cache / "aside")
    monkeypatch.setattr(classifier.Checkpoint, "due", property(lambda self: ending is KeyboardInterrupt))
    steps = []

    def report(fraction: float) -> None:
        steps.append(round(fraction * 18))
        if len(steps) in (4, 9, 15):
            raise ending

    for _ in range(3):
        with pytest.raises(ending):
            trained_classifier(*quadrants, settings, CPU, report)
    assert trained_classifier(*quadrants, settings, CPU, report).identity == whole
    repeated = [4, 8, 13] if ending is KeyboardInterrupt else []  # a kill comes before the checkpoint of its step
    assert steps == sorted([*range(1, 19), *repeated])
    assert len(list((cache / "classifiers").iterdir())) == 1


def test_without_a_place_to_keep_it_it_is_trained_all_the_same(quadrants, cache):
    cache.write_text("no folder")
    assert trained_classifier(*quadrants, ClassifierSettings(epochs=1), CPU).identity


def test_of_two_processes_at_once_one_trains_it(quadrants, cache, monkeypatch):
    trained, heard, train = [], [], classifier._train
    monkeypatch.setattr(classifier, "SECONDS_BETWEEN_TRIES", 0.01)
    begun = threading.Event()

    def slowly(*words):
        trained.append(words)
        begun.set()
        deadline = time.monotonic() + 60
        while not heard:  # until the other has waited and said so
            assert time.monotonic() < deadline
            time.sleep(0.01)
        train(*words)

    monkeypatch.setattr(classifier, "_train", slowly)
    settings = ClassifierSettings(channels=(8, 8), features=16, epochs=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(trained_classifier, *quadrants, settings, CPU)
        assert begun.wait(60)
        second = pool.submit(trained_classifier, *quadrants, settings, CPU, heard.append)
        assert first.result().identity == second.result().identity
    assert len(trained) == 1 and set(heard) == {0.0}


@pytest.mark.parametrize("lacking", ["classes", "validation", "test"])
def test_where_nothing_can_judge_there_is_no_quality(lacking, quadrants, cache, monkeypatch):
    images, labels = quadrants
    if lacking == "classes":  # as of a user's images without labels
        labels = Labels(*(torch.zeros_like(each) for each in vars(labels).values()))
    else:
        images = replace(images, **{lacking: getattr(images, lacking)[:1]})
    monkeypatch.setattr(gather, "load_labels", lambda *_: labels)
    assert gather.load_references(images, "binary", None, CPU, 100) is None and not cache.exists()
