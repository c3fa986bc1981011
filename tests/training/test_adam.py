"""The optimiser's parts; that each replica follows torch's Adam is in `tests/mathematics/test_training.py`."""

import torch

from tests.support.models import build
from vdae_bench.training.adam import AdamSettings, ReplicaAdam

SETTINGS = [AdamSettings(1e-3, "linear", 0.999, 1e-8), AdamSettings(3e-4, "none", 0.9, 1e-4)]
STEPS = 30


def loss_of(model, x, eta):
    return model.bound_terms(x, eta, 5).neg_elbo


def test_scalars_and_scales_get_the_scalar_rate():
    assert build("lvdae").scalar_parameters() == {"posterior.log_sigma", "likelihood.log_lambda"}
    assert build("nice").scalar_parameters() == {"flow.scaling.log_scale"}


def test_gradients_accumulate_on_request():
    model = build("vae")
    optimiser = ReplicaAdam(model, SETTINGS, 1.0)
    x, eta = torch.rand(2, 4, 20, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    optimiser.differentiate(loss_of(model, x, eta), accumulate=False)
    once = [gradient.clone() for gradient in optimiser._gradients]
    optimiser.differentiate(loss_of(model, x, eta), accumulate=True)
    for first, both in zip(once, optimiser._gradients, strict=True):
        torch.testing.assert_close(both, 2 * first)


def test_the_l2_penalty_has_the_gradient_of_its_sum_of_squares():
    """One step with the penalty in the optimiser equals one step with it written into the loss."""
    inside, outside = build("nice", seeds=(0,)), build("nice", seeds=(0,))
    inside.l2, outside.l2 = 0.3, 0.0
    x, nothing = torch.rand(1, 4, 20, dtype=torch.float64), torch.empty(1, 4, 0, dtype=torch.float64)
    for model in (inside, outside):
        optimiser = ReplicaAdam(model, SETTINGS[:1], 1.0)
        loss = loss_of(model, x, nothing)
        if model is outside:
            weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
            loss = loss + 0.3 * sum(weight.square().sum((1, 2)) for weight in weights)
            assert len(weights) == 4 * 3
        optimiser.differentiate(loss, accumulate=False)
        optimiser.step(5, STEPS)
    torch.testing.assert_close(list(inside.parameters()), list(outside.parameters()), rtol=1e-9, atol=1e-12)
