"""The space of models on a toy data set in the plane: three posteriors, and noise from large to zero.

Each model is `p(z) p(x|z)` with its posterior, put together here from the parts of the methods in the tables. The noise
sigma is given, the decoder is N(g(z), sigma^2 I) as in eq. (6), and a flow is what remains at sigma = 0.

Training has two stages. First VDAE with the inverse of its encoder as decoder, at each sigma. From its weights start
VDAE and L-VDAE with a decoder of their own, free to leave that inverse, and the flow, from the smallest sigma. (Begun
anew, a model of small sigma leaves f unshaped: its decoder would have to follow f to within sigma.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.data.noise import NoiseSource, initial_generators
from vdae_bench.models.flows.couplings import Couplings, InverseFlow
from vdae_bench.models.likelihoods import Gaussian
from vdae_bench.models.model import FlowModel, LatentVariableModel, Model
from vdae_bench.models.networks import ResNet
from vdae_bench.models.posteriors import DiagonalGaussian, FlowPosterior, LinearisedBijection, NoiseScale, PushForward
from vdae_bench.models.priors import StandardLogistic, StandardNormal
from vdae_bench.training.adam import AdamSettings, ReplicaAdam

CPU = torch.device("cpu")
SEED = 0
SIGMAS = (0.5, 0.3, 0.2, 0.1, 0.06, 0.03)
"""Noise levels, from large to small: a replica each."""
LARGE, SMALL = SIGMAS.index(0.5), SIGMAS.index(0.2)
"""The replicas whose portraits are taken; VAE and L-VDAE have the large noise."""
STEPS = 800
"""Number of steps of each stage; the VAE, which has only one, takes twice as many."""
BATCH_SIZE = 256
HIDDEN = 32
ADAM = AdamSettings(learning_rate=5e-3, schedule="linear", adam_beta2=0.99, adam_eps=1e-8)
SCALAR_RATE = 10.0
TEST_POINTS = 4000
TEST_SAMPLES = 16
"""Number of samples of q(z|x) for each test point."""

WAVE_NOISE = 0.1
PLACES = torch.tensor([0.04, 0.29, 0.5, 0.71, 0.96])
"""Places along the wave of the points whose posteriors are shown."""
TWO_THIRDS = math.sqrt(2 * math.log(3))
"""The radius of the circle that holds two thirds of N(0, I) in the plane."""
CIRCLE_POINTS = 121
CLOUD_POINTS = 250


@dataclass(frozen=True)
class Portrait:
    """One model: its posteriors at P points x, as images of a circle that holds two thirds of the noise."""

    name: str
    sigma: float
    score: float
    """The model's -ELBO in nats a point; the exact NLL for the flow, which has no noise."""
    noisy_inputs: Float[Tensor, "P C 2"]
    """The encoder's inputs x + sigma w; x itself for the VAE and the flow, which add nothing to x."""
    latents: Float[Tensor, "P C 2"]
    reconstructions: Float[Tensor, "P C 2"]
    """The decoder's mean g(z) for those latents."""
    centres: Float[Tensor, "P 2"]
    """The latents of the points x at w = 0."""
    codes: Float[Tensor, "N 2"]
    """One sample of q(z|x) for each data point: about the prior, if the model fits."""
    generated: Float[Tensor, "N 2"]
    """Samples that the model generates, of p(x|z) p(z)."""


@dataclass(frozen=True)
class Illustration:
    """The content of the picture; scores are -ELBO in nats a point, a value for each of `SIGMAS`."""

    data: Float[Tensor, "N 2"]
    points: Float[Tensor, "P 2"]
    portraits: tuple[Portrait, ...]
    """Portraits of VAE, L-VDAE, VDAE with large and with small noise, the flow."""
    coupled: tuple[float, ...]
    """Scores of VDAE whose decoder is the inverse of its encoder."""
    decoupled: tuple[float, ...]
    """Scores of VDAE with a decoder of its own."""

    @property
    def flow_nll(self) -> float:
        """The flow's exact NLL in nats a point."""
        return self.portraits[-1].score


