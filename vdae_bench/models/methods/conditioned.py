"""An encoder that is a map of the noise and of x: the closing conjecture of section 6."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.methods.resnet_pair import (
    RESNET_PAIR_HYPERPARAMETERS,
    RESNET_PAIR_OPTIONS,
    ResNetPair,
    resnet_encoder,
)
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import Conditioned
from vdae_bench.models.registry import Method, Problem

COUPLINGS = Hyperparameter(
    "conditioned_couplings", int, 4, ge=0, le=64, meaning="couplings of the noise that see x; 0: the VAE"
)
LAYERS = Hyperparameter("conditioned_layers", int, 2, ge=1, le=64, meaning="hidden layers of such a coupling")
HIDDEN_SIZE = Hyperparameter(
    "conditioned_hidden_size", int, 128, ge=1, le=65536, meaning="width of such a coupling's hidden layers"
)
CONTEXT = Hyperparameter(
    "context_size", int, 64, ge=1, le=65536, meaning="dimensions of the context by which such a coupling sees x"
)
BOUND = 3.0
"""Bound of a coupling's log scale: the encoder's own s(x) brings the noise to its size."""


class ConditionedFlow(Method):
    r"""A VAE whose noise passes a flow that sees x, as section 6 conjectures; normal prior, any m up to n.

    .. math:: z = f(\mu(x) + s(x) \odot w; c(x)), \qquad w \sim \mathcal{N}(0, I_m)

    The VAE's ResNets, and f a chain of affine couplings (`posteriors.Conditioned`). It contains the VAE, which it
    starts as, and shares the encoder's pass between the samples of an image.

    Example:
        >>> sizes = {"hidden_size": 4, "residual_blocks": 1, "context_size": 3}
        >>> sizes |= {"conditioned_couplings": 2, "conditioned_layers": 1, "conditioned_hidden_size": 5}
        >>> ConditionedFlow().build(Problem(1, 16, 2, "binary", sizes)).posterior.couplings.kind
        'affine'
    """

    id = "conditioned"
    title = "f(eps; x)"
    hyperparameters: ClassVar = (*RESNET_PAIR_HYPERPARAMETERS, COUPLINGS, LAYERS, HIDDEN_SIZE, CONTEXT)
    options: ClassVar = RESNET_PAIR_OPTIONS

    def build(self, problem: Problem) -> Model:
        """Build the VAE's networks, a context beside its heads, and the couplings."""
        encoder, hyper = resnet_encoder(problem), problem.hyperparameters
        context = CONTEXT.of(hyper)
        couplings = Couplings(
            problem.replicas,
            problem.latents,
            couplings=COUPLINGS.of(hyper),
            hidden=HIDDEN_SIZE.of(hyper),
            hidden_layers=LAYERS.of(hyper),
            kind="affine",
            context=context,
            bound=BOUND,
        )
        posterior = Conditioned(encoder, couplings if couplings.couplings else None, context)
        return ResNetPair(problem, encoder, posterior, self.option(problem, "decoder_output"))
