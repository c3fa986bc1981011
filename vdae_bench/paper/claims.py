"""The paper's claims, and three of ours, as declared checks: which cells, which score, which difference is below zero.

A claim is added here, in `CLAIMS`, and nowhere else; `vdae_bench.report.numbers.claims` judges it from records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal

from vdae_bench.spec.sweep import Cell
from vdae_bench.system.words import number

Score = Literal["nll", "neg_elbo", "frechet", "classifier_entropy"]
"""Scores that a claim compares, lower is better: two are in every record, two are measured on samples."""
DATASET_IDS = ("continuous-mnist", "binary-mnist")
LATENTS = (16, 32, 64, 128)
FLOW_ENCODERS = ("lvdae-nice", "vdae-resnet")
"""Methods with m = n and a NICE encoder, in both tables."""
LOG_SIGMAS = (-6.0, -5.0, -4.0, -3.5, -3.0, -2.5, -2.0, -1.0, 0.0, 1.0)
"""Noise levels of Figure 1's grid (`sweeps/figure1.yaml`)."""
SAMPLED_LOG_SIGMAS = (-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0)
"""Noise levels whose samples Figure 4 shows (`sweeps/figure4.yaml`): its ends are the ends of these, whatever ran."""
LARGE_NOISE = -2.0
"""The log sigma from which noise is "significant": the coupled model's bound is above the decoupled ones' there."""
DECOUPLED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("NICE decoder of its own", "vdae-nice", {"decoder_output": "linear"}),
    ("NICE decoder, sigmoid", "vdae-nice", {}),
    ("ResNet decoder", "vdae-resnet", {"decoder_output": "linear"}),
    ("ResNet decoder, sigmoid", "vdae-resnet", {}),
)
ARMS: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("fixed sigma", "log_sigma", (-1.0, 0.0)),
    ("fixed lambda", "log_lambda", (-3.0, -2.0)),
    ("heavier KL", "kl_weight", (4.0, 16.0)),
)
"""Ways to better continuous samples by section 5.1: the option, and its values in `readings/sample-arms`."""
QUICK_FALL = 0.5
"""Least fall that we read as "rapidly", in bits/dim a unit of log sigma, from 0 to -2."""
SURE_OF_A_DIGIT = 0.5
"""Entropy in nats (2.3 at most) below which a digit classifier takes samples for digits, on average."""


@dataclass(frozen=True)
class Term:
    """A weighted score: of one cell, or of the best of several (lowest mean; all of them have to be there)."""

    weight: float
    cells: tuple[Cell, ...]
    score: Score | None = None
    """Score of this term, where it is not that of its inequality."""


@dataclass(frozen=True)
class Inequality:
    """One part of a claim: the weighted sum of scores, within each seed, is below `bound` (in the data's unit)."""

    label: str
    score: Score
    terms: tuple[Term, ...]
    bound: float = 0.0
    alike: tuple[str, ...] = ()
    """Hyper-parameters that its cells must have alike also where a search chose each cell's."""
    true_nll: bool = False
    """The likelihood itself is in question, not the paper's estimate of it: no K excuses a bias."""


@dataclass(frozen=True)
class Claim:
    """A statement of the paper or of ours with its place, and the inequalities that have to hold in the records.

    A claim that records cannot settle has `settled_by`: the test that proves it, or the count that is made of the
    models.
    """

    id: str
    text: str
    place: str
    parts: Callable[[], Sequence[Inequality]] | None = None
    settled_by: str = ""
    count: Literal["parameters", "jacobian"] | None = None


def lower(label: str, score: Score, better: Cell, worse: Cell) -> Inequality:
    """The inequality that one cell's score is below another's."""
    return Inequality(label, score, (Term(1.0, (better,)), Term(-1.0, (worse,))))


def noise_cell(method: str, log_sigma: float, options: dict[str, Any]) -> Cell:
    """A cell of Figure 1, by method, noise level and options."""
    return Cell("continuous-mnist", method, 784, tuple(sorted({**options, "log_sigma": log_sigma}.items())))


