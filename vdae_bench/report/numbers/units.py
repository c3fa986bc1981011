"""The units that scores are stated in: bits/dim for continuous data (Table 1), nats an image for binary (Table 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vdae_bench.data import registry
from vdae_bench.data.units import LEVEL_BITS, Nats, bits_per_dim

_of_records: dict[str, set[int]] = {}
"""Numbers of pixels that records imply of data sets which nobody registered in this session."""


def learn_dims(dataset_id: str, nats: float | None, bits: float | None) -> None:
    """Take n from a score that a record has in both units: a report may not see the spec that names the images.

    >>> learn_dims("continuous-of-the-doctest", -1980.5, 4.355604)
    >>> dims_of("continuous-of-the-doctest")
    784
    """
    if nats is not None and bits is not None and abs(bits - LEVEL_BITS) > 1e-3 and registry.dims_of(dataset_id) is None:
        _of_records.setdefault(dataset_id, set()).add(round(nats / (math.log(2) * (bits - LEVEL_BITS))))


def dims_of(dataset_id: str) -> int | None:
    """n, the pixels of an image; None where neither the registry nor records that agree say it."""
    seen = _of_records.get(dataset_id, set())
    return registry.dims_of(dataset_id) or (next(iter(seen)) if len(seen) == 1 else None)


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
        """A difference in nats an image, in this unit; nan where nothing says the number of pixels that it takes."""
        if self is NATS:
            return nats
        dims = dims_of(dataset_id)
        return nats / (dims * math.log(2)) if dims else math.nan


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
