"""Rows of the flows of `FLOWS`, each on its own as NICE is: exact log density, eq. (3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vdae_bench.errors import UserError
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.flows.base import FlowKind
from vdae_bench.models.model import FlowModel, Model
from vdae_bench.models.registry import PRECISION, Method, Problem


class FlowRow(Method):
    r"""A flow of `FLOWS` on its own, with a logistic prior and m = n; it has no ELBO. For continuous data.

    .. math:: \log p(x) = \log p(f(x)) + \log \left| \det \partial f / \partial x \right|

    Example:
        >>> sizes = {"couplings": 2, "coupling_layers": 1, "coupling_hidden_size": 3}
        >>> row_of("couplings")().build(Problem(1, 4, 4, "continuous", sizes)).flow.kind
        'affine'
    """

    kind: ClassVar[FlowKind]
    views = ("continuous",)
    options: ClassVar = PRECISION
    has_elbo = False

    def check_latents(self, latents: int, data_dim: int) -> None:
        """Raise `UserError` unless m = n: a flow keeps the dimension."""
        if latents != data_dim:
            raise UserError(f"method {self.id} keeps the dimension: latents must be {data_dim}, not {latents}")

    def check_sizes(self, shape: tuple[int, int], options: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
        """Raise `UserError` where images of that shape cannot pass a flow of these sizes."""
        self.kind.check(shape, sizes)

    def build(self, problem: Problem) -> Model:
        """Build the flow with its prior."""
        return FlowModel(self.kind.flow(problem))


def row_of(flow: str) -> type[FlowRow]:
    """The method of a flow's own row."""
    kind = FLOWS[flow]
    declared = {"id": flow, "title": kind.title, "kind": kind, "version": kind.version}
    declared |= {"hyperparameters": kind.hyperparameters}
    # Of this module: the code of a class that `type` makes is that of `abc` otherwise, and in each run's identity.
    place = {"__module__": __name__, "__doc__": f"{kind.title} on its own: {kind.reference}."}
    return type(f"{flow} row", (FlowRow,), {**declared, **place})
