"""The VAE baseline: a diagonal Gaussian posterior, eq. (2) with KL in closed form."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.methods.resnet_pair import HYPERPARAMETERS, OPTIONS, ResNetPair, resnet_encoder
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import DiagonalGaussian
from vdae_bench.models.registry import Method, Problem


class VAE(Method):
    """q(z|x) = N(mu(x), diag s(x)^2)."""

    id = "vae"
    title = "VAE"
    hyperparameters: ClassVar = HYPERPARAMETERS
    options: ClassVar = OPTIONS

    def build(self, problem: Problem) -> Model:
        """A ResNet encoder with a parallel log-variance head."""
        encoder = resnet_encoder(problem)
        return ResNetPair(problem, encoder, DiagonalGaussian(encoder), self.option(problem, "decoder_output"))
