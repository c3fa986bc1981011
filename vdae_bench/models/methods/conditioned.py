"""An encoder that maps noise to latents and sees x: the closing conjecture of section 6."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import torch

from vdae_bench.data.views import PixelStatistics
from vdae_bench.errors import UserError
from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.methods.flow_encoder import FLOW_ENCODER_OPTIONS, start_beside_
from vdae_bench.models.methods.resnet_pair import (
    RESNET_PAIR_HYPERPARAMETERS,
    RESNET_PAIR_OPTIONS,
    ResNetPair,
    kl_weight_of,
    likelihood_of,
    resnet_encoder,
)
from vdae_bench.models.methods.vdae_resnet import DECODER_HIDDEN_SIZE, resnet_decoder
from vdae_bench.models.model import LatentVariableModel, Model
from vdae_bench.models.networks import ResNet, ResNetDecoder
from vdae_bench.models.posteriors import Conditioned
from vdae_bench.models.priors import StandardLogistic
from vdae_bench.models.registry import Method, Option, Problem

COUPLINGS = Hyperparameter(
    "conditioned_couplings", int, 4, ge=0, le=64, meaning="number of couplings of the noise that see x; 0 gives the VAE"
)
LAYERS = Hyperparameter("conditioned_layers", int, 2, ge=1, le=64, meaning="number of hidden layers of such a coupling")
HIDDEN_SIZE = Hyperparameter(
    "conditioned_hidden_size", int, 128, ge=1, le=65536, meaning="width of such a coupling's hidden layers"
)
CONTEXT = Hyperparameter(
    "context_size", int, 64, ge=1, le=65536, meaning="dimension of the context through which such a coupling sees x"
)
_SIZES = (COUPLINGS, LAYERS, HIDDEN_SIZE, CONTEXT)
BOUND = 3.0
"""Bound of a coupling's log scale: the encoder's own s(x) brings the noise to its size."""


class BesideFlows(LatentVariableModel):
    """The model of `vdae-resnet`, its decoder and logistic prior, with an encoder that sees x: only log q differs.

    With `initialisation: data` both start as the same posterior, of a noise of `FlowEncoderMethod`'s default size.
    """

    posterior: Conditioned
    decoder: ResNetDecoder

    def __init__(self, problem: Problem, posterior: Conditioned, decoder_output: str) -> None:
        likelihood = likelihood_of(problem, decoder_output)
        super().__init__(posterior, resnet_decoder(problem), likelihood, StandardLogistic())
        self.kl_weight = kl_weight_of(problem)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start as `vdae-resnet` does."""
        start = FLOW_ENCODER_OPTIONS["initial_log_sigma"].default
        log_sigma = torch.full_like(self.posterior.log_variance_head.bias[..., :1], start)
        start_encoder_ = partial(self.posterior.start_affine_, log_sigma=log_sigma)
        start_beside_(start_encoder_, log_sigma, self.decoder, self.likelihood, statistics)


class ConditionedFlow(Method):
    r"""A VAE whose noise passes a flow that sees x, as section 6 conjectures; normal prior, any m up to n.

    .. math:: z = f(\mu(x) + s(x) \odot w; c(x)), \qquad w \sim \mathcal{N}(0, I_m)

    The VAE's ResNets, and f a chain of affine couplings (`posteriors.Conditioned`). It contains the VAE, which it
    starts as, and shares the encoder's pass between the samples of an image. With the option `decoder: blocks`, for
    m = n, it has decoder, prior and start of `vdae-resnet`, so that the two encoders can be compared.

    Example:
        >>> sizes = {"hidden_size": 4, "residual_blocks": 1, "context_size": 3}
        >>> sizes |= {"conditioned_couplings": 2, "conditioned_layers": 1, "conditioned_hidden_size": 5}
        >>> ConditionedFlow().build(Problem(1, 16, 2, "binary", sizes)).posterior.couplings.kind
        'affine'
    """

    id = "conditioned"
    title = "f(eps; x)"
    hyperparameters: ClassVar = (*RESNET_PAIR_HYPERPARAMETERS, *_SIZES)
    options: ClassVar = {
        **RESNET_PAIR_OPTIONS,
        "coupling": Option(
            "affine", ("affine", "additive", "none"), meaning="kind of the couplings; none gives the VAE"
        ),
        "decoder": Option(
            "mirrored",
            ("mirrored", "blocks"),
            meaning="mirrored: the VAE's, with a normal prior; blocks: vdae-resnet's, with a logistic prior, for m = n",
        ),
    }

    def hyperparameters_with(self, options: Mapping[str, Any]) -> tuple[Hyperparameter[Any], ...]:
        """Return the sizes of the encoder, of the couplings if there are any, and of a decoder of blocks."""
        sizes = () if options.get("coupling") == "none" else _SIZES
        blocks = (DECODER_HIDDEN_SIZE,) if options.get("decoder") == "blocks" else ()
        return (*RESNET_PAIR_HYPERPARAMETERS, *sizes, *blocks)

    @property
    def possible_hyperparameters(self) -> tuple[Hyperparameter[Any], ...]:
        """Its sizes, with those of a decoder of blocks."""
        return (*self.hyperparameters, DECODER_HIDDEN_SIZE)

    def option_faults(
        self, latents: int, data_dim: int, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield a decoder of blocks with other latents too: it keeps the dimension."""
        yield from super().option_faults(latents, data_dim, options, settings)
        if options.get("decoder") == "blocks" and latents != data_dim:
            yield "latents", f"decoder: blocks keeps the dimension: latents must be {data_dim}, not {latents}"

    def check_sizes(self, shape: tuple[int, int], options: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
        """Raise `UserError` where a kind of couplings is given, and there are none."""
        kind = options.get("coupling", "none")
        if kind != "none" and COUPLINGS.of(sizes) == 0:
            raise UserError(
                f"coupling: {kind} has no effect with conditioned_couplings: 0; use more couplings, or coupling: none"
            )

    def build(self, problem: Problem) -> Model:
        """Build the VAE's networks, a context beside its heads, and the couplings."""
        encoder, decoder_output = resnet_encoder(problem), self.option(problem, "decoder_output")
        posterior = self._posterior(problem, encoder)
        if self.option(problem, "decoder") == "blocks":
            return BesideFlows(problem, posterior, decoder_output)
        return ResNetPair(problem, encoder, posterior, decoder_output)

    def _posterior(self, problem: Problem, encoder: ResNet) -> Conditioned:
        hyper, kind = problem.hyperparameters, self.option(problem, "coupling")
        if kind == "none" or COUPLINGS.of(hyper) == 0:
            return Conditioned(encoder, None, 0)
        context = CONTEXT.of(hyper)
        couplings = Couplings(
            problem.replicas,
            problem.latents,
            couplings=COUPLINGS.of(hyper),
            hidden=HIDDEN_SIZE.of(hyper),
            hidden_layers=LAYERS.of(hyper),
            kind=kind,
            context=context,
            bound=BOUND,
        )
        return Conditioned(encoder, couplings, context)
