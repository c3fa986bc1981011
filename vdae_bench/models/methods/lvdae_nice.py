"""L-VDAE with m = n: the linearised posterior f(x) + sigma J w on a NICE flow, eq. (7)."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.methods.flow_encoder import FlowEncoderMethod
from vdae_bench.models.methods.vdae_resnet import DECODER_HIDDEN_SIZE, RESNET_OPTIONS, resnet_decoder
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import LinearisedBijection
from vdae_bench.models.registry import Problem


class LVDAENice(FlowEncoderMethod):
    """Linearised posterior, ResNet decoder: the row L-VDAE * of both tables."""

    id = "lvdae-nice"
    title = "L-VDAE *"
    hyperparameters: ClassVar = (*FlowEncoderMethod.hyperparameters, DECODER_HIDDEN_SIZE)
    options: ClassVar = RESNET_OPTIONS

    def build(self, problem: Problem) -> Model:
        """NICE and residual blocks."""
        posterior = LinearisedBijection(self.encoder(problem), self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, resnet_decoder(problem))
