"""Some of the replicas of a group taken out of its state, so that the others go on without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def keep_replicas(state: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The part of `Trainer.state()` that belongs to the replicas at the positions `kept`, in that order.

    A trainer built with those replicas' seeds and settings continues from it as the whole group would have.
    """
    rows = list(kept)
    return {
        "step": state["step"],
        "optimiser": {name: value[rows] for name, value in state["optimiser"].items()},
        "curve": {
            split: [[values[row] for row in rows] for values in epochs] for split, epochs in state["curve"].items()
        },
        "seconds": dict(state["seconds"]),
        "lowest": {name: value[rows] for name, value in state["lowest"].items()},
        "epoch_sum": state["epoch_sum"][rows],
        "diverged_at": state["diverged_at"][rows],
        "jittered": state["jittered"][rows],
        "floored": {name: flags[rows] for name, flags in state["floored"].items()},
    }
