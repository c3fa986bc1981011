"""Common parts of the methods with a flow as encoder: m = n, a logistic prior, noise of learned or fixed sigma."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vdae_bench.data.views import PixelStatistics
from vdae_bench.errors import UserError
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import Flow, FlowKind, logistic_log_scale
from vdae_bench.models.flows.couplings import NICE_HYPERPARAMETERS, InverseFlow
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.likelihoods import Gaussian, Likelihood
from vdae_bench.models.methods.nice import NICE_OPTIONS
from vdae_bench.models.methods.resnet_pair import REGULARISERS, kl_weight_of, likelihood_of
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.networks import ResNetDecoder
from vdae_bench.models.posteriors import FlowPosterior, NoiseScale
from vdae_bench.models.priors import StandardLogistic
from vdae_bench.models.registry import Method, Option, Problem


@dataclass(frozen=True, eq=False)
class FlowWords(Collection[str]):
    """The words for those flows of `FLOWS` that `holds` accepts, at every time: plug-ins add flows."""

    holds: Callable[[FlowKind], bool]

    def __iter__(self) -> Iterator[str]:
        """Yield the words in the order of `FLOWS`."""
        return (word for word, kind in FLOWS.items() if self.holds(kind))

    def __contains__(self, word: object) -> bool:
        """Tell whether a word is one of them."""
        return any(word == each for each in self)

    def __len__(self) -> int:
        """Return their number."""
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        """Tell whether they are the same words, now."""
        return isinstance(other, FlowWords) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Return a hash of the words, now."""
        return hash(tuple(self))


OF_COUPLINGS = FlowWords(lambda kind: set(NICE_HYPERPARAMETERS) <= set(kind.hyperparameters))
"""The flows that `couplings_of` builds, which reads `hidden_init`."""
FLOW = Option("nice", FLOWS.keys(), meaning="flow of the encoder; its sizes are the flow's own hyper-parameters")
FLOW_ENCODER_OPTIONS = {
    "flow": FLOW,
    "log_sigma": Option(
        None, meaning="fixed log sigma of the noise; null: sigma is learned", bounds=(-10.0, 5.0), per_replica=True
    ),
    "initial_log_sigma": Option(
        -1.0,
        meaning="starting value of a learned log sigma",
        bounds=(-10.0, 5.0),
        per_replica=True,
        only_with=("log_sigma", (None,)),
    ),
    **NICE_OPTIONS,
    "hidden_init": replace(NICE_OPTIONS["hidden_init"], only_with=("flow", OF_COUPLINGS)),
    "decoder_variance": Option(
        "learned",
        ("learned", "tied"),
        meaning="variance of p(x|z); learned: a parameter of its own, tied: sigma^2 of the noise",
        continuous_only=True,
    ),
    **REGULARISERS,
}


class FlowEncoderModel(LatentVariableModel):
    """A model with a posterior on a flow, any decoder from n latents, and a logistic prior."""

    posterior: FlowPosterior
    decoder: InverseFlow | ResNetDecoder

    def __init__(
        self,
        posterior: FlowPosterior,
        decoder: InverseFlow | ResNetDecoder,
        problem: Problem,
        output: str,
        variance: str,
    ) -> None:
        tied = (lambda: posterior.log_sigma) if variance == "tied" else None
        super().__init__(posterior, decoder, likelihood_of(problem, output, tied), StandardLogistic())
        self.kl_weight = kl_weight_of(problem)
        self.coupled = isinstance(decoder, InverseFlow) and decoder.flow is posterior.flow

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start the flow as one logistic for each pixel of y = x + eps, and the decoder as a guess of x from y."""
        posterior = self.posterior
        decoder = None if self.coupled else self.decoder
        start_beside_(posterior.flow.start_affine_, posterior.log_sigma, decoder, self.likelihood, statistics)

    def floored_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that are held at a floor: none where sigma is fixed."""
        # Noise of a fixed sigma cannot be undone, so the loss has a lower bound; and lambda follows sigma^2, where a
        # floor would stand in its way: it raised the left end of Figure 1 by 0.8 bits/dim.
        return super().floored_parameters() if isinstance(self.posterior.log_sigma, nn.Parameter) else {}


@torch.no_grad()
def start_beside_(
    start_encoder_: Callable[[Tensor, Tensor], None],
    log_sigma: Tensor,
    decoder: InverseFlow | ResNetDecoder | None,
    likelihood: Likelihood,
    statistics: PixelStatistics,
) -> None:
    """Start an encoder with m = n as one logistic for each pixel of y = x + eps, its decoder as a guess of x from y.

    `start_encoder_` takes the location and log scale of each pixel of y. A decoder of its own starts at
    `Likelihood.denoiser`; None is a coupled one, which returns y. A learned lambda starts at the squared error of that,
    or at the pixels' variance below a sigmoid, whose error has no such formula.
    """
    noise = torch.exp(2 * log_sigma).double()
    variance = statistics.variance + noise
    log_scale = logistic_log_scale(variance).to(log_sigma.dtype)
    start_encoder_(statistics.mean, log_scale)
    error = noise
    if decoder is not None:
        offset, slope = likelihood.denoiser(statistics, noise)
        deviation = torch.exp(-log_scale)  # y = mean + deviation * z
        decoder.start_affine_(offset + slope * statistics.mean, slope * deviation)
        error = (statistics.variance * noise / variance).mean(-1, keepdim=True)
    if isinstance(likelihood, Gaussian):
        likelihood.start_variance_(error if likelihood.output == "linear" else statistics.variance.mean())


