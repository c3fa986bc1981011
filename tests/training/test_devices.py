"""No step, evaluation or picture mixes two devices: run on one that is only pretended (torch's fake tensors).

Fake tensors have a shape and a device but no values, and refuse what a GPU would: an operation on tensors of two
devices. What waits for a value, as the end of an epoch does, they cannot do.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import config
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.support.entries import SIZES
from tests.support.models import SMALL, latents_of, pairs
from vdae_bench.bench import ours, peers
from vdae_bench.bench.data import BenchData
from vdae_bench.bench.ours import Setting, Timed
from vdae_bench.bench.plain import PapersWay, VmapJacrev
from vdae_bench.bench.timing import peak
from vdae_bench.data import noise
from vdae_bench.data.images import Images
from vdae_bench.data.views import ViewedImages
from vdae_bench.evaluation import likelihood, pictures
from vdae_bench.evaluation.classifier import Classifier, ClassifierSettings
from vdae_bench.evaluation.likelihood import EvaluationSettings, Evaluator
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.running import workbench
from vdae_bench.running.context import RunContext
from vdae_bench.store.records import Store
from vdae_bench.training import adam
from vdae_bench.training import trainer as training
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.trainer import Trainer, TrainingSettings, keep_replicas

PIXELS, SEEDS, DEVICE = 20, (0, 1), "pretended"
ONCE = ("residual_blocks", "coupling_layers", "flow_steps", "flow_blocks", "ode_steps")
COMPARED = ("vae", "lvdae")
FEWER = dict.fromkeys(ONCE, 1) | dict.fromkeys(("couplings", "conditioned_couplings", "series_terms"), 2)
"""A layer that mixes devices does so the first time, and each operation here takes a hundred times as long."""


@functools.cache
def device_of_that_name() -> torch.device:
    _setup_privateuseone_for_python_backend(DEVICE)
    return torch.device(DEVICE)


def move(module: nn.Module, *to: object, **kind: object) -> nn.Module:
    """`Module.to`, which cannot exchange fake tensors in place."""
    moved: dict[nn.Parameter, nn.Parameter] = {}
    for each in module.modules():
        for name, parameter in each._parameters.items():
            if parameter is not None:
                each._parameters[name] = moved.setdefault(parameter, nn.Parameter(parameter.detach().to(*to, **kind)))
        for name, buffer in each._buffers.items():
            if buffer is not None and (to or buffer.is_floating_point()):
                each._buffers[name] = buffer.to(*to, **kind)
    return module


def indices(tensor: torch.Tensor, index: object) -> object:
    """An index whose lists are on the tensor's device already, where torch would put them past the pretence."""
    words = index if isinstance(index, tuple) else (index,)
    return tuple(torch.zeros(len(w), dtype=torch.int64, device=tensor.device) if type(w) is list else w for w in words)


def number(value: object, **kind: object) -> torch.Tensor:
    """`torch.as_tensor` for the same reason."""
    return torch.zeros(value.shape if isinstance(value, torch.Tensor) else ()).to(**kind)


ALONE = "VDAE_BENCH_DEVICES_ALONE"
"""Set in the process that pretends: autograd knows only the kinds of device that there were when it began."""


