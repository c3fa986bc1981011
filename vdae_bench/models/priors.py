"""Priors p(z): factorised normal, or the standard logistic wherever a NICE flow takes part (Appendix D)."""

from __future__ import annotations

import math

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


class Prior(nn.Module):
    """p(z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        raise NotImplementedError


class StandardNormal(Prior):
    """p(z) = N(0, I_m)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        return normal_log_prob(z)


class StandardLogistic(Prior):
    """p(z) = prod_i logistic(z_i; mu = 0, s = 1)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        return logistic_log_prob(z)