class FlowEncoderMethod(Method):
    """Base of the four methods with a flow as encoder; a subclass supplies `build`, and with it the decoder."""

    version = 2  # the start of the decoder and of lambda from data
    hyperparameters: ClassVar[tuple[Hyperparameter[Any], ...]] = NICE_HYPERPARAMETERS
    options: ClassVar[Mapping[str, Option]] = FLOW_ENCODER_OPTIONS
    flow_at_samples: ClassVar[bool] = True
    """True where the posterior takes the flow's log-determinant at every sample, not once for each image."""
    flow_decodes: ClassVar[bool] = False
    """True where the inverse of such a flow is the decoder, so that gradients have to pass it."""

    def __init_subclass__(cls) -> None:
        """Offer a method the flows that can serve it; an option `flow` of its own stays as it is."""
        super().__init_subclass__()
        if "flow" in cls.options and cls.options["flow"].meaning == FLOW.meaning:
            choices = FlowWords(lambda kind: not cls.why_not(kind))
            cls.options = {**cls.options, "flow": replace(FLOW, choices=choices)}

    @classmethod
    def why_not(cls, kind: FlowKind) -> str:
        """The reason why a flow cannot be the method's encoder, or an empty text."""
        if cls.flow_at_samples and not kind.at_every_sample:
            return (
                "needs the determinant of its flow at every sample, which costs too much for {flow}; use another flow, "
                "or lvdae-nice"
            )
        if cls.flow_decodes and not kind.differentiable_inverse:
            return (
                "has the inverse of its flow as decoder, and gradients do not pass that of {flow}; use another flow, "
                "or vdae-resnet"
            )
        return ""

    def hyperparameters_with(self, options: Mapping[str, Any]) -> tuple[Hyperparameter[Any], ...]:
        """Return the sizes of the flow that the options choose, and what there is beside NICE's."""
        beside = (each for each in self.hyperparameters if each not in NICE_HYPERPARAMETERS)
        return (*FLOWS[options.get("flow", "nice")].hyperparameters, *beside)

    @property
    def possible_hyperparameters(self) -> tuple[Hyperparameter[Any], ...]:
        """Sizes of every flow, beside the method's own: a spec's sizes may serve several methods."""
        flows = (each for kind in FLOWS.values() for each in kind.hyperparameters)
        return tuple(dict.fromkeys((*self.hyperparameters, *flows)))

    def code_with(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The code's part of a run's identity: the method's, and the version of its flow once that is not the first."""
        version = FLOWS[options.get("flow", "nice")].version
        return super().code_with(options) | ({"flow_version": version} if version > 1 else {})

    def check_option(self, name: str, value: Any, view: str) -> None:
        """Raise `UserError` unless the method has such an option of such a value; of a flow it is said why not."""
        if name == "flow" and isinstance(value, str) and value in FLOWS and (why := self.why_not(FLOWS[value])):
            raise UserError(f"method {self.id} {why.format(flow=value)}")
        super().check_option(name, value, view)

    def option_faults(
        self, latents: int, data_dim: int, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield what contradicts each other too: a decoder's variance is tied or fixed, not both."""
        yield from super().option_faults(latents, data_dim, options, settings)
        if options.get("decoder_variance") == "tied" and options.get("log_lambda") is not None:
            said = "log_lambda and decoder_variance: tied both set the variance of the decoder; give one of the two"
            yield "log_lambda", said

    def check_sizes(self, shape: tuple[int, int], options: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
        """Raise `UserError` where images of that shape cannot pass the encoder's flow."""
        FLOWS[options.get("flow", "nice")].check(shape, sizes)

    def check_latents(self, latents: int, data_dim: int) -> None:
        """Raise `UserError` unless m = n: a flow keeps the dimension."""
        if latents != data_dim:
            raise UserError(f"method {self.id} has a flow as its encoder: latents must be {data_dim}, not {latents}")

    def noise_scale(self, problem: Problem) -> NoiseScale:
        """Return the noise's sigma, learned unless the option `log_sigma` fixes it."""
        values = problem.replica_values("log_sigma", FLOW_ENCODER_OPTIONS["log_sigma"].default)
        if None in values:  # a learned sigma is a parameter of its model: never mixed with fixed ones
            starts = problem.replica_values("initial_log_sigma", FLOW_ENCODER_OPTIONS["initial_log_sigma"].default)
            return NoiseScale(starts, learned=True)
        return NoiseScale(values, learned=False)

    def encoder(self, problem: Problem) -> Flow:
        """Return the flow that the cell's options choose: that of Appendix D, unless they name another."""
        return FLOWS[self.option(problem, "flow")].flow(problem)

    def assemble(
        self, problem: Problem, posterior: FlowPosterior, decoder: InverseFlow | ResNetDecoder
    ) -> FlowEncoderModel:
        """Put posterior and decoder together to a model, by the cell's options."""
        output = self.option(problem, "decoder_output") if "decoder_output" in self.options else "linear"
        return FlowEncoderModel(posterior, decoder, problem, output, self.option(problem, "decoder_variance"))
