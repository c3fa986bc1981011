"""Models: what the engine trains and the evaluation scores. One latent-variable model for all posteriors, and the flow.

A model answers two questions, for R replicas at once:

- `bound_terms(x, noise, log_det_rows)`: the two parts of -ELBO, eq. (2), as means over the images;
- `condition(x, samples)`: a sampler of log weights, `log w = log p(x|z) + log p(z) - log q(z|x)`, from which the ELBO
  (their mean) and the importance-sampled NLL (their log-mean-exp) both follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vdae_bench.data.statistics import PixelStatistics
from vdae_bench.models.flows import NICE
from vdae_bench.models.layers import Generators, Layer
from vdae_bench.models.likelihoods import SCALAR_FLOOR, Gaussian, Likelihood
from vdae_bench.models.posteriors import Posterior
from vdae_bench.models.priors import Prior, StandardLogistic

WeightSampler: TypeAlias = Callable[[Tensor], Tensor]


class BoundTerms(NamedTuple):
    """-ELBO in nats, a mean over images: `reconstruction + beta * divergence`, beta = 1 in evaluation."""

    reconstruction: Float[Tensor, " R"]
    divergence: Float[Tensor, " R"]
    variance: Float[Tensor, " R"] | float = 0.0
    """Squared standard error of the divergence where a term of it was taken on a part of the images alone."""

    @property
    def neg_elbo(self) -> Float[Tensor, " R"]:
        """-ELBO, at beta = 1."""
        return self.reconstruction + self.divergence


class Samples(NamedTuple):
    """Images that a model generates: of the same z the mean image E[x|z], and a draw from p(x|z)."""

    means: Float[Tensor, "R N n"]
    drawn: Float[Tensor, "R N n"]


class Model(nn.Module):
    """Base of all models."""

    noise_dim: int = 0
    """Standard normal noise for a sample in evaluation; 0 where log p(x) is exact and one sample says all."""
    training_noise_dim: int = 0
    training_jacobian_rows: int = 1
    kl_weight: Tensor | float = 1.0
    """What beta is multiplied by in training, one for all or one a replica (R,); evaluation never sees it."""
    latent_dim: int | None = None
    """m, the latents that are decoded to an image; None for a model that cannot be sampled from."""

    def initialise(self, generators: Generators) -> None:
        """Draw the initial parameters, replica r from `generators[r]`."""

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start slow-moving scalars from training-data statistics (`initialisation: data`)."""

    def jacobian_rows(self, samples: int) -> int:
        """Rows of Jacobian that `condition(x, samples)` computes for an image: what bounds its memory."""
        return 1

    def bound_terms(self, x: Tensor, noise: Tensor, log_det_rows: int) -> BoundTerms:
        """The parts of -ELBO for one posterior sample an image."""
        raise NotImplementedError

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """Return `noise (R, N, K, d) -> log w (R, N, K)`, with what depends on x alone computed once.

        `samples` says how many will be drawn in all.
        """
        raise NotImplementedError

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """Latents of each image, from noise of `noise_dim`; at no noise the posterior's centre."""
        raise NotImplementedError

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """The mean image of each row of latents."""
        raise NotImplementedError

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """Images of the model, from standard normal noise for z and for x given z."""
        raise NotImplementedError

    def l2_penalties(self) -> dict[str, float]:
        """Parameters with an L2 penalty and its weight: `weight * sum p^2` is added to the loss in nats an image."""
        return {}

    def scalar_parameters(self) -> set[str]:
        """Names of the parameters that train at `scalar_rate` times the learning rate: scalars and NICE's s."""
        return {name for name, _ in self.named_parameters() if name.endswith(("log_sigma", "log_lambda", "log_scale"))}

    def floored_parameters(self) -> dict[str, nn.Parameter]:
        """log sigma and log lambda, held at `SCALAR_FLOOR` or above."""
        return {
            name: parameter for name, parameter in self.named_parameters() if name.endswith(("log_sigma", "log_lambda"))
        }

    @torch.no_grad()
    def apply_floors_(self) -> dict[str, Bool[Tensor, " R"]]:
        """Project the floored parameters back, after a step; for each, which replicas were at or below the floor."""
        touched = {}
        for name, parameter in self.floored_parameters().items():
            touched[name] = (parameter <= SCALAR_FLOOR).flatten(1).any(1)
            parameter.clamp_(min=SCALAR_FLOOR)
        return touched

    @property
    def jittered(self) -> Int[Tensor, " R"] | None:
        """How many C of each replica got jitter in training so far; None without any C."""
        return None


