"""The description of a model, which a method (or a flow) builds it from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vdae_bench.data.views import View
from vdae_bench.models.log_det import Estimator


@dataclass(frozen=True)
class Problem:
    """The description of a model that a method builds: sizes, view of the data, hyper-parameters, options.

    Attributes:
        replicas: R, how many train together.
        data_dim: n.
        latents: m.
        view: `binary` or `continuous`.
        hyperparameters: the value of each of the method's hyper-parameters, by name.
        options: the cell's options that differ from their defaults, by name.
        log_det: the estimator of L-VDAE's log-determinant in training.
        image_shape: rows and columns of an image; None: a square, if n is one.
    """

    replicas: int
    data_dim: int
    latents: int
    view: View
    hyperparameters: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    log_det: Estimator = "subset"
    replica_options: tuple[Mapping[str, Any], ...] = ()
    """Options of each replica, where they differ in those that are `per_replica`; empty: all have `options`."""
    image_shape: tuple[int, int] | None = None

    def replica_values(self, name: str, default: Any) -> list[Any]:
        """Return the value of a `per_replica` option for each replica."""
        each = self.replica_options or (self.options,) * self.replicas
        return [options.get(name, default) for options in each]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image: a square where none are given, a single row where n is no square."""
        side = math.isqrt(self.data_dim)
        return self.image_shape or ((side, side) if side * side == self.data_dim else (1, self.data_dim))
