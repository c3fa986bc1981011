"""Training against a plain loop for each replica (torch's Adam, interpolated schedules, `reference.py`); its draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.models import SMALL
from tests.support.references import Reference
from vdae_bench.data.images import load_images
from vdae_bench.data.noise import NoiseSource
from vdae_bench.data.views import ViewedImages
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.plan import plan
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.trainer import Trainer, TrainingSettings

CPU = torch.device("cpu")
EPOCHS, BATCH, SCALAR_RATE, L2 = 8, 50, 10.0, 0.01
ADAM = [AdamSettings(1e-3, "linear", 0.999, 1e-8), AdamSettings(3e-3, "none", 0.9, 1e-4)]
LATENTS = {"nice": 36, "vdae-resnet": 36, "vdae-coupled": 36}  # 4 elsewhere


@pytest.fixture
def make(tiny_data):
    """A float64 trainer on 120 images of 36 pixels: batches of 50, 50 and 20, 36 steps."""

    def build(method, view="continuous", seeds=(0, 1)):
        images = ViewedImages(load_images("tiny", tiny_data[0]), view, CPU)
        problem = Problem(len(seeds), 36, LATENTS.get(method, 4), view, {**SMALL, "hidden_size": 6}, {}, "exact")
        settings = TrainingSettings(EPOCHS, BATCH, SCALAR_RATE, "data", 1.0, 20)
        model = get_method(method).build(problem)
        return Trainer(model, images, seeds, ADAM[: len(seeds)], settings, torch.float64)

    return build


def run(trainer):
    """Train to the end; every batch and its noise, as the engine drew them."""
    batches, bound = [], trainer.bound

    def watch(x, noise, rows):
        if torch.is_grad_enabled():
            batches.append((x.clone(), noise.clone()))
        return bound(x, noise, rows)

    trainer.bound = watch
    trainer.run(lambda _: None, lambda: False, lambda: False, lambda _: None)
    return batches


TRAINED = [
    ("vae", "binary"),
    ("lvdae", "continuous"),
    ("vdae-resnet", "binary"),
    ("vdae-coupled", "continuous"),
    ("nice", "continuous"),
]


@pytest.mark.parametrize(("method", "view"), TRAINED)
def test_a_run_is_the_plain_loop_of_each_replica(make, method, view):
    """The same parameters after 24 steps, and the same curves, which are at beta = 1 while the loss is not.

    The rate: from 1e-5 to its peak over 1% of the steps, then to 0 at the last one or constant. beta: from 0 to 1 over
    10%; it weighs all of log q - log p(z), and nothing in `nice`, whose loss is nats an image + 0.01 sum W^2.
    """
    trainer = make(method, view)
    starts = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    buffers = dict(trainer.model.named_buffers())
    validation = trainer.data.held_out("validation", torch.float64)
    validation_noise = torch.empty(2, 20, trainer.model.training_noise_dim, dtype=torch.float64)
    NoiseSource(trainer.noise.seeds, CPU).normal_("validation", 0, validation_noise)
    batches = run(trainer)
    steps = len(batches)
    assert steps == trainer.steps == 3 * EPOCHS
    assert [x.shape[1] for x, _ in batches[:3]] == [50, 50, 20]
    for replica, own in enumerate(ADAM):
        leaves = {name: value[replica].clone().requires_grad_() for name, value in starts.items()}
        reference = Reference(method, view, {**leaves, **{name: each[replica] for name, each in buffers.items()}})
        scalars = {name for name in leaves if name.split(".")[-1] in ("log_sigma", "log_lambda", "log_scale")}
        groups = [{"params": [leaf for name, leaf in leaves.items() if (name in scalars) == slow]} for slow in (0, 1)]
        optimiser = torch.optim.Adam(groups, betas=(0.9, own.adam_beta2), eps=own.adam_eps, foreach=False)
        end = own.learning_rate if own.schedule == "none" else 0.0
        seen = 0.0
        for step, (x, noise) in enumerate(batches):
            reconstruction, divergence = reference.bound(x[replica], noise[replica])
            beta = np.interp(step, [0, 0.1 * steps], [0, 1])
            loss = reconstruction.mean() + beta * divergence.mean()
            if method == "nice":
                loss = loss + L2 * sum(leaf.square().sum() for name, leaf in leaves.items() if name.endswith("weight"))
            rate = np.interp(step, [0, 0.01 * steps, steps - 1], [1e-5, own.learning_rate, end])
            optimiser.zero_grad()
            loss.backward()
            for group, factor in zip(optimiser.param_groups, (1, SCALAR_RATE), strict=True):
                group["lr"] = rate * factor
            optimiser.step()
            seen += (reconstruction + divergence).sum().item()
            epoch, position = divmod(step, 3)
            if position == 2:
                assert trainer.curve["train"][epoch][replica] == pytest.approx(seen / 120, rel=1e-8)
                with torch.no_grad():
                    value = sum(reference.bound(validation, validation_noise[replica])).mean().item()
                assert trainer.curve["validation"][epoch][replica] == pytest.approx(value, rel=1e-8)
                seen = 0.0
        for name, mine in trainer.model.named_parameters():
            # Adam divides by the root of small gradients: last bits, which differ between processors, grow to 1e-8.
            torch.testing.assert_close(mine[replica], leaves[name].detach(), rtol=1e-6, atol=1e-6)
            assert (mine[replica] - starts[name][replica]).abs().max() > 1e-4, name


def test_training_draws_fresh_noise_for_an_image_at_every_use_and_for_every_seed(make):
    """The pixels behind x are the training images, each once an epoch; u is never the same again."""
    trainer = make("vae", seeds=(0, 1))
    batches = run(trainer)
    pixels = {tuple(row) for row in trainer.data.train.tolist()}
    seen = []
    for replica in range(2):
        epochs = [torch.cat([x[replica] for x, _ in batches[3 * k : 3 * k + 3]]) for k in range(EPOCHS)]
        for epoch in epochs:
            levels = (epoch * 256).floor()
            assert sorted(map(tuple, levels.int().tolist())) == sorted(map(tuple, trainer.data.train.tolist()))
            seen += (epoch * 256 - levels).flatten().tolist()
        assert not torch.equal((epochs[0] * 256).floor(), (epochs[1] * 256).floor())  # another order
    assert len(pixels) > 100 and len(set(seen)) > 0.999 * len(seen)
    posterior = torch.cat([noise.flatten() for _, noise in batches])
    assert len(posterior.unique()) == len(posterior)


def test_seed_0_is_a_seed(make):
    """Its parameters, batches and noise are its own: the same again and beside others, unlike another seed's."""
    torch.manual_seed(1)
    alone = make("vae", seeds=(0,))
    start = alone.optimiser.parameters.clone()
    alone_batches = run(alone)
    torch.manual_seed(2)
    beside = make("vae", seeds=(1, 0))
    assert torch.equal(beside.optimiser.parameters[1], start[0])
    assert not torch.equal(beside.optimiser.parameters[0], start[0])
    for (x, noise), (both_x, both_noise) in zip(alone_batches, run(beside), strict=True):
        assert torch.equal(both_x[1], x[0]) and torch.equal(both_noise[1], noise[0])
        assert not torch.equal(both_x[0], x[0]) and not torch.equal(both_noise[0], noise[0])


