"""Likelihoods p(x|z), which score a data point by the output of the decoder network (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vdae_bench.data.views import PixelStatistics
from vdae_bench.models.priors import LOG_2PI

PROBABILITY_MARGIN = 1e-5
"""Keeps a pixel that is never on in training from being impossible in the test set: about half an image in 50,000."""
SCALAR_FLOOR = -10.0
"""Lowest log sigma and log lambda: with beta < 1 the loss of a model that can invert f has no lower bound in them."""
STEEPEST = 8.0
"""Largest slope of a sigmoid output at its start: `sigmoid(8 (y - 1/2))` is within 0.12 of y on [0, 1]."""


class Denoiser(NamedTuple):
    """An affine map for each pixel that guesses x from y = x + eps: `offset + slope y`, both of shape (R, 1, n)."""

    offset: Tensor
    slope: Tensor


class Likelihood(nn.Module):
    """The likelihood p(x|z), given the decoder's output for z.

    A subclass supplies `log_prob`, `mean` and `draw`; `denoiser` too where no sigmoid follows the decoder.
    """

    def log_prob(self, x: Float[Tensor, "R N n"], output: Float[Tensor, "R N K n"]) -> Float[Tensor, "R N K"]:
        """Return log p(x|z) of each image under each of its K decoder outputs, in nats."""
        raise NotImplementedError

    def mean(self, output: Tensor) -> Tensor:
        """Return the mean image E[x|z] that the decoder's output stands for."""
        raise NotImplementedError

    def draw(self, output: Float[Tensor, "R N n"], eta: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Draw an image of p(x|z) for each of the decoder's outputs, from standard normal noise eta."""
        raise NotImplementedError

    def denoiser(self, statistics: PixelStatistics, noise: Float[Tensor, "R 1 1"]) -> Denoiser:
        """Return a start for a decoder that sees y = x + eps, eps ~ N(0, noise I) (`initialisation: data`).

        This one is for outputs that a sigmoid follows: `logit(mean) + (y - 1/2) / noise` is exact for binary pixels.
        """
        mean = statistics.mean.clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        slope = (1 / noise).clamp(max=STEEPEST).expand(-1, -1, len(mean))
        return Denoiser(torch.logit(mean) - 0.5 * slope, slope)


class Bernoulli(Likelihood):
    r"""The likelihood of binary pixels, from the logits l that the decoder puts out.

    .. math:: \log p(x|z) = \sum_i x_i l_i - \log \left( 1 + e^{l_i} \right)

    It takes logits and no probabilities: a sigmoid would have to be clamped.

    Example:
        >>> Bernoulli().log_prob(torch.ones(1, 1, 2), torch.zeros(1, 1, 1, 2))  # 2 log 1/2
        tensor([[[-1.3863]]])
    """

    def log_prob(self, x: Float[Tensor, "R N n"], output: Float[Tensor, "R N K n"]) -> Float[Tensor, "R N K"]:
        """Return the log mass of each binary image under each of its K rows of logits, in nats."""
        return (x[:, :, None] * output - F.softplus(output)).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Return the probability that each pixel is on."""
        return output.sigmoid()

    def draw(self, output: Float[Tensor, "R N n"], eta: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Draw pixels: on where the uniform Phi(eta) is below the pixel's probability."""
        on: Tensor = torch.special.ndtr(eta) < output.sigmoid()
        return on.to(output.dtype)


class Gaussian(Likelihood):
    r"""The likelihood of continuous pixels, with one variance lambda for each model (section 5).

    .. math:: p(x|z) = \mathcal{N}(x; \mu(z), \lambda I_n)

    log lambda, of shape (R, 1, 1), is learned from 0, `fixed`, or `tied` to the posterior's noise as in eq. (6).

    Args:
        replicas: R.
        output: `sigmoid` where mu is the sigmoid of the decoder's output, `linear` where it is the output.
        tied: returns log sigma, of shape (R, 1, 1); then lambda = sigma^2.
        fixed: log lambda of each replica.

    Example:
        >>> likelihood = Gaussian(replicas=1, output="linear", fixed=[0.0])
        >>> likelihood.log_prob(torch.zeros(1, 1, 2), torch.zeros(1, 1, 1, 2))  # -log 2 pi
        tensor([[[-1.8379]]])
    """

    log_lambda: Tensor

    def __init__(
        self,
        replicas: int,
        output: Literal["sigmoid", "linear"] = "sigmoid",
        tied: Callable[[], Tensor] | None = None,
        fixed: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.output = output
        self.tied = tied
        self.learned = tied is None and fixed is None
        if fixed is not None:
            self.register_buffer("log_lambda", torch.tensor(fixed, dtype=torch.float32).view(-1, 1, 1))
        elif tied is None:
            self.log_lambda = nn.Parameter(torch.zeros(replicas, 1, 1))

    def log_variance(self) -> Float[Tensor, "R 1 1"]:
        """Return log lambda of each replica."""
        return self.log_lambda if self.tied is None else 2 * self.tied()

    def log_prob(self, x: Float[Tensor, "R N n"], output: Float[Tensor, "R N K n"]) -> Float[Tensor, "R N K"]:
        """Return the log density of each image under each of its K decoder outputs, in nats."""
        squares = (x[:, :, None] - self.mean(output)).square().sum(-1)
        log_lambda = self.log_variance()
        return -0.5 * (squares * torch.exp(-log_lambda) + x.shape[-1] * (LOG_2PI + log_lambda))

    def mean(self, output: Tensor) -> Tensor:
        """Return the decoder's output through a sigmoid (section 5), or as it is."""
        return output.sigmoid() if self.output == "sigmoid" else output

    def draw(self, output: Float[Tensor, "R N n"], eta: Float[Tensor, "R N n"]) -> Float[Tensor, "R N n"]:
        """Draw `mean + sqrt(lambda) eta`."""
        return self.mean(output) + torch.exp(0.5 * self.log_variance()) * eta

    def denoiser(self, statistics: PixelStatistics, noise: Float[Tensor, "R 1 1"]) -> Denoiser:
        """Return, for linear output, the map of least squared error: `mean + v / (v + noise) (y - mean)` (Wiener's)."""
        if self.output == "sigmoid":
            return super().denoiser(statistics, noise)
        slope = statistics.variance / (statistics.variance + noise)
        return Denoiser((1 - slope) * statistics.mean, slope)

    @torch.no_grad()
    def start_variance_(self, variance: Tensor) -> None:
        """Start a learned lambda at a squared error for each pixel, one for all or one for each replica (R, 1, 1)."""
        if self.learned:
            self.log_lambda.copy_(variance.log())