def wave(place: Float[Tensor, " N"]) -> Float[Tensor, "N 2"]:
    """The curve (u, sin 1.6 u), u from -2 to 2 as `place` goes from 0 to 1: one turn of a sine."""
    u = 4 * place - 2
    return torch.stack((u, torch.sin(1.6 * u)), -1)


def draw_data(stream: str, step: int, count: int) -> Float[Tensor, "N 2"]:
    """Data points on the wave with normal noise; those of a (stream, step) are always the same."""
    source = NoiseSource((SEED,), CPU)
    place = source.uniform_(f"{stream}, place", step, torch.empty(1, count))[0]
    return wave(place) + WAVE_NOISE * source.normal_(f"{stream}, noise", step, torch.empty(1, count, 2))[0]


def nice(replicas: int) -> Couplings:
    """A small flow of the kind in Appendix D."""
    return Couplings(replicas, dims=2, couplings=4, hidden=HIDDEN, hidden_layers=2)


def noise_scale(*sigmas: float) -> NoiseScale:
    """The scale of fixed noise; 0 is allowed, for a posterior that is only sampled from."""
    return NoiseScale([math.log(sigma) if sigma else -math.inf for sigma in sigmas], learned=False)


def vae(sigma: float) -> LatentVariableModel:
    """The VAE with m = n = 2: diagonal Gaussian posterior, ResNets, normal prior."""
    encoder, decoder = (ResNet(1, [2, 2, 2], hidden=HIDDEN, blocks=1) for _ in range(2))
    scale = noise_scale(sigma)
    likelihood = Gaussian(1, "linear", tied=lambda: scale.log_sigma)
    return LatentVariableModel(DiagonalGaussian(encoder), decoder, likelihood, StandardNormal())


def flow_based(posterior: FlowPosterior, decoder: InverseFlow) -> LatentVariableModel:
    """VDAE or L-VDAE with a posterior on a flow: logistic prior, decoder N(g(z), sigma^2 I) with the same sigma."""
    likelihood = Gaussian(len(posterior.log_sigma), "linear", tied=lambda: posterior.log_sigma)
    return LatentVariableModel(posterior, decoder, likelihood, StandardLogistic())


@torch.no_grad()
def start_from(flow: Couplings, trained: Couplings, replicas: Sequence[int]) -> Couplings:
    """Give `flow` the weights of some replicas of a trained one."""
    for mine, theirs in zip(flow.parameters(), trained.parameters(), strict=True):
        mine.copy_(theirs[list(replicas)])
    return flow


def replicas_of(model: Model) -> int:
    """Number R of replicas of a model, the first dimension of every parameter."""
    return len(next(model.parameters()))


def fit(model: Model, steps: int) -> None:
    """Train a model by its -ELBO; all replicas see the same batches and the same noise."""
    replicas = replicas_of(model)
    optimiser = ReplicaAdam(model, [ADAM] * replicas, SCALAR_RATE)
    noise = NoiseSource((SEED,) * replicas, CPU)
    for step in range(steps):
        x = draw_data("training", step, BATCH_SIZE).expand(replicas, -1, -1)
        eta = noise.normal_("posterior", step, torch.empty(replicas, BATCH_SIZE, model.training_noise_dim))
        terms = model.bound_terms(x, eta, log_det_rows=0)
        optimiser.differentiate(terms.reconstruction + terms.divergence, accumulate=False)
        optimiser.step(step, steps)


@torch.no_grad()
def scores(model: Model) -> tuple[float, ...]:
    """Test -ELBO of each replica, in nats a point; the exact NLL of a flow."""
    replicas = replicas_of(model)
    x = draw_data("test", 0, TEST_POINTS).expand(replicas, -1, -1)
    eta = torch.empty(replicas, TEST_POINTS, TEST_SAMPLES, model.noise_dim)
    log_w = model.condition(x, TEST_SAMPLES)(NoiseSource((SEED,) * replicas, CPU).normal_("test", 0, eta))
    return tuple((-log_w.double().mean((1, 2))).tolist())