@pytest.mark.slow
@pytest.mark.skipif(ALONE in os.environ, reason="this is that process")
def test_in_a_process_of_its_own():
    environment = {**os.environ, ALONE: "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert done.stdout.partition(" ")[0].count(".") == len(CELLS) + len(COMPARED) + 2


@pytest.fixture
def gpu(monkeypatch):
    """A device that is not there, without what only a real one has: generators, streams, a clock."""
    if ALONE not in os.environ:
        pytest.skip("runs in a process of its own")
    device = device_of_that_name()
    config.update("jaxtyping_disable", True)  # other tests check shapes, of tensors that are ten times as fast
    monkeypatch.setattr(nn.Module, "to", move)
    monkeypatch.setattr(torch, "as_tensor", number)
    get, put = torch.Tensor.__getitem__, torch.Tensor.__setitem__
    monkeypatch.setattr(FakeTensor, "__getitem__", lambda self, index: get(self, indices(self, index)), raising=False)
    monkeypatch.setattr(
        FakeTensor, "__setitem__", lambda self, index, value: put(self, indices(self, index), value), raising=False
    )

    def fill(self, stream, step, out):
        return out

    def orders(self, stream, step, length):
        return torch.zeros(len(self.seeds), length, dtype=torch.int64, device=device)

    def begin(self, seeds, device):
        self.seeds, self.device = tuple(seeds), device

    monkeypatch.setattr(noise.NoiseSource, "__init__", begin)
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(noise.NoiseSource, name, fill)
    monkeypatch.setattr(noise.NoiseSource, "permutations", orders)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(likelihood, "evenly_spaced", lambda total, count: np.arange(count))
    # The fused Adam has no fake form: one that reads all that it is given, on the device of the parameters.
    monkeypatch.setattr(adam, "adam", lambda *lists, **_: [sum(one) for one in zip(*lists[:4], strict=True)])
    monkeypatch.setattr(training, "Replay", lambda work, device: work)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield device


def viewed(view, device):
    rows = torch.zeros(40, PIXELS, dtype=torch.uint8)
    return ViewedImages(Images("none", (4, 5), rows, rows[:20], rows[:30], ""), view, device)


def make(method, view, device):
    problem = Problem(len(SEEDS), PIXELS, latents_of(method), view, SMALL | FEWER, {}, "subset")
    settings = TrainingSettings(2, 16, 10.0, "data", 1.0, 8)
    rates = AdamSettings(1e-3, "linear", 0.999, 1e-8)
    return Trainer(get_method(method).build(problem), viewed(view, device), SEEDS, [rates, rates], settings)


def test_a_mix_of_devices_fails_here(gpu):
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(3, device=gpu) + torch.zeros(3)


CELLS = [
    (method, view)
    for method, view in pairs()
    if method not in ("realnvp", "glow") and (view == "continuous" or method in ("vae", "vdae-resnet"))
]
"""All but the flows of images, for which 4 by 5 pixels cannot be halved; two on binary pixels too, where only the
likelihood is another, as a fake device takes seconds."""


@pytest.mark.parametrize(("method", "view"), CELLS)
def test_a_method_stays_on_its_device_from_its_start_to_its_pictures(gpu, method, view):
    trainer = make(method, view, gpu)
    model, source, test = trainer.model, trainer.noise, trainer.data.held_out("test")
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {DEVICE}
    trainer.train_step()
    assert trainer.validate().neg_elbo.device.type == DEVICE
    state = trainer.state()
    assert keep_replicas(state, [1])["optimiser"]  # as a search does with trials that go on
    trainer.load_state(state)

    evaluator = Evaluator(model, test, SEEDS, EvaluationSettings(20, 4, 8, 3))
    with trainer.at_its_lowest():
        assert evaluator.run(lambda: False, lambda: None)

    if model.latent_dim is not None:
        for batch in pictures.sample_batches(model, source, PIXELS, 1):
            assert batch.drawn.device.type == DEVICE
    if model.latent_dim:
        pictures.interpolations(model, test, source)
    if isinstance(model, LatentVariableModel):
        pictures.reconstructions(model, test, source)
        pictures.unit_variances(model, test, source)


@pytest.mark.parametrize("method", COMPARED)
def test_a_comparison_stays_on_its_device(gpu, monkeypatch, method):
    """Of `bench`: our steps, and the same written plainly."""
    rows = torch.zeros(40, 784, dtype=torch.uint8)
    data = BenchData("mnist")
    monkeypatch.setattr(BenchData, "images", Images("mnist", (28, 28), rows, rows[:20], rows[:30], ""))
    monkeypatch.setattr(workbench, "cached_images", lambda *_: data.images)
    monkeypatch.setattr(ours, "count_flops", lambda work: work() or 0.0)
    setting = Setting(RunContext(Store("none"), gpu, 1), data, replace(SIZES, train_images=40), 0.0)
    subject = Timed(method, 3)
    contestants = [ours.gradients(setting, subject, adam=True), ours.whole_step(setting, subject)]
    if method == "lvdae":
        contestants += [peers.plain_lvdae(way, setting, subject) for way in (PapersWay, VmapJacrev)]
    for each in (*contestants, peak("float32", gpu)):
        each.work()


def test_the_classifier_judges_on_its_device(gpu):
    classifier = Classifier((4, 5), 10, ClassifierSettings()).to(gpu)
    classifier.classify(torch.zeros(7, PIXELS, device=gpu))
