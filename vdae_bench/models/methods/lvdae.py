"""L-VDAE with m < n: the linearised flow posterior N(f(x), sigma^2 J J^T) of eq. (7) on a ResNet f."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, get_args

from vdae_bench.models.log_det import LANCZOS_STEPS, Estimator
from vdae_bench.models.methods.resnet_pair import (
    RESNET_PAIR_HYPERPARAMETERS,
    RESNET_PAIR_OPTIONS,
    ResNetPair,
    resnet_encoder,
)
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import LinearisedFlow
from vdae_bench.models.registry import Method, Option, Problem


class LVDAE(Method):
    r"""L-VDAE, eq. (7): a full-covariance posterior from the Jacobian J of the VAE's own encoder f.

    .. math:: q(z|x) = \mathcal{N}(f(x), \sigma^2 J J^T), \qquad p(z) = \mathcal{N}(0, I_m)

    The VAE's ResNets (Appendix D), m <= n, and the posterior is `posteriors.LinearisedFlow`. One learned scalar sigma
    stands for the VAE's log-variance head, so L-VDAE has fewer parameters than the VAE (section 4).

    Example:
        >>> from vdae_bench.models.methods.vae import VAE
        >>> problem = Problem(1, 16, 2, "binary", {"hidden_size": 4, "residual_blocks": 1})
        >>> vae, lvdae = (sum(p.numel() for p in each().build(problem).parameters()) for each in (VAE, LVDAE))
        >>> vae - lvdae  # a projection from 2m = 4 to m = 2, with biases, for one sigma
        9
    """

    id = "lvdae"
    title = "L-VDAE"
    hyperparameters: ClassVar = RESNET_PAIR_HYPERPARAMETERS
    options: ClassVar = {
        **RESNET_PAIR_OPTIONS,
        "log_sigma": Option(
            None,
            meaning="fixed log sigma of the posterior; null: sigma is learned",
            bounds=(-10.0, 5.0),
            per_replica=True,
        ),
        "log_det": Option(
            None,
            (None, *get_args(Estimator)),
            meaning="estimator of the log-determinant in training; null: that of the protocol",
        ),
        "lanczos_steps": Option(
            LANCZOS_STEPS,
            (5, LANCZOS_STEPS, 20, 40),
            meaning="number of Lanczos steps, at most m",
            only_with=("log_det", ("lanczos",)),
        ),
    }

    def option_faults(
        self, latents: int, data_dim: int, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield more Lanczos steps than latents too, which would be the same as m steps."""
        yield from super().option_faults(latents, data_dim, options, settings)
        steps = options.get("lanczos_steps", 0)
        if steps > latents:
            remedy = "use fewer, or leave lanczos_steps out"
            yield (
                "lanczos_steps",
                f"option lanczos_steps is {steps}, but at most {latents}, m, have an effect; {remedy}",
            )

    def build(self, problem: Problem) -> Model:
        """Build the VAE's networks without its log-variance head."""
        encoder = resnet_encoder(problem)
        log_sigma = problem.replica_values("log_sigma", default=None)
        posterior = LinearisedFlow(
            encoder,
            problem.replicas,
            problem.data_dim,
            problem.latents,
            problem.log_det,
            fixed_log_sigma=None if None in log_sigma else log_sigma,  # learned and fixed ones are never mixed
            lanczos_steps=self.option(problem, "lanczos_steps"),
        )
        return ResNetPair(problem, encoder, posterior, self.option(problem, "decoder_output"))