class LatentVariableModel(Model):
    """p(z) p(x|z) with a posterior q(z|x): the VAE and all its relatives; only the posterior differs."""

    def __init__(self, posterior: Posterior, decoder: Layer, likelihood: Likelihood, prior: Prior) -> None:
        super().__init__()
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.noise_dim = posterior.noise_dim
        self.training_noise_dim = posterior.training_noise_dim
        self.training_jacobian_rows = posterior.training_jacobian_rows
        self.latent_dim = posterior.latent_dim

    def initialise(self, generators: Generators) -> None:
        """Posterior first, then the decoder."""
        self.posterior.initialise(generators)
        self.decoder.initialise(generators)

    @property
    def jittered(self) -> Int[Tensor, " R"] | None:
        """The posterior's."""
        return self.posterior.jittered

    def jacobian_rows(self, samples: int) -> int:
        """The posterior's."""
        return self.posterior.jacobian_rows(samples)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start the decoder's variance at the mean pixel variance."""
        if isinstance(self.likelihood, Gaussian):
            self.likelihood.start_variance_(statistics.variance.mean())

    def log_likelihood(self, x: Float[Tensor, "R N n"], z: Float[Tensor, "R N K m"]) -> Float[Tensor, "R N K"]:
        """log p(x|z) for each sample, in nats."""
        output = self.decoder(z.flatten(1, 2)).unflatten(1, z.shape[1:3])
        return self.likelihood.log_prob(x, output)

    def bound_terms(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"], log_det_rows: int) -> BoundTerms:
        """-E_q[log p(x|z)] and KL[q(z|x) || p(z)] of eq. (2), one sample an image."""
        sample = self.posterior.sample_with_divergence(x, noise, self.prior, log_det_rows)
        reconstruction = -self.log_likelihood(x, sample.z[:, :, None]).mean((1, 2))
        return BoundTerms(reconstruction, sample.divergence, sample.divergence_variance)

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """log w = log p(x|z) + log p(z) - log q(z|x)."""
        sample = self.posterior.condition(x, samples)

        def log_weights(noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N K"]:
            z, log_q = sample(noise)
            return self.log_likelihood(x, z) + self.prior.log_prob(z) - log_q

        return log_weights

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """One sample of q(z|x) an image."""
        return self.posterior.condition(x)(noise[:, :, None])[0][:, :, 0]

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """E[x|z]."""
        return self.likelihood.mean(self.decoder(z))

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """z ~ p(z), then E[x|z] and x ~ p(x|z)."""
        output = self.decoder(self.prior.from_normal(latent_noise))
        return Samples(self.likelihood.mean(output), self.likelihood.draw(output, pixel_noise))


class ExactModel(Model):
    """A model whose log p(x) is known: it has one log weight an image, and no divergence to warm up."""

    def log_prob(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N"]:
        """Exact log density (or mass) of each image, in nats."""
        raise NotImplementedError

    def bound_terms(self, x: Float[Tensor, "R N n"], noise: Tensor, log_det_rows: int) -> BoundTerms:
        """The exact NLL, all of it counted as reconstruction."""
        nll = -self.log_prob(x).mean(1)
        return BoundTerms(nll, torch.zeros_like(nll))

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """The one log weight: log p(x)."""
        log_prob = self.log_prob(x)
        return lambda noise: log_prob[:, :, None]


class FlowModel(ExactModel):
    """A normalising flow with a standard logistic base: log p(x) = log p(f(x)) + log |det df/dx|, eq. (3)."""

    def __init__(self, flow: NICE, l2: float = 0.0) -> None:
        super().__init__()
        self.flow = flow
        self.prior = StandardLogistic()
        self.l2 = l2
        self.latent_dim = flow.dims

    def initialise(self, generators: Generators) -> None:
        """Initialise the flow as the identity."""
        self.flow.initialise(generators)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start as one logistic a pixel with the pixel's mean and variance."""
        self.flow.initialise_from_data(statistics.mean, statistics.variance)

    def log_prob(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N"]:
        """Exact log density of each image, in nats."""
        return self.prior.log_prob(self.flow(x)) + self.flow.log_det()

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """f(x): there is no noise."""
        return self.flow(x)

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """f^-1(z)."""
        return self.flow.inverse(z)

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """f^-1(z) of z ~ p(z), which is the mean and the draw at once."""
        x = self.decode(self.prior.from_normal(latent_noise))
        return Samples(x, x)

    def l2_penalties(self) -> dict[str, float]:
        """The L2 of Appendix D acts on the couplings' weight matrices, not on biases or s."""
        return {name: self.l2 for name, _ in self.named_parameters() if self.l2 and name.endswith("weight")}
