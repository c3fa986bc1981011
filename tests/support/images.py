"""Tiny data sets in the IDX format: one that most tests run on, and one whose sources a test changes."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vdae_bench.data.idx import write_idx
from vdae_bench.data.registry import DATASETS, IdxFile, ImageFiles

ROWS = COLUMNS = 6
"""Images of the tiny data set; n = 36."""
COUNTS = {"train": 140, "test": 30}
VALIDATION = 20

PLUGIN = """
from vdae_bench.data.registry import IdxFile, ImageFiles, register_dataset

register_dataset(
    ImageFiles(
        name="tiny",
        train_images=IdxFile("train-images-idx3-ubyte", {train_images}),
        train_labels=IdxFile("train-labels-idx1-ubyte", {train_labels}),
        test_images=IdxFile("t10k-images-idx3-ubyte", {test_images}),
        test_labels=IdxFile("t10k-labels-idx1-ubyte", {test_labels}),
        validation_images={validation},
    )
)
"""


def write_tiny_data(folder: Path) -> Path:
    """Write four IDX files into a folder and, beside them, the plugin that registers them as `tiny`; return it."""
    random = np.random.default_rng(0)
    entries = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        count = COUNTS[split]
        strokes = random.uniform(0, 1, (count, 1, 1)) * np.linspace(0, 1, COLUMNS) + np.linspace(-0.5, 0.5, ROWS)[
            :, None
        ] * random.uniform(-1, 1, (count, 1, 1))
        arrays = {
            "images": (np.clip(strokes, 0, 1) * 255).astype(np.uint8),
            "labels": random.integers(0, 10, count).astype(np.uint8),
        }
        for kind, array in arrays.items():
            path = folder / f"{prefix}-{kind}-idx{array.ndim}-ubyte"
            write_idx(path, array)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            entries[f"{split}_{kind}"] = f"{array.shape}, {digest!r}"
    plugin = folder / "tiny_plugin.py"
    plugin.write_text(PLUGIN.format(validation=VALIDATION, **entries))
    return plugin


@dataclass
class TinySet:
    """A registered data set of a few images, with its arrays and a folder that has its genuine files."""

    files: ImageFiles
    arrays: dict[str, NDArray[np.uint8]]
    folder: Path

    @property
    def name(self) -> str:
        return self.files.name

    def plain(self, file: IdxFile) -> bytes:
        return (self.folder / file.name).read_bytes()

    def zipped(self, file: IdxFile) -> bytes:
        return gzip.compress(self.plain(file), mtime=0)

    def use(self, **changes: object) -> ImageFiles:
        """Register the set with other sources."""
        self.files = replace(self.files, **changes)  # type: ignore[arg-type]
        DATASETS[self.name] = self.files
        return self.files


def write_tiny_set(folder: Path) -> TinySet:
    """Write 40 training images of 5 by 3 pixels, the last 7 for validation, and 11 test images."""
    random = np.random.default_rng(5)
    arrays = {
        "train-images-idx3-ubyte": random.integers(0, 256, (40, 5, 3), dtype=np.uint8),
        "train-labels-idx1-ubyte": random.integers(0, 10, 40, dtype=np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (11, 5, 3), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": random.integers(0, 10, 11, dtype=np.uint8),
    }
    folder.mkdir()
    files = []
    for name, array in arrays.items():
        write_idx(folder / name, array)
        files.append(IdxFile(name, array.shape, hashlib.sha256((folder / name).read_bytes()).hexdigest()))
    train_images, train_labels, test_images, test_labels = files
    dataset = ImageFiles("tiny", train_images, train_labels, test_images, test_labels, validation_images=7)
    return TinySet(dataset, arrays, folder)
