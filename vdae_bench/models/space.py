"""Logits of pixels as the space in which a continuous model is fitted, scored in the units of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vdae_bench.data.views import PixelStatistics
from vdae_bench.models.layers import Generators
from vdae_bench.models.model import BoundTerms, Model, Samples, WeightSampler


@dataclass(frozen=True)
class Logits:
    r"""The element-wise map of RealNVP, Glow, FFJORD and most other flows (Dinh et al., 2016, arXiv:1605.08803).

    .. math::
        y = \log \frac{p}{1 - p}, \qquad p = \alpha + (1 - 2 \alpha) x, \qquad
        \log \left| \frac{dy}{dx} \right| = \log (1 - 2 \alpha) - \log p - \log (1 - p)

    Example:
        >>> x = torch.tensor([0.0, 0.25, 1.0])
        >>> y = Logits(alpha=0.1)(x)
        >>> round(y[0].exp().item(), 4), torch.allclose(Logits(alpha=0.1).inverse(y), x, atol=1e-6)  # 0.1 / 0.9
        (0.1111, True)
    """

    alpha: float

    def _logs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p and log (1 - p), each accurate to the end."""
        inner = 1 - 2 * self.alpha
        return torch.log(self.alpha + inner * x), torch.log(self.alpha + inner * (1 - x))

    def __call__(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Map pixels to logits."""
        log_p, log_q = self._logs(x)
        return log_p - log_q

    def log_det(self, x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
        """Return `log |det dy/dx|` of each row of pixels, in nats."""
        log_p, log_q = self._logs(x)
        return x.shape[-1] * math.log1p(-2 * self.alpha) - (log_p + log_q).sum(-1)

    def inverse(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Map logits back to pixels."""
        return (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)


class OnLogits(Model):
    r"""A model of logits, which takes and gives pixels: every log weight has the volume of the map.

    .. math:: \log w(x, z) = \log w(y, z) + \log \left| \det dy / dx \right|

    So -ELBO and NLL are those of a density of pixels. A mean image is the mean logits, mapped back to pixels.
    """

    space: Logits

    def __init__(self, model: Model, space: Logits) -> None:
        super().__init__()
        self.on_logits, self.space = model, space
        self.noise_dim, self.training_noise_dim = model.noise_dim, model.training_noise_dim
        self.training_jacobian_rows, self.latent_dim = model.training_jacobian_rows, model.latent_dim
        self.log_det_image_rows = model.log_det_image_rows
        self.kl_weight = model.kl_weight

    @property
    def inner(self) -> Model:
        """The model of logits."""
        return self.on_logits

    def initialise(self, generators: Generators) -> None:
        """Draw the initial parameters."""
        self.on_logits.initialise(generators)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start from statistics of the logits."""
        self.on_logits.initialise_from_data(statistics)

    def jacobian_rows(self, samples: int) -> int:
        """Rows of the Jacobian of the model of logits."""
        return self.on_logits.jacobian_rows(samples)

    def bound_terms(self, x: Float[Tensor, "R N n"], noise: Tensor, log_det_rows: int) -> BoundTerms:
        """Return the parts of -ELBO; the volume belongs to the reconstruction."""
        terms = self.on_logits.bound_terms(self.space(x), noise, log_det_rows)
        return terms._replace(reconstruction=terms.reconstruction - self.space.log_det(x).mean(1))

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """Return the sampler of log weights."""
        log_weights, volume = self.on_logits.condition(self.space(x), samples), self.space.log_det(x)
        return lambda noise: log_weights(noise) + volume[:, :, None]

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """Return latents of each image."""
        return self.on_logits.encode(self.space(x), noise)

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """Return the image of the mean logits of each row of latents."""
        return self.space.inverse(self.on_logits.decode(z))

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """Draw images."""
        return Samples(*(self.space.inverse(each) for each in self.on_logits.sample(latent_noise, pixel_noise)))

    def l2_penalties(self) -> dict[str, float]:
        """Parameters with an L2 penalty and its weight."""
        return {f"on_logits.{name}": weight for name, weight in self.on_logits.l2_penalties().items()}

    def scalar_parameters(self) -> set[str]:
        """Names of the parameters that train at `scalar_rate` times the learning rate."""
        return {f"on_logits.{name}" for name in self.on_logits.scalar_parameters()}

    def floored_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that are held at `SCALAR_FLOOR` or above."""
        return self.on_logits.floored_parameters()

    @property
    def jittered(self) -> Int[Tensor, " R"] | None:
        """How many C of each replica got jitter in training so far."""
        return self.on_logits.jittered
