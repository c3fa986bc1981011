"""Posteriors q(z|x), the part in which the methods differ (sections 2 and 3).

A posterior turns data and noise into latents and their log density:

- `condition(x, samples)` does what depends on x alone, once, and returns a sampler `noise (R, N, K, d) ->
  z (R, N, K, m), log_q (R, N, K)` for the importance-sampled NLL; `samples` says how many will be drawn in all;
- `sample_with_divergence(x, noise, prior, log_det_rows)` returns one sample for each image and an estimate of
  E_q[log q(z|x) - log p(z)], averaged over the images: what training minimises. By default it is the sampled
  value. A posterior with a closed form overrides it; one that leaves images out also returns the variance of its
  estimate.

ELBO and NLL are written once for all posteriors, from log weights (`model.py`). `log_det_rows` is how many Jacobian
rows an image may cost if a posterior takes log-determinants of a part of the batch (L-VDAE); others ignore it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vdae_bench.models.flows.base import Flow
from vdae_bench.models.flows.couplings import Couplings
from vdae_bench.models.layers import Cotangents, Generators, Layer, Linear, Pullback
from vdae_bench.models.log_det import (
    LANCZOS_STEPS,
    Estimator,
    gram_cholesky,
    lanczos_rows,
    log_det_gram,
    log_quadrature,
)
from vdae_bench.models.networks import ResNet
from vdae_bench.models.precision import full_precision
from vdae_bench.models.priors import Prior, StandardNormal, normal_log_prob

Sampler: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


class PosteriorSample(NamedTuple):
    """One sample of q(z|x) an image, and the divergence from the prior averaged over the images."""

    z: Float[Tensor, "R N m"]
    divergence: Float[Tensor, " R"]
    """Mean of E_q[log q(z|x) - log p(z)] over the images, in nats."""
    divergence_variance: Float[Tensor, " R"] | float = 0.0
    """Squared standard error of `divergence`, where a term of it was taken on a part of the images alone."""


class Posterior(nn.Module):
    """A posterior q(z|x), the part of the model that turns data and normal noise into latents and their log density.

    A subclass supplies `noise_dim` and `condition`: that is a method's posterior, in training and in evaluation. It
    overrides, where it has them,

    - `initialise`: parameters to draw;
    - `sample_with_divergence`: a divergence in closed form, or a cheaper sample in training;
    - `mean`, with `mean_is_exact`: a known E_q[z];
    - `jacobian_rows`, `training_jacobian_rows`: Jacobians, which bound how many images are worked on at a time;
    - `training_noise_dim`, `latent_dim`: dimensions that differ from `noise_dim`.

    Example:
        >>> from vdae_bench.models.priors import StandardNormal
        >>> class AroundZero(Posterior):
        ...     noise_dim = 2
        ...     def condition(self, x, samples=1):
        ...         return lambda noise: (noise, normal_log_prob(noise))
        >>> x, noise = torch.rand(1, 3, 4), torch.randn(1, 3, 2)
        >>> AroundZero().sample_with_divergence(x, noise, StandardNormal(), log_det_rows=0).divergence
        tensor([0.])
    """

    noise_dim: int
    """Dimensions of the normal noise that a sample needs in evaluation."""
    mean_is_exact = False
    """True where `mean` is E_q[z] whatever the noise."""

    @property
    def jittered(self) -> Int[Tensor, " R"] | None:
        """How many C of each replica got jitter in training so far (`log_det.gram_cholesky`); None without any C."""
        return None

    @property
    def training_noise_dim(self) -> int:
        """Noise dimensions of a training sample; the same as in evaluation unless a posterior says otherwise."""
        return self.noise_dim

    @property
    def latent_dim(self) -> int:
        """Number m of latents; the dimensions of the noise unless a posterior says otherwise."""
        return self.noise_dim

    def jacobian_rows(self, samples: int) -> int:
        """Rows of the Jacobian that `condition(x, samples)` computes for an image: what bounds its memory."""
        return 1

    @property
    def training_jacobian_rows(self) -> int:
        """Rows of the Jacobian that an image costs in training, where micro-batches keep memory in bounds."""
        return 1

    @property
    def log_det_image_rows(self) -> int:
        """Rows of the Jacobian that the log-determinant of one image takes in training."""
        return 1

    def initialise(self, generators: Generators) -> None:
        """Draw the initial parameters, replica r from `generators[r]`."""

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> Sampler:
        """Prepare q(z|x) and return its sampler, `noise (R, N, K, d) -> z (R, N, K, m), log q (R, N, K)`.

        `samples` says how many draws an image will be asked for in all.
        """
        raise NotImplementedError

    def mean(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N m"]:
        """Return E_q[z] of each image: here the mean of its K samples with that noise."""
        return self.condition(x, noise.shape[2])(noise)[0].mean(2)

    def sample_with_divergence(
        self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"], prior: Prior, log_det_rows: int
    ) -> PosteriorSample:
        """Draw one sample for each image, with the mean over images of log q(z|x) - log p(z) at it, in nats."""
        z, log_q = self.condition(x)(noise[:, :, None])
        return PosteriorSample(z[:, :, 0], (log_q - prior.log_prob(z)).mean((1, 2)))


class DiagonalGaussian(Posterior):
    r"""The VAE's posterior, a Gaussian of diagonal covariance (Kingma & Welling, 2013, arXiv:1312.6114).

    .. math:: q(z|x) = \mathcal{N}(\mu(x), \mathrm{diag}\, s(x)^2), \qquad z = \mu + s \odot \eta

    Against the normal prior that it assumes, the KL term of eq. (2) is closed:

    .. math:: \mathrm{KL} = \tfrac{1}{2} \sum_j s_j^2 + \mu_j^2 - 1 - \log s_j^2

    The log-variances are a parallel projection on the last block's output, zero at the start: s = 1.

    Args:
        encoder: the ResNet from n pixels whose last projection gives mu, of m dimensions.

    Example:
        >>> from vdae_bench.models.priors import StandardNormal
        >>> posterior = DiagonalGaussian(ResNet(replicas=1, widths=[4, 2], hidden=3, blocks=1))  # mu = 0, s = 1
        >>> z, log_q = posterior.condition(torch.rand(1, 3, 4))(torch.randn(1, 3, 5, 2))
        >>> z.shape, log_q.shape
        (torch.Size([1, 3, 5, 2]), torch.Size([1, 3, 5]))
        >>> posterior.sample_with_divergence(torch.rand(1, 3, 4), z[:, :, 0], StandardNormal(), 0).divergence.item()
        0.0
    """

    mean_is_exact = True

    def __init__(self, encoder: ResNet) -> None:
        super().__init__()
        self.encoder = encoder
        mean_head = encoder.projections[-1].weight
        self.log_variance_head = Linear(*mean_head.shape)
        self.noise_dim = mean_head.shape[-1]

    def initialise(self, generators: Generators) -> None:
        """Initialise the encoder; the log-variance head stays zero."""
        self.encoder.initialise(generators)

    def moments(self, x: Float[Tensor, "R N n"]) -> tuple[Float[Tensor, "R N m"], Float[Tensor, "R N m"]]:
        """Return mean and log-variance of each latent."""
        return self.heads(self.trunk(x), x.dtype)

    def trunk(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N h"]:
        """Return what the heads see: the last block's output."""
        h: Tensor = x
        for layer in self.encoder.layers[:-1]:
            h = layer(h)
        return h

    def heads(self, h: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of each latent, from the last block's output."""
        return self.encoder.layers[-1](h).to(dtype), self.log_variance_head(h).to(dtype)

    def mean(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N m"]:
        """Return E_q[z] = mu(x), which is exact."""
        return self.moments(x)[0]

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> Sampler:
        """Return the sampler `mu + s eta`, with log q = log N(eta; 0, I) - sum log s."""
        return _gaussian_sampler(*self.moments(x))

    def sample_with_divergence(
        self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N m"], prior: Prior, log_det_rows: int
    ) -> PosteriorSample:
        """Draw one sample for each image, with the closed form of KL[q || N(0, I)]."""
        mean, log_variance = self.moments(x)
        kl = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)
        return PosteriorSample(mean + torch.exp(0.5 * log_variance) * noise, kl.mean(1))


def _gaussian_sampler(mean: Float[Tensor, "R N m"], log_variance: Float[Tensor, "R N m"]) -> Sampler:
    """Return the sampler of `mean + s eta`, with log q = log N(eta; 0, I) - sum log s."""
    mean, log_variance = mean[:, :, None], log_variance[:, :, None]
    deviation, log_volume = torch.exp(0.5 * log_variance), 0.5 * log_variance.sum(-1)

    def sample(eta: Tensor) -> tuple[Tensor, Tensor]:
        return mean + deviation * eta, normal_log_prob(eta) - log_volume

    return sample


class Conditioned(DiagonalGaussian):
    r"""A flow of the noise that sees x, the closing conjecture of the paper (section 6): z = f(w; h(x)).

    .. math::
        z_0 = \mu(x) + s(x) \odot w, \qquad w \sim \mathcal{N}(0, I_m), \qquad z = f(z_0; c(x)), \qquad
        \log q(z|x) = \log \mathcal{N}(w; 0, I_m) - \sum_j \log s_j - \log \left| \det \partial f / \partial z_0 \right|

    An encoder h gives mu, log s and a context c once for each image. The flow f is a chain of affine couplings, whose
    networks see one half of their input and c (compare Kingma et al., 2016, arXiv:1606.04934). Without couplings this
    is the VAE. Log q is sampled, except without couplings, where the KL has a closed form.

    Args:
        encoder: the ResNet from n pixels whose last projection gives mu, of m dimensions.
        couplings: f, with a context; None: the identity.
        context: dimensions of c.

    Example:
        >>> from vdae_bench.models.flows.couplings import Couplings
        >>> flow = Couplings(1, dims=2, couplings=2, hidden=3, hidden_layers=1, kind="affine", context=5)
        >>> posterior = Conditioned(ResNet(replicas=1, widths=[4, 2], hidden=3, blocks=1), flow, context=5)
        >>> z, log_q = posterior.condition(torch.rand(1, 3, 4))(torch.randn(1, 3, 6, 2))
        >>> z.shape, log_q.shape
        (torch.Size([1, 3, 6, 2]), torch.Size([1, 3, 6]))
    """

    def __init__(self, encoder: ResNet, couplings: Couplings | None, context: int) -> None:
        super().__init__(encoder)
        self.mean_is_exact = couplings is None
        self.couplings = couplings
        replicas, width, _ = encoder.projections[-1].weight.shape
        self.context_head = Linear(replicas, width, context) if couplings else None

    def initialise(self, generators: Generators) -> None:
        """Initialise the encoder, the context's projection and the couplings, which start as the identity."""
        super().initialise(generators)
        if self.couplings is not None and self.context_head is not None:
            self.context_head.he_normal_(generators)
            self.couplings.initialise(generators)

    @torch.no_grad()
    def start_affine_(
        self, location: Float[Tensor, "... n"], log_scale: Float[Tensor, "R 1 n"], log_sigma: Float[Tensor, "R 1 1"]
    ) -> None:
        """Start as `z = exp(log_scale) (x + sigma w - location)`, as a flow of noisy data does; needs m = n."""
        *others, last = self.encoder.projections
        identity = torch.eye(location.shape[-1], dtype=location.dtype, device=location.device)
        for projection in others:
            projection.weight.copy_(identity)
        last.weight.copy_(identity * log_scale.exp())
        last.bias.copy_(-location * log_scale.exp())
        self.log_variance_head.bias.copy_(2 * (log_scale + log_sigma))

    def mean(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N m"]:
        """Return E_q[z]: mu(x) without couplings, else the mean of the samples of that noise."""
        return super().mean(x, noise) if self.couplings is None else Posterior.mean(self, x, noise)

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> Sampler:
        """Return the sampler, for which the encoder passes over each image once."""
        h = self.trunk(x)
        base = _gaussian_sampler(*self.heads(h, x.dtype))
        if self.couplings is None or self.context_head is None:
            return base
        couplings, context = self.couplings, self.context_head(h)

        def sample(w: Tensor) -> tuple[Tensor, Tensor]:
            start, log_q = base(w)
            rows = context[:, :, None].expand(-1, -1, w.shape[2], -1).flatten(1, 2)
            z, log_det = couplings.forward_and_log_det(start.flatten(1, 2), rows)
            return z.view_as(start), log_q - log_det.expand(-1, rows.shape[1]).view_as(log_q)

        return sample

    def sample_with_divergence(
        self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N m"], prior: Prior, log_det_rows: int
    ) -> PosteriorSample:
        """Draw one sample for each image with its sampled log q - log p, or with the closed KL if there is one."""
        if self.couplings is None and isinstance(prior, StandardNormal):
            return super().sample_with_divergence(x, noise, prior, log_det_rows)
        return Posterior.sample_with_divergence(self, x, noise, prior, log_det_rows)


class LinearisedFlow(Posterior):
    r"""L-VDAE's posterior, a Gaussian shaped by the encoder's Jacobian J at x, eq. (7), for any encoder f with m <= n.

    .. math:: q(z|x) = \mathcal{N}(f(x), \sigma^2 C), \qquad C = J J^T

    Its entropy is eq. (8) with the sigma that the paper drops, and against the normal prior that it assumes the KL is
    closed:

    .. math::
        \mathrm{H} = \tfrac{m}{2} \log 2 \pi e + m \log \sigma + \tfrac{1}{2} \log \det C, \qquad
        \mathrm{KL} = \tfrac{1}{2} \left( \sigma^2 \mathrm{tr}\, C + |f|^2 - m - 2 m \log \sigma - \log \det C \right)

    Four estimators of one training objective:

    - `exact`: C of every image; the sample is f(x) + sigma L eta with L the Cholesky factor of C.
    - `subset`: the objective is a mean over images and a batch is a random draw of them, so log det C and tr C of the
      batch's first images estimate the mean without bias; the sample f(x) + sigma J w needs one Jacobian-vector
      product and no J. This removes the factor m of section 3.1.
    - `projected`: the log-determinant as in `subset`; the sample is f(x) + sigma J w' with w' = J^T L^-T eta taken as a
      constant, so that J w' = L eta: the noise of `exact`, at the price of J without its gradient.
    - `lanczos`: the sample of `subset`, and C's terms by stochastic Lanczos quadrature with one probe for each image.
      It costs 2k rows instead of m and needs neither C nor J, as section 3.1 hopes, but log det C is biased
      (`log_det.log_quadrature`; tr C is not). It has less noise for the same rows only if
      2k (1 + V_probe / V_images) < m, with the variances of the gradient from probes and from images; MNIST is far
      from that (`paper/README.md`). Validation is that of `subset`.

    Evaluation (`condition`) is always exact. At m = 64 and H = 64, 30 epochs of 2,500 binary images take 247 s for each
    seed on one core with `exact`, 101 s with `projected` and 24 s with `subset`, and end with a test -ELBO of 114.87,
    114.92 and 115.36 nats.

    Args:
        encoder: f, from n to m dimensions.
        replicas: R.
        data_dim: n.
        latents: m.
        log_det: the estimator.
        fixed_log_sigma: one value for each replica; without it sigma is learned, from 1.
        lanczos_steps: k of `lanczos`, at most m.

    Example:
        >>> encoder = Linear(replicas=1, inputs=3, outputs=2)
        >>> encoder.weight.data[0] = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])  # C = diag(4, 1)
        >>> posterior = LinearisedFlow(encoder, replicas=1, data_dim=3, latents=2, log_det="exact")
        >>> z, log_q = posterior.condition(torch.ones(1, 1, 3))(torch.zeros(1, 1, 1, 2))
        >>> z[0, 0, 0].tolist(), round(log_q.item(), 4)  # f(x), -log 2 pi - 1/2 log 4
        ([2.0, 1.0], -2.531)
    """

    mean_is_exact = True

    log_sigma: Tensor

    _jittered: Tensor

    def __init__(
        self,
        encoder: Layer,
        replicas: int,
        data_dim: int,
        latents: int,
        log_det: Estimator,
        fixed_log_sigma: Sequence[float] | None = None,
        lanczos_steps: int = LANCZOS_STEPS,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.data_dim = data_dim
        self.noise_dim = latents
        self.log_det = log_det
        self.lanczos_steps = min(lanczos_steps, latents)
        if fixed_log_sigma is None:
            self.log_sigma = nn.Parameter(torch.zeros(replicas, 1, 1))
        else:
            self.register_buffer("log_sigma", torch.tensor(fixed_log_sigma, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("_jittered", torch.zeros(replicas, dtype=torch.int64), persistent=False)

    @property
    def jittered(self) -> Int[Tensor, " R"]:
        """How many C of each replica got jitter in training so far."""
        return self._jittered

    @property
    def training_noise_dim(self) -> int:
        """Dimensions of a training sample's noise: w in R^n, with the probe for `lanczos`, or else eta in R^m."""
        if self.log_det == "lanczos":
            return self.data_dim + self.noise_dim
        return self.data_dim if self.log_det == "subset" else self.noise_dim

    def jacobian_rows(self, samples: int) -> int:
        """Rows of the Jacobian for each image: one for each latent."""
        return self.noise_dim

    @property
    def training_jacobian_rows(self) -> int:
        """Rows of the Jacobian for each image in training: about one with `subset` and `lanczos` for any m, else m."""
        return 1 if self.log_det in ("subset", "lanczos") else self.noise_dim

    @property
    def log_det_image_rows(self) -> int:
        """Rows of the Jacobian that the log-determinant of one image takes in training."""
        return 2 * self.lanczos_steps if self.log_det == "lanczos" else self.noise_dim

    def initialise(self, generators: Generators) -> None:
        """Initialise the encoder; sigma starts at 1."""
        self.encoder.initialise(generators)

    def jacobian(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N m n"]:
        """Return J = df/dx of each image."""
        return self._jacobian(self.encoder.linearise(x)[2], x, images=x.shape[1])

    def _jacobian(self, pull: Pullback, x: Tensor, images: int) -> Float[Tensor, "R S m n"]:
        """Return J = df/dx of the first images, row by row from the unit cotangents."""
        unit = torch.eye(self.noise_dim, dtype=x.dtype, device=x.device)
        return pull(Cotangents(unit.expand(x.shape[0], images, -1, -1))).dense().to(x.dtype)

    @torch.no_grad()
    def _projected(
        self, pull: Pullback, x: Float[Tensor, "R N n"], eta: Float[Tensor, "R N m"], count_in: Tensor | None
    ) -> Tensor:
        """Return w = J^T L^-T eta, which lies in the row space of J and gives J w = L eta; no gradient passes."""
        jacobian = self._jacobian(pull, x, x.shape[1])
        factor = gram_cholesky(jacobian, count_in)
        with full_precision(x.device):
            solved: Tensor = torch.linalg.solve_triangular(factor.mT, eta[..., None], upper=True)
            return (jacobian.mT @ solved)[..., 0]

    def lanczos_terms(
        self, x: Float[Tensor, "R S n"], probe: Float[Tensor, "R S m"]
    ) -> tuple[Float[Tensor, "R S"], Float[Tensor, "R S"]]:
        """Return estimates of tr C (unbiased) and log det C (biased, see `log_quadrature`), by one probe an image."""
        _, push, pull = self.encoder.linearise(x)
        rows = lanczos_rows(lambda g: pull(Cotangents(g)).dense().to(x.dtype), push, probe, self.lanczos_steps)
        return self.noise_dim * rows[:, :, 0].square().sum(-1), self.noise_dim * log_quadrature(rows)

    def mean(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N m"]:
        """Return E_q[z] = f(x), which is exact."""
        return self.encoder(x)

    def correlation(self, x: Float[Tensor, "R N n"]) -> Float[Tensor, "R N m m"]:
        """Return the posterior's correlations for each image, C normalised: a diagonal posterior has none."""
        jacobian = self.jacobian(x)
        with full_precision(x.device):
            directions = torch.nn.functional.normalize(jacobian, dim=-1)
            return directions @ directions.mT

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> Sampler:
        """Return the sampler `f(x) + sigma L eta`, with L the Cholesky factor of C: one J, then cheap samples."""
        mean, _, pull = self.encoder.linearise(x)
        factor = gram_cholesky(self._jacobian(pull, x, images=x.shape[1]))
        log_volume = self.noise_dim * self.log_sigma + 0.5 * log_det_gram(factor)[:, :, None]
        scale = self.log_sigma.exp()[..., None] * factor

        def sample(eta: Tensor) -> tuple[Tensor, Tensor]:
            with full_precision(eta.device):
                return mean[:, :, None] + eta @ scale.mT, normal_log_prob(eta) - log_volume

        return sample

    def sample_with_divergence(
        self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N d"], prior: Prior, log_det_rows: int
    ) -> PosteriorSample:
        """Draw one sample for each image, with the closed KL[q || N(0, I)], its C terms by the estimator.

        `log_det_rows` is the number of Jacobian rows that all but `exact` may spend on the batch.
        """
        # Training draws its batches at random and validation moves the images on, so the first few of them are a
        # random part, and the mean of their C terms estimates that of all without bias: over the shifts of a batch it
        # is exact (tests/mathematics/test_estimators.py). How many matters little: at m = 64 and batch 250, L-VDAE
        # ends at 99.61 +- 0.22 nats with the 4 images of one row an image, at 99.47 +- 0.01 with 16.
        m, batch = self.noise_dim, x.shape[1]
        mean, push, pull = self.encoder.linearise(x)
        training = torch.is_grad_enabled()  # and not validation
        probes = self.log_det == "lanczos" and training
        rows = self.log_det_image_rows if probes else m
        images = batch if self.log_det == "exact" else min(batch, max(1, round(log_det_rows / rows)))
        w = noise[..., : self.data_dim]
        if probes:
            signs = torch.where(noise[:, :images, self.data_dim :] < 0, -1.0, 1.0).to(x.dtype)
            trace, log_det = self.lanczos_terms(x[:, :images], signs)
        else:
            count_in = self.jittered if training else None
            jacobian = self._jacobian(pull, x, images)
            factor = gram_cholesky(jacobian, count_in)
            trace, log_det = jacobian.square().sum((2, 3)), log_det_gram(factor)
            if self.log_det == "projected":
                w = self._projected(pull, x, noise, count_in)
        sigma = self.log_sigma.exp()
        if self.log_det == "exact":
            with full_precision(x.device):
                deviation = (factor @ noise[..., None])[..., 0]
        else:
            deviation = push(w[:, :, None])[:, :, 0]
        variance_terms = sigma.square()[:, 0, 0] * trace.mean(1) - log_det.mean(1)
        kl = 0.5 * (mean.square().sum(-1).mean(1) + variance_terms - m) - m * self.log_sigma[:, 0, 0]
        with torch.no_grad():
            stand_for = math.inf if probes else batch  # probes leave noise even where all images have one
            kl_variance = variance_of_mean(0.5 * (sigma.square()[:, 0] * trace - log_det), stand_for)
        return PosteriorSample(mean + sigma * deviation, kl, kl_variance)


def variance_of_mean(values: Float[Tensor, "R S"], images: float) -> Float[Tensor, " R"]:
    """Squared standard error of a mean over S images that were drawn without replacement from all `images`.

    It is 0 if S is all of them, and not finite if S is 1 of several.

    >>> variance_of_mean(torch.tensor([[1.0, 3.0]]), 4), variance_of_mean(torch.tensor([[1.0, 3.0]]), 2)
    (tensor([0.5000]), tensor([0.]))
    """
    seen = values.shape[1]
    if seen == images:
        return values.new_zeros(len(values))
    return values.var(1, correction=1) / seen * (1 - seen / images) if seen > 1 else values[:, 0] * torch.inf


class NoiseScale(nn.Module):
    """The sigma of the noise q(eps) = N(0, sigma^2 I_n), learned or fixed.

    Args:
        values: log sigma of each replica.
        learned: the values are where training starts.
    """

    def __init__(self, values: Sequence[float], *, learned: bool) -> None:
        super().__init__()
        log_sigma = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
        if learned:
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)


class FlowPosterior(Posterior):
    r"""Base of the posteriors on a flow f as encoder: noise sigma w in data space, w ~ N(0, I_n), and m = n.

    .. math:: \log q(z|x) = \log \mathcal{N}(w; 0, I_n) - n \log \sigma - \log \left| \det J \right|

    A subclass supplies `condition`, which turns w into z. log q is sampled, although its entropy has a closed form with
    NICE: near the optimum the log weight is almost constant, while the closed entropy would leave
    sqrt(n / 2) = 19.8 nats of noise.

    Args:
        flow: f.
        scale: sigma.
        dims: n.
    """

    def __init__(self, flow: Flow, scale: NoiseScale, dims: int) -> None:
        super().__init__()
        self.flow = flow
        self.scale = scale
        self.noise_dim = dims

    @property
    def log_sigma(self) -> Float[Tensor, "R 1 1"]:
        """Logarithm of each replica's sigma."""
        return self.scale.log_sigma

    def initialise(self, generators: Generators) -> None:
        """Draw the flow's parameters; it starts as the identity."""
        self.flow.initialise(generators)

    def jacobian_rows(self, samples: int) -> int:
        """Rows that an image with its samples takes inside the flow; 1 with NICE, whose rows the samples are."""
        rows = self.flow.activation_rows
        return rows * samples if rows > 1 else 1

    @property
    def training_jacobian_rows(self) -> int:
        """Rows that an image takes inside the flow in training."""
        return self.flow.activation_rows

    def log_q(self, w: Float[Tensor, "R N K n"], log_det: Float[Tensor, "R #N #K"]) -> Float[Tensor, "R N K"]:
        """Return log q(z|x) of the latents that the noise w gives, from `log |det J|` of each."""
        return normal_log_prob(w) - self.noise_dim * self.log_sigma - log_det


class PushForward(FlowPosterior):
    r"""VDAE's posterior: data with noise, sent through an invertible f, eqs. (4) and (5).

    .. math:: z = f(x + \epsilon), \qquad \epsilon = \sigma w \sim \mathcal{N}(0, \sigma^2 I_n)

    Example:
        >>> from vdae_bench.models.flows.couplings import Couplings
        >>> flow = Couplings(replicas=1, dims=2, couplings=2, hidden=3, hidden_layers=1)  # the identity
        >>> posterior = PushForward(flow, NoiseScale([0.0], learned=False), dims=2)  # sigma = 1
        >>> z, log_q = posterior.condition(torch.ones(1, 1, 2))(torch.tensor([[[[0.0, 2.0]]]]))
        >>> z[0, 0, 0].tolist(), round(log_q.item(), 4)  # -log 2 pi - 1/2 |w|^2
        ([1.0, 3.0], -3.8379)
    """

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> Sampler:
        """Return a sampler that sends each noisy image through the flow."""

        def sample(w: Tensor) -> tuple[Tensor, Tensor]:
            noisy = x[:, :, None] + self.log_sigma.exp()[..., None] * w
            z, log_det = self.flow.forward_and_log_det(noisy.flatten(1, 2))
            one_for_all = log_det.shape[1] < z.shape[1]
            log_det = log_det[:, :, None] if one_for_all else log_det.unflatten(1, w.shape[1:3])
            return z.unflatten(1, w.shape[1:3]), self.log_q(w, log_det)

        return sample


class LinearisedBijection(FlowPosterior):
    r"""L-VDAE's posterior with m = n, eq. (7): the linearisation of a flow, whose determinant is known.

    .. math:: z = f(x) + \sigma J w

    A sample is a Jacobian-vector product (section 3.2, with the sigma that the paper drops). If more than n samples of
    an image are drawn, J is formed once for that image instead.

    Example:
        >>> from vdae_bench.models.flows.couplings import Couplings
        >>> flow = Couplings(replicas=1, dims=2, couplings=2, hidden=3, hidden_layers=1)
        >>> flow.start_affine_(torch.zeros(2), torch.tensor([2.0, 1.0]).log())  # J = diag(2, 1)
        >>> posterior = LinearisedBijection(flow, NoiseScale([0.0], learned=False), dims=2)  # sigma = 1
        >>> posterior.condition(torch.ones(1, 1, 2))(torch.ones(1, 1, 1, 2))[0][0, 0, 0].tolist()
        [4.0, 2.0]
    """

    mean_is_exact = True

    def mean(self, x: Float[Tensor, "R N n"], noise: Float[Tensor, "R N K d"]) -> Float[Tensor, "R N m"]:
        """Return E_q[z] = f(x), which is exact."""
        return self.flow(x)

    def jacobian_rows(self, samples: int) -> int:
        """Rows of the Jacobian for each image: n if J is formed, else those that the samples take inside the flow."""
        if samples > self.noise_dim:
            return self.noise_dim * self.flow.activation_rows
        return super().jacobian_rows(samples)

    def condition(self, x: Float[Tensor, "R N n"], samples: int = 1) -> Sampler:
        """Return a sampler by f's pushforward, or by J where many samples are to come."""
        if samples <= self.noise_dim:
            return lambda w: self._sample(w, *self.flow.push_forward(x, w))
        unit = torch.eye(self.noise_dim, dtype=x.dtype, device=x.device)
        mean, log_det, columns = self.flow.push_forward(x, unit.expand(*x.shape[:2], -1, -1))  # row i is J e_i

        def sample(w: Tensor) -> tuple[Tensor, Tensor]:
            with full_precision(w.device):
                return self._sample(w, mean, log_det, w @ columns)

        return sample

    def _sample(self, w: Tensor, mean: Tensor, log_det: Tensor, pushed: Tensor) -> tuple[Tensor, Tensor]:
        """Return `f(x) + sigma J w` and its log q, given J w."""
        return mean[:, :, None] + self.log_sigma.exp()[..., None] * pushed, self.log_q(w, log_det[:, :, None])
