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
HYPERPARAMETERS = (COUPLINGS, COUPLING_LAYERS, COUPLING_HIDDEN_SIZE)
OPTIONS = {
    "hidden_init": Option(
        "he",
        ("he", "uniform"),
        meaning="start of a coupling's hidden layers: He's normal as elsewhere, or U(-0.01, 0.01) as NICE's authors do",
    ),
    **PRECISION,
}


def nice_flow(problem: Problem) -> NICE:
    """The flow of Appendix D."""
    return NICE(
        problem.replicas,
        problem.data_dim,
        couplings=COUPLINGS.of(problem.hyperparameters),
        hidden=COUPLING_HIDDEN_SIZE.of(problem.hyperparameters),
        hidden_layers=COUPLING_LAYERS.of(problem.hyperparameters),
        hidden_init=problem.options.get("hidden_init", "he"),
    )


class Nice(Method):
    """z = f(x), a standard logistic prior, L2 on the couplings' weights."""

    id = "nice"
    title = "NICE"
    views = ("continuous",)
    hyperparameters: ClassVar = HYPERPARAMETERS
    options: ClassVar = {
        "l2": Option(0.01, bounds=(0.0, math.inf), meaning="weight of the L2 penalty on the couplings' weights"),
        **OPTIONS,
    }
    has_elbo = False

    def check_latents(self, latents: int, data_dim: int) -> None:
        """A flow keeps the dimension."""
        if latents != data_dim:
            raise UserError(f"method nice keeps the dimension: latents must be {data_dim}, not {latents}")

    def build(self, problem: Problem) -> Model:
        """The flow with its prior."""
        return FlowModel(nice_flow(problem), l2=self.option(problem, "l2"))