@torch.no_grad()
def portrait(name: str, sigma: float, score: float, model: LatentVariableModel, replica: int = 0) -> Portrait:
    """Send a circle of noise around each point through encoder and decoder, and samples through the model."""
    replicas = replicas_of(model)

    def latents(x: Float[Tensor, "N 2"], w: Float[Tensor, "N K 2"]) -> Float[Tensor, "N K 2"]:
        sample = model.posterior.condition(x.expand(replicas, -1, -1), w.shape[1])
        return sample(w.expand(replicas, -1, -1, -1))[0][replica]

    def decoded(z: Float[Tensor, "N K 2"]) -> Float[Tensor, "N K 2"]:
        return model.decoder(z.flatten(0, 1).expand(replicas, -1, -1))[replica].view(z.shape)

    def normal(stream: str) -> Float[Tensor, "N 1 2"]:
        return NoiseSource((SEED,), CPU).normal_(stream, 0, torch.empty(1, CLOUD_POINTS, 1, 2))[0]

    points = shown_points()
    angle = torch.linspace(0, 2 * math.pi, CIRCLE_POINTS)
    circle = (TWO_THIRDS * torch.stack((torch.cos(angle), torch.sin(angle)), -1)).expand(len(points), -1, -1)
    around = latents(points, circle)
    z = model.prior.from_normal(normal("prior"))
    return Portrait(
        name,
        sigma,
        score,
        noisy_inputs=points[:, None] + (sigma if isinstance(model.posterior, FlowPosterior) else 0.0) * circle,
        latents=around,
        reconstructions=decoded(around),
        centres=latents(points, torch.zeros(len(points), 1, 2))[:, 0],
        codes=latents(shown_data(), normal("codes"))[:, 0],
        generated=(decoded(z) + sigma * normal("generated"))[:, 0],
    )


def shown_points() -> Float[Tensor, "P 2"]:
    """The points whose posteriors are shown, on the wave's centre line."""
    return wave(PLACES)


def shown_data() -> Float[Tensor, "N 2"]:
    """The data points that are shown."""
    return draw_data("shown", 0, CLOUD_POINTS)


def illustrate(steps: int = STEPS) -> Illustration:
    """Train the models and take their portraits."""
    count = len(SIGMAS)
    start = draw_data("start", 0, TEST_POINTS)

    encoder = nice(count)
    coupled = flow_based(PushForward(encoder, noise_scale(*SIGMAS), 2), InverseFlow(encoder))
    coupled.initialise(initial_generators((SEED,) * count))
    encoder.initialise_from_data(start.mean(0), start.var(0) + noise_scale(*SIGMAS).log_sigma.exp().square())
    fit(coupled, steps)

    def second_stage(posterior: type[FlowPosterior], replicas: Sequence[int]) -> LatentVariableModel:
        sigmas = [SIGMAS[replica] for replica in replicas]
        flow, inverse = (start_from(nice(len(sigmas)), encoder, replicas) for _ in range(2))
        model = flow_based(posterior(flow, noise_scale(*sigmas), 2), InverseFlow(inverse))
        fit(model, steps)
        return model

    vdae = second_stage(PushForward, range(count))
    lvdae = second_stage(LinearisedBijection, [LARGE])
    flow = start_from(nice(1), encoder, [count - 1])
    exact = FlowModel(flow)
    fit(exact, steps)
    flow_as_vdae = flow_based(PushForward(flow, noise_scale(0.0), 2), InverseFlow(flow))
    gaussian = vae(SIGMAS[LARGE])
    gaussian.initialise(initial_generators((SEED,)))
    fit(gaussian, 2 * steps)

    decoupled = scores(vdae)
    portraits = (
        portrait("VAE", SIGMAS[LARGE], scores(gaussian)[0], gaussian),
        portrait("L-VDAE", SIGMAS[LARGE], scores(lvdae)[0], lvdae),
        portrait("VDAE", SIGMAS[LARGE], decoupled[LARGE], vdae, LARGE),
        portrait("VDAE", SIGMAS[SMALL], decoupled[SMALL], vdae, SMALL),
        portrait("flow", 0.0, scores(exact)[0], flow_as_vdae),
    )
    return Illustration(shown_data(), shown_points(), portraits, scores(coupled), decoupled)
