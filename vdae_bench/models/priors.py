"""Priors p(z): factorised normal, or the standard logistic wherever a NICE flow takes part (Appendix D)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def normal_log_prob(z: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    r"""Log density of N(0, I) at each row, in nats.

    .. math:: \log \mathcal{N}(z; 0, I) = -\tfrac{1}{2} \left( |z|^2 + d \log 2 \pi \right)

    >>> normal_log_prob(torch.zeros(2))
    tensor(-1.8379)
    """
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * LOG_2PI)


def logistic_log_prob(z: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    r"""Log density of independent standard logistics at each row, in nats (Dinh et al., 2014, arXiv:1410.8516).

    .. math:: \sum_i -z_i - 2 \log \left( 1 + e^{-z_i} \right)

    >>> logistic_log_prob(torch.zeros(1)).exp()
    tensor(0.2500)
    """
    return -(z + 2 * F.softplus(-z)).sum(-1)


def logistic_from_normal(eta: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Standard logistic noise from standard normal noise: `logit(Phi(eta))`, accurate in both tails."""
    logit: Tensor = torch.special.log_ndtr(eta) - torch.special.log_ndtr(-eta)
    return logit


class Prior(nn.Module):
    """The prior p(z) of a latent-variable model; a subclass supplies its log density and how to draw from it."""

    def from_normal(self, eta: Tensor) -> Tensor:
        """Turn each row of standard normal noise into a sample of p(z)."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of each row, in nats."""
        raise NotImplementedError


class StandardNormal(Prior):
    """The prior N(0, I_m) of the methods with m < n.

    Example:
        >>> StandardNormal().log_prob(torch.zeros(1, 3, 2)).shape
        torch.Size([1, 3])
    """

    def from_normal(self, eta: Tensor) -> Tensor:
        """Return the noise itself, which already is a sample."""
        return eta

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; 0, I) of each row, in nats."""
        return normal_log_prob(z)


class StandardLogistic(Prior):
    """The prior of independent logistics (mu = 0, s = 1), wherever a NICE flow takes part (Appendix D).

    Example:
        >>> StandardLogistic().from_normal(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-1.6683,  0.0000,  1.6683])
    """

    def from_normal(self, eta: Tensor) -> Tensor:
        """Turn normal noise, by way of uniform noise, into logistic noise."""
        return logistic_from_normal(eta)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the logistic log density of each row, in nats."""
        return logistic_log_prob(z)
