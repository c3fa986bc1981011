"""The images and labels of a data set in memory, in the one split of this project."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from vdae_bench.data.fetch import fetch
from vdae_bench.data.idx import read_idx
from vdae_bench.data.registry import IdxFile, find_dataset
from vdae_bench.errors import UserError


@dataclass(frozen=True)
class Images:
    """A data set's grey images, one a row: bytes (0 to 255, uint8), n = rows * columns of them.

    Attributes:
        name: the data set, as `mnist`.
        shape: rows and columns of an image.
        train: (N, n), the first training images; for MNIST N = 50,000.
        validation: (V, n), the last training images; for MNIST V = 10,000.
        test: (M, n); for MNIST M = 10,000.
        sha256: one digest over the four files and their split, for the record.
    """

    name: str
    shape: tuple[int, int]
    train: Tensor
    validation: Tensor
    test: Tensor
    sha256: str


def load_images(name: str, folder: Path | None = None) -> Images:
    """Load the images of a data set, fetching it if needed (`fetch` has the arguments and errors).

    The split is NICE's (arXiv:1410.8516, its authors' code): the last images of the training file validate.
    """
    dataset = find_dataset(name)
    place = fetch(name, folder)
    rest = _read_rows(place, dataset.train_images)
    first_validation = len(rest) - dataset.validation_images
    return Images(
        name=dataset.name,
        shape=dataset.image_shape,
        train=rest[:first_validation],
        validation=rest[first_validation:],
        test=_read_rows(place, dataset.test_images),
        sha256=dataset.identity,
    )


@dataclass(frozen=True)
class Labels:
    """The classes of a data set's images, int64, split as the images are."""

    train: Tensor
    validation: Tensor
    test: Tensor


def load_labels(name: str, folder: Path | None = None) -> Labels:
    """Load the labels of a data set's images (`fetch` has the arguments and errors)."""
    dataset = find_dataset(name)
    place = fetch(name, folder)
    rest, test = (_classes(read_idx(place / file.kept_as)) for file in (dataset.train_labels, dataset.test_labels))
    first_validation = len(rest) - dataset.validation_images
    return Labels(rest[:first_validation], rest[first_validation:], test)


def _classes(labels: NDArray[Any]) -> Tensor:
    """The class of each image: the label, or the first of several (QMNIST's others tell of writer and origin)."""
    return torch.from_numpy(labels.reshape(len(labels), -1)[:, 0].astype("int64"))


def _read_rows(folder: Path, file: IdxFile) -> Tensor:
    array = read_idx(folder / file.kept_as)
    if array.shape != file.shape:
        # Verified bytes, so it is the entry in the registry that is wrong.
        raise UserError(f"{file.name} has shape {array.shape}, its registry entry says {file.shape}: correct the entry")
    return torch.from_numpy(array.reshape(len(array), -1))
