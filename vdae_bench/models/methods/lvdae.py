"""L-VDAE with m < n: the linearised flow posterior N(f(x), sigma^2 J J^T) of eq. (7) on a ResNet f."""

from __future__ import annotations

from typing import ClassVar, get_args

from vdae_bench.models.log_det import Estimator
from vdae_bench.models.methods.resnet_pair import HYPERPARAMETERS, OPTIONS, ResNetPair, resnet_encoder
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import LinearisedFlow
from vdae_bench.models.registry import Method, Option, Problem


class LVDAE(Method):
    """q(z|x) = N(f(x), sigma^2 J J^T); sigma is one learned scalar, so it has fewer parameters than the VAE."""

    id = "lvdae"
    title = "L-VDAE"
    hyperparameters: ClassVar = HYPERPARAMETERS
    options: ClassVar = {
        **OPTIONS,
        "log_sigma": Option(
            None,
            meaning="fixed log sigma of the posterior; null: learned",
            bounds=(-10.0, 5.0),
            per_replica=True,
        ),
        "log_det": Option(
            None,
            (None, *get_args(Estimator)),
            meaning="log-determinant in training, of all images or of a part of each batch; null: the protocol's",
        ),
    }

    def build(self, problem: Problem) -> Model:
        """The VAE's networks without the log-variance head."""
        encoder = resnet_encoder(problem)
        log_sigma = problem.replica_values("log_sigma", default=None)
        posterior = LinearisedFlow(
            encoder,
            problem.replicas,
            problem.data_dim,
            problem.latents,
            problem.log_det,
            fixed_log_sigma=None if None in log_sigma else log_sigma,  # learned and fixed ones are never mixed
        )
        return ResNetPair(problem, encoder, posterior, self.option(problem, "decoder_output"))
