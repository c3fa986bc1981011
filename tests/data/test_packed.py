"""Data sets of which only the checksums of the packed files are published: used and kept as they are."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from tests.support.images import TinySet
from vdae_bench.data.fetch import cache_path, fetch, verify
from vdae_bench.data.files import copy_checked
from vdae_bench.data.idx import read_idx
from vdae_bench.data.images import load_images, load_labels
from vdae_bench.data.registry import DATASETS, IdxFile, ImageFiles, find_dataset
from vdae_bench.errors import UserError


@pytest.fixture
def packed(tiny: TinySet, tmp_path, monkeypatch) -> ImageFiles:
    """The tiny data set, its files known by the MD5 of the .gz alone, in a folder of the user's."""
    folder = tmp_path / "published"
    folder.mkdir()
    files = []
    for file in tiny.files.files:
        path = folder / f"{file.name}.gz"
        path.write_bytes(gzip.compress((tiny.folder / file.name).read_bytes(), 1))
        files.append(replace(file, sha256="", gz_md5=hashlib.md5(path.read_bytes()).hexdigest()))
    made = ImageFiles("packed", *files, validation_images=tiny.files.validation_images)
    monkeypatch.setitem(DATASETS, "packed", made)
    return made


def test_the_users_folder_of_published_files_is_used_and_verified(packed, tmp_path):
    folder = tmp_path / "published"
    assert fetch("packed", folder) == folder
    assert all(check.ok for check in verify("packed", folder))
    assert load_images("packed", folder).train.equal(load_images("tiny", tmp_path / "genuine").train)
    assert len({packed.sha256, find_dataset("tiny").sha256}) == 2


def test_the_same_content_packed_otherwise_is_not_vouched_for(packed, tmp_path):
    path = tmp_path / "published" / packed.test_images.kept_as
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9))
    with pytest.raises(UserError, match=r"is not the published .*\.gz: MD5 .*; give a data folder .* as published"):
        fetch("packed", path.parent)
    path.write_bytes(gzip.decompress(path.read_bytes()))
    path.rename(path.with_suffix(""))
    with pytest.raises(UserError, match=r"has no t10k-images-idx3-ubyte\.gz"):
        fetch("packed", path.parent)


def test_the_cache_keeps_it_packed(packed, tmp_path):
    target = cache_path("packed")
    target.mkdir(parents=True)
    for file in packed.files:
        with (tmp_path / "published" / file.kept_as).open("rb") as stream:
            copy_checked(stream, file, target, "here")
    assert fetch("packed") == target and sorted(path.suffix for path in target.iterdir()) == [".gz"] * 4


def test_labels_of_several_numbers_give_the_class(tmp_path):
    path = tmp_path / "labels.gz"
    labels = (np.arange(12).reshape(4, 3) - 2).astype(">i4")
    path.write_bytes(gzip.compress(struct.pack(">HBB2I", 0, 0x0C, 2, 4, 3) + labels.tobytes()))
    assert np.array_equal(read_idx(path), labels)


@pytest.mark.parametrize("name", ["kmnist", "qmnist", "emnist-balanced", "emnist-digits", "emnist-letters"])
def test_the_published_sets_are_entries_with_a_source_or_a_folder(name):
    found = find_dataset(name)
    assert found.image_shape == (28, 28) and all(file.packed for file in found.files)
    assert {len(file.checksum) for file in found.files} == {32}
    assert found.counts["validation"] in (10_000, found.counts["test"])
    assert bool(found.mirrors) != name.startswith("emnist")


def test_a_checksum_is_one_of_the_two():
    with pytest.raises(UserError, match="the SHA-256 of x is '': give 64"):
        IdxFile("x", (3,))
    with pytest.raises(UserError, match="the MD5 of x is 'abc': give 32"):
        IdxFile("x", (3,), gz_md5="abc")


def test_the_first_label_of_several_is_the_class(packed, tmp_path, monkeypatch):
    folder = tmp_path / "published"
    labels = np.arange(11 * 8, dtype=">i4").reshape(11, 8)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBB2I", 0, 0x0C, 2, 11, 8) + labels.tobytes()))
    file = replace(packed.test_labels, gz_md5=hashlib.md5(path.read_bytes()).hexdigest(), value_bytes=4, shape=(11, 8))
    monkeypatch.setitem(DATASETS, "packed", replace(packed, test_labels=file))
    assert load_labels("packed", folder).test.tolist() == labels[:, 0].tolist()
