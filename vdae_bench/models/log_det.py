"""log det C for C = J J^T (eq. 8), by Cholesky: the value of the paper's eigenvalues, at a fifth of the cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from vdae_bench.models.precision import full_precision

Estimator: TypeAlias = Literal["exact", "subset", "projected", "lanczos"]
"""How training estimates L-VDAE's log-determinant, as `posteriors.LinearisedFlow` describes."""

LANCZOS_STEPS = 10
"""Number k of Lanczos steps, unless a cell sets another."""

LOGARITHM_REACH = 24
"""How far the integral of `log_quadrature` goes, in powers of e beyond the scale of C on either side."""

JITTER = 10.0
"""Jitter on the diagonal of C, in units of its rounding error eps tr C; in training alone, where C needs it."""


def gram_cholesky(
    jacobian: Float[Tensor, "R N m n"], jittered: Int[Tensor, " R"] | None = None
) -> Float[Tensor, "R N m m"]:
    r"""Lower Cholesky factor L of C = J J^T for each image (section 3.1).

    Args:
        jacobian: J of N images of R replicas.
        jittered: where training counts, for each replica, the C that were not positive definite in floating point.
            Such a C gets a fixed jitter on its diagonal. Without a place to count, which is how everything is
            evaluated, C is taken as it is: the factor is then not finite, and the run is recorded as diverged.

    Example:
        >>> jacobian = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(1, 1, 2, 3)
        >>> log_det_gram(gram_cholesky(jacobian)).exp()
        tensor([[4.]])
    """
    # A C that needs jitter is found by factoring all of them once more, not by asking which failed: an answer would
    # make a GPU wait, and a gradient through a factor that is not finite spoils the whole batch.
    with full_precision(jacobian.device):
        gram = jacobian @ jacobian.mT
        if jittered is not None:
            gram = gram + torch.diag_embed(_jitter(gram.detach(), jittered))
        factor, info = torch.linalg.cholesky_ex(gram, check_errors=False)
    return torch.where((info == 0)[..., None, None], factor, torch.nan)


def _jitter(gram: Float[Tensor, "R N m m"], jittered: Int[Tensor, " R"]) -> Float[Tensor, "R N m"]:
    """Addition to the diagonal of each C: 0 but where C cannot be factored as it is, which is counted."""
    failed = torch.linalg.cholesky_ex(gram, check_errors=False).info != 0
    jittered += failed.sum(1)
    size = JITTER * torch.finfo(gram.dtype).eps * gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.where(failed, size, 0)[..., None].expand(gram.shape[:-1])


def log_det_gram(factor: Float[Tensor, "R N m m"]) -> Float[Tensor, "R N"]:
    r"""Log-determinant of C = J J^T in eq. (8), given its Cholesky factor L.

    .. math:: \log \det C = 2 \sum_i \log L_{ii}
    """
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def lanczos_rows(
    pull: Callable[[Tensor], Tensor], push: Callable[[Tensor], Tensor], probe: Float[Tensor, "R N m"], steps: int
) -> Float[Tensor, "R N k n"]:
    r"""Rows `V^T J` of k steps of Lanczos on C = J J^T, by k products with J^T and k - 1 with J: no C, no J.

    V (m, k) is an orthonormal basis of v, C v, ..., C^{k-1} v, orthogonalised anew at each step, and a constant: the
    gradient passes through the rows alone. Where the basis ends early, as at the start of training where C = I, the
    other vectors are zero or rounding error, and do not change the result for the first one.

    Args:
        pull: vectors (R, N, 1, m) to their products with J, (R, N, 1, n).
        push: vectors (R, N, 1, n) to their products with J^T, (R, N, 1, m).
        probe: v.
        steps: k.
    """
    basis = normalize(probe, dim=-1)[:, :, None]
    rows = []
    for step in range(1, steps + 1):
        rows.append(pull(basis[:, :, -1:]))
        if step < steps:
            with torch.no_grad():
                following = normalize(push(rows[-1]).to(basis.dtype), dim=-1)
                with full_precision(probe.device):
                    for _ in range(2):  # twice is enough
                        following = following - (following @ basis.mT) @ basis
                # What is left of nothing is rounding error, shorter than 1 then: never blown up from zero.
                following = normalize(following, dim=-1, eps=torch.finfo(basis.dtype).eps)
                basis = torch.cat((basis, following), 2)
    return torch.cat(rows, 2)


def log_quadrature(rows: Float[Tensor, "R N k n"]) -> Float[Tensor, "R N"]:
    r"""Stochastic Lanczos quadrature's `v^T log(C) v / |v|^2`, given the rows `V^T J` of its k steps.

    .. math::
        v^T \log(C)\, v \approx |v|^2 \, e_1^T \log(T)\, e_1, \qquad T = V^T C V, \qquad
        \log x = \int_0^\infty \left( \frac{1}{1 + t} - \frac{1}{x + t} \right) dt

    Over probes of random signs `v^T log(C) v` is log det C on average, and k steps add a bias (Ubaru, Chen and Saad,
    2017, doi:10.1137/16M1104974). The k steps are Gauss's quadrature with k nodes, which is exact for polynomials up to
    degree 2k - 1. The even derivatives of the logarithm are negative, so that each probe's value is too high. The
    excess is at most twice the part of the logarithm's Chebyshev series from degree 2k on, and is zero at k = m. With
    kappa the condition of C,

    .. math::
        0 \le \mathrm{bias} \le \frac{2 m\, r^{2k}}{k (1 - r)}, \qquad
        r = \frac{\sqrt{\kappa} - 1}{\sqrt{\kappa} + 1}

    The gradient, that of e_1^T log(T) e_1 with V held, is biased too and right at k = m. The integral is taken by the
    trapezoidal rule in log t, to 1e-7 for eigenvalues within e^6 of T's first entry: unlike an eigendecomposition of T
    it has a gradient where eigenvalues are equal, and does not make a GPU wait.

    Example:
        >>> rows = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(1, 1, 2, 3)  # T = diag(4, 1)
        >>> log_quadrature(rows).exp()
        tensor([[4.0000]])
    """
    with full_precision(rows.device):
        gram = rows @ rows.mT
        scale = gram[:, :, 0, 0].detach()
        t = torch.arange(-LOGARITHM_REACH, LOGARITHM_REACH + 1, dtype=rows.dtype, device=rows.device)
        identity = torch.eye(rows.shape[2], dtype=rows.dtype, device=rows.device)
        shifted = identity + (-t).exp()[:, None, None] * (gram / scale[..., None, None])[:, :, None]
        factor = torch.linalg.cholesky_ex(shifted, check_errors=False)[0]
        solved = torch.linalg.solve_triangular(factor, identity[:, :1], upper=False)[..., 0]
    value: Tensor = scale.log() + (t.sigmoid() - solved.square().sum(-1)).sum(-1)
    return value
