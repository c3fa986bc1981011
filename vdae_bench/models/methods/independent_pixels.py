"""A trivial baseline of ours, shown under the tables: every pixel on its own, set from training statistics.

A number that a model of independent pixels beats says nothing about a deep generative model.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.data.views import PixelStatistics
from vdae_bench.errors import UserError
from vdae_bench.models.likelihoods import PROBABILITY_MARGIN
from vdae_bench.models.model import ExactModel, Model, Samples
from vdae_bench.models.priors import logistic_from_normal, logistic_log_prob
from vdae_bench.models.registry import Method, Problem


class IndependentPixels(Method):
    r"""A trivial baseline of ours: for each pixel one logistic (continuous data) or one Bernoulli (binary data).

    .. math:: \log p(x) = \sum_i \log p_i(x_i)

    It is NICE without couplings and has no latents. Its start from training statistics is all the training it gets.
    It has 5.82 bits/dim on continuous MNIST.

    Example:
        >>> model = IndependentPixels().build(Problem(1, data_dim=3, latents=0, view="binary", hyperparameters={}))
        >>> model.initialise_from_data(PixelStatistics(torch.full((3,), 0.5), torch.full((3,), 0.25)))
        >>> round(model.log_prob(torch.ones(1, 1, 3)).exp().item(), 4)
        0.125
    """

    id = "independent-pixels"
    title = "independent pixels"
    has_elbo = False
    trains = False

    def check_latents(self, latents: int, data_dim: int) -> None:
        """Raise `UserError` unless m = 0: there are no latents."""
        if latents != 0:
            raise UserError(f"method independent-pixels has no latents: use latents: 0, not {latents}")

    def build(self, problem: Problem) -> Model:
        """Build one density for each pixel."""
        return FactorisedModel(problem)


class FactorisedModel(ExactModel):
    """A model whose pixels are independent, set from the mean and variance of each pixel over the training images."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.view = problem.view
        self.latent_dim = 0
        shape = (problem.replicas, 1, problem.data_dim)
        self.location = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Set logits from the pixels' means, or mean and scale of a logistic: this is all the training there is."""
        if self.view == "binary":
            mean = statistics.mean.clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
            self.location.copy_(torch.logit(mean))
        else:
            self.location.copy_(statistics.mean)
            self.log_scale.copy_(0.5 * torch.log(3 * statistics.variance / torch.pi**2))

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """Return the one mean image there is."""
        mean = self.location.sigmoid() if self.view == "binary" else self.location
        return mean.expand(-1, z.shape[1], -1)

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """Draw each pixel on its own."""
        means = self.decode(latent_noise)
        if self.view == "binary":
            return Samples(means, (torch.special.ndtr(pixel_noise) < means).to(means.dtype))
        return Samples(means, means + self.log_scale.exp() * logistic_from_normal(pixel_noise))

    def log_prob(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N"]:
        """Return the exact log density (or mass) of each image, in nats."""
        if self.view == "binary":
            return (x * self.location - F.softplus(self.location)).sum(-1)
        return logistic_log_prob((x - self.location) * torch.exp(-self.log_scale)) - self.log_scale.sum(-1)
