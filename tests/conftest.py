"""Shared fixtures: shapes checked at run time, float64 models of every method, a tiny data set in the IDX format."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

import tests.support.typecheck  # noqa: F401 - named below

# Shapes such as Float[Tensor, "R N n"] are checked at every call in the tests.
CHECKED = ["models", "training", "evaluation", "data.noise", "data.views"]
install_import_hook([f"vdae_bench.{module}" for module in CHECKED], "tests.support.typecheck.checked")

import torch  # noqa: E402

torch.set_num_threads(1)  # the models are tiny

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


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(folder with four IDX files, plugin that registers them as `tiny`), registered in this process too."""
    from vdae_bench.data.idx import write_idx
    from vdae_bench.models.registry import load_plugin

    folder = tmp_path_factory.mktemp("tiny")
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
    load_plugin(plugin)
    return folder, plugin
