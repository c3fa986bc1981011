"""Made-up entries of the performance page, and sizes at which every case takes a moment."""

from __future__ import annotations

from typing import Any

from vdae_bench.bench.entries import Entry, Environment
from vdae_bench.bench.ours import Sizes

RUN = Environment(
    machine="abacus-2-threads",
    threads=2,
    platform="Linux x86_64, Abacus",
    torch="2.13.0",
    python="3.11.7",
    started_at="2026-11-24T12:00:00+00:00",
    git_commit="0123456789abcdef",
    git_dirty=False,
    command="vdae-bench bench",
    data="mnist",
    libraries={"pythae": "0.1.2", "zuko": None},
)

SIZES = Sizes(
    batch=8,
    hidden=8,
    coupling_hidden=8,
    coupling_layers=2,
    train_images=80,
    samples=20,
    nll_images=3,
    peer_nll_images=2,
)


def entry(name: str, **fields: Any) -> Entry:
    """An entry; what is not given is as of a comparison that says nothing else."""
    return Entry(**{"name": name, "case": "nice", "subject": "NICE", "per": "step", "run": RUN, **fields})
