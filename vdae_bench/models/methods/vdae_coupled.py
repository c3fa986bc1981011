"""VDAE with encoder and decoder coupled: eq. (6), a normalising flow as the noise vanishes (Appendix A)."""

from __future__ import annotations

from vdae_bench.models.flows.couplings import InverseFlow
from vdae_bench.models.methods.flow_encoder import FlowEncoderMethod
from vdae_bench.models.model import Model
from vdae_bench.models.posteriors import PushForward
from vdae_bench.models.registry import Problem


class VDAECoupled(FlowEncoderMethod):
    r"""VDAE whose decoder is the inverse of its encoder, eq. (6): the form in which a flow is a special case.

    .. math:: z = f(x + \epsilon), \qquad p(x|z) = \mathcal{N}(f^{-1}(z), \lambda I_n)

    With lambda = sigma^2 (`decoder_variance: tied`) and sigma to 0 its bound becomes the flow's log-likelihood, eq. (3)
    (Appendix A). For continuous data.

    Example:
        >>> sizes = {"couplings": 2, "coupling_layers": 1, "coupling_hidden_size": 3}
        >>> model = VDAECoupled().build(Problem(1, 4, 4, "continuous", sizes))
        >>> model.decoder.flow is model.posterior.flow
        True
    """

    id = "vdae-coupled"
    title = "VDAE: coupled"
    views = ("continuous",)
    flow_decodes = True

    def build(self, problem: Problem) -> Model:
        """Build one flow, which is taken both ways."""
        flow = self.encoder(problem)
        posterior = PushForward(flow, self.noise_scale(problem), problem.data_dim)
        return self.assemble(problem, posterior, InverseFlow(flow))
