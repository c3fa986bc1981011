"""The picture of how verdicts decide: made-up differences, each judged by the function that judges real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from sphinx.application import Sphinx

from vdae_bench.report.numbers.statistics import Estimate
from vdae_bench.report.numbers.verdict import Verdict, below

COLOURS = {Verdict.REPRODUCED: "#1a7f37", Verdict.NOT_REPRODUCED: "#b42318", Verdict.TOO_CLOSE: "#8a6d00"}
EXAMPLES = ((-1.1, 0.12, 3), (-0.5, 0.30, 3), (-0.5, 0.30, 10), (0.9, 0.15, 3), (-0.8, None, 1))
"""(mean, standard error, seeds) of L-VDAE less VAE, in nats."""


def _draw(app: Sphinx) -> None:
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axes.axvspan(-3, 0, color="#1a7f37", alpha=0.07, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    for row, (mean, error, seeds) in enumerate(EXAMPLES):
        estimate = Estimate(mean, error, seeds - 1, seeds)
        verdict = below(estimate)
        if interval := estimate.interval():
            axes.plot(interval, (row, row), color=COLOURS[verdict], linewidth=2)
        axes.plot(mean, row, "o", color=COLOURS[verdict])
        axes.text(2.1, row, f"{seeds} seeds: {verdict}" if seeds > 1 else f"one seed: {verdict}", va="center")
    axes.set(xlim=(-2, 2), ylim=(len(EXAMPLES) - 0.5, -0.5), yticks=(), xlabel="L-VDAE less VAE, nats")
    axes.set_title("the claim holds: below zero", loc="left", fontsize="small", color="#1a7f37")
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "verdicts"}):
        figure.savefig(folder / "verdicts.svg", metadata={"Date": None})
    plt.close(figure)


def setup(app: Sphinx) -> dict[str, Any]:
    """Draw it before pages are read."""
    app.connect("builder-inited", _draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
