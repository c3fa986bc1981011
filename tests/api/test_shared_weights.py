"""The committed weights in half precision: each loads, and is the model of its record as far as a minute allows.

Of a part of the test set a record has no score, and the whole of it with the record's 5,000 samples an image takes ten
minutes (`TrainedModel.score`; `test_evidence.py` holds it to 0.01 nats for small models). Compared here are the images
that the model made when it had all its digits, and -ELBO of all test images with one sample each, the record's own
first noise, within three standard errors. `python -m tests.api.test_shared_weights [WORD]` compares the whole scores of
all models, or of those with the word in their cell.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vdae_bench import api
from vdae_bench.data.fetch import cache_path
from vdae_bench.errors import UserError
from vdae_bench.store.evidence import read_evidence
from vdae_bench.store.layout import half_weights_path
from vdae_bench.store.records import Store

RESULTS = Path(__file__).parents[2] / "results"
SHARED = [path for path in Store(RESULTS).record_paths() if half_weights_path(path).is_file()]


def grey(x):
    return x.clamp(0, 1).mul(255).round().numpy()


@pytest.mark.parametrize("path", SHARED, ids=lambda path: "/".join(path.parts[-4:]))
def test_shared_weights_make_the_images_of_their_run(path):
    model = api.load(path)
    evidence = read_evidence(path, model.record.run_digest)
    assert evidence is not None
    arrays = {name: array.astype(float) for name, array in evidence.arrays.items()}
    means, drawn = (model.sample(16, model.record.seed, means=means) for means in (True, False))
    assert np.abs(grey(means) - arrays["means"][:16]).max() <= 2  # of 255
    assert (grey(drawn) != arrays["drawn"][:16]).mean() < 1e-3  # of all pixels
    shown = torch.tensor(arrays["data"][:6] / 255, dtype=torch.float32)
    assert np.abs(grey(model.reconstruct(shown)) - arrays["reconstructions"][:, 0]).max() <= 2


@pytest.mark.mnist
@pytest.mark.parametrize("path", [path for path in SHARED if path.parent.name == "binary-mnist_vae_16"])
def test_shared_weights_have_the_score_of_their_record(path):
    try:
        x = api.images("binary-mnist", folder=cache_path("mnist"))  # fetch nothing
    except UserError as fault:
        pytest.skip(f"no MNIST here: {fault}")
    model = api.load(path)
    test, samples = model.record.metrics.test, model.record.protocol["importance_samples"]
    error = math.sqrt(samples) * test.neg_elbo_standard_error_nats  # with one sample an image
    again = -model.elbo(x, samples=1, seed=model.record.seed).mean().item()
    assert 0.01 < error < 0.04 and abs(again - test.neg_elbo_nats) < 3 * error


def main(word: str = "") -> int:
    """Print the scores of the shared weights beside those of their records; 1 where any is 0.01 nats away."""
    far = 0
    for path in (path for path in SHARED if word in path.parent.name):
        model = api.load(path)
        again = model.score()
        for name in ("neg_elbo_nats", "nll_nats"):
            recorded = getattr(model.record.metrics.test, name)
            far += abs(again[name] - recorded) >= 0.01
            print(f"{path.parent.name} {name}: {again[name]:.4f}, in the record {recorded:.4f}", flush=True)
    return int(far > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
