"""Specs built from values, written as the YAML file that a user would write; and those that several tests run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Part = Mapping[str, Any]
BLOCKS = ("search", "parameters")
"""Parts with a line for each of their keys, so that a fault in one of them has a line of its own."""


@dataclass(frozen=True)
class Spec:
    """A sweep's spec as values: what is None has no line in the file, everything else one line a part."""

    name: str = "tiny"
    grid: Part | Sequence[Part] | None = None
    include: Sequence[Part] | None = None
    exclude: Sequence[Part] | None = None
    protocol: str | Part | None = None
    hyperparameters: Part | None = None
    search: Part | None = None
    seeds: int | None = None

    def but(self, **parts: Any) -> Spec:
        """The same spec with other values: of a mapping only the keys that are given are replaced, at any depth."""
        return replace(self, **{name: _merged(getattr(self, name), value) for name, value in parts.items()})

    @property
    def text(self) -> str:
        """The spec as YAML."""
        parts = {name: value for name, value in vars(self).items() if value is not None}
        return "\n".join(_lines({"version": 1, **parts})) + "\n"

    def write(self, folder: Path) -> Path:
        """Write the spec to `<name>.yaml` in a folder."""
        path = folder / f"{self.name}.yaml"
        path.write_text(self.text)
        return path


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _lines(parts: Part, indent: str = "") -> Iterator[str]:
    for name, value in parts.items():
        if name in BLOCKS and isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:  # JSON is YAML, but for the infinite
            yield f"{indent}{name}: {json.dumps(value).replace('Infinity', '.inf')}"


TINY = Spec(
    grid={"dataset": ["binary-tiny", "continuous-tiny"], "method": ["vae", "lvdae"], "latents": [4]},
    include=[
        {"dataset": "continuous-tiny", "method": "nice", "latents": 36},
        {"dataset": "continuous-tiny", "method": "independent-pixels", "latents": 0},
        {"dataset": "binary-tiny", "method": "independent-pixels", "latents": 0},
    ],
    protocol={
        "base": "smoke",
        "epochs": 3,
        "batch_size": 50,
        "train_images": None,
        "validation_images": 20,
        "elbo_images": 30,
        "nll_images": 10,
        "importance_samples": 20,
    },
    hyperparameters={"hidden_size": 8, "coupling_hidden_size": 8, "coupling_layers": 1, "learning_rate": 1e-2},
)
"""Each kind of method on the tiny data set, in seconds."""
PAIR = replace(
    TINY.but(grid={"dataset": ["binary-tiny"]}),
    include=None,
    hyperparameters={"hidden_size": 8, "learning_rate": 1e-2},
)
"""Two cells, VAE and L-VDAE, that train for 9 steps."""
LONG = PAIR.but(grid={"method": ["lvdae"]}, protocol={"epochs": 60})
"""One cell that trains for long enough to be stopped in the middle."""

SEARCHED = Spec(
    grid={"dataset": ["binary-tiny"], "method": ["vae", "lvdae"], "latents": [3, 4]},
    protocol={
        "base": "smoke",
        "epochs": 3,
        "batch_size": 60,
        "train_images": None,
        "validation_images": 20,
        "elbo_images": 30,
        "nll_images": 10,
        "importance_samples": 5,
    },
    hyperparameters={"residual_blocks": 1},
    search={
        "method": "random",
        "trials": 6,
        "batch": 3,
        "share": ["latents"],
        "parameters": {
            "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
            "schedule": {"values": ["linear", "none"]},
            "hidden_size": {"values": [4, 6]},
        },
    },
    seeds=2,
)
"""Two studies of six trials, each for two cells."""
