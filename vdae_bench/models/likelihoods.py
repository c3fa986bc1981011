"""Likelihoods p(x|z): they score a data point by what the decoder network puts out (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.data.statistics import PROBABILITY_MARGIN, PixelStatistics
from vdae_bench.models.priors import LOG_2PI

SCALAR_FLOOR = -10.0
"""Lowest log sigma and log lambda: with beta < 1 the loss of a model that can invert f has no lower bound in them."""
STEEPEST = 8.0
"""Largest slope of a sigmoid output at its start: `sigmoid(8 (y - 1/2))` is within 0.12 of y on [0, 1]."""


class Denoiser(NamedTuple):
    """An affine map a pixel, `output = offset + slope y`, that guesses x from y = x + eps; each of shape (R, 1, n)."""

    offset: Tensor
    slope: Tensor


class Likelihood(nn.Module):
    """p(x | z) given the decoder's output for z."""

    def log_prob(self, x: Float[Tensor, "R N n"], output: Float[Tensor, "R N K n"]) -> Float[Tensor, "R N K"]:
        """Log density (or mass) of each image under each of its K decoder outputs, in nats."""
        raise NotImplementedError

    def mean(self, output: Tensor) -> Tensor:
        """The mean image that the decoder's output stands for."""
        raise NotImplementedError

    def draw(self, output: Float[Tensor, "R N n"], eta: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """An image of p(x|z) for each of the decoder's outputs, from standard normal noise eta."""
        raise NotImplementedError

    def denoiser(self, statistics: PixelStatistics, noise: Float[Tensor, "R 1 1"]) -> Denoiser:
        """Where a decoder that sees y = x + eps, eps ~ N(0, noise I), can start from (`initialisation: data`).

        By default for outputs that a sigmoid follows: `logit(mean) + (y - 1/2) / noise` is exact for binary pixels.
        """
        mean = statistics.mean.clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        slope = (1 / noise).clamp(max=STEEPEST).expand(-1, -1, len(mean))
        return Denoiser(torch.logit(mean) - 0.5 * slope, slope)


class Bernoulli(Likelihood):
    """Binary pixels from logits, never from a clamped sigmoid."""

    def log_prob(self, x: Float[Tensor, "R N n"], output: Float[Tensor, "R N K n"]) -> Float[Tensor, "R N K"]:
        """sum_i x_i l_i - log(1 + exp l_i)."""
        return (x[:, :, None] * output - F.softplus(output)).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Pixel probabilities."""
        return output.sigmoid()

    def draw(self, output: Float[Tensor, "R N n"], eta: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """One where the uniform Phi(eta) is below the pixel's probability."""
        return (torch.special.ndtr(eta) < output.sigmoid()).to(output.dtype)


class Gaussian(Likelihood):
    """N(mean, lambda I_n): one variance a model, stored as its log, of shape (R, 1, 1).

    It is learned, `fixed` to one value a replica, or `tied` to the posterior's noise: lambda = sigma^2, eq. (6).
    """

    log_lambda: Tensor

    def __init__(
        self,
        replicas: int,
        output: Literal["sigmoid", "linear"] = "sigmoid",
        tied: Callable[[], Tensor] | None = None,
        fixed: Sequence[float] | None = None,
    ) -> None:
        """`tied` returns log sigma, of shape (R, 1, 1); `fixed` is log lambda of each replica."""
        super().__init__()
        self.output = output
        self.tied = tied
        self.learned = tied is None and fixed is None
        if fixed is not None:
            self.register_buffer("log_lambda", torch.tensor(fixed, dtype=torch.float32).view(-1, 1, 1))
        elif tied is None:
            self.log_lambda = nn.Parameter(torch.zeros(replicas, 1, 1))

    def log_variance(self) -> Float[Tensor, "R 1 1"]:
        """log lambda."""
        return self.log_lambda if self.tied is None else 2 * self.tied()

    def log_prob(self, x: Float[Tensor, "R N n"], output: Float[Tensor, "R N K n"]) -> Float[Tensor, "R N K"]:
        """-1/2 |x - mean|^2 / lambda - n/2 (log 2 pi + log lambda)."""
        squares = (x[:, :, None] - self.mean(output)).square().sum(-1)
        log_lambda = self.log_variance()
        return -0.5 * (squares * torch.exp(-log_lambda) + x.shape[-1] * (LOG_2PI + log_lambda))

    def mean(self, output: Tensor) -> Tensor:
        """The output through a sigmoid (section 5), or as it is."""
        return output.sigmoid() if self.output == "sigmoid" else output

    def draw(self, output: Float[Tensor, "R N n"], eta: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """mean + sqrt(lambda) eta."""
        return self.mean(output) + torch.exp(0.5 * self.log_variance()) * eta

    def denoiser(self, statistics: PixelStatistics, noise: Float[Tensor, "R 1 1"]) -> Denoiser:
        """Linear output: the affine map of least squared error, `mean + v / (v + noise) (y - mean)` (Wiener's)."""
        if self.output == "sigmoid":
            return super().denoiser(statistics, noise)
        slope = statistics.variance / (statistics.variance + noise)
        return Denoiser((1 - slope) * statistics.mean, slope)

    @torch.no_grad()
    def start_variance_(self, variance: Tensor) -> None:
        """Start a learned lambda at a squared error a pixel, one for all or one a replica (R, 1, 1)."""
        if self.learned:
            self.log_lambda.copy_(variance.log())