def _beats_vae(score: Score) -> list[Inequality]:
    return [
        lower(f"{dataset}, m = {m}", score, Cell(dataset, "lvdae", m), Cell(dataset, "vae", m))
        for dataset, m in product(DATASET_IDS, LATENTS)
    ]


def _improves_with_latents() -> list[Inequality]:
    lvdae = {m: Cell("continuous-mnist", "lvdae", m) for m in LATENTS}
    return [lower(f"m = {b} below m = {a}", "neg_elbo", lvdae[b], lvdae[a]) for a, b in pairwise(LATENTS)]


def _no_gain_at_full_size() -> list[Inequality]:
    best = Cell("continuous-mnist", "lvdae", 128)
    return [
        lower(f"lvdae m = 128 below {method}", "neg_elbo", best, Cell("continuous-mnist", method, 784))
        for method in FLOW_ENCODERS
    ]


def _worse_likelihood_on_binary() -> list[Inequality]:
    return [
        lower(f"{method} m = {m} below {full}", "nll", Cell("binary-mnist", method, m), Cell("binary-mnist", full, 784))
        for full, m, method in product(FLOW_ENCODERS, LATENTS, ("vae", "lvdae"))
    ]


def _vdae_beats_linearised() -> list[Inequality]:
    scores: tuple[tuple[str, Score], ...] = (
        ("continuous-mnist", "nll"),
        ("binary-mnist", "nll"),
        ("binary-mnist", "neg_elbo"),
    )
    return [
        lower(
            f"{dataset}, {'NLL' if score == 'nll' else '-ELBO'}",
            score,
            Cell(dataset, "vdae-resnet", 784),
            Cell(dataset, "lvdae-nice", 784),
        )
        for dataset, score in scores
    ]


def _nice_beats_all() -> list[Inequality]:
    others = [(method, m) for m, method in product(LATENTS, ("vae", "lvdae"))] + [(each, 784) for each in FLOW_ENCODERS]
    nice = Cell("continuous-mnist", "nice", 784)
    return [lower(f"{method} m = {m}", "nll", nice, Cell("continuous-mnist", method, m)) for method, m in others]


def _decoupling_helps(levels: Sequence[float]) -> list[Inequality]:
    return [
        lower(
            f"{label}, log sigma = {number(level)}",
            "neg_elbo",
            noise_cell(method, level, options),
            noise_cell("vdae-coupled", level, {}),
        )
        for (label, method, options), level in product(DECOUPLED, levels)
    ]


def _falls_with_sigma() -> list[Inequality]:
    return [
        Inequality(
            f"{label}: at log sigma = -2 more than {2 * QUICK_FALL:g} below that at 0",
            "neg_elbo",
            (Term(1.0, (noise_cell(method, -2.0, {}),)), Term(-1.0, (noise_cell(method, 0.0, {}),))),
            bound=-2 * QUICK_FALL,
        )
        for label, method, options in DECOUPLED
        if not options
    ]


def _worse_at_both_ends() -> list[Inequality]:
    inside = tuple(noise_cell("vdae-resnet", level, {}) for level in SAMPLED_LOG_SIGMAS[1:-1])
    return [
        Inequality(
            f"best inside below log sigma = {end:g}",
            "frechet",
            (Term(1.0, inside), Term(-1.0, (noise_cell("vdae-resnet", end, {}),))),
        )
        for end in (SAMPLED_LOG_SIGMAS[0], SAMPLED_LOG_SIGMAS[-1])
    ]


def _samples_like_digits() -> list[Inequality]:
    rows = [(method, m) for m, method in product(LATENTS, ("vae", "lvdae"))] + [(each, 784) for each in FLOW_ENCODERS]
    return [
        Inequality(
            f"{method} m = {m}",
            "classifier_entropy",
            (Term(1.0, (Cell("binary-mnist", method, m),)),),
            bound=SURE_OF_A_DIGIT,
        )
        for method, m in rows
    ]


