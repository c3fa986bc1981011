"""A user's own images, as NumPy arrays or folders of pictures, made a data set of four files.

Its checksums are those of the IDX files that hold the same images: they are part of each run's identity, however the
images are stored.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdae_bench.data.idx import idx_content
from vdae_bench.data.registry import IdxFile, ImageFiles, OwnImages
from vdae_bench.errors import UserError
from vdae_bench.system.untrusted import LARGEST_TENSORS, Unfit, content_of
from vdae_bench.system.words import counted, nearest

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp")
"""Ends of the names that are taken for pictures in a folder; other files there are passed over."""
LARGEST_PICTURE = 16 * 2**20
MOST_CLASSES = 256
VALIDATION_SHARE = 6
"""One in so many training images validates, where nobody says how many; 10,000 at most, as of MNIST's 60,000."""


def own_dataset(
    name: str, own: OwnImages, validation_images: int | None = None, sha256: str | None = None
) -> ImageFiles:
    """Read a user's images and return their entry for the registry.

    Args:
        name: the name of the data set, as in `binary-<name>`.
        own: where the images lie.
        validation_images: how many at the end of the training images are held out; None takes a sixth, at most 10,000.
        sha256: the checksum that the data set must have, where the user gives one.

    Raises:
        UserError: they cannot be read, are no grey images of one size, or have another checksum.
    """
    arrays = own_arrays(own)
    train = arrays["train-images"]
    if validation_images is None:
        validation_images = min(10_000, max(1, len(train) // VALIDATION_SHARE))
    classes, held_out = arrays["train-labels"], arrays["train-labels"][len(train) - validation_images :]
    if validation_images > 1 and len(set(held_out)) == 1 < len(set(classes)):
        raise UserError(
            f"the last {counted(validation_images, 'image')} of {own.train} are held out to validate, "
            f"and all have the class {held_out[0]}: mix the order of images and labels"
        )
    train_images, train_labels, test_images, test_labels = (
        IdxFile(file, array.shape, hashlib.sha256(idx_content(array, file)).hexdigest())
        for file, array in arrays.items()
    )
    made = ImageFiles(
        name, train_images, train_labels, test_images, test_labels, validation_images=validation_images, own=own
    )
    if sha256 not in (None, made.sha256):
        raise UserError(f"{name} has the SHA-256 {made.sha256}, not {sha256}: use the right images, or correct sha256")
    return made


def own_arrays(own: OwnImages) -> dict[str, NDArray[np.uint8]]:
    """The images and labels of a user's own data set, in the order of `ImageFiles`; without labels, zeros.

    Raises:
        UserError: they cannot be read, or are no grey images of one size.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    folders = [place for place in (own.train, own.test) if place.is_dir()]
    classes_there = sorted({_class_of(path, folder) for folder in folders for path in _paths(folder)} - {""})
    if len(classes_there) > MOST_CLASSES:
        raise UserError(
            f"{own.train} and {own.test} have more than {MOST_CLASSES} subfolders, which are classes: merge some"
        )
    for split, place, labels in (("train", own.train, own.train_labels), ("test", own.test, own.test_labels)):
        given = None if labels is None else _labels(_array(labels, f"{split}_labels"), labels)
        if place.is_dir():
            images, classes = _pictures(place, classes_there, given)
        else:
            images = _images(_array(place, split), place)
            classes = np.zeros(len(images), np.uint8) if given is None else given
        if len(classes) != len(images):
            raise UserError(
                f"{labels} has {counted(len(classes), 'label')} for {counted(len(images), 'image')} of {place}: "
                "give one for each"
            )
        found |= {f"{split}-images": images, f"{split}-labels": classes}
    sizes = {split: found[f"{split}-images"].shape[1:] for split in ("train", "test")}
    if sizes["train"] != sizes["test"]:
        raise UserError(
            f"images of {own.train} have {_size(sizes['train'])} pixels and those of {own.test} "
            f"{_size(sizes['test'])}: scale them to one size"
        )
    return found


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _content(path: Path, largest: int) -> bytes:
    try:
        return content_of(path, largest)
    except (OSError, Unfit) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _array(path: Path, key: str) -> NDArray[Any]:
    """The array of a `.npy` file, or of a `.npz` file the one of that name, or its only one; no code is run."""
    content = io.BytesIO(_content(path, LARGEST_TENSORS))
    try:
        loaded = np.load(content, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        names = list(loaded.files)
        if key not in names and len(names) != 1:
            has = f"it has {', '.join(names)}" if names else "it is empty"
            raise UserError(f"{path} has no array {key!r}{nearest(key, names)}; {has}")
        return np.asarray(loaded[key if key in names else names[0]])
    except UserError:
        raise
    except Exception as error:  # of what is no array; on hostile files NumPy's readers fail in any way
        why = f"{error}".splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a NumPy array ({why}): write it with numpy.save") from None


def _images(array: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):  # a channel, as torch or Keras has it
        array = array[:, 0] if array.shape[1] == 1 else array[..., 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise UserError(f"{path} holds {array.dtype}: give grey levels from 0 to 255 as uint8, or booleans")
    if array.size and array.max() == 1:
        raise UserError(f"{path} holds 0 and 1 as uint8, both black among 256 levels: give booleans, or 0 and 255")
    if array.ndim == 3 and 0 in array.shape:
        raise UserError(f"{path} has the shape {array.shape}, and so no image: give at least one")
    if array.ndim != 3:
        raise UserError(f"{path} has the shape {array.shape}: give images as (count, rows, columns)")
    return np.ascontiguousarray(array)


def _labels(array: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if array.ndim != 1 or array.dtype.kind not in "ui" or (len(array) and not 0 <= array.min() <= array.max() <= 255):
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}: give a number from 0 to 255 for each image"
        )
    return array.astype(np.uint8)


def _paths(folder: Path) -> list[Path]:
    """The pictures of a folder and its subfolders, in the order of their names; hidden files are none."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURES and not any(part[0] == "." for part in path.relative_to(folder).parts)
    )


def _class_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).parts[0] if path.parent != folder else ""


