"""L-VDAE with m = n: the linearised posterior f(x) + sigma J w on a NICE flow, eq. (7)."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.methods.flow_encoder import FlowEncoderMethod
from vdae_bench.models.methods.vdae_resnet import DECODER_HIDDEN_SIZE, RESNET_DECODER_OPTIONS, resnet_decoder
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import LinearisedBijection
from vdae_bench.models.registry import Problem


class LVDAENice(FlowEncoderMethod):
    r"""L-VDAE with m = n on a NICE flow f, the row L-VDAE * of both tables, eq. (7).

    .. math:: z = f(x) + \sigma J w, \qquad w \sim \mathcal{N}(0, I_n)

    The prior is logistic, and the decoder is that of `vdae-resnet`, beside which it stands: the two differ in the
    posterior alone, here `posteriors.LinearisedBijection`.

    Example:
        >>> sizes = {"couplings": 2, "coupling_layers": 1, "coupling_hidden_size": 3, "decoder_hidden_size": 5}
        >>> LVDAENice().build(Problem(1, 4, 4, "binary", sizes)).posterior.noise_dim
        4
    """

    id = "lvdae-nice"
    title = "L-VDAE *"
    hyperparameters: ClassVar = (*FlowEncoderMethod.hyperparameters, DECODER_HIDDEN_SIZE)
    flow_at_samples = False
    options: ClassVar = RESNET_DECODER_OPTIONS

    def build(self, problem: Problem) -> Model:
        """Build a NICE encoder and a decoder of residual blocks."""
        posterior = LinearisedBijection(self.encoder(problem), self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, resnet_decoder(problem))
