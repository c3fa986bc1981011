"""Priors p(z): factorised normal, or the standard logistic wherever a NICE flow takes part (Appendix D)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def normal_log_prob(z: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    """log N(z; 0, I), summed over the last axis, in nats."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * LOG_2PI)


def logistic_log_prob(z: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    """Standard logistic log density `-z - 2 log(1 + e^-z)`, summed over the last axis, in nats (Dinh et al., 2014)."""
    return -(z + 2 * F.softplus(-z)).sum(-1)


def logistic_from_normal(eta: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Standard logistic noise from standard normal noise: `logit(Phi(eta))`, accurate in both tails."""
    return torch.special.log_ndtr(eta) - torch.special.log_ndtr(-eta)


class Prior(nn.Module):
    """p(z)."""

    def from_normal(self, eta: Tensor) -> Tensor:
        """A sample of p(z) for each row of standard normal noise."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        raise NotImplementedError


class StandardNormal(Prior):
    """p(z) = N(0, I_m)."""

    def from_normal(self, eta: Tensor) -> Tensor:
        """The noise itself."""
        return eta

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        return normal_log_prob(z)


class StandardLogistic(Prior):
    """p(z) = prod_i logistic(z_i; mu = 0, s = 1)."""

    def from_normal(self, eta: Tensor) -> Tensor:
        """From normal over uniform to logistic."""
        return logistic_from_normal(eta)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        return logistic_log_prob(z)
