"""VDAE with a ResNet decoder: z = f(x + eps) through NICE, eqs. (4) and (5), any decoder."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.layers import Chain, ResidualBlock
from vdae_bench.models.methods.flow_encoder import OPTIONS, FlowEncoderMethod
from vdae_bench.models.methods.resnet_pair import DECODER_OPTIONS
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import PushForward
from vdae_bench.models.registry import Option, Problem

DECODER = {"decoder_hidden_size": 1024, "decoder_blocks": 4}
"""Appendix D: "B = 1 and H = 1024, no projection layers" is read as four residual blocks of width n."""
RESNET_OPTIONS: dict[str, Option] = {**OPTIONS, **DECODER_OPTIONS}


def resnet_decoder(problem: Problem) -> Chain:
    """Residual blocks of the data's width beside a NICE encoder."""
    hyper = problem.hyperparameters
    return Chain(
        [
            ResidualBlock(problem.replicas, problem.data_dim, hyper["decoder_hidden_size"])
            for _ in range(hyper["decoder_blocks"])
        ]
    )


class VDAEResNet(FlowEncoderMethod):
    """Push-forward posterior, ResNet decoder: the row VDAE: RESNET of both tables."""

    id = "vdae-resnet"
    title = "VDAE: RESNET"
    hyperparameters: ClassVar = {**FlowEncoderMethod.hyperparameters, **DECODER}
    options: ClassVar = RESNET_OPTIONS

    def build(self, problem: Problem) -> Model:
        """NICE and residual blocks."""
        posterior = PushForward(self.encoder(problem), self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, resnet_decoder(problem))
