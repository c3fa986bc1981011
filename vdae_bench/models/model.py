"""Models, which training fits and evaluation scores: one latent-variable model for all posteriors, and the flow.

A model answers two questions, for R replicas at once:

- `bound_terms(x, noise, log_det_rows)`: the two parts of -ELBO, eq. (2), as means over the images;
- `condition(x, samples)`: a sampler of log weights, `log w = log p(x|z) + log p(z) - log q(z|x)`, from which the ELBO
  (their mean) and the importance-sampled NLL (their log-mean-exp) both follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vdae_bench.data.views import PixelStatistics
from vdae_bench.models.flows.base import Flow
from vdae_bench.models.layers import Generators, Layer
from vdae_bench.models.likelihoods import Gaussian, Likelihood
from vdae_bench.models.posteriors import Posterior
from vdae_bench.models.priors import Prior, StandardLogistic

WeightSampler: TypeAlias = Callable[[Tensor], Tensor]


class BoundTerms(NamedTuple):
    """The two parts of -ELBO in nats, means over images: `reconstruction + beta * divergence`."""

    reconstruction: Float[Tensor, " R"]
    divergence: Float[Tensor, " R"]
    variance: Float[Tensor, " R"] | float = 0.0
    """Squared standard error of the divergence where a term of it was taken on a part of the images alone."""

    @property
    def neg_elbo(self) -> Float[Tensor, " R"]:
        """Return -ELBO at beta = 1."""
        return self.reconstruction + self.divergence


class Samples(NamedTuple):
    """Images that a model generates: for the same z the mean image E[x|z], and a draw from p(x|z)."""

    means: Float[Tensor, "R N n"]
    drawn: Float[Tensor, "R N n"]


class Model(nn.Module):
    """Base of all models, R replicas of one.

    A subclass supplies `bound_terms` and `condition`; `encode`, `decode` and `sample` where it has latents.
    """

    noise_dim: int = 0
    """Dimensions of a sample's normal noise in evaluation; 0 where log p(x) is exact and one sample says all."""
    training_noise_dim: int = 0
    """Dimensions of a sample's normal noise in training."""
    training_jacobian_rows: int = 1
    """Rows of the Jacobian that an image costs in training."""
    log_det_image_rows: int = 1
    """Rows of the Jacobian that one image's log-determinant takes in training, where a part of the batch has one."""
    kl_weight: Tensor | float = 1.0
    """Factor of beta in training, one for all or one for each replica (R,); evaluation never sees it."""
    latent_dim: int | None = None
    """Number m of latents that are decoded to an image; None for a model that cannot be sampled from."""
    space: Callable[[Tensor], Tensor] | None = None
    """Map of each pixel to what the model is fitted to (`space.OnLogits`); None: pixels."""

    @property
    def inner(self) -> Model:
        """The model of what `space` maps pixels to: itself where that is pixels."""
        return self

    def initialise(self, generators: Generators) -> None:
        """Draw the initial parameters, replica r from `generators[r]`."""

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start slow-moving scalars from training-data statistics (`initialisation: data`)."""

    def jacobian_rows(self, samples: int) -> int:
        """Rows of the Jacobian that `condition(x, samples)` computes for an image: what bounds its memory."""
        return 1

    def bound_terms(self, x: Tensor, noise: Tensor, log_det_rows: int) -> BoundTerms:
        """Return the parts of -ELBO for one posterior sample for each image."""
        raise NotImplementedError

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """Return `noise (R, N, K, d) -> log w (R, N, K)`, with what depends on x alone computed once.

        `samples` says how many will be drawn in all.
        """
        raise NotImplementedError

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """Return latents of each image, from noise of `noise_dim`; at no noise the posterior's centre."""
        raise NotImplementedError

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """Return the mean image of each row of latents."""
        raise NotImplementedError

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """Draw images of the model, from standard normal noise for z and for x given z."""
        raise NotImplementedError

    def l2_penalties(self) -> dict[str, float]:
        """Parameters with an L2 penalty and its weight: `weight * sum p^2` is added to the loss of an image in nats."""
        return {}

    def scalar_parameters(self) -> set[str]:
        """Names of the parameters that train at `scalar_rate` times the learning rate: scalars and NICE's s."""
        return {name for name, _ in self.named_parameters() if name.endswith(("log_sigma", "log_lambda", "log_scale"))}

    def floored_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that are held at `SCALAR_FLOOR` or above: log sigma and log lambda."""
        return {
            name: parameter for name, parameter in self.named_parameters() if name.endswith(("log_sigma", "log_lambda"))
        }

    @property
    def jittered(self) -> Int[Tensor, " R"] | None:
        """How many C of each replica got jitter in training so far; None without any C."""
        return None


class LatentVariableModel(Model):
    r"""The model p(z) p(x|z) with a posterior q(z|x): the VAE and all its relatives differ in the posterior alone.

    ELBO, eq. (2), and NLL, eq. (1), come from the same log weights; NLL by importance sampling (Burda et al., 2016,
    arXiv:1509.00519):

    .. math::
        \log w = \log p(x|z) + \log p(z) - \log q(z|x), \qquad
        \mathrm{ELBO} = \mathrm{E}_q[\log w], \qquad \log p(x) \approx \log \tfrac{1}{K} \sum_k w_k

    Args:
        posterior: q(z|x).
        decoder: rows of m latents to rows of n outputs.
        likelihood: p(x|z), which reads the outputs.
        prior: p(z).

    Example:
        >>> from vdae_bench.models.layers import Linear
        >>> from vdae_bench.models.likelihoods import Bernoulli
        >>> from vdae_bench.models.networks import ResNet
        >>> from vdae_bench.models.posteriors import DiagonalGaussian
        >>> from vdae_bench.models.priors import StandardNormal
        >>> posterior = DiagonalGaussian(ResNet(replicas=1, widths=[4, 2], hidden=3, blocks=1))
        >>> model = LatentVariableModel(posterior, Linear(1, 2, 4), Bernoulli(), StandardNormal())
        >>> x = torch.ones(1, 3, 4)
        >>> round(model.bound_terms(x, torch.randn(1, 3, 2), log_det_rows=0).neg_elbo.item(), 4)  # 4 log 2
        2.7726
        >>> model.condition(x, samples=5)(torch.randn(1, 3, 5, 2)).shape
        torch.Size([1, 3, 5])
    """

    def __init__(self, posterior: Posterior, decoder: Layer, likelihood: Likelihood, prior: Prior) -> None:
        super().__init__()
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.noise_dim = posterior.noise_dim
        self.training_noise_dim = posterior.training_noise_dim
        self.training_jacobian_rows = posterior.training_jacobian_rows
        self.log_det_image_rows = posterior.log_det_image_rows
        self.latent_dim = posterior.latent_dim

    def initialise(self, generators: Generators) -> None:
        """Draw the initial parameters: the posterior's first, then the decoder's."""
        self.posterior.initialise(generators)
        self.decoder.initialise(generators)

    @property
    def jittered(self) -> Int[Tensor, " R"] | None:
        """How many C of each replica got jitter in the posterior's training so far."""
        return self.posterior.jittered

    def jacobian_rows(self, samples: int) -> int:
        """Rows of the Jacobian that the posterior computes for an image."""
        return self.posterior.jacobian_rows(samples)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start the decoder's variance at the mean pixel variance."""
        if isinstance(self.likelihood, Gaussian):
            self.likelihood.start_variance_(statistics.variance.mean())

    def log_likelihood(self, x: Float[Tensor, "R N n"], z: Float[Tensor, "R N K m"]) -> Float[Tensor, "R N K"]:
        """Return log p(x|z) for each sample, in nats."""
        output = self.decoder(z.flatten(1, 2)).unflatten(1, z.shape[1:3])
        return self.likelihood.log_prob(x, output)

    def bound_terms(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"], log_det_rows: int) -> BoundTerms:
        """Return -E_q[log p(x|z)] and KL[q(z|x) || p(z)] of eq. (2), by one sample for each image."""
        sample = self.posterior.sample_with_divergence(x, noise, self.prior, log_det_rows)
        reconstruction = -self.log_likelihood(x, sample.z[:, :, None]).mean((1, 2))
        return BoundTerms(reconstruction, sample.divergence, sample.divergence_variance)

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """Return the sampler of log weights."""
        sample = self.posterior.condition(x, samples)

        def log_weights(noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N K"]:
            z, log_q = sample(noise)
            return self.log_likelihood(x, z) + self.prior.log_prob(z) - log_q

        return log_weights

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """Draw one sample of q(z|x) for each image."""
        return self.posterior.condition(x)(noise[:, :, None])[0][:, :, 0]

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """Return the mean image E[x|z]."""
        return self.likelihood.mean(self.decoder(z))

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """Draw z ~ p(z), then x ~ p(x|z) beside its mean E[x|z]."""
        output = self.decoder(self.prior.from_normal(latent_noise))
        return Samples(self.likelihood.mean(output), self.likelihood.draw(output, pixel_noise))


class ExactModel(Model):
    """Base of the models whose log p(x) is known: one log weight for each image, and no divergence to warm up.

    A subclass supplies `log_prob`.
    """

    def log_prob(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N"]:
        """Return the exact log density (or mass) of each image, in nats."""
        raise NotImplementedError

    def bound_terms(self, x: Float[Tensor, "R N n"], noise: Tensor, log_det_rows: int) -> BoundTerms:
        """Return the exact NLL, as reconstruction."""
        nll = -self.log_prob(x).mean(1)
        return BoundTerms(nll, torch.zeros_like(nll))

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> WeightSampler:
        """Return the sampler of the only log weight, log p(x)."""
        log_prob = self.log_prob(x)
        return lambda noise: log_prob[:, :, None]


class FlowModel(ExactModel):
    r"""A normalising flow with a standard logistic base (Dinh et al., 2014, arXiv:1410.8516), eq. (3).

    .. math:: \log p(x) = \log p(f(x)) + \log \left| \det \partial f / \partial x \right|

    Args:
        flow: f.
        l2: weight of the L2 penalty on the couplings' weight matrices, added to the loss in nats for each image.

    Example:
        >>> from vdae_bench.models.flows.couplings import Couplings
        >>> model = FlowModel(Couplings(replicas=1, dims=2, couplings=2, hidden=3, hidden_layers=1))
        >>> model.log_prob(torch.zeros(1, 1, 2)).exp().item()  # the identity: two logistics, each 1/4 at 0
        0.0625
    """

    def __init__(self, flow: Flow, l2: float = 0.0) -> None:
        super().__init__()
        self.flow = flow
        self.prior = StandardLogistic()
        self.l2 = l2
        self.latent_dim = flow.dims
        self.training_noise_dim = flow.estimate_dims
        self.training_jacobian_rows = flow.activation_rows

    def jacobian_rows(self, samples: int) -> int:
        """Rows that an image takes inside the flow."""
        return self.flow.activation_rows

    def initialise(self, generators: Generators) -> None:
        """Initialise the flow as the identity."""
        self.flow.initialise(generators)

    def initialise_from_data(self, statistics: PixelStatistics) -> None:
        """Start as one logistic for each pixel with the pixel's mean and variance."""
        self.flow.initialise_from_data(statistics.mean, statistics.variance)

    def log_prob(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N"]:
        """Return the exact log density of each image, in nats."""
        z, log_det = self.flow.forward_and_log_det(x)
        return self.prior.log_prob(z) + log_det

    def bound_terms(self, x: Float[Tensor, "R N n"], noise: Tensor, log_det_rows: int) -> BoundTerms:
        """Return the NLL as reconstruction; in training it uses the flow's estimate of its log-determinant."""
        if not (self.training_noise_dim and torch.is_grad_enabled()):  # validation is exact
            return super().bound_terms(x, noise, log_det_rows)
        z, log_det = self.flow.forward_and_estimate(x, noise)
        nll = -(self.prior.log_prob(z) + log_det).mean(1)
        return BoundTerms(nll, torch.zeros_like(nll))

    def encode(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"]) -> Float[Tensor, "R N m"]:
        """Return f(x); there is no noise."""
        return self.flow(x)

    def decode(self, z: Float[Tensor, "R N m"]) -> Float[Tensor, "R N n"]:
        """Return f^-1(z)."""
        return self.flow.inverse(z)

    def sample(self, latent_noise: Float[Tensor, "R N m"], pixel_noise: Float[Tensor, "R N n"]) -> Samples:
        """Draw z ~ p(z) and return f^-1(z), which is the mean and the draw at once."""
        x = self.decode(self.prior.from_normal(latent_noise))
        return Samples(x, x)

    def l2_penalties(self) -> dict[str, float]:
        """Name the weight matrices of the couplings: the L2 penalty of Appendix D acts on them, not on biases or s."""
        return {name: self.l2 for name, _ in self.named_parameters() if self.l2 and name.endswith("weight")}
