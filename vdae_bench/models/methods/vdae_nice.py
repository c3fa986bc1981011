"""VDAE with a NICE decoder of its own weights: it contains the coupled model, and is free to leave it (Figure 1)."""

from __future__ import annotations

from typing import ClassVar

from vdae_bench.models.flows.couplings import InverseFlow
from vdae_bench.models.methods.flow_encoder import FLOW_ENCODER_OPTIONS, FlowEncoderMethod
from vdae_bench.models.methods.resnet_pair import DECODER_OPTIONS
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import PushForward
from vdae_bench.models.registry import Problem


class VDAENice(FlowEncoderMethod):
    r"""VDAE with the inverse of a second NICE flow h as decoder, a curve of Figure 1.

    .. math:: z = f(x + \epsilon), \qquad p(x|z) = \mathcal{N}(h^{-1}(z), \lambda I_n)

    With h = f and linear output it is `vdae-coupled`; its weights are free to leave that. For continuous data.

    Example:
        >>> sizes = {"couplings": 2, "coupling_layers": 1, "coupling_hidden_size": 3}
        >>> model = VDAENice().build(Problem(1, 4, 4, "continuous", sizes))
        >>> model.decoder.flow is model.posterior.flow
        False
    """

    id = "vdae-nice"
    title = "VDAE: NICE"
    views = ("continuous",)
    flow_decodes = True
    options: ClassVar = {**FLOW_ENCODER_OPTIONS, **DECODER_OPTIONS}

    def build(self, problem: Problem) -> Model:
        """Build two flows, one as encoder, the inverse of the other as decoder."""
        posterior = PushForward(self.encoder(problem), self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, InverseFlow(self.encoder(problem)))
