"""The registry: ids, plugins, and entries that can do no harm."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import vdae_bench
from vdae_bench.data.registry import (
    DATASETS,
    IdxFile,
    ImageFiles,
    dataset_ids,
    find_dataset,
    parse_dataset_id,
    register_dataset,
)
from vdae_bench.errors import UserError

DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("dataset_id", "expected"),
    [
        ("binary-mnist", ("binary", "mnist")),
        ("continuous-mnist", ("continuous", "mnist")),
        ("binary-fashion-mnist", ("binary", "fashion-mnist")),
        ("continuous-fashion-mnist", ("continuous", "fashion-mnist")),
        ("binary-kmnist", ("binary", "kmnist")),
        ("continuous-qmnist", ("continuous", "qmnist")),
        ("binary-emnist-letters", ("binary", "emnist-letters")),
    ],
)
def test_an_id_is_a_view_and_a_name(dataset_id: str, expected: tuple[str, str]) -> None:
    assert parse_dataset_id(dataset_id) == expected
    assert dataset_id in dataset_ids()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("binary-mnst", "binary-mnist"),
        ("continous-mnist", "continuous-mnist"),
        ("binary_fashion_mnist", "binary-fashion-mnist"),
        ("BINARY-MNIST", "binary-mnist"),
        ("mnist", "binary-mnist"),
        ("", None),
    ],
)
def test_an_unknown_id_is_answered_with_the_nearest_and_the_list(typed: str, meant: str | None) -> None:
    with pytest.raises(UserError) as caught:
        parse_dataset_id(typed)
    message = str(caught.value)
    if meant:
        assert f"did you mean {meant!r}" in message
    assert all(known in message for known in dataset_ids())


def test_an_unknown_name_is_answered_likewise() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'mnit': did you mean 'mnist'\?"):
        find_dataset("mnit")


def test_a_plugin_adds_a_data_set_with_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdae_bench.data.registry.DATASETS", dict(DATASETS))
    hangul = replace(DATASETS["mnist"], name="hangul", package=None)
    assert register_dataset(hangul) is find_dataset("hangul")
    assert parse_dataset_id("continuous-hangul") == ("continuous", "hangul")
    register_dataset(hangul)  # a module imported twice
    with pytest.raises(UserError, match="already registered"):
        register_dataset(replace(hangul, validation_images=5))
    assert find_dataset("hangul").validation_images == 10_000


@pytest.mark.parametrize("name", ["../mnist", "a/b", "", ".", "MNIST", "a b", "-a"])
def test_a_name_that_leads_out_of_the_cache_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="data set name"):
        replace(DATASETS["mnist"], name=name)


@pytest.mark.parametrize("name", ["../labels", "a/b", "", ".hidden", "a\\b"])
def test_a_file_name_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="file name"):
        IdxFile(name, (3,), DIGEST)


@pytest.mark.parametrize("digest", ["", "0" * 63, "g" * 64, "A" * 64])
def test_a_digest_that_no_file_can_have_is_refused(digest: str) -> None:
    with pytest.raises(UserError, match="SHA-256"):
        IdxFile("labels", (3,), digest)


def entry(train: tuple[int, ...], test: tuple[int, ...], validation: int) -> ImageFiles:
    labels = IdxFile("labels", (3,), DIGEST)
    images = [IdxFile("images", shape, DIGEST) for shape in (train, test)]
    return ImageFiles("made-up", images[0], labels, images[1], labels, validation_images=validation)


@pytest.mark.parametrize(
    ("train", "test", "validation", "words"),
    [
        ((9, 2, 3), (4, 3, 2), 2, "equal rows and columns"),
        ((9, 6), (4, 6), 2, "equal rows and columns"),
        ((9, 2, 3), (4, 2, 3), 9, "must leave some"),
        ((9, 2, 3), (4, 2, 3), 0, "must leave some"),
    ],
)
def test_shapes_that_cannot_be_split_are_refused(
    train: tuple[int, ...], test: tuple[int, ...], validation: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        entry(train, test, validation)


def test_sizes_and_shapes_follow_from_the_arrays() -> None:
    mnist = find_dataset("mnist")
    assert [file.size for file in mnist.files] == [47_040_016, 60_008, 7_840_016, 10_008]
    assert mnist.image_shape == (28, 28)
    assert entry((9, 2, 3), (4, 2, 3), 2).image_shape == (2, 3)


def test_both_spellings_plain_and_gzip_are_accepted() -> None:
    assert IdxFile("t10k-labels-idx1-ubyte", (3,), DIGEST).accepted_names == (
        "t10k-labels-idx1-ubyte",
        "t10k-labels.idx1-ubyte",
        "t10k-labels-idx1-ubyte.gz",
        "t10k-labels.idx1-ubyte.gz",
    )
    assert IdxFile("labels", (3,), DIGEST).accepted_names == ("labels", "labels.gz")


def test_the_digest_of_a_set_tells_sets_apart_and_stays() -> None:
    mnist = find_dataset("mnist")
    # Stored in every record: a change here would make all of them look like results on other data.
    assert mnist.sha256 == "ac89dbc26b7b0b5f68ff586bc0579a0c16e78b3436b0c71ccdd0169cbebf9ff7"
    swapped = replace(mnist, train_labels=mnist.test_labels, test_labels=mnist.train_labels)
    assert len({mnist.sha256, swapped.sha256, find_dataset("fashion-mnist").sha256}) == 3


def test_importing_the_registry_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "requests", "pooch", "pypi_simple", "pydantic", "rich"]
    code = f"import sys, vdae_bench.data.registry; print([name for name in {heavy} if name in sys.modules])"
    root = Path(vdae_bench.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
