"""NICE on its own: the flow baseline, exact log density, eq. (3)."""

from __future__ import annotations

import math
from typing import ClassVar

from vdae_bench.errors import UserError
from vdae_bench.models.flows import NICE
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.model import FlowModel, Model
from vdae_bench.models.registry import PRECISION, Method, Option, Problem

COUPLINGS = Hyperparameter("couplings", int, 4, ge=2, le=64, meaning="additive couplings of NICE")
COUPLING_LAYERS = Hyperparameter("coupling_layers", int, 5, ge=1, le=64, meaning="hidden layers of a coupling")
COUPLING_HIDDEN_SIZE = Hyperparameter(
    "coupling_hidden_size", int, 1024, ge=1, le=65536, meaning="width of a coupling's hidden layers"
)
NICE_HYPERPARAMETERS = (COUPLINGS, COUPLING_LAYERS, COUPLING_HIDDEN_SIZE)
NICE_OPTIONS = {
    "hidden_init": Option(
        "he",
        ("he", "uniform"),
        meaning="start of a coupling's hidden layers: He's normal as elsewhere, or U(-0.01, 0.01) as NICE's authors do",
    ),
    **PRECISION,
}


def nice_flow(problem: Problem) -> NICE:
    """The NICE flow of Appendix D, at the sizes that the hyper-parameters give."""
    return NICE(
        problem.replicas,
        problem.data_dim,
        couplings=COUPLINGS.of(problem.hyperparameters),
        hidden=COUPLING_HIDDEN_SIZE.of(problem.hyperparameters),
        hidden_layers=COUPLING_LAYERS.of(problem.hyperparameters),
        hidden_init=problem.options.get("hidden_init", "he"),
    )


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
        return FlowModel(nice_flow(problem), l2=self.option(problem, "l2"))
