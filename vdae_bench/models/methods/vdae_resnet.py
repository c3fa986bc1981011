"""VDAE with a ResNet decoder: z = f(x + eps) through NICE, eqs. (4) and (5), any decoder."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.methods.flow_encoder import FLOW_ENCODER_OPTIONS, FlowEncoderMethod
from vdae_bench.models.methods.resnet_pair import DECODER_OPTIONS
from vdae_bench.models.model import Model
from vdae_bench.models.networks import ResNetDecoder
from vdae_bench.models.posteriors import PushForward
from vdae_bench.models.registry import Option, Problem

DECODER_HIDDEN_SIZE = Hyperparameter(
    "decoder_hidden_size", int, 1024, ge=1, le=65536, meaning="width of the ResNet decoder's hidden layers"
)
RESNET_DECODER_OPTIONS: dict[str, Option] = {
    **FLOW_ENCODER_OPTIONS,
    **DECODER_OPTIONS,
    "decoder_blocks": Option(
        4, tuple(range(1, 17)), meaning="number of residual blocks of the decoder, each of width n"
    ),
}
"""Appendix D: "B = 1 and H = 1024, no projection layers" is read as four residual blocks of width n."""


def resnet_decoder(problem: Problem) -> ResNetDecoder:
    """The ResNet decoder beside a NICE encoder."""
    hidden = DECODER_HIDDEN_SIZE.of(problem.hyperparameters)
    blocks = int(problem.options.get("decoder_blocks", RESNET_DECODER_OPTIONS["decoder_blocks"].default))
    return ResNetDecoder(problem.replicas, problem.data_dim, hidden=hidden, blocks=blocks)


class VDAEResNet(FlowEncoderMethod):
    r"""VDAE with a decoder of its own, the row VDAE: RESNET of both tables (section 2).

    .. math:: z = f(x + \epsilon), \qquad \epsilon \sim \mathcal{N}(0, \sigma^2 I_n)

    It is trained by eq. (5), with f a NICE flow, m = n, a logistic prior and the residual blocks of Appendix D as
    decoder. The posterior is `posteriors.PushForward`.

    Example:
        >>> sizes = {"couplings": 2, "coupling_layers": 1, "coupling_hidden_size": 3, "decoder_hidden_size": 5}
        >>> model = VDAEResNet().build(Problem(1, 4, 4, "binary", sizes))
        >>> len(model.decoder.layers), model.posterior.log_sigma.item()
        (4, -1.0)
    """

    id = "vdae-resnet"
    title = "VDAE: RESNET"
    hyperparameters: ClassVar = (*FlowEncoderMethod.hyperparameters, DECODER_HIDDEN_SIZE)
    options: ClassVar = RESNET_DECODER_OPTIONS

    def build(self, problem: Problem) -> Model:
        """Build a NICE encoder and a decoder of residual blocks."""
        posterior = PushForward(self.encoder(problem), self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, resnet_decoder(problem))