SPEC = """\
version: 1
name: draws
grid:
  - {dataset: [binary-tiny, continuous-tiny], method: [vae, lvdae], latents: [4]}
  - {dataset: [binary-tiny, continuous-tiny], method: [vdae-resnet, lvdae-nice], latents: [36]}
  - {dataset: [continuous-tiny], method: [nice, vdae-coupled], latents: [36]}
  - {dataset: [binary-tiny, continuous-tiny], method: [independent-pixels], latents: [0]}
protocol: {base: smoke, validation_images: 20, train_images: null}
hyperparameters: {hidden_size: 4, coupling_hidden_size: 4, coupling_layers: 1, decoder_hidden_size: 4}
"""


def test_validation_and_test_draws_are_the_same_for_all_methods_and_seeds(tiny_data, tmp_path):
    """One draw an image and split, as the engine and the evaluation get it; other draws only on request."""
    path = tmp_path / "draws.yaml"
    path.write_text(SPEC)
    context = RunContext(Store(tmp_path / "results"), CPU, 1, tiny_data[0])
    images = load_images("tiny", tiny_data[0])
    groups = plan(load_spec(path, seeds=3), context.store).groups
    assert {len(group.seeds) for group in groups} == {1, 3} and len(groups) == 12
    draws: dict[tuple[str, str], list[torch.Tensor]] = {}
    for group in groups:
        bench = Workbench(group, context)
        draws.setdefault((group.job.view, "validation"), []).extend(bench.trainer._validation)
        draws.setdefault((group.job.view, "test"), []).append(bench.evaluator().x)
    for (view, split), several in draws.items():
        assert len(several) >= 5 and all(torch.equal(several[0], each) for each in several)
        levels = getattr(images, split).float()
        other = bench.data.held_out(split, draw=1)
        if view == "continuous":
            assert torch.equal((several[0] * 256).floor(), levels)
        else:
            assert set(several[0].unique().tolist()) == {0.0, 1.0}
            assert not several[0][levels == 0].any() and several[0][levels == 255].all()
        assert not torch.equal(several[0], other)
    noise = {split: draws["continuous", split][0] * 256 % 1 for split in ("validation", "test")}
    assert not torch.equal(noise["validation"], noise["test"][:20])
