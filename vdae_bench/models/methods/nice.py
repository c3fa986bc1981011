"""NICE on its own: the flow baseline, exact log density, eq. (3)."""

from __future__ import annotations

import math
from typing import ClassVar

from vdae_bench.errors import UserError
from vdae_bench.models.flows import NICE
from vdae_bench.models.model import FlowModel, Model
from vdae_bench.models.registry import PRECISION, Method, Option, Problem

HYPERPARAMETERS = {"couplings": 4, "coupling_layers": 5, "coupling_hidden_size": 1024}
OPTIONS = {"hidden_init": Option("he", ("he", "uniform")), **PRECISION}
"""`hidden_init` is He's normal, as in all other layers, or U(-0.01, 0.01), as in the code of NICE's authors."""


def nice_flow(problem: Problem) -> NICE:
    """The flow of Appendix D."""
    return NICE(
        problem.replicas,
        problem.data_dim,
        couplings=problem.hyperparameters["couplings"],
        hidden=problem.hyperparameters["coupling_hidden_size"],
        hidden_layers=problem.hyperparameters["coupling_layers"],
        hidden_init=problem.options.get("hidden_init", "he"),
    )


class Nice(Method):
    """z = f(x), a standard logistic prior, L2 on the couplings' weights."""

    id = "nice"
    title = "NICE"
    views = ("continuous",)
    hyperparameters: ClassVar = HYPERPARAMETERS
    options: ClassVar = {"l2": Option(0.01, bounds=(0.0, math.inf)), **OPTIONS}
    has_elbo = False

    def check_latents(self, latents: int, data_dim: int) -> None:
        """A flow keeps the dimension."""
        if latents != data_dim:
            raise UserError(f"method nice keeps the dimension: latents must be {data_dim}, not {latents}")

    def build(self, problem: Problem) -> Model:
        """The flow with its prior."""
        return FlowModel(nice_flow(problem), l2=self.option(problem, "l2"))
