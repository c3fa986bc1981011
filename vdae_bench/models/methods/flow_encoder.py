"""What the methods with a NICE encoder share: m = n, a logistic prior, noise of learned or fixed sigma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from vdae_bench.data.statistics import PixelStatistics
from vdae_bench.errors import UserError
from vdae_bench.models.flows import NICE, InverseFlow
from vdae_bench.models.layers import Layer
from vdae_bench.models.methods import nice
from vdae_bench.models.methods.resnet_pair import likelihood_of
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.posteriors import FlowPosterior, NoiseScale
from vdae_bench.models.priors import StandardLogistic
from vdae_bench.models.registry import Method, Option, Problem

HYPERPARAMETERS = {**nice.HYPERPARAMETERS, "initial_log_sigma": -2.5}
"""`initial_log_sigma` is where a learned sigma starts: 1 would drown pixels in [0, 1]."""
OPTIONS = {
    "log_sigma": Option(None, per_replica=True),
    "decoder_variance": Option("learned", ("learned", "tied")),
}


class FlowEncoderModel(LatentVariableModel):
    """A posterior on a NICE flow, any decoder from n latents, a logistic prior."""

    def __init__(self, posterior: FlowPosterior, decoder: Layer, problem: Problem, output: str, variance: str) -> None:
        tied = (lambda: posterior.log_sigma) if variance == "tied" else None
        super().__init__(posterior, decoder, likelihood_of(problem, output, tied), StandardLogistic())
        self.flows = [posterior.flow]
        if isinstance(decoder, InverseFlow) and decoder.flow is not posterior.flow:
            self.flows.append(decoder.flow)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start lambda from the data, and each flow as one logistic a pixel of the noisy data x + eps."""
        super().initialise_from_data(statistics)
        assert isinstance(self.posterior, FlowPosterior)
        noise = torch.exp(2 * self.posterior.log_sigma.detach())
        for flow in self.flows:
            flow.initialise_from_data(statistics.mean, statistics.variance + noise)


class FlowEncoderMethod(Method):
    """Base of the four methods; each says what its decoder is."""

    hyperparameters: ClassVar[Mapping[str, Any]] = HYPERPARAMETERS
    options: ClassVar[Mapping[str, Option]] = OPTIONS

    def check(self, view: str, latents: int, data_dim: int, options: Mapping[str, Any]) -> None:
        """Binary data has no decoder variance to tie, and no output to choose."""
        super().check(view, latents, data_dim, options)
        for name in ("decoder_variance", "decoder_output"):
            if view == "binary" and name in options and options[name] != self.options[name].default:
                raise UserError(f"option {name} is for continuous data; leave it out for {view} data")

    def check_latents(self, latents: int, data_dim: int) -> None:
        """A flow keeps the dimension."""
        if latents != data_dim:
            raise UserError(f"method {self.id} has a flow as its encoder: latents must be {data_dim}, not {latents}")

    def noise_scale(self, problem: Problem) -> NoiseScale:
        """Learned unless `options.log_sigma` fixes it."""
        values = self.replica_values(problem, "log_sigma")
        if None in values:  # a learned sigma is a parameter of its model: never mixed with fixed ones
            return NoiseScale([problem.hyperparameters["initial_log_sigma"]] * problem.replicas, learned=True)
        return NoiseScale(values, learned=False)

    def encoder(self, problem: Problem) -> NICE:
        """The flow of Appendix D."""
        return nice.nice_flow(problem)

    def assemble(self, problem: Problem, posterior: FlowPosterior, decoder: Layer) -> FlowEncoderModel:
        """Posterior and decoder to a model, by the cell's options."""
        output = self.option(problem, "decoder_output") if "decoder_output" in self.options else "linear"
        return FlowEncoderModel(posterior, decoder, problem, output, self.option(problem, "decoder_variance"))
