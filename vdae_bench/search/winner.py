"""The frozen result of a study: `results/<sweep>/<protocol>/search/<cell>.json`, and how final runs come by it.

Written once, when the study has all its trials; a record says `search <digest>` and so names the file, the file names
the winning trial. What a file of another search leaves behind is set aside, never deleted.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.search.space import is_point_of
from vdae_bench.search.studies import STUDY_SCHEMA, Study, studies_of
from vdae_bench.spec.file import Choices, Range
from vdae_bench.spec.protocol import with_limits
from vdae_bench.spec.sweep import Searched, SweepSpec
from vdae_bench.store.provenance import code_state
from vdae_bench.store.records import Store, keep_aside
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.atomic import is_plain
from vdae_bench.system.strict_json import digest
from vdae_bench.system.untrusted import Unfit
from vdae_bench.system.words import counted

_SPACE: TypeAdapter[dict[str, Range | Choices]] = TypeAdapter(dict[str, Range | Choices])
METRIC = "validation -ELBO at beta = 1 after the last epoch, nats an image, lower is better"


class Trial(BaseModel):
    """A trial of a search that ended: complete, pruned or diverged."""

    model_config = ConfigDict(extra="allow")

    number: int
    """0 .. trials - 1, in the order in which they were asked; Optuna's own number counts interrupted ones too."""
    state: Literal["complete", "pruned", "diverged"]
    parameters: dict[str, Any]
    value: float | None
    """-ELBO (nats) after the last epoch: of all of them, or the last before pruning; None if it diverged."""
    epochs: int = Field(ge=0)
    """Number of whole epochs that the trial trained."""
    seconds: float = Field(ge=0)
    """The trial's share of its group's seconds of training and validation."""
    seed: int
    curve: list[tuple[int, float]] = []
    """(epoch, -ELBO), at 100 epochs at most (`trials.rungs`)."""
    diverged_at: int | None = None
    """The first step whose loss was not finite."""

    @property
    def score(self) -> float:
        """Final -ELBO of a complete trial."""
        assert self.value is not None
        return self.value


class Winner(BaseModel):
    """The frozen result of a study, as its file has it."""

    model_config = ConfigDict(extra="allow")

    schema_: int
    cell: str
    serves: list[str]
    label: str
    chosen: dict[str, Any]
    winner: int
    """Number of the winning trial."""
    value: float
    metric: str
    sampler: str
    seed: int
    epochs: int = Field(ge=1)
    """Epochs of a trial that is not pruned."""
    final_epochs: int = Field(ge=1)
    """Epochs of the runs that use the winner."""
    batch: int
    pruning: bool
    protocol: str
    fixed: dict[str, Any]
    """Hyper-parameters that all trials share."""
    space: dict[str, Any]
    versions: dict[str, str | None]
    """Versions of the libraries and the code when the file was written."""
    spec_digest: str
    trials: list[Trial]

    @property
    def slug(self) -> str:
        """The name of its file without the ending, as `Study.slug`."""
        return f"{self.cell}.{self.label}" if self.label else self.cell

    @property
    def searched(self) -> dict[str, Range | Choices]:
        """The search space, parsed as in a spec."""
        return _SPACE.validate_python(self.space)

    @property
    def complete(self) -> list[Trial]:
        """The trials that trained to the end, best first."""
        return sorted((each for each in self.trials if each.state == "complete"), key=_rank)

    @property
    def content(self) -> dict[str, Any]:
        """The file's content, but for the digest of it there."""
        content = self.model_dump(mode="json")
        return {"schema": content.pop("schema_"), **content}

    @property
    def digest(self) -> str:
        """Digest of the file's content."""
        return digest(self.content)

    @property
    def source(self) -> str:
        """Entry `source` in the records of runs that use the winner: `search <digest>`."""
        return f"search {self.digest[:16]}"


def _rank(trial: Trial) -> tuple[float, int]:
    """Sort key of complete trials: the lowest -ELBO first, of equal ones the first asked."""
    return trial.score, trial.number


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial of the lowest -ELBO; None where none came to its end."""
    return min((each for each in trials if each.state == "complete"), key=_rank, default=None)


def freeze(study: Study, trials: Sequence[Trial]) -> Winner:
    """The result of a study whose trials have all ended.

    Raises:
        EnvironmentFault: no trial stayed finite.
    """
    best = best_of(trials)
    if best is None:
        raise EnvironmentFault(
            f"{study.slug}: none of {counted(len(trials), 'trial')} stayed finite; "
            "lower learning_rate in the search's parameters"
        )
    return Winner(
        schema_=STUDY_SCHEMA,
        cell=study.cell.slug,
        serves=list(study.serves),
        label=study.label,
        chosen=best.parameters,
        winner=best.number,
        value=best.score,
        metric=METRIC,
        sampler=study.sampler,
        seed=study.seed,
        epochs=study.epochs,
        final_epochs=study.protocol.epochs,
        batch=study.batch,
        pruning=study.pruning,
        protocol=study.protocol.name,
        fixed=study.fixed,
        space=study.space_as_json(),
        versions={
            **{name: version(name) for name in ("vdae-bench", "optuna", "torch")},
            "python": platform.python_version(),
            "git_commit": code_state()[0],
        },
        spec_digest=study.spec_digest,
        trials=list(trials),
    )


def winner_json(winner: Winner) -> str:
    """Text of the winner's file: a line for each field and each trial."""
    fields = strict_json.sealed(winner.content)
    trials = ",\n  ".join(_line(each) for each in fields.pop("trials"))
    lines = [f" {json.dumps(name)}: {_line(value)}" for name, value in fields.items()]
    return "{\n" + ",\n".join([*lines, f' "trials": [\n  {trials}\n ]']) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def read_winner(path: Path) -> Winner | None:
    """The winner in a file; None where there is no file.

    Raises:
        UserError: the file is damaged.
        EnvironmentFault: it cannot be read.
    """
    with suppress(Unfit):
        file = atomic.read(path)
        found = None if file is None else _parse(file, path.name)
        if file is None or found:
            return found
    raise UserError(f"{path} is damaged; take it from a backup, or delete it and search again")


