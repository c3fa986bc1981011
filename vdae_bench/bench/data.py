"""The images that both sides see: real MNIST where it is, else random bytes of the same shape."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdae_bench.data.fetch import verify
from vdae_bench.data.idx import write_idx
from vdae_bench.data.images import Images
from vdae_bench.models.registry import load_plugin
from vdae_bench.running.workbench import cached_images

PLUGIN = """from vdae_bench.data.registry import IdxFile, ImageFiles, register_dataset

register_dataset(ImageFiles("random-bytes", {files}))
"""


@dataclass(frozen=True)
class BenchData:
    """A data set by its name: `folder` where it is not in the cache, `plugin` where it must be made known first."""

    name: str
    folder: Path | None = None
    plugin: Path | None = None

    @property
    def images(self) -> Images:
        """Its images, loaded once."""
        return cached_images(self.name, self.folder)


def find_data(temporary: Path) -> BenchData:
    """MNIST if all four files are there and right (nothing is fetched), else random bytes in a temporary folder."""
    if all(check.ok for check in verify("mnist")):
        return BenchData("mnist")
    return random_bytes(temporary)


def random_bytes(folder: Path, train: int = 60_000, test: int = 10_000, shape: tuple[int, int] = (28, 28)) -> BenchData:
    """Write four IDX files of random bytes and a plugin that registers them, and register them here too."""
    random = np.random.default_rng(0)
    files = []
    for prefix, count in (("train", train), ("t10k", test)):
        for kind, dims in (("images", (count, *shape)), ("labels", (count,))):
            path = folder / f"{prefix}-{kind}-idx{len(dims)}-ubyte"
            write_idx(path, random.integers(0, 256, dims, np.uint8))
            files.append(f"IdxFile({path.name!r}, {dims}, {hashlib.sha256(path.read_bytes()).hexdigest()!r})")
    plugin = folder / "random_bytes.py"
    held_out = f"validation_images={train // 6}"
    plugin.write_text(PLUGIN.format(files=", ".join([*files, held_out])))
    load_plugin(plugin)
    return BenchData("random-bytes", folder, plugin)
