"""Options that section 5.1 names: a fixed lambda, a fixed sigma, a KL that weighs more in training alone."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.models import DATA_DIM, SMALL, latents_of
from vdae_bench.data.noise import initial_generators
from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.running.context import RunContext
from vdae_bench.running.job import Job, RunGroup
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.hyperparameters import OPTIMISER
from vdae_bench.spec.protocol import load_protocol, override
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store


def build(method: str, *options: dict, view: str = "continuous"):
    problem = Problem(
        len(options), DATA_DIM, latents_of(method), view, SMALL, options[0], "exact", replica_options=tuple(options)
    )
    model = get_method(method).build(problem)
    model.initialise(initial_generators(range(len(options))))
    return model


@pytest.mark.parametrize("method", ["vae", "lvdae", "vdae-resnet", "lvdae-nice", "vdae-nice", "vdae-coupled"])
def test_a_fixed_lambda_is_each_replicas_own_and_no_parameter(method):
    model = build(method, {"log_lambda": -3.0}, {"log_lambda": 0.0})
    assert not any(name.endswith("log_lambda") for name, _ in model.named_parameters())
    assert model.likelihood.log_variance().flatten().tolist() == [-3.0, 0.0]
    x, output = torch.rand(2, 4, DATA_DIM), torch.randn(2, 4, 1, DATA_DIM)
    expected = torch.distributions.Normal(
        model.likelihood.mean(output)[:, :, 0], torch.tensor([math.exp(-1.5), 1.0])[:, None, None]
    )
    torch.testing.assert_close(model.likelihood.log_prob(x, output)[..., 0], expected.log_prob(x).sum(-1))
    assert any(name.endswith("log_lambda") for name, _ in build(method, {}).named_parameters())


def test_a_fixed_sigma_of_lvdae_is_that_of_its_samples():
    model = build("lvdae", {"log_sigma": -1.0}, {"log_sigma": 0.5})
    assert not any(name.endswith("log_sigma") for name, _ in model.named_parameters())
    x = torch.rand(2, 1, DATA_DIM)
    z, _ = model.posterior.condition(x)(torch.randn(2, 1, 20_000, model.noise_dim))
    # C = I at the start, so that sigma is the standard deviation of every latent.
    torch.testing.assert_close(z.std(2).mean((1, 2)).log(), torch.tensor([-1.0, 0.5]), rtol=0, atol=0.02)


def test_what_contradicts_itself_is_refused():
    for method in ("vae", "lvdae", "vdae-resnet"):
        with pytest.raises(UserError, match="log_lambda is for continuous data"):
            get_method(method).check("binary", latents_of(method), DATA_DIM, {"log_lambda": -2.0})
        get_method(method).check("binary", latents_of(method), DATA_DIM, {"kl_weight": 4.0})
    with pytest.raises(UserError, match="one of the two"):
        options = {"log_lambda": -2.0, "decoder_variance": "tied"}
        get_method("vdae-resnet").check("continuous", DATA_DIM, DATA_DIM, options)
    with pytest.raises(UserError, match="vae has no option log_sigma"):
        get_method("vae").check("continuous", 3, DATA_DIM, {"log_sigma": -2.0})


def test_kl_weight_is_of_training_alone(tiny_data, tmp_path, monkeypatch):
    protocol = override(load_protocol("smoke"), {"train_images": None, "validation_images": 20}, {})
    hyper = {**defaults(OPTIMISER), "hidden_size": 8, "residual_blocks": 1}
    jobs = [
        Job("x", Cell("continuous-tiny", "vae", 4, (("kl_weight", weight),)), protocol, hyper) for weight in (2.0, 8.0)
    ]
    context = RunContext(Store(tmp_path), torch.device("cpu"), 1, tiny_data[0])
    trainer = Workbench(RunGroup(tuple((job, 0) for job in jobs)), context).trainer
    before = trainer.validate().neg_elbo
    torch.testing.assert_close(before[0], before[1])
    trainer.step = trainer.steps - 1  # beta is 1 there
    losses, terms = [], []
    bound, differentiate = trainer.bound, trainer.optimiser.differentiate
    monkeypatch.setattr(trainer, "bound", lambda *words: terms.append(bound(*words)) or terms[-1])
    monkeypatch.setattr(
        trainer.optimiser, "differentiate", lambda loss, **words: losses.append(loss) or differentiate(loss, **words)
    )
    trainer.train_step()
    (loss,), (each,) = losses, terms
    torch.testing.assert_close(loss, each.reconstruction + torch.tensor([2.0, 8.0]) * each.divergence)
    measured = trainer._epoch_sum / trainer.data.train.shape[0]
    assert (measured / (each.reconstruction + each.divergence).double()).std() < 1e-6
