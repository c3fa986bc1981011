"""Machines by name, with the FLOP/s that runs achieve on them: measured on two, estimated for the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A processor or GPU, and the FLOP/s of whole steps on it."""

    name: str
    title: str
    float32: float
    mixed: float
    source: str
    measured: bool = False

    def flops_per_second(self, precision: str) -> float:
        """The FLOP/s that a protocol of this precision achieves."""
        return self.mixed if precision == "mixed" else self.float32

    @property
    def where(self) -> str:
        """The machine and where its speed is from, for the total of a plan."""
        return f"on {self.title} ({'' if self.measured else 'an estimate: '}{self.source})"


SHARES = "half of the float32 FLOP/s in the data sheet, a fifth of its dense bfloat16 FLOP/s; not measured"
MACHINES = {
    machine.name: machine
    for machine in (
        Machine(
            "xeon", "two cores of an Intel Xeon with AMX", 1.8e11, 4.7e11,
            "bench --only paper-protocol, 1.3e11 to 2.4e11; bfloat16: 2.6 times that, VAE m = 16", measured=True,
        ),
        Machine(
            "epyc", "two cores of an AMD EPYC", 1.2e11, 1.9e11, "bench --only peak, whole steps", measured=True
        ),
        Machine("a100", "one A100", 9.7e12, 62e12, f"19.5 and 312 TFLOP/s, {SHARES}"),
        Machine("h100", "one H100 SXM", 33e12, 198e12, f"67 and 989 TFLOP/s, {SHARES}"),
        Machine("rtx4090", "one RTX 4090", 41e12, 33e12, f"82.6 and 165 TFLOP/s, {SHARES}"),
        Machine("m2", "the processors of an Apple M2", 0.5e12, 0.5e12, "a third of a float32 product's; not measured"),
    )
}  # fmt: skip