def _pictures(
    folder: Path, classes: Sequence[str], given: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The pictures of a folder, whose colours become grey, and the label of each: that given, else its subfolder.

    They come in the order of their names, as labels do. Several subfolders are mixed, in the same way on every machine,
    and labels with them; labels of another number are returned as they are.
    """
    from PIL import Image

    paths = _paths(folder)
    if not paths:
        known = ", ".join(PICTURES)
        raise UserError(f"{folder} has no pictures ({known}): give a folder with pictures, or a .npy file")
    images: list[NDArray[np.uint8]] = []
    for path in paths:
        content = _content(path, LARGEST_PICTURE)
        try:
            with Image.open(io.BytesIO(content)) as picture:
                deep, image = picture.mode[0] in "IF", np.asarray(picture.convert("L"))
        except Exception as error:  # of what is no picture; on hostile files Pillow fails in any way
            what = f"{path} cannot be read as a picture ({type(error).__name__})"
            raise UserError(f"{what}: repair or remove it") from None
        if deep:  # which Pillow would cut off at 255
            raise UserError(f"{path} has more than 8 bits for each pixel: scale it to grey levels from 0 to 255")
        if images and image.shape != images[0].shape:
            raise UserError(
                f"{path} has {_size(image.shape)} pixels and {paths[0].name} {_size(images[0].shape)}: "
                "scale all to one size"
            )
        images.append(image)
    own = np.array([classes.index(name) if (name := _class_of(path, folder)) else 0 for path in paths], np.uint8)
    labels, order = own if given is None else given, np.arange(len(images))
    if len(set(own)) > 1:  # else the last class alone would validate
        order = np.array(sorted(order, key=lambda place: hashlib.sha256(images[place].tobytes()).digest()))
    return np.stack(images)[order], labels[order] if len(labels) == len(order) else labels
