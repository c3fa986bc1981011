"""The picture of the model space: a column for each model, from its encoder's input down to its decoder's output.

The five points have the markers and colours of `STYLES` in every panel, and all that is no point's is black or grey: a
colour means one thing only, and a grey print loses nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from torch import Tensor

from vdae_bench.illustration.toy import SIGMAS, Illustration, Portrait
from vdae_bench.report.style.figure import GREY, STYLES, saved

ENCODED = {
    "VAE": r"$z \sim \mathcal{N}(\mu(x),\, \mathrm{diag}\,s(x)^2)$",
    "L-VDAE": r"$z \sim \mathcal{N}(f(x),\, \sigma^2 J J^{\!\top})$",
    "VDAE": r"$z = f(x + \varepsilon)$",
    "flow": r"$z = f(x)$",
}
DECODED = {"flow": r"$f^{-1}(z)$"}
PANEL_ROWS = ("data", "latents", "decoded")
DATA_LIMITS = (2.7, 1.85)
LOGISTIC_LIMITS, NORMAL_LIMITS = (5.6, 4.7), (3.1, 2.6)
"""Limits of the panels of latents, by the prior: a flow's logistic one is 1.8 times as wide as the VAE's."""
DASHES = (0, (3, 1.2))
DOTS: Any = {"linestyle": "none", "marker": "o", "markersize": 1.3, "color": "0.6", "markeredgewidth": 0, "zorder": 1}
POINT: Any = {"linestyle": "none", "markersize": 4, "markeredgecolor": "0.1", "markeredgewidth": 0.5}


def values_table(shown: Illustration) -> pd.DataFrame:
    """The numbers in the picture: a row for each model, decoder and sigma, in nats a point."""
    vae, lvdae, *_ = shown.portraits
    bounds = [
        (vae.name, "own", vae.sigma, vae.score),
        (lvdae.name, "own", lvdae.sigma, lvdae.score),
        *(("VDAE", "own", sigma, score) for sigma, score in zip(SIGMAS, shown.decoupled, strict=True)),
        *(("VDAE", "inverse of the encoder", sigma, score) for sigma, score in zip(SIGMAS, shown.coupled, strict=True)),
    ]
    table = pd.DataFrame(bounds, columns=["model", "decoder", "sigma", "neg_elbo_nats"])
    flow = {"model": "flow", "decoder": "inverse of the encoder", "sigma": 0.0, "exact_nll_nats": shown.flow_nll}
    return pd.concat([table, pd.DataFrame([flow])], ignore_index=True).round(3)


def in_words(shown: Illustration) -> str:
    """The picture in words, with its numbers."""

    def both(level: int) -> str:
        return f"{shown.decoupled[level]:.2f} and {shown.coupled[level]:.2f} at sigma = {SIGMAS[level]:g}"

    return (
        "Left to right: three posteriors at the same noise, then VDAE with less and less of it, down to a flow.\n"
        "VDAE's -ELBO in nats, with a decoder of its own and with the encoder's inverse: "
        f"{both(0)}, {both(-1)}; exact NLL of the flow (sigma = 0): {shown.flow_nll:.2f}."
    )


def draw(shown: Illustration) -> dict[str, bytes]:
    """The picture as contents of files by their ending, `svg` and `png`."""
    return saved(lambda: _figure(shown))


def _figure(shown: Illustration) -> Figure:
    figure = Figure(figsize=(9, 7.2))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(PANEL_ROWS),
        len(shown.portraits),
        height_ratios=(1, 1.22, 1),
        left=0.035,
        right=0.995,
        top=0.882,
        bottom=0.3,
        hspace=0.2,
        wspace=0.05,
    )
    for column, portrait in enumerate(shown.portraits):
        data, latents, decoded = (figure.add_subplot(grid[row, column]) for row in range(len(PANEL_ROWS)))
        _data(data, shown, portrait)
        _latents(latents, portrait)
        _decoded(decoded, shown, portrait)
        if column == 0:
            for axes, label in zip((data, latents, decoded), PANEL_ROWS, strict=True):
                axes.set_ylabel(label)
    _headline(figure, 0.035, 0.505, "three posteriors, the same noise", arrow="-")
    _headline(figure, 0.525, 0.995, "less noise: the denoising autoencoder turns into a flow", arrow="->")
    _legend(figure)
    _curves(figure.add_axes((0.34, 0.062, 0.65, 0.195)), shown)
    return figure


def _headline(figure: Figure, start: float, end: float, text: str, arrow: str) -> None:
    ends = (start, 0.955), (end, 0.955)
    figure.add_artist(FancyArrowPatch(*ends, arrowstyle=arrow, color=GREY, mutation_scale=8, shrinkA=0, shrinkB=0))
    figure.text((start + end) / 2, 0.965, text, ha="center", fontsize=10)


def _panel(axes: Axes, limits: tuple[float, float], dots: Tensor) -> None:
    axes.set(xlim=(-limits[0], limits[0]), ylim=(-limits[1], limits[1]), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color="0.75")
    axes.plot(*dots.T, **DOTS)


def _shapes(axes: Axes, outlines: Tensor, points: Tensor) -> None:
    for style, outline, point in zip(STYLES, outlines, points, strict=False):
        axes.fill(*outline.T, facecolor=(style.colour, 0.3), edgecolor=style.colour, linewidth=1.1)
        axes.plot(*point, marker=style.marker, color=style.colour, **POINT)


def _data(axes: Axes, shown: Illustration, portrait: Portrait) -> None:
    _panel(axes, DATA_LIMITS, shown.data)
    for style, circle, point in zip(STYLES, portrait.noisy_inputs, shown.points, strict=False):
        axes.plot(*circle.T, color=style.colour, linewidth=1, linestyle=DASHES)
        axes.plot(*point, marker=style.marker, color=style.colour, **POINT)
    axes.set_title(f"{portrait.name}, σ = {portrait.sigma:g}", weight="bold", pad=15)
    score = "exact NLL" if portrait.sigma == 0 else "−ELBO"
    axes.annotate(f"{score} {portrait.score:.2f} nats", (0.5, 1), (0, 4), "axes fraction", "offset points", ha="center")


def _latents(axes: Axes, portrait: Portrait) -> None:
    _panel(axes, NORMAL_LIMITS if portrait.name == "VAE" else LOGISTIC_LIMITS, portrait.codes)
    _shapes(axes, portrait.latents, portrait.centres)
    axes.set_title(ENCODED[portrait.name], fontsize=8.5, pad=4)


def _decoded(axes: Axes, shown: Illustration, portrait: Portrait) -> None:
    _panel(axes, DATA_LIMITS, portrait.generated)
    _shapes(axes, portrait.reconstructions, shown.points)
    axes.set_title(DECODED.get(portrait.name, "$g(z)$"), fontsize=8.5, pad=4)


def _legend(figure: Figure) -> None:
    entries: dict[str, Any] = {
        "data points $x$": tuple(Line2D([], [], marker=style.marker, color="0.75", **POINT) for style in STYLES[:3]),
        "two thirds of $x + \\varepsilon$,  $\\varepsilon \\sim \\mathcal{N}(0, \\sigma^2 I)$": Line2D(
            [], [], color=GREY, linewidth=1, linestyle=DASHES
        ),
        "two thirds of $q(z\\,|\\,x)$, and\nits image under the decoder": Patch(facecolor="0.85", edgecolor=GREY),
        "data; their latents;\nsamples of the model": Line2D([], [], **{**DOTS, "markersize": 2.2}),
    }
    figure.legend(
        list(entries.values()),
        list(entries),
        title="in every model  $p(x\\,|\\,z) = \\mathcal{N}(g(z), \\sigma^2 I)$",
        title_fontsize=8,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(0.026, 0.272),
        alignment="left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.2)},
        labelspacing=0.7,
    )


def _curves(axes: Axes, shown: Illustration) -> None:
    places, zero = range(len(SIGMAS)), len(SIGMAS)
    axes.plot(places, shown.coupled, color="0.45", linestyle=DASHES, marker="s", markersize=4)
    axes.plot(places, shown.decoupled, color="0.1", marker="o", markersize=4)
    axes.axhline(shown.flow_nll, color="0.1", linewidth=0.8, linestyle=(0, (1, 1.5)))
    axes.plot(zero, shown.flow_nll, "*", color="0.1", markersize=9)
    _label(axes, 1, shown.coupled[1], (7, 3), "VDAE with $g = f^{-1}$: returns $x + \\varepsilon$ as it is")
    _label(axes, 0, shown.decoupled[2], (0, 0), "VDAE with $g$ of its own:\ndenoises", va="top")
    _label(axes, zero, shown.flow_nll, (0, 8), "the flow's\nexact NLL", ha="center")
    axes.set_xlim(-0.25, zero + 0.45)
    axes.set_xticks(range(zero + 1), [*(f"{sigma:g}" for sigma in SIGMAS), "0"])
    axes.set_xlabel("noise σ")
    axes.set_ylabel("−ELBO (nats)")


def _label(axes: Axes, x: float, y: float, offset: tuple[float, float], text: str, **alignment: Any) -> None:
    axes.annotate(text, (x, y), offset, textcoords="offset points", fontsize=8, **alignment)
