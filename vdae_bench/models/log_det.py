"""log det C for C = J J^T (eq. 8), by Cholesky: the same value as the paper's eigenvalues at a fifth of the price."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vdae_bench.models.precision import full_precision

Estimator: TypeAlias = Literal["exact", "subset", "projected"]
"""Of L-VDAE's training objective, see `posteriors.LinearisedFlow`."""


JITTER = 10.0
"""Times the rounding error of C, eps tr C: what is added to the diagonal in training where C needs it."""


def gram_cholesky(
    jacobian: Float[Tensor, "R N m n"], jittered: Int[Tensor, " R"] | None = None
) -> Float[Tensor, "R N m m"]:
    """Lower Cholesky factor L of C = J J^T for each image.

    Without `jittered`, which is how everything is evaluated, C is taken as it is: where it is not positive definite in
    floating point the factor is not finite, and the run is recorded as diverged. With it, in training, such a C alone
    gets a fixed jitter on its diagonal, and is counted there for its replica.

    C is factored twice then: nothing here waits for a GPU, and no gradient passes a factor that is not finite.
    """
    with full_precision(jacobian.device):
        gram = jacobian @ jacobian.mT
        if jittered is not None:
            gram = gram + torch.diag_embed(_jitter(gram.detach(), jittered))
        factor, info = torch.linalg.cholesky_ex(gram, check_errors=False)
    return torch.where((info == 0)[..., None, None], factor, torch.nan)


def _jitter(gram: Float[Tensor, "R N m m"], jittered: Int[Tensor, " R"]) -> Float[Tensor, "R N m"]:
    """For the diagonal of each C: 0 but where it cannot be factored as it is, which is counted."""
    failed = torch.linalg.cholesky_ex(gram, check_errors=False).info != 0
    jittered += failed.sum(1)
    size = JITTER * torch.finfo(gram.dtype).eps * gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.where(failed, size, 0)[..., None].expand(gram.shape[:-1])


def log_det_gram(factor: Float[Tensor, "R N m m"]) -> Float[Tensor, "R N"]:
    """log det C = 2 sum_i log L_ii, given the Cholesky factor L of C."""
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
