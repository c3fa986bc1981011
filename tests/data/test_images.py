"""The images in memory: the split, its order and its types; and the views of them."""

import numpy as np
import pytest
import torch

from tests.support.images import TinySet
from vdae_bench.data.images import load_images
from vdae_bench.data.views import VIEWED_AS, ViewedImages
from vdae_bench.errors import UserError


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
    assert (images.name, images.sha256) == ("tiny", tiny.files.identity)


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


def test_each_split_is_a_view_of_its_own_images(tiny: TinySet) -> None:
    """The level of a dequantised pixel is the pixel: no split sees another's images."""
    images = load_images("tiny", tiny.folder)
    views = ViewedImages(images, "continuous", torch.device("cpu"), train_images=20)
    for split in ("validation", "test"):
        levels = (256 * views.held_out(split, torch.float64)).floor()
        assert torch.equal(levels, getattr(images, split).double())
    order = torch.tensor([[4, 19, 0], [1, 1, 7]])
    batch = views.training_batch(order, torch.rand(2, 3, 15, dtype=torch.float64))
    assert torch.equal((256 * batch).floor(), images.train[order].double())
    assert torch.equal(views.train, images.train[:20])


def test_held_out_noise_is_fixed_and_each_split_has_its_own(tiny: TinySet) -> None:
    views = ViewedImages(load_images("tiny", tiny.folder), "continuous", torch.device("cpu"))

    def uniform(split: str, draw: int = 0) -> torch.Tensor:
        return (256 * views.held_out(split, torch.float64, draw) % 1)[:7]

    assert torch.equal(uniform("test"), uniform("test"))
    different = torch.stack((uniform("test"), uniform("test", 1), uniform("validation"), uniform("validation", 1)))
    assert torch.pdist(different.flatten(1)).min() > 1
    assert abs(different.mean() - 0.5) < 0.05
    assert abs(different.std() - 12**-0.5) < 0.03


@pytest.mark.parametrize("view", ["continuous", "binary"])
def test_statistics_are_those_of_the_training_images_with_their_noise(tiny: TinySet, view: str) -> None:
    """Against the moments over a grid of u, of 4 points a level so that Bernoulli(v / 255) is exact on it."""
    images = load_images("tiny", tiny.folder)
    uniform = (torch.arange(1020, dtype=torch.float64) + 0.5) / 1020
    grid = uniform[:, None, None].expand(-1, *images.train.shape)
    x = VIEWED_AS[view](images.train.expand(grid.shape), grid).flatten(0, 1)
    statistics = ViewedImages(images, view, torch.device("cpu")).statistics()
    torch.testing.assert_close(statistics.mean, x.mean(0), rtol=1e-10, atol=0)
    torch.testing.assert_close(statistics.variance, x.var(0, correction=0), rtol=1e-9, atol=0)
