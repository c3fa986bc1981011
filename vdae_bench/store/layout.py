"""The layout of a results folder: the one place that knows where in it a file of each kind lies.

<sweep>/<protocol>/asked.json                    the runs that the last command asked for
<sweep>/<protocol>/<cell>/seed-<k>.json          a record
<sweep>/<protocol>/samples/<cell>-seed<k>.npz    its evidence of samples, and the same name with .json
<sweep>/<protocol>/models/<cell>-seed<k>.pt      its weights, where they are kept
<sweep>/<protocol>/models/<cell>-seed<k>.safetensors   the same in half precision, for git
<sweep>/<protocol>/checkpoints/                  what a stopped group goes on from, and leases
<sweep>/<protocol>/search/<study>.json           a search's frozen winner, beside Optuna's journal
<sweep>/budgets/                                 what `--budget` chose
bench/, chaos/                                   figures of other verbs
.again/                                          a results folder of runs that train again, while they do
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vdae_bench.errors import UserError
from vdae_bench.system.atomic import is_plain


class RecordPlace(NamedTuple):
    """Whose record, or winner, a path is: its sweep and protocol, and the name of its cell's or kind's folder."""

    sweep: str
    protocol: str
    folder: str


class Layout:
    """Paths in a results folder; nothing is read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def again(self) -> Path:
        """The results folder within, in which finished runs train once more for their weights."""
        return self.root / ".again"

    def folder(self, sweep: str, protocol: str, cell: str) -> Path:
        """The folder with the records of a cell.

        Raises:
            UserError: a name is no plain name, so that the place would be outside the results folder.
        """
        for name in (sweep, protocol, cell):
            if not is_plain(name):
                raise UserError(
                    f"{name!r} cannot be the name of a results folder; use letters, digits, '-', '_', '+' and '.'"
                )
        return self.root / sweep / protocol / cell

    def path(self, sweep: str, protocol: str, cell: str, seed: int) -> Path:
        """The file of a run's record."""
        return self.folder(sweep, protocol, cell) / _record_name(seed)

    def record_paths(self, protocol: str | None = None, sweep: str | None = None) -> Iterator[Path]:
        """The files in the places of records, in order, of one protocol or sweep where asked."""
        for path in sorted(self.root.glob("*/*/*/seed-*.json")):
            place = self.place(path)
            wanted = sweep in (None, place.sweep) and protocol in (None, place.protocol)
            if wanted and all(map(_is_place_name, place)) and path.stem.removeprefix("seed-").isdecimal():
                yield path

    def place(self, path: Path) -> RecordPlace:
        """The place of a record's or winner's file."""
        return RecordPlace(*path.relative_to(self.root).parts[:3])

    def asked(self, sweep: str, protocol: str) -> Path:
        """The file that says which runs of a sweep were asked for under a protocol."""
        return self.checkpoints(sweep, protocol).with_name("asked.json")

    def places(self) -> list[tuple[str, str]]:
        """(sweep, protocol) of each folder with records, winners, checkpoints, or runs asked for."""
        kinds = ("asked.json", "*/seed-*.json", "search/*.json", "checkpoints/*")
        files = (path for kind in kinds for path in self.root.glob(f"*/*/{kind}"))
        places = {path.relative_to(self.root).parts[:2] for path in files}
        return sorted((sweep, protocol) for sweep, protocol in places if all(map(_is_place_name, (sweep, protocol))))

    def checkpoints(self, sweep: str, protocol: str) -> Path:
        """The folder with what stopped groups of a sweep go on from, and their leases."""
        return self.folder(sweep, protocol, "checkpoints")

    def folders(self, sweep: str, protocol: str) -> Iterator[Path]:
        """The folder of a sweep under a protocol, and all in it: of its cells, and of what lies beside them."""
        folder = self.checkpoints(sweep, protocol).parent
        yield from (folder, *sorted(folder.glob("*/")))

    def checkpoint_paths(self, sweep: str, protocol: str) -> Iterator[Path]:
        """The checkpoint of each group of runs of a sweep: the newest that there is."""
        for path in sorted(self.checkpoints(sweep, protocol).glob("*.pt")):
            newer = path.with_name(path.name.replace(".previous", ""))
            if not path.name.startswith("search-") and (newer == path or not newer.exists()):
                yield path

    def superseded_paths(self, sweep: str, protocol: str) -> Iterator[Path]:
        """The records of a sweep that were set aside for others in their places."""
        yield from sorted(self.checkpoints(sweep, protocol).parent.glob("*/seed-*.superseded-*.json"))

    def lease_paths(self, sweep: str, protocol: str) -> Iterator[Path]:
        """The leases on groups and batches of trials of a sweep."""
        yield from sorted(self.checkpoints(sweep, protocol).glob("*.lease"))

    def searches(self, sweep: str, protocol: str) -> Path:
        """The folder with the frozen winners and the studies of a sweep."""
        return self.folder(sweep, protocol, "search")

    def winner_paths(self, sweep: str | None = None, protocol: str | None = None) -> Iterator[Path]:
        """The files in the places of frozen winners, in order, superseded ones too."""
        for path in not_hidden(self.root.glob("*/*/search/*.json")):
            place = self.place(path)
            wanted = sweep in (None, place.sweep) and protocol in (None, place.protocol)
            if wanted and all(map(_is_place_name, place)):
                yield path

    def budget(self, sweep: str, name: str) -> Path:
        """The file of what a budget chose."""
        return self.root / sweep / "budgets" / f"{name}.json"

    @property
    def bench(self) -> Path:
        """The folder with the figures of `vdae-bench bench`, a file a machine."""
        return self.root / "bench"

    @property
    def chaos(self) -> Path:
        """The folder with the figures of `make chaos`."""
        return self.root / "chaos"


def not_hidden(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without the hidden files that some systems put beside others (._x, .DS_Store)."""
    return sorted(path for path in paths if not path.name.startswith("."))


def seed_of(record: Path) -> int:
    """The seed of the run with that record."""
    return int(record.stem.removeprefix("seed-"))


def _is_place_name(name: str) -> bool:
    """Tell if a folder has a name that this package gives; what lies in any other is none of its files."""
    return is_plain(name) and name[0].isalnum() and " " not in name


def is_record_of(path: Path, cell: str, seed: int) -> bool:
    """Tell whether a path is that of the record of a cell's run, in any sweep and protocol."""
    return path.parts[-2:] == (cell, _record_name(seed))


def evidence_paths(record: Path) -> tuple[Path, Path]:
    """(arrays, numbers) of the evidence of the run with that record."""
    return _beside(record, "samples", "npz"), _beside(record, "samples", "json")


def weights_path(record: Path) -> Path:
    """The weights of the run with that record, where they are kept."""
    return _beside(record, "models", "pt")


def half_weights_path(record: Path) -> Path:
    """The weights of the run with that record in half precision, where they are shared."""
    return _beside(record, "models", "safetensors")


def _record_name(seed: int) -> str:
    return f"seed-{seed}.json"


def _beside(record: Path, kind: str, ending: str) -> Path:
    return record.parents[1] / kind / f"{record.parent.name}-{record.stem.replace('-', '')}.{ending}"
