"""Replicas taken out of a group: the others go on as if nothing had happened."""

from __future__ import annotations

import pytest
import torch

from tests.support.models import SMALL
from vdae_bench.data.images import load_images
from vdae_bench.data.views import ViewedImages
from vdae_bench.models.registry import Problem, get_method
from vdae_bench.training.adam import AdamSettings
from vdae_bench.training.trainer import Interrupted, Trainer, TrainingSettings, keep_replicas

SEEDS = (3, 5, 9, 11)
OPTIMISERS = {
    3: AdamSettings(1e-2, "linear", 0.99, 1e-8),
    5: AdamSettings(3e-3, "none", 0.999, 1e-4),
    9: AdamSettings(1e-3, "linear", 0.9, 1e-5),
    11: AdamSettings(2e-3, "none", 0.9999, 1e-8),
}


@pytest.mark.parametrize("method", ["vae", "lvdae", "nice", "vdae-resnet"])
def test_those_that_are_kept_train_as_in_the_whole_group(tiny_data, method):
    images = ViewedImages(load_images("tiny", tiny_data[0]), "continuous", torch.device("cpu"))

    def build(seeds):
        latents = images.data_dim if method in ("nice", "vdae-resnet") else 4
        model = get_method(method).build(Problem(len(seeds), images.data_dim, latents, "continuous", SMALL))
        settings = TrainingSettings(3, 50, 10.0, "data", 1.0, 20)
        return Trainer(model, images, seeds, [OPTIMISERS[seed] for seed in seeds], settings, torch.float64)

    def run(trainer, stop_at=None):
        trainer.run(lambda _: None, lambda: False, lambda: trainer.step == stop_at, lambda _: None)

    whole, thinned = build(SEEDS), build(SEEDS)
    run(whole)
    with pytest.raises(Interrupted):
        run(thinned, stop_at=4)  # in the second of three epochs
    rest = build((9, 3))
    rest.load_state(keep_replicas(thinned.state(), [2, 0]))
    run(rest)
    torch.testing.assert_close(rest.optimiser.parameters, whole.optimiser.parameters[[2, 0]], rtol=1e-9, atol=1e-12)
    for split in ("train", "validation"):
        for row, both in zip(whole.curve[split], rest.curve[split], strict=True):
            assert both == pytest.approx([row[2], row[0]], rel=1e-9)


def test_what_happened_to_a_replica_goes_with_it(tiny_data):
    images = ViewedImages(load_images("tiny", tiny_data[0]), "binary", torch.device("cpu"))
    model = get_method("lvdae").build(Problem(3, images.data_dim, 4, "binary", SMALL))
    trainer = Trainer(model, images, SEEDS[:3], [OPTIMISERS[3]] * 3, TrainingSettings(1, 50, 10.0, "data", 1.0, 20))
    trainer.optimiser.parameters[1] = torch.nan
    with torch.no_grad():
        model.posterior.log_sigma[2] = -50
    trainer.train_step()
    kept = keep_replicas(trainer.state(), [2, 1])
    fresh = get_method("lvdae").build(Problem(2, images.data_dim, 4, "binary", SMALL))
    rest = Trainer(fresh, images, (9, 5), [OPTIMISERS[3]] * 2, TrainingSettings(1, 50, 10.0, "data", 1.0, 20))
    rest.load_state(kept)
    assert rest.diverged_at() == [None, 0]
    assert "log_sigma" in rest.flags()[0][0] and rest.step == 1
