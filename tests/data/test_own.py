"""A user's own images as a data set of a spec: arrays, pictures, checksums, and what is refused in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.specs import Spec
from vdae_bench.data.fetch import cache_path, fetch
from vdae_bench.data.images import load_images, load_labels
from vdae_bench.data.own import own_arrays, own_dataset
from vdae_bench.data.registry import DATASETS, OwnImages, find_dataset, own_datasets
from vdae_bench.errors import UserError
from vdae_bench.running.cost import price
from vdae_bench.running.job import Job
from vdae_bench.running.workbench import cached_images
from vdae_bench.spec.check import load_spec

RANDOM = np.random.default_rng(0)
TRAIN, TEST = (RANDOM.integers(0, 256, (count, 4, 6), dtype=np.uint8) for count in (12, 5))
MINE = Spec(name="own", grid={"dataset": ["binary-mine", "continuous-mine"], "method": ["vae"], "latents": [2]})


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr("vdae_bench.data.registry.DATASETS", dict(DATASETS))


@pytest.fixture
def arrays(tmp_path) -> Path:
    np.save(tmp_path / "train.npy", TRAIN)
    np.save(tmp_path / "test.npy", TEST)
    return tmp_path


def spec(folder: Path, **more) -> Path:
    path = MINE.write(folder)
    own = {"train": "train.npy", "test": "test.npy", **more}
    path.write_text(f"{path.read_text()}datasets: {{mine: {own}}}\n")
    return path


def pictures(folder: Path, images: np.ndarray, classes: tuple[str, ...] = (".",)) -> Path:
    for number, image in enumerate(images):
        place = folder / classes[number * len(classes) // len(images)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:03}.png")
    return folder


def test_arrays_named_in_a_spec_are_a_data_set_of_it(arrays):
    found = load_spec(spec(arrays, validation_images=3))
    assert [cell.dataset for cell in found.cells] == ["binary-mine", "continuous-mine"]
    shutil.rmtree(cache_path("mine"), ignore_errors=True)
    images = load_images("mine", arrays / "elsewhere")  # where the other data lie says nothing of these
    assert images.shape == (4, 6)
    assert np.array_equal(images.train, TRAIN[:9].reshape(9, -1))
    assert np.array_equal(images.validation, TRAIN[9:].reshape(3, -1))
    assert np.array_equal(images.test, TEST.reshape(5, -1))
    assert not load_labels("mine").test.any()
    assert own_datasets() == (find_dataset("mine"),)


def test_an_edit_is_another_data_set_in_the_same_process(arrays):
    """A notebook and a worker on a cluster live on, and what they have loaded with them."""
    identities, flops = [], []
    for images, held_out in ((TRAIN, 3), (TRAIN, 4), (TRAIN[::-1], 4)):
        np.save(arrays / "train.npy", images)
        found = load_spec(spec(arrays, validation_images=held_out))
        shutil.rmtree(cache_path("mine"), ignore_errors=True)
        job = Job("own", found.cells[0], found.protocol, found.resolved_hyperparameters(found.cells[0]))
        loaded = cached_images("mine", None)
        assert np.array_equal(loaded.validation, images[-held_out:].reshape(held_out, -1))
        assert loaded.sha256 == find_dataset("mine").identity
        identities.append((job.run_digest(0), loaded.sha256))
        assert job.train_images == 12 - held_out
        flops.append(price(job).train_flops)
    assert len({each for pair in identities for each in pair}) == 6
    assert flops[0] > flops[1] == flops[2]


def test_the_split_of_mnist_is_in_no_identity():
    assert find_dataset("mnist").identity == find_dataset("mnist").sha256


def test_labels_of_a_folder_with_subfolders_are_mixed_with_its_pictures(tmp_path):
    np.save(tmp_path / "labels.npy", np.arange(12))  # in the order of the names
    place, test = pictures(tmp_path / "train", TRAIN, ("cat", "dog")), pictures(tmp_path / "test", TEST)
    found = own_arrays(OwnImages(place, test, train_labels=tmp_path / "labels.npy"))
    read = {image.tobytes(): label for image, label in zip(found["train-images"], found["train-labels"], strict=True)}
    assert read == {image.tobytes(): number for number, image in enumerate(TRAIN)}
    assert found["train-labels"].tolist() != list(range(12))
    np.save(tmp_path / "labels.npy", np.arange(3))
    with pytest.raises(UserError, match="has 3 labels for 12 images"):
        own_arrays(OwnImages(place, test, train_labels=tmp_path / "labels.npy"))


def test_the_checksum_is_of_the_images_however_they_are_stored_and_part_of_the_identity(arrays, monkeypatch):
    digests = {}
    for kind, own in (
        ("arrays", OwnImages(arrays / "train.npy", arrays / "test.npy")),
        ("pictures", OwnImages(pictures(arrays / "a", TRAIN), pictures(arrays / "b", TEST))),
        ("archive", OwnImages(arrays / "all.npz", arrays / "all.npz")),
        ("channel", OwnImages(arrays / "channel.npy", arrays / "test.npy")),
        ("other", OwnImages(arrays / "other.npy", arrays / "test.npy")),
    ):
        np.savez(arrays / "all.npz", train=TRAIN, test=TEST)
        np.save(arrays / "channel.npy", TRAIN[:, None])
        np.save(arrays / "other.npy", TRAIN ^ (np.arange(12) == 7)[:, None, None].astype(np.uint8))
        monkeypatch.delitem(DATASETS, "mine", raising=False)
        monkeypatch.setattr("vdae_bench.data.registry.DATASETS", {**DATASETS, "mine": own_dataset("mine", own)})
        found = load_spec(MINE.write(arrays))
        job = Job("own", found.cells[0], found.protocol, found.resolved_hyperparameters(found.cells[0]))
        digests[kind] = find_dataset("mine").sha256, job.run_digest(0)
    assert len(set(digests.values())) == 2 and digests["other"] != digests["arrays"]
    assert len({each for pair in digests.values() for each in pair}) == 4


def test_a_checksum_in_the_spec_is_compared(arrays):
    own = own_dataset("mine", OwnImages(arrays / "train.npy", arrays / "test.npy"))
    load_spec(spec(arrays, sha256=own.sha256))
    with pytest.raises(UserError, match=rf"line \d+: mine has the SHA-256 {own.sha256}, not {'0' * 64}"):
        load_spec(spec(arrays, sha256="0" * 64))


def test_subfolders_are_classes_and_other_files_are_passed_over(tmp_path):
    place = pictures(tmp_path / "train", TRAIN, ("cat", "dog"))
    (place / ".DS_Store").write_bytes(b"\0")
    (place / "cat" / "._000.png").write_bytes(b"\0")
    (place / "README.md").write_text("Pictures.")
    found = own_arrays(OwnImages(place, pictures(tmp_path / "test", TEST)))
    labels = {image.tobytes(): int(number >= 6) for number, image in enumerate(TRAIN)}
    read = {image.tobytes(): label for image, label in zip(found["train-images"], found["train-labels"], strict=True)}
    assert read == labels


def test_the_classes_of_a_folder_are_mixed_in_the_same_way_whatever_the_files_are_called(tmp_path):
    images = RANDOM.integers(0, 256, (60, 4, 6), dtype=np.uint8)
    test = pictures(tmp_path / "test", TEST)
    found = own_dataset("mine", OwnImages(pictures(tmp_path / "one", images, ("a", "b", "c")), test))
    order = own_arrays(OwnImages(tmp_path / "one", test))["train-labels"]
    assert set(order[:-10]) == set(order[-10:]) == {0, 1, 2}
    for path in (tmp_path / "one").rglob("*.png"):
        path.rename(path.with_name(f"{999 - int(path.stem)}.png"))
    assert own_dataset("mine", OwnImages(tmp_path / "one", test)).sha256 == found.sha256


def test_black_and_white_are_0_and_255(arrays):
    np.save(arrays / "train.npy", TRAIN > 127)
    found = own_arrays(OwnImages(arrays / "train.npy", arrays / "test.npy"))
    assert np.array_equal(found["train-images"], np.where(TRAIN > 127, 255, 0))


def test_images_that_change_while_a_command_runs_are_not_taken(arrays):
    load_spec(spec(arrays))
    np.save(arrays / "test.npy", TEST[::-1])
    with pytest.raises(UserError, match="changed while this command ran; give the same command again"):
        fetch("mine")


@pytest.mark.parametrize(
    ("train", "more", "said"),
    [
        (TRAIN / 255, {}, "holds float64: give grey levels from 0 to 255 as uint8"),
        ((TRAIN > 99).astype(np.uint8), {}, "holds 0 and 1 as uint8, .*: give booleans"),
        (TRAIN[0], {}, r"has the shape \(4, 6\): give images as \(count, rows, columns\)"),
        (TRAIN[:, :, :5], {}, "have 4 x 5 pixels and those of .* 4 x 6: scale them to one size"),
        (np.array([{}]), {}, "is not a NumPy array .*: write it with numpy.save"),
        (TRAIN, {"test": "none.npy"}, "cannot read .*none.npy: No such file"),
        (TRAIN, {"test_labels": "train.npy"}, "give a number from 0 to 255 for each image"),
        (TRAIN, {"train_labels": "few.npy"}, "has 3 labels for 12 images of .*: give one for each"),
        (TRAIN, {"train_labels": "sorted.npy"}, "the last 2 images of .* all have the class 3: mix the order"),
        (TRAIN, {"test": "empty"}, r"has no pictures \(.bmp, .*\): give a folder with pictures"),
        (TRAIN, {"test": "torn"}, "a.png cannot be read as a picture .*: repair or remove it"),
        (TRAIN, {"test": "sizes"}, "x.png has 2 x 2 pixels and 000.png 4 x 6: scale all to one size"),
        (TRAIN, {"validation_images": 12}, "12 validation images must leave some of the 12 training images"),
        (TRAIN, {"trian": "x"}, r"unknown key 'datasets.mine.trian' \(did you mean 'train'\?\)"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_sentence_with_its_line(train, more, said, arrays):
    np.save(arrays / "train.npy", train, allow_pickle=True)
    np.save(arrays / "few.npy", np.arange(3))
    np.save(arrays / "sorted.npy", np.arange(12) // 3)
    (arrays / "empty").mkdir()
    (arrays / "torn").mkdir()
    (arrays / "torn" / "a.png").write_bytes(b"\x89PNG\r\n")
    Image.fromarray(TRAIN[0][:2, :2]).save(pictures(arrays / "sizes", TEST) / "x.png")
    with pytest.raises(UserError, match=said) as caught:
        load_spec(spec(arrays, **more))
    assert str(caught.value).count("\n") <= 1 and "unknown data set" not in str(caught.value)


def test_no_data_set_takes_the_name_of_another(arrays):
    path = spec(arrays)
    path.write_text(path.read_text().replace("{mine:", "{mnist:"))
    with pytest.raises(UserError, match="already registered as 'mnist': choose another name"):
        load_spec(path)
