"""No step, evaluation or picture mixes two devices: run on one that is only pretended (torch's fake tensors).

Fake tensors have a shape and a device but no values, and refuse what a GPU would: an operation on tensors of two
devices. What waits for a value, as the end of an epoch does, they cannot do.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.support.models import SMALL, latents_of, pairs
from vdae_bench.data import noise
from vdae_bench.data.images import Images
from vdae_bench.data.views import ViewedImages
from vdae_bench.evaluation import pictures
from vdae_bench.evaluation.classifier import Classifier, ClassifierSettings
from vdae_bench.evaluation.likelihood import EvaluationSettings, Evaluator
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.training import trainer as training
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.trainer import Trainer, TrainingSettings, keep_replicas

PIXELS, SEEDS = 20, (0, 1)


@pytest.fixture
def gpu(monkeypatch):
    """A device that is not there, without what only a real one has: generators, streams, a clock."""
    device = torch.device("cuda")

    def fill(self, stream, step, out):
        return out

    def orders(self, stream, step, length):
        return torch.zeros(len(self.seeds), length, dtype=torch.int64, device=device)

    monkeypatch.setattr(noise.torch, "Generator", lambda device="cpu": SimpleNamespace(device=torch.device(device)))
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(noise.NoiseSource, name, fill)
    monkeypatch.setattr(noise.NoiseSource, "permutations", orders)
    monkeypatch.setattr(training, "initial_generators", lambda seeds: [None] * len(seeds))
    monkeypatch.setattr(training, "Replay", lambda work, device: work)
    monkeypatch.setattr("vdae_bench.data.views.torch.Generator", lambda: SimpleNamespace(manual_seed=lambda seed: None))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield device


def viewed(view, device):
    rows = torch.zeros(40, PIXELS, dtype=torch.uint8)
    return ViewedImages(Images("none", (4, 5), rows, rows[:20], rows[:30], ""), view, device)


def make(method, view, device, initialisation="data", log_det="subset", precision="float32"):
    problem = Problem(len(SEEDS), PIXELS, latents_of(method), view, SMALL, {}, log_det)
    settings = TrainingSettings(2, 16, 10.0, initialisation, 1.0, 8, precision)
    adam = AdamSettings(1e-3, "linear", 0.999, 1e-8)
    return Trainer(get_method(method).build(problem), viewed(view, device), SEEDS, [adam, adam], settings)


def test_a_mix_of_devices_fails_here(gpu):
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(3, device=gpu) + torch.zeros(3)


@pytest.mark.parametrize(("method", "view"), pairs())
@pytest.mark.parametrize("initialisation", ["data", "paper"])
def test_training_stays_on_its_device(gpu, method, view, initialisation):
    trainer = make(method, view, gpu, initialisation)
    assert {each.device.type for each in (*trainer.model.parameters(), *trainer.model.buffers())} == {"cuda"}
    trainer.train_step()
    point = trainer.validate()
    trainer.lowest.take(1, point.neg_elbo, trainer.optimiser.parameters)
    state = trainer.state()
    thinned = keep_replicas(state, [1])
    assert thinned["optimiser"]
    trainer.load_state(state)
    with trainer.at_its_lowest():
        pass


@pytest.mark.parametrize(("method", "view"), pairs())
def test_the_test_set_is_scored_on_its_device(gpu, method, view):
    trainer = make(method, view, gpu)
    test = trainer.data.held_out("test")
    evaluator = Evaluator(trainer.model, test, SEEDS, EvaluationSettings(20, 4, 8, 3))
    evaluator.run(lambda: False, lambda: None)
    assert evaluator.done == len(evaluator.chunks)


@pytest.mark.parametrize(("method", "view"), pairs())
def test_pictures_are_drawn_on_their_device(gpu, method, view):
    trainer = make(method, view, gpu)
    model, source = trainer.model, trainer.noise
    test = trainer.data.held_out("test")
    if model.latent_dim is None:
        return
    for batch in pictures.sample_batches(model, source, PIXELS, 1):
        assert batch.drawn.device.type == "cuda"
    if model.latent_dim:
        pictures.interpolations(model, test, source)
    if hasattr(model, "posterior"):
        pictures.reconstructions(model, test, source)
        pictures.unit_variances(model, test, source)


def test_the_classifier_judges_on_its_device(gpu):
    classifier = Classifier((4, 5), 10, ClassifierSettings()).to(gpu)
    classifier.classify(torch.zeros(7, PIXELS, device=gpu))