def _arms_help_samples() -> list[Inequality]:
    plain = Cell("continuous-mnist", "vdae-resnet", 784)
    parts = []
    for name, option, values in ARMS:
        arm = tuple(Cell("continuous-mnist", "vdae-resnet", 784, ((option, value),)) for value in values)
        parts.append(
            Inequality(f"best {name} below the model as it is", "frechet", (Term(1.0, arm), Term(-1.0, (plain,))))
        )
    return parts


def _trend_with_latents() -> list[Inequality]:
    """Least-squares slope over log2 m, a contrast of the four scores: sum (x - mean x) y / sum (x - mean x)^2."""
    weights = (-0.3, -0.1, 0.1, 0.3)
    return [
        Inequality(
            f"{method}, slope for each doubling of m",
            "neg_elbo",
            tuple(Term(w, (Cell("binary-mnist", method, m),)) for w, m in zip(weights, LATENTS, strict=True)),
        )
        for method in ("vae", "lvdae")
    ]


ADDITIVE, AFFINE, CONVOLUTIONAL = "additive", "affine", "affine, 1 x 1 convolutions"
SEES_X, ADDITIVE_SEES_X, DIAGONAL = "sees x, affine", "sees x, additive", "mu(x) + s(x) eps"


def encoders(dataset: str, latents: int) -> dict[str, Cell]:
    """The encoders of section 6 that stand beside each other in `sweeps/section6.yaml`, the plainest first.

    With m = n they have the decoder, prior and start of `vdae-resnet`, with fewer latents those of the VAE.
    """
    if latents < 784:
        return {
            DIAGONAL: Cell(dataset, "vae", latents),
            ADDITIVE_SEES_X: Cell(dataset, "conditioned", latents, (("coupling", "additive"),)),
            SEES_X: Cell(dataset, "conditioned", latents),
        }
    flows = {ADDITIVE: (), AFFINE: (("flow", "couplings"),), CONVOLUTIONAL: (("flow", "glow"),)}
    blocks = ("decoder", "blocks")
    return {
        **{label: Cell(dataset, "vdae-resnet", latents, options) for label, options in flows.items()},
        DIAGONAL: Cell(dataset, "conditioned", latents, (("coupling", "none"), blocks)),
        SEES_X: Cell(dataset, "conditioned", latents, (blocks,)),
    }


def _decoder_sizes(latents: int) -> tuple[str, ...]:
    """The hyper-parameters of the decoders beside section 6's encoders, which alone may differ."""
    return ("decoder_hidden_size",) if latents == 784 else ("hidden_size", "residual_blocks")


def _encoder_beats(pairs: Sequence[tuple[int, str, str]]) -> list[Inequality]:
    """(latents, better, worse) of section 6's encoders, on both data sets."""
    return [
        replace(
            lower(f"{dataset}, m = {m}: {better} below {worse}", "neg_elbo", cells[better], cells[worse]),
            alike=_decoder_sizes(m),
        )
        for dataset in DATASET_IDS
        for m, better, worse in pairs
        for cells in [encoders(dataset, m)]
    ]


def _gain_is_divergence(pairs: Sequence[tuple[int, str, str]]) -> list[Inequality]:
    """A gain in -ELBO, of which more than half is one in -ELBO - NLL, which is the mean of KL(q || p(z|x)).

    With E = -ELBO and N = NLL, E falls, and so does (E - N) - E / 2 = E / 2 - N: alone it would fall where the NLL gets
    worse without any gain.
    """
    parts = _encoder_beats(pairs)
    for dataset in DATASET_IDS:
        for m, better, worse in pairs:
            terms = [
                (Term(sign * 0.5, (cell,), "neg_elbo"), Term(-sign, (cell,)))
                for sign, cell in ((1.0, encoders(dataset, m)[better]), (-1.0, encoders(dataset, m)[worse]))
            ]
            label = f"{dataset}, m = {m}: change of KL minus half that of -ELBO, {better} for {worse}"
            both = (*terms[0], *terms[1])
            parts.append(Inequality(label, "nll", both, alike=_decoder_sizes(m), true_nll=True))
    return parts


