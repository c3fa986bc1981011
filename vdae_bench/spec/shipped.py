"""Sweeps and protocols that come with the package, by name; a shell asks at each Tab, so nothing heavy is imported."""

from __future__ import annotations

import functools
from pathlib import Path

from vdae_bench.system.yaml_file import YamlFile

PROTOCOLS = ("smoke", "quick", "standard", "paper-mixed", "paper")
"""The shipped protocols, files in `sweeps/protocols/`: the longest and most exact last."""
SWEEP_OF_PART = {
    "table1": "table1",
    "table2": "table2",
    "figure1": "figure1",
    "figure2": "table2",  # shows samples of the models of Table 2
    "figure3": "figure3",
    "figure4": "figure4",
}
"""The sweep behind each part of the paper."""


def sweeps_folder() -> Path:
    """Where the shipped sweeps are: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "sweeps"
    return inside if inside.is_dir() else inside.parents[1] / "sweeps"


def shipped_sweeps() -> list[str]:
    """Names of the sweeps that come with the package, such as `table1` and `readings/nice-l2`."""
    folder = sweeps_folder()
    files = (path for path in folder.rglob("*.yaml") if path.parent.name != "protocols")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


@functools.cache
def shipped_names() -> dict[str, str]:
    """The file of each shipped sweep by the name in it, which is that of its folder of results: `readings/nice-l2`."""
    files = {word: YamlFile.read(sweeps_folder() / f"{word}.yaml").content for word in shipped_sweeps()}
    return {content["name"]: word for word, content in files.items()}
