"""The quality of samples in numbers: the Frechet distance to the test images in a classifier's features, and entropies.

The Frechet distance between two sets of images is that between Gaussians with the means and covariances of their
features (Heusel et al., 2017, with a classifier of the data at hand instead of Inception). As it is biased by the
number of samples, it is shown beside its floor, the distance of as many validation images. Two entropies (Salimans et
al., 2016) say what it mixes: of the classifier's prediction for a sample, low where a sample looks like one class, and
of the mean prediction, log C where all classes are equally frequent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from vdae_bench.data.views import ViewedImages, evenly_spaced
from vdae_bench.evaluation.classifier import Classifier, Outputs
from vdae_bench.store.evidence import Quality

BOOTSTRAPS = 30
"""Resamplings of the images behind an error bar."""


class Moments(NamedTuple):
    """Mean and covariance of features, float64."""

    mean: Float[Tensor, " F"]
    covariance: Float[Tensor, "F F"]


class Scores(NamedTuple):
    """Numbers of a set of images: the Frechet distance to the reference, and the two entropies in nats."""

    frechet: float
    classifier_entropy: float
    class_entropy: float


def moments(features: Float[Tensor, "N F"], counts: Real[Tensor, " N"] | None = None) -> Moments:
    """Mean and covariance (divisor N - 1) of the rows, each taken `counts` times, once by default."""
    rows = features.double()
    counts = torch.ones(len(rows), dtype=torch.float64) if counts is None else counts.double()
    total = counts.sum()
    mean = counts @ rows / total
    centred = rows - mean
    return Moments(mean, (centred * counts[:, None]).T @ centred / (total - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    r"""The Frechet distance between two Gaussians (Dowson & Landau, 1982).

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr} \left( A + B - 2 (A B)^{1/2} \right)

    The trace of the square root is the sum of the square roots of the eigenvalues of `A^(1/2) B A^(1/2)`, which is
    symmetric, so that singular covariances and rounding give no complex numbers.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * product
    return max(0.0, float(distance))


def entropies(log_probabilities: Float[Tensor, "N C"], counts: Real[Tensor, " N"] | None = None) -> tuple[float, float]:
    """Mean entropy of the predictions, and entropy of the mean prediction, in nats; each row taken `counts` times."""
    rows = log_probabilities.double()
    counts = torch.ones(len(rows), dtype=torch.float64) if counts is None else counts.double()
    weights = counts / counts.sum()
    probabilities = rows.exp()
    marginal = weights @ probabilities
    of_each = -(probabilities * rows).sum(1)
    return (weights @ of_each).item(), torch.special.entr(marginal).sum().item()


def score(outputs: Outputs, reference: Moments, counts: Real[Tensor, " N"] | None = None) -> Scores:
    """The three numbers of a set of images."""
    return Scores(
        frechet_distance(moments(outputs.features, counts), reference), *entropies(outputs.log_probabilities, counts)
    )


def score_with_errors(outputs: Outputs, reference: Moments) -> tuple[Scores, Scores]:
    """The three numbers of a set of images, and their standard errors by the bootstrap over them (Efron, 1979)."""
    random = np.random.default_rng(0)
    size = len(outputs.features)
    resampled = [
        score(outputs, reference, torch.from_numpy(random.multinomial(size, np.full(size, 1 / size))))
        for _ in range(BOOTSTRAPS)
    ]
    return score(outputs, reference), Scores(*np.std(resampled, axis=0, ddof=1).tolist())


class Reference:
    """The test images of one view as the classifier sees them, and the floor that as many other images of it reach."""

    def __init__(self, classifier: Classifier, data: ViewedImages, labels: Int[Tensor, " M"], count: int) -> None:
        """`labels` are of the test images; `count` is the number of samples, at most that of validation images."""
        self.classifier, self.view = classifier, data.view
        test = classifier.classify(data.held_out("test"))
        self.moments = moments(test.features)
        self.accuracy = (test.log_probabilities.argmax(1) == labels).double().mean().item()
        validation = data.held_out("validation")
        self.count = min(count, len(validation))
        others = classifier.classify(validation[evenly_spaced(len(validation), self.count).to(validation.device)])
        self.floor, self.floor_error = score_with_errors(others, self.moments)

    def quality(self, outputs: Outputs) -> Quality:
        """Return the quality of samples that the classifier has seen."""
        scores, errors = score_with_errors(outputs, self.moments)
        return Quality(
            samples=len(outputs.features),
            view=self.view,
            frechet=scores.frechet,
            frechet_error=errors.frechet,
            frechet_floor=self.floor.frechet,
            frechet_floor_error=self.floor_error.frechet,
            classifier_entropy=scores.classifier_entropy,
            classifier_entropy_error=errors.classifier_entropy,
            class_entropy=scores.class_entropy,
            class_entropy_error=errors.class_entropy,
            data_classifier_entropy=self.floor.classifier_entropy,
            data_class_entropy=self.floor.class_entropy,
            classifier_accuracy=self.accuracy,
            classifier=self.classifier.identity,
        )