STRONGER = ((784, AFFINE, ADDITIVE), (784, CONVOLUTIONAL, ADDITIVE), (32, SEES_X, ADDITIVE_SEES_X))
SEEING = ((784, SEES_X, ADDITIVE), (784, SEES_X, AFFINE), (32, SEES_X, DIAGONAL))
GAINS = ((784, AFFINE, ADDITIVE), (784, SEES_X, ADDITIVE), (32, SEES_X, DIAGONAL))

CLAIMS = (
    Claim("1", "L-VDAE beats VAE on -ELBO at every m < n", "5.1, 5.2", lambda: _beats_vae("neg_elbo")),
    Claim("2", "L-VDAE beats VAE on NLL at every m < n", "Tables 1 and 2, in bold", lambda: _beats_vae("nll")),
    Claim("3", "Continuous: a larger m < n gives L-VDAE a better -ELBO", "5.1", _improves_with_latents),
    Claim(
        "4a",
        "Continuous: with m = n neither L-VDAE nor VDAE improves on the -ELBO at m = 128",
        "5.1",
        _no_gain_at_full_size,
    ),
    Claim(
        "4b",
        "Binary: with m = n both have a worse likelihood than every m < n",
        "5.2",
        _worse_likelihood_on_binary,
    ),
    Claim(
        "5",
        "VDAE beats L-VDAE with a NICE encoder on NLL, and on the binary -ELBO",
        "5.1, 5.2",
        _vdae_beats_linearised,
    ),
    Claim("6", "Continuous: NICE has a better likelihood than every VAE", "5.1", _nice_beats_all),
    Claim(
        "7a",
        "Every decoupled decoder beats the coupled one, at every sigma",
        "5.1, Figure 1",
        lambda: _decoupling_helps(LOG_SIGMAS),
    ),
    Claim(
        "7b",
        "Every decoupled decoder beats the coupled one at large sigma",
        "2",
        lambda: _decoupling_helps([level for level in LOG_SIGMAS if level >= LARGE_NOISE]),
    ),
    Claim(
        "8",
        "With a final sigmoid, -ELBO falls quickly as sigma falls",
        "5.1, Figure 1",
        _falls_with_sigma,
    ),
    Claim("9", "Sample quality worsens at both ends of the range of sigma", "App. E, Figure 4", _worse_at_both_ends),
    Claim("10", "Binary samples look like digits", "5.2, Figure 2", _samples_like_digits),
    Claim(
        "11",
        "Continuous samples are poor unless lambda or sigma is fixed larger, or the KL weighs more",
        "5.1, App. E",
        _arms_help_samples,
    ),
    Claim("12", "Binary: -ELBO tends to improve as m grows", "5.2", _trend_with_latents),
    Claim(
        "13",
        "The bound tightens to the flow's likelihood as sigma goes to 0",
        "App. A",
        settled_by="tests/mathematics/test_flow_limit.py::test_the_bound_tends_to_the_flows_likelihood",
    ),
    Claim("14", "L-VDAE adds no parameters to VAE", "4", count="parameters"),
    Claim("15", "The Jacobian costs a factor of about m, its covariance O(m^2 n)", "3.1", count="jacobian"),
    Claim(
        "16",
        "Ours: affine couplings in the encoder beat additive ones on -ELBO",
        "conjectured in 6",
        lambda: _encoder_beats(STRONGER),
    ),
    Claim(
        "17",
        "Ours: an encoder that sees x beats both, and at m = 32 the VAE's",
        "conjectured in 6",
        lambda: _encoder_beats(SEEING),
    ),
    Claim(
        "18",
        "Ours: most of what they gain in -ELBO is a smaller KL(q || p(z given x)), not a better NLL",
        "conjectured in 6",
        lambda: _gain_is_divergence(GAINS),
    ),
)
