"""VDAE with encoder and decoder coupled: eq. (6), a normalising flow as the noise vanishes (Appendix A)."""

from __future__ import annotations

from vdae_bench.models.flows import InverseFlow
from vdae_bench.models.methods.flow_encoder import FlowEncoderMethod
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import PushForward
from vdae_bench.models.registry import Problem


class VDAECoupled(FlowEncoderMethod):
    """Push-forward posterior, decoder mean f^-1(z) with the encoder's own weights."""

    id = "vdae-coupled"
    title = "VDAE: coupled"
    views = ("continuous",)

    def build(self, problem: Problem) -> Model:
        """One flow, both ways."""
        flow = self.encoder(problem)
        posterior = PushForward(flow, self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, InverseFlow(flow))
