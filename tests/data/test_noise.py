"""Noise depends on (seed, stream, step) and on nothing else."""

import math
from collections.abc import Callable

import pytest
import torch

from vdae_bench.data.noise import NoiseSource, initial_generators, stream_seed

CPU = torch.device("cpu")


def draw(seeds, stream="data", step=0, shape=(5, 7)):
    return NoiseSource(seeds, CPU).normal_(stream, step, torch.empty(len(seeds), *shape))


def images(seeds):
    return NoiseSource(seeds, CPU).image_normal_("test", [3, 8], 0, torch.empty(len(seeds), 2, 6, 5))


KINDS: dict[str, Callable[[tuple[int, ...]], torch.Tensor]] = {
    "normal": draw,
    "uniform": lambda seeds: NoiseSource(seeds, CPU).uniform_("data", 0, torch.empty(len(seeds), 5, 7)),
    "images": images,
    "permutations": lambda seeds: NoiseSource(seeds, CPU).permutations("shuffle", 0, 50),
    "initial": lambda seeds: torch.stack([torch.randn(9, generator=each) for each in initial_generators(seeds)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_has_its_own_numbers_beside_others(kind):
    together = KINDS[kind]((0, 7, 2))
    assert torch.equal(together[1], KINDS[kind]((7,))[0])
    assert not any(torch.equal(together[a], together[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_replicas_streams_and_steps_differ():
    both = draw((0, 1))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(draw((0,)), draw((0,), stream="posterior"))
    assert not torch.equal(draw((0,)), draw((0,), step=1))
    seeds = {stream_seed(seed, s, step) for seed in range(20) for s in ("a", "b") for step in range(20)}
    assert len(seeds) == 800


def test_seed_zero_is_a_seed():
    assert not torch.equal(draw((0,)), draw((1,)))
    assert torch.equal(draw((0,)), draw((0,)))


def test_image_noise_depends_on_the_image_not_on_its_place():
    source = NoiseSource((0, 4), CPU)
    some = source.image_normal_("test", [3, 8], 0, torch.empty(2, 2, 6, 5))
    other = source.image_normal_("test", [8], 0, torch.empty(2, 1, 6, 5))
    assert torch.equal(some[:, 1], other[:, 0])
    assert not torch.equal(some[:, 0], some[:, 1])
    assert not torch.equal(other, source.image_normal_("test", [8], 1, torch.empty(2, 1, 6, 5)))  # the next block


def test_permutations_are_orders_of_all_images():
    orders = NoiseSource((0, 1), CPU).permutations("shuffle", 3, 50)
    assert (orders.sort(1).values == torch.arange(50)).all()
    assert not torch.equal(orders[0], orders[1])


def test_noise_has_the_distribution_it_claims():
    big = draw((0,), shape=(200, 500))
    assert abs(big.mean()) < 0.01 and abs(big.std() - 1) < 0.01
    uniform = NoiseSource((0,), CPU).uniform_("data", 0, torch.empty(1, 200, 500))
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.01


def test_a_cpu_takes_the_lower_half_of_a_seed_so_that_few_of_a_runs_draws_begin_alike():
    """What `stream_seed` says of collisions, for as many draws as a run at `paper` has."""
    seed = stream_seed(3, "posterior", 5)
    first, again = (torch.rand(4, generator=torch.Generator().manual_seed(each)) for each in (seed, seed % 2**32))
    assert seed >= 2**32 and torch.equal(first, again)
    draws = 2 * 50_000 + 10_000 * 20
    assert math.comb(draws, 2) / 2**32 == pytest.approx(10, rel=0.1)
