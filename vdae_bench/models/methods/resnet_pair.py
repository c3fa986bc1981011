"""Common parts of the methods with m < n: ResNet encoder and decoder (Appendix D), and the likelihoods (section 5)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.layers import Generators
from vdae_bench.models.likelihoods import Bernoulli, Gaussian, Likelihood
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.networks import ResNet, projection_widths
from vdae_bench.models.posteriors import Posterior
from vdae_bench.models.priors import StandardNormal
from vdae_bench.models.registry import PRECISION, Option, Problem

HIDDEN_SIZE = Hyperparameter(
    "hidden_size", int, 256, ge=1, le=65536, meaning="H, the width of the hidden layers of a residual block"
)
RESIDUAL_BLOCKS = Hyperparameter(
    "residual_blocks", int, 1, ge=1, le=64, meaning="B, the number of residual blocks before each projection"
)
RESNET_PAIR_HYPERPARAMETERS = (HIDDEN_SIZE, RESIDUAL_BLOCKS)
DECODER_OPTIONS = {
    "decoder_output": Option(
        "sigmoid",
        ("sigmoid", "linear"),
        meaning="last function of the decoder's mean",
        continuous_only=True,
        only_with=("space", ("pixels",)),  # no sigmoid reaches a logit
    )
}
REGULARISERS = {
    "log_lambda": Option(
        None,
        meaning="fixed log variance of p(x|z); null: the variance is learned",
        bounds=(-20.0, 5.0),
        per_replica=True,
        continuous_only=True,
    ),
    "kl_weight": Option(1.0, meaning="weight of the KL term in training", bounds=(1e-3, 1e3), per_replica=True),
}
"""Options that make better samples by section 5.1: a fixed variance of the decoder, a KL that weighs more."""
RESNET_PAIR_OPTIONS = {**DECODER_OPTIONS, **REGULARISERS, **PRECISION}


def resnet_encoder(problem: Problem) -> ResNet:
    """The ResNet encoder of Appendix D, `n -> min(8m, n) -> min(4m, n) -> min(2m, n) -> m`."""
    return _resnet(problem, projection_widths(problem.data_dim, problem.latents))


def _resnet(problem: Problem, widths: list[int]) -> ResNet:
    hyper = problem.hyperparameters
    return ResNet(problem.replicas, widths, hidden=HIDDEN_SIZE.of(hyper), blocks=RESIDUAL_BLOCKS.of(hyper))


def likelihood_of(problem: Problem, decoder_output: str, tied: Callable[[], Tensor] | None = None) -> Likelihood:
    """The likelihood of section 5: Bernoulli for binary, Gaussian for continuous data, its variance by options."""
    if problem.view == "binary":
        return Bernoulli()
    log_lambda = problem.replica_values("log_lambda", default=None)
    fixed = None if None in log_lambda else log_lambda  # learned and fixed ones are never mixed
    linear = decoder_output == "linear" or problem.options.get("space") == "logit"  # no sigmoid reaches a logit
    return Gaussian(problem.replicas, "linear" if linear else "sigmoid", tied, fixed)


def kl_weight_of(problem: Problem) -> Tensor:
    """The weight of the KL term for each replica."""
    return torch.tensor(problem.replica_values("kl_weight", default=1.0), dtype=torch.float32)


class ResNetPair(LatentVariableModel):
    """A model with a posterior on a ResNet encoder, a mirrored ResNet decoder and a normal prior."""

    def __init__(self, problem: Problem, encoder: ResNet, posterior: Posterior, decoder_output: str) -> None:
        decoder = _resnet(problem, projection_widths(problem.data_dim, problem.latents)[::-1])
        super().__init__(posterior, decoder, likelihood_of(problem, decoder_output), StandardNormal())
        self.kl_weight = kl_weight_of(problem)
        self._mirrored = (encoder, decoder)

    def initialise(self, generators: Generators) -> None:
        """Draw the parameters; the decoder's projections start as the encoder's, transposed (Appendix C)."""
        super().initialise(generators)
        encoder, decoder = self._mirrored
        decoder.mirror_projections_(encoder)
