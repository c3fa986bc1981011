"""The images in memory: the split, its order and its types."""

import numpy as np
import pytest
import torch

from vdae_bench.data.images import load_images
from vdae_bench.errors import UserError

from .conftest import TinySet


def test_the_last_training_images_validate_and_the_order_is_kept(tiny: TinySet) -> None:
    images = load_images("tiny", tiny.folder)
    assert images.shape == (5, 3)
    for part, shape in ((images.train, (33, 15)), (images.validation, (7, 15)), (images.test, (11, 15))):
        assert part.shape == shape
        assert part.dtype == torch.uint8
    train = tiny.arrays["train-images-idx3-ubyte"].reshape(40, 15)
    np.testing.assert_array_equal(torch.cat([images.train, images.validation]).numpy(), train)
    np.testing.assert_array_equal(images.test.numpy(), tiny.arrays["t10k-images-idx3-ubyte"].reshape(11, 15))


def test_the_registry_says_how_many_validate(tiny: TinySet) -> None:
    tiny.use(validation_images=39)
    images = load_images("tiny", tiny.folder)
    assert (len(images.train), len(images.validation)) == (1, 39)


def test_the_images_name_the_data_they_are(tiny: TinySet) -> None:
    images = load_images("tiny", tiny.folder)
    assert (images.name, images.sha256) == ("tiny", tiny.files.sha256)


def test_the_images_may_be_changed_without_changing_the_files(tiny: TinySet) -> None:
    load_images("tiny", tiny.folder).train.zero_()
    assert load_images("tiny", tiny.folder).train.any()


def test_an_entry_with_the_wrong_shape_is_told_apart_from_wrong_data(tiny: TinySet) -> None:
    images = tiny.files.train_images
    # As many bytes, so only the header can tell.
    turned = type(images)(images.name, (40, 3, 5), images.sha256)
    test = type(images)(tiny.files.test_images.name, (11, 3, 5), tiny.files.test_images.sha256)
    tiny.use(train_images=turned, test_images=test)
    with pytest.raises(UserError, match="correct the entry"):
        load_images("tiny", tiny.folder)
