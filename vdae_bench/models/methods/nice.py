"""NICE on its own: the flow baseline, exact log density, eq. (3)."""

from __future__ import annotations

import math
from typing import ClassVar

from vdae_bench.errors import UserError
from vdae_bench.models.flows.couplings import NICE_HYPERPARAMETERS, couplings_of
from vdae_bench.models.model import FlowModel, Model
from vdae_bench.models.registry import PRECISION, Method, Option, Problem

NICE_OPTIONS = {
    "hidden_init": Option(
        "he",
        ("he", "uniform"),
        meaning="start of a coupling's hidden layers: He's normal, as elsewhere, or U(-0.01, 0.01), as in NICE's code",
    ),
    **PRECISION,
}


class Nice(Method):
    r"""NICE on its own, the paper's flow baseline (Dinh et al., 2014, arXiv:1410.8516), eq. (3).

    .. math:: \log p(x) = \log p(f(x)) + \log \left| \det \partial f / \partial x \right|

    The prior is logistic, m = n, and an L2 penalty acts on the couplings' weights (Appendix D). Its log p(x) is exact,
    so it has no ELBO. For continuous data.

    Example:
        >>> sizes = {"couplings": 2, "coupling_layers": 1, "coupling_hidden_size": 3}
        >>> model = Nice().build(Problem(1, 4, 4, "continuous", sizes))
        >>> sorted(model.l2_penalties().items())[0]
        ('flow.couplings.0.hidden.0.weight', 0.01)
    """

    id = "nice"
    title = "NICE"
    views = ("continuous",)
    hyperparameters: ClassVar = NICE_HYPERPARAMETERS
    options: ClassVar = {
        "l2": Option(0.01, bounds=(0.0, math.inf), meaning="weight of the L2 penalty on the couplings' weights"),
        **NICE_OPTIONS,
    }
    has_elbo = False

    def check_latents(self, latents: int, data_dim: int) -> None:
        """Raise `UserError` unless m = n: a flow keeps the dimension."""
        if latents != data_dim:
            raise UserError(f"method nice keeps the dimension: latents must be {data_dim}, not {latents}")

    def build(self, problem: Problem) -> Model:
        """Build the flow with its prior and the L2 penalty."""
        return FlowModel(couplings_of(problem), l2=self.option(problem, "l2"))
