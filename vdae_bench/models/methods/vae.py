"""The VAE baseline: a diagonal Gaussian posterior, eq. (2) with KL in closed form."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.methods.resnet_pair import (
    RESNET_PAIR_HYPERPARAMETERS,
    RESNET_PAIR_OPTIONS,
    ResNetPair,
    resnet_encoder,
)
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import DiagonalGaussian
from vdae_bench.models.registry import Method, Problem


class VAE(Method):
    r"""The VAE with a diagonal Gaussian posterior, the paper's baseline (Kingma & Welling, 2013, arXiv:1312.6114).

    It is trained by eq. (2) with a closed KL (`posteriors.DiagonalGaussian`):

    .. math:: q(z|x) = \mathcal{N}(\mu(x), \mathrm{diag}\, s(x)^2), \qquad p(z) = \mathcal{N}(0, I_m)

    Encoder and decoder are the ResNets of Appendix D; m <= n.

    Example:
        >>> problem = Problem(1, 16, 2, "binary", {"hidden_size": 4, "residual_blocks": 1})
        >>> [name for name, _ in VAE().build(problem).posterior.named_children()]
        ['encoder', 'log_variance_head']
    """

    id = "vae"
    title = "VAE"
    hyperparameters: ClassVar = RESNET_PAIR_HYPERPARAMETERS
    options: ClassVar = RESNET_PAIR_OPTIONS

    def build(self, problem: Problem) -> Model:
        """Build a ResNet encoder with a parallel log-variance head, and the decoder."""
        encoder = resnet_encoder(problem)
        return ResNetPair(problem, encoder, DiagonalGaussian(encoder), self.option(problem, "decoder_output"))
