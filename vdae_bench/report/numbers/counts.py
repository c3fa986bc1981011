"""Claims that counting settles: parameters (14) and the cost of a Jacobian (15), of the models of protocol `paper`.

Counted on tensors without data, by torch's FLOP counter; nothing is computed.
"""

from __future__ import annotations

import functools
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.log_det import gram_cholesky
from vdae_bench.models.model import LatentVariableModel
from vdae_bench.models.posteriors import LinearisedFlow
from vdae_bench.models.registry import get_method
from vdae_bench.paper.claims import LATENTS
from vdae_bench.report.numbers.verdict import Finding, Verdict
from vdae_bench.running.job import Job
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.sweep import Cell

ABOUT = 0.1
"""Relative: how near m "a factor of m" is."""
IMAGES = 2


def _model(method: str, m: int) -> LatentVariableModel:
    job = Job("", Cell("binary-mnist", method, m), load_protocol("paper"), defaults(get_method(method).hyperparameters))
    with torch.device("meta"):
        return cast(LatentVariableModel, get_method(method).build(job.problem(1)))


@functools.cache
def parameters() -> list[tuple[str, Finding]]:
    """For each m, how many parameters fewer L-VDAE has: VAE's log-variance head less one sigma."""
    found = []
    for m in LATENTS:
        ours, theirs = (sum(each.numel() for each in _model(method, m).parameters()) for method in ("lvdae", "vae"))
        verdict = Verdict.REPRODUCED if ours <= theirs else Verdict.NOT_REPRODUCED
        found.append((f"m = {m}", Finding(verdict, reason=f"{ours} parameters, VAE {theirs}")))
    return found


@functools.cache
def jacobian() -> list[tuple[str, Finding]]:
    """For each m: operations for J in passes of the encoder, and those for C = J J^T in units of m^2 n."""
    found = []
    for m in LATENTS:
        posterior = cast(LinearisedFlow, _model("lvdae", m).posterior)
        x = torch.empty(1, IMAGES, posterior.data_dim, device="meta")
        with torch.no_grad():
            with FlopCounterMode(display=False) as forward:
                _, _, pull = posterior.encoder.linearise(x)
            with FlopCounterMode(display=False) as backward:
                rows = posterior._jacobian(pull, x, IMAGES)
            with FlopCounterMode(display=False) as gram:
                gram_cholesky(rows)
        passes = backward.get_total_flops() / forward.get_total_flops()
        squares = gram.get_total_flops() / IMAGES / (m * m * posterior.data_dim)
        near = abs(passes / m - 1) < ABOUT and squares == 2
        reason = f"J costs {passes:.1f} passes of the encoder, C {squares:g} m^2 n operations"
        found.append((f"m = {m}", Finding(Verdict.REPRODUCED if near else Verdict.NOT_REPRODUCED, reason=reason)))
    return found
