"""Replayed steps: what a recording on a GPU demands of a step is tested on every device, the recording where it can."""

from __future__ import annotations

import time

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vdae_bench.data.images import load_images
from vdae_bench.data.views import ViewedImages
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.system.devices import wait
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.replay import WARM_UP, Replay
from vdae_bench.training.trainer import Trainer, TrainingSettings

CPU = torch.device("cpu")
METHODS = ["vae", "lvdae", "nice", "vdae-coupled"]
SMALL = {
    "hidden_size": 8,
    "residual_blocks": 1,
    "couplings": 2,
    "coupling_hidden_size": 8,
    "coupling_layers": 1,
    "initial_log_sigma": -1.0,
}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture
def make(tiny_data):
    def build(method, device=CPU, seeds=(0, 1), hyperparameters=SMALL, batch_size=50):
        images = ViewedImages(load_images("tiny", tiny_data[0]), "binary", device)
        latents = 4 if method in ("vae", "lvdae") else images.data_dim
        problem = Problem(len(seeds), images.data_dim, latents, "binary", hyperparameters, {}, "subset")
        settings = TrainingSettings(4, batch_size, 10.0, "data", 1.0, 20)
        adam = AdamSettings(1e-3, "linear", 0.999, 1e-8)
        return Trainer(get_method(method).build(problem), images, seeds, [adam] * len(seeds), settings)

    return build


class NoReadingBack(TorchDispatchMode):
    """Fails on operations whose outcome the host must wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        forbidden = ("_local_scalar_dense", "nonzero", "masked_select", "equal.default", "is_nonzero", "_unique")
        assert not any(word in str(func) for word in forbidden), f"a step waits for the device: {func}"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS)
def test_a_step_waits_for_nothing(make, method):
    trainer = make(method)
    with NoReadingBack():
        trainer.train_step()


def test_waiting_would_be_noticed():
    with pytest.raises(AssertionError, match="waits"), NoReadingBack():
        torch.ones(()).item()


@pytest.mark.parametrize("method", METHODS)
def test_a_step_keeps_its_tensors_and_needs_nothing_else(make, method):
    """The recorded part: everything that it reads or writes stays where it is, and Python's numbers do not matter."""
    one, other = make(method), make(method)
    for trainer in (one, other):
        trainer.train_step()
        trainer._prepare()
    kept = {name: value for name, value in vars(other).items() if name not in ("step", "settings")}
    places = [p.data_ptr() for p in other.model.parameters()]
    right_step, other.step = other.step, 10**6
    other.noise = other._order = None
    one._train_on(50)
    other._train_on(50)
    other.step = right_step
    changed = {name for name, value in kept.items() if getattr(other, name) is not value}
    assert changed == {"noise", "_order"}
    assert places == [p.data_ptr() for p in other.model.parameters()]
    assert torch.equal(one.optimiser.parameters, other.optimiser.parameters)
    assert torch.equal(one._epoch_sum, other._epoch_sum)


def test_on_a_cpu_every_call_does_the_work():
    calls = []
    replay = Replay(lambda: calls.append(len(calls)), CPU)
    for _ in range(WARM_UP + 3):
        replay()
    assert calls == list(range(WARM_UP + 3))


@needs_gpu
@pytest.mark.parametrize("method", METHODS)
def test_a_recording_trains_as_single_calls_do(make, method):
    gpu = torch.device("cuda")
    recorded, called = make(method, gpu), make(method, gpu)
    called._replay = lambda: called._train_on(50)
    for _ in range(WARM_UP + 5):
        recorded.train_step()
        called.train_step()
    assert recorded._replay._graph is not None
    torch.testing.assert_close(recorded.optimiser.parameters, called.optimiser.parameters, rtol=1e-4, atol=1e-5)


@needs_gpu
def test_ten_seeds_take_at_most_two_and_a_half_times_the_time_of_one(make):
    sizes = {**SMALL, "hidden_size": 256}
    seconds = {}
    for seeds in ((0,), tuple(range(10))):
        trainer = make("vae", torch.device("cuda"), seeds, sizes)
        for _ in range(trainer.unsteady_steps + 2):
            trainer.train_step()
        wait(trainer.data.device)
        started = time.perf_counter()
        for _ in range(20):
            trainer.train_step()
        wait(trainer.data.device)
        seconds[len(seeds)] = time.perf_counter() - started
    assert seconds[10] < 2.5 * seconds[1]
