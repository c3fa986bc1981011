"""log det C for C = J J^T (eq. 8), by Cholesky: the same value as the paper's eigenvalues at a fifth of the price."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.precision import full_precision

Estimator: TypeAlias = Literal["exact", "subset", "projected"]
"""Of L-VDAE's training objective, see `posteriors.LinearisedFlow`."""


def gram_cholesky(jacobian: Float[Tensor, "R N m n"]) -> Float[Tensor, "R N m m"]:
    """Lower Cholesky factor L of C = J J^T for each image.

    No check and no jitter: where C is not positive definite in floating point the factor is not finite, the loss of
    that replica becomes NaN and its run is recorded as diverged. (`cholesky_ex` does not synchronise on a GPU.)
    """
    with full_precision(jacobian.device):
        factor, info = torch.linalg.cholesky_ex(jacobian @ jacobian.mT, check_errors=False)
    return torch.where((info == 0)[..., None, None], factor, torch.nan)


def log_det_gram(factor: Float[Tensor, "R N m m"]) -> Float[Tensor, "R N"]:
    """log det C = 2 sum_i log L_ii, given the Cholesky factor L of C."""
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
