"""The noise of test images on a GPU, whose numbers do not need one: normal, and a stream for each key."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from vdae_bench.data.noise import NoiseSource, hashed_normals, stream_seed

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def keys(*shape: int) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return torch.tensor([stream_seed(0, f"test/{index}", 0) for index in range(count)]).view(shape)


def test_it_is_normal_and_its_tails_are():
    drawn = hashed_normals(keys(100), 10_001)
    assert drawn.shape == (100, 10_001) and drawn.dtype == torch.float32
    sample = drawn.flatten().double()
    assert stats.kstest(sample[::7].numpy(), "norm").pvalue > 1e-3
    assert sample.mean().abs() < 4e-3 and (sample.var() - 1).abs() < 6e-3 and (sample.pow(4).mean() - 3).abs() < 0.05
    beyond = (sample.abs() > 4).double().mean()
    assert 4e-5 < beyond < 9e-5  # 6.3e-5
    assert torch.isfinite(sample).all()


@pytest.mark.parametrize("lag", [1, 2, 3, 100])
def test_neighbours_in_a_stream_and_across_streams_are_not_alike(lag):
    drawn = hashed_normals(keys(200), 5_000).double()
    for one, other in ((drawn[:, lag:], drawn[:, :-lag]), (drawn[lag:], drawn[:-lag])):
        assert (one * other).mean().abs() < 5e-3
        assert ((one.square() - 1) * (other.square() - 1)).mean().abs() < 1e-2


def test_a_stream_is_its_keys_alone_whatever_is_beside_it_and_however_long():
    together = hashed_normals(keys(2, 3), 9)
    assert torch.equal(hashed_normals(keys(2, 3)[1, 2], 9), together[1, 2])
    assert torch.equal(hashed_normals(keys(2, 3), 4), together[..., :4])
    assert len(set(together.flatten().tolist())) == together.numel()
    assert hashed_normals(keys(1), 3).tolist() == [pytest.approx(KNOWN, abs=1e-6)]


KNOWN = [0.602270245552063, -0.1495598405599594, 1.7114931344985962]


@needs_gpu
def test_a_gpu_draws_the_same_for_an_image_in_any_chunk():
    gpu = torch.device("cuda")
    source = NoiseSource((3, 8), gpu)
    whole = source.image_normal_("test", range(10), 2, torch.empty(2, 10, 4, 5, device=gpu))
    part = source.image_normal_("test", range(6, 9), 2, torch.empty(2, 3, 4, 5, device=gpu))
    assert torch.equal(whole[:, 6:9], part)
    expected = hashed_normals(torch.tensor(stream_seed(8, "test/7", 2)), 20)
    assert torch.allclose(whole[1, 7].flatten().cpu(), expected, atol=1e-5)