def _parse(file: bytes, name: str) -> Winner | None:
    """The winner in the content of a file of that name; None where it makes no sense."""
    try:
        content = strict_json.unsealed(file)
        found = Winner.model_validate({"schema_": content.pop("schema"), **content})
        best = best_of(found.trials)
        sensible = (
            best is not None
            and (best.number, best.parameters, best.value) == (found.winner, found.chosen, found.value)
            and is_plain(name)
            and name.startswith((f"{found.slug}.json", f"{found.slug}.superseded-"))
            and not any(each.faults for each in found.searched.values())
            and all(is_point_of(found.searched, each.parameters) for each in found.trials)
        )
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
        return None
    return found if sensible else None


def all_winners(store: Store, sweep: str | None = None, protocol: str | None = None) -> Iterator[tuple[Path, Winner]]:
    """Every readable winner of a results folder, superseded ones too, in the order of their paths."""
    yield from ((path, found) for path, found in _every(store, sweep, protocol) if found)


def damaged_winners(store: Store, sweep: str | None = None, protocol: str | None = None) -> Iterator[Path]:
    """The files in the places of winners that are none, but for those that were set aside as such."""
    for path, found in _every(store, sweep, protocol):
        if not found and ".superseded-" not in path.name:
            yield path


def _every(store: Store, sweep: str | None, protocol: str | None) -> Iterator[tuple[Path, Winner | None]]:
    for path in store.winner_paths(sweep, protocol):
        try:
            yield path, read_winner(path)
        except UserError:
            yield path, None


def write_winner(path: Path, winner: Winner) -> None:
    """Put the file in place at once; another that lies there is set aside.

    Raises:
        EnvironmentFault: it cannot be written, or would not be read again.
    """
    content = winner_json(winner).encode()
    if _parse(content, path.name) is None:
        raise EnvironmentFault(f"{path} could not be read again; change the values of the search's parameters")
    set_aside(path)
    atomic.write(path, content)


def set_aside(path: Path) -> None:
    """Keep what lies there under a name that no search writes: a copy, so that it is never missing."""
    try:
        old = read_winner(path)
        label = old.digest[:8] if old else ""
    except UserError:
        label = "unreadable"
    if label:
        keep_aside(path, label)


def own_winner(study: Study, store: Store) -> Winner | None:
    """Frozen winner of this very search; None where there is none, or the file is of another."""
    found = read_winner(study.path(store))
    return found if found and found.spec_digest == study.spec_digest else None


def trials_frozen(study: Study, store: Store) -> int:
    """How many trials the frozen winner of this very search has; 0 without one."""
    found = own_winner(study, store)
    return len(found.trials) if found else 0


def frozen(study: Study, store: Store) -> Winner | None:
    """The frozen winner of a study, if it is there.

    Raises:
        UserError: the file is of another search than the spec's.
    """
    path = study.path(store)
    found = read_winner(path)
    if found and found.spec_digest != study.spec_digest:
        raise UserError(
            f"{path} is from another search than the spec now has (its space, sampler, seed, epochs, fixed "
            "hyper-parameters, data or code changed): search anew with `vdae-bench search` (the file is set aside), "
            "take the spec back, or give --no-search"
        )
    if found and not study.has(found.chosen):
        raise UserError(f"{path} is damaged: its choice is not in its space; take the file from a backup, or delete it")
    return found


def with_winners(spec: SweepSpec, store: Store) -> SweepSpec:
    """The spec with the frozen winners that there are in the place of its own hyper-parameters.

    Raises:
        UserError: a file is damaged or from another search.
    """
    searched: dict[str, Searched] = {}
    studies = studies_of(spec)
    for study in studies:
        winner = frozen(study, store)
        if winner:
            searched |= {slug: Searched(winner.chosen, winner.source) for slug in study.serves}
    protocol = spec.protocol
    if studies and all(slug in searched for study in studies for slug in study.serves):
        # What the protocol cannot show is not for want of a search.
        protocol = with_limits(protocol, searched=True)
    return replace(spec, searched=searched, protocol=protocol)
