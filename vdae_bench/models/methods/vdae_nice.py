"""VDAE with a NICE decoder of its own weights: it contains the coupled model, and is free to leave it (Figure 1)."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.flows import InverseFlow
from vdae_bench.models.methods.flow_encoder import OPTIONS, FlowEncoderMethod
from vdae_bench.models.methods.nice import nice_flow
from vdae_bench.models.methods.resnet_pair import DECODER_OPTIONS
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import PushForward
from vdae_bench.models.registry import Problem


class VDAENice(FlowEncoderMethod):
    """Push-forward posterior, decoder mean h^-1(z) with h a second NICE."""

    id = "vdae-nice"
    title = "VDAE: NICE"
    views = ("continuous",)
    options: ClassVar = {**OPTIONS, **DECODER_OPTIONS}

    def build(self, problem: Problem) -> Model:
        """Two flows."""
        posterior = PushForward(self.encoder(problem), self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, InverseFlow(nice_flow(problem)))
