"""Flows: bijections of R^n on the replica axis, and `FLOWS`, the one table of them.

A new flow is one file with a `Flow` (see `base.py`) and one line in `FLOWS`; from outside the package, a file given as
`--plugin FILE` that writes the line. Its row in the tables (`methods/flow_row.py`), the option `flow` of the methods
with a flow as encoder, its hyper-parameters and the tests of every flow follow from the line.
"""

from vdae_bench.models.flows import continuous, couplings, images, residual
from vdae_bench.models.flows.base import FlowKind

FLOWS: dict[str, FlowKind] = {
    "nice": couplings.NICE,
    "couplings": couplings.AFFINE,
    "realnvp": images.REALNVP,
    "glow": images.GLOW,
    "i-resnet": residual.RESIDUAL,
    "ffjord": continuous.CONTINUOUS,
}
"""Every flow by the word for it in specs: the row's method id, and the value of the option `flow`."""
