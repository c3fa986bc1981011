"""The units that scores are stated in: bits/dim for continuous data (Table 1), nats an image for binary (Table 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vdae_bench.data.registry import dims_of
from vdae_bench.data.units import Nats, bits_per_dim


@dataclass(frozen=True)
class Unit:
    """A unit: its name, the end of its metrics' names in a record, and the decimals that ours have."""

    name: str
    suffix: str
    decimals: int

    def show(self, value: float) -> str:
        """A value with the unit's decimals."""
        return f"{value:.{self.decimals}f}"

    def show_difference(self, value: float) -> str:
        """A difference with its sign."""
        return f"{value:+.{self.decimals}f}"

    def show_interval(self, value: float, interval: tuple[float, float] | None) -> str:
        """A difference with its interval, where it has one."""
        if interval is None:
            return self.show_difference(value)
        low, high = map(self.show_difference, interval)
        return f"{self.show_difference(value)} [{low}, {high}]"

    def of_nats(self, nats: float, dataset_id: str) -> float:
        """A difference in nats an image, in this unit."""
        dims = dims_of(dataset_id)
        return nats if self is NATS or dims is None else nats / (dims * math.log(2))


BITS_PER_DIM = Unit("bits/dim", "bits_per_dim", 3)
NATS = Unit("nats", "nats", 2)


def curve_unit(dataset_id: str) -> Unit:
    """The unit of values that records have in nats alone: as in the tables where the number of pixels is known.

    >>> curve_unit("continuous-mnist").name, curve_unit("continuous-nobody-knows").name
    ('bits/dim', 'nats')
    """
    return unit_of(dataset_id) if dims_of(dataset_id) else NATS


def in_curve_unit(nats: Nats, dataset_id: str) -> Nats:
    """A score in nats an image, or an array of some, in that unit."""
    dims = dims_of(dataset_id)
    return nats if dims is None or curve_unit(dataset_id) is NATS else bits_per_dim(nats, dims)


def unit_of(dataset_id: str) -> Unit:
    """The unit in which the paper states scores on such data.

    >>> unit_of("continuous-mnist").name, unit_of("binary-mnist").name
    ('bits/dim', 'nats')
    """
    return BITS_PER_DIM if dataset_id.startswith("continuous-") else NATS
