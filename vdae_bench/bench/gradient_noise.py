"""Noise of the gradient of log det C by `subset` and `lanczos` at equal cost, early in training (section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vdae_bench.bench.entries import Entry, Environment, Noise
from vdae_bench.bench.ours import Setting, Timed
from vdae_bench.bench.timing import count_flops
from vdae_bench.models.log_det import gram_cholesky, log_det_gram
from vdae_bench.models.posteriors import LinearisedFlow
from vdae_bench.system.words import counted

TRAINED_STEPS, BATCH, IMAGES = 50, 100, 24
"""Steps of training and images of each before the noise is measured, and on how many images that is."""
LANCZOS_STEPS = (5, 10, 20)
SUBJECT = "gradient noise"


@dataclass(frozen=True)
class GradientNoise:
    """The variance that a term on few images adds to the gradient, exact ones or with a probe each.

    A gradient of `subset` has the variance V_images of the exact term between images; one of `lanczos`, V_probe more:
    its mean squared distance from the exact one of the same image, with what truncation adds. For as many rows
    `subset` takes one image where `lanczos` takes m / 2k.
    """

    name: str
    latents: int
    per: ClassVar[str] = "image"
    on_gpu: ClassVar[bool] = False

    def run(self, setting: Setting, rounds: int | None, run: Environment) -> list[Entry]:
        """Train a little, then compare gradients on `rounds` images (24 unless given)."""
        m = setting.data_dim if self.latents == 784 else self.latents
        subject = Timed("lvdae", m, changes=(("batch_size", min(BATCH, setting.sizes.batch)),))
        trainer = subject.workbench(setting).trainer
        trained = min(TRAINED_STEPS, trainer.steps_per_epoch)
        for _ in range(trained):
            trainer.train_step()
        posterior = trainer.model.posterior
        assert isinstance(posterior, LinearisedFlow)
        images = setting.batch("binary")[: rounds or IMAGES]
        probes = torch.randn(images.shape[0], m, generator=torch.Generator().manual_seed(0)).sign()
        gradients, values, spectra = [], [], []
        for x in images:
            term, gradient = _term_and_gradient(posterior, lambda x=x: _exact(posterior, x))  # type: ignore[misc]
            gradients.append(gradient)
            values.append(term)
            spectra.append(_spectrum(posterior, x))
        exact = torch.stack(gradients)
        scale = exact.mean(0).square().sum() - exact.var(0).sum() / len(exact)  # |E g|^2 without the mean's noise
        between = (exact.var(0).sum() / scale).item()
        conditions = torch.stack([eigenvalues[-1] / eigenvalues[0] for eigenvalues, _ in spectra])
        flops = count_flops(lambda: _term_and_gradient(posterior, lambda: _exact(posterior, images[0])))
        entries = []
        for steps in sorted({min(steps, m) for steps in LANCZOS_STEPS}):
            posterior.lanczos_steps = steps
            distances, errors, biases = [], [], []
            for x, probe, value, gradient, spectrum in zip(images, probes, values, gradients, spectra, strict=True):
                term, mine = _term_and_gradient(posterior, lambda x=x, v=probe: _probed(posterior, x, v))  # type: ignore[misc]
                distances.append((mine - gradient).square().sum() / scale)
                errors.append((term - value).square())
                eigenvalues, vectors = spectrum
                limit = ((probe.double() @ vectors).square() * eigenvalues.log()).sum()  # v^T log(C) v
                biases.append(term.double() - limit)
            probed = torch.stack(distances).mean().item()
            theirs = count_flops(
                lambda: _term_and_gradient(posterior, lambda: _probed(posterior, images[0], probes[0]))
            )
            worse = (between + probed) / between
            taken = counted(steps, "step")
            entries.append(
                Entry(
                    name=f"Gradient of log det C, m = {m}, `lanczos` of {taken} for as many rows as `subset`",
                    peer="lanczos",
                    ratio=worse * 2 * steps / m,
                    case=self.name,
                    subject=SUBJECT,
                    per=self.per,
                    flops=flops,
                    peer_flops=theirs,
                    noise=Noise(
                        latents=m,
                        lanczos_steps=steps,
                        trained_steps=trained,
                        images=len(images),
                        images_variance=between,
                        probe_variance=probed,
                        images_deviation_nats=torch.stack(values).std().item(),
                        probe_deviation_nats=torch.stack(errors).mean().sqrt().item(),
                        equal_flops=worse * theirs / flops,
                        bias_nats=torch.stack(biases).mean().item(),
                        condition=conditions.median().item(),
                    ),
                    run=run,
                )
            )
        return entries


def _term_and_gradient(posterior: LinearisedFlow, term: Callable[[], Tensor]) -> tuple[Tensor, Float[Tensor, " P"]]:
    value = term()
    parameters = list(posterior.encoder.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return value.detach(), torch.cat([each.flatten() for each in gradients])


def _exact(posterior: LinearisedFlow, x: Float[Tensor, " n"]) -> Tensor:
    return log_det_gram(gram_cholesky(posterior.jacobian(x[None, None]))).sum()


def _probed(posterior: LinearisedFlow, x: Float[Tensor, " n"], probe: Float[Tensor, " m"]) -> Tensor:
    return posterior.lanczos_terms(x[None, None], probe[None, None])[1].sum()


@torch.no_grad()
def _spectrum(posterior: LinearisedFlow, x: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of C, in float64."""
    jacobian = posterior.jacobian(x[None, None])[0, 0].double()
    eigenvalues, vectors = torch.linalg.eigh(jacobian @ jacobian.mT)
    return eigenvalues, vectors
