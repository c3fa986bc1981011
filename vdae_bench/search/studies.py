"""Which studies a sweep's search has: on which cell, for which cells, and what determines each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vdae_bench.data.registry import find_dataset
from vdae_bench.errors import UserError
from vdae_bench.models.registry import get_method
from vdae_bench.running.cost import price
from vdae_bench.running.job import Job
from vdae_bench.search.space import architecture_of, is_point_of
from vdae_bench.spec.file import MAX_SEEDS, MAX_TRIALS, Choices, Range, SearchSpec
from vdae_bench.spec.protocol import Protocol
from vdae_bench.spec.sweep import Cell, SweepSpec
from vdae_bench.store.records import Store
from vdae_bench.system.strict_json import digest

STUDY_SCHEMA = 1
TRIAL_SEEDS = 1_000_000
"""The training seed of trial i of study seed s is this + 10,000 s + i: far above those of final runs."""
assert TRIAL_SEEDS > MAX_SEEDS
MOST_ARCHITECTURES = 64
"""More combinations than this are not counted one by one for the price of a study."""


@dataclass(frozen=True)
class Study:
    """The search of one cell: what determines its trials, and the cells that its winner serves."""

    sweep: str
    cell: Cell
    serves: tuple[str, ...]
    """Slugs of the cells that take the winner, this one among them."""
    protocol: Protocol
    """Protocol of the final runs."""
    hyperparameters: dict[str, Any]
    """Hyper-parameters of the cell where the space does not say otherwise."""
    space: Mapping[str, Range | Choices]
    sampler: str
    """Sampler of the study: `gp`, `tpe` or `random`."""
    seed: int
    epochs: int
    batch: int
    pruning: bool
    trials: int
    label: str = ""
    """Suffix that tells a study of a comparison from the spec's own, such as `sampler-tpe.seed-3`; else empty."""

    @property
    def fixed(self) -> dict[str, Any]:
        """The hyper-parameters that are not searched."""
        return {name: value for name, value in self.hyperparameters.items() if name not in self.space}

    def job(self, parameters: Mapping[str, Any]) -> Job:
        """The job that a trial with these parameters trains."""
        protocol = self.protocol.model_copy(update={"epochs": self.epochs})
        return Job(self.sweep, self.cell, protocol, {**self.hyperparameters, **parameters})

    def trial_seed(self, index: int) -> int:
        """The training seed of a trial."""
        return TRIAL_SEEDS + MAX_TRIALS * self.seed + index

    def batch_name(self, batch: int) -> str:
        """Prefix of the files that a batch leaves until it is told."""
        return f"search-{self.spec_digest[:16]}-{batch}"

    @property
    def spec_digest(self) -> str:
        """The identity of the study: what determines its trials, but for how many there are."""
        job = self.job({})
        return digest(
            {
                "schema": STUDY_SCHEMA,
                "cell": self.cell.as_record(),
                "training": asdict(job.training_settings()),
                "train_images": job.protocol.train_images,
                "log_det": job.own_protocol.log_det,
                "fixed": self.fixed,
                "space": self.space_as_json(),
                "sampler": self.sampler,
                "seed": self.seed,
                "batch": self.batch,
                "pruning": self.pruning,
                "dataset_sha256": find_dataset(job.dataset).identity,
                **get_method(self.cell.method).code_with(dict(self.cell.options)),
            }
        )

    def has(self, parameters: Mapping[str, Any]) -> bool:
        """True where a trial's parameters are a point of the space."""
        return is_point_of(self.space, parameters)

    def space_as_json(self) -> dict[str, Any]:
        """The space as the spec has it."""
        return {name: space.model_dump() for name, space in self.space.items()}

    @property
    def name(self) -> str:
        """Name of the study in Optuna's storage, where searches of other specs may be too."""
        parts = (self.sweep, self.protocol.name, self.slug, self.spec_digest[:8])
        return "/".join(parts)

    @property
    def slug(self) -> str:
        """Name of the study for people and files."""
        return f"{self.cell.slug}.{self.label}" if self.label else self.cell.slug

    def path(self, store: Store) -> Path:
        """Path of the frozen winner."""
        return store.searches(self.sweep, self.protocol.name) / f"{self.slug}.json"

    @property
    def train_flops(self) -> int:
        """FLOPs of one trial that is not pruned, a mean over the space's architectures."""
        return sum(self.architecture_flops) // len(self.architecture_flops)

    @property
    def largest_job(self) -> Job:
        """The job of the space's largest network."""
        choices = architecture_of(self.space)
        return self.job(
            {
                name: max(space.values) if isinstance(space, Choices) else space.largest
                for name, space in choices.items()
            }
        )

    @property
    def architecture_flops(self) -> list[int]:
        """FLOPs of one trial of each of the space's architectures, as `cost.price` counts them.

        An interval of sizes counts with its largest, and so do more combinations than can be counted one by one.
        """
        choices = architecture_of(self.space)
        sets = [space.values if isinstance(space, Choices) else [space.largest] for space in choices.values()]
        combinations = list(itertools.islice(itertools.product(*sets), MOST_ARCHITECTURES + 1))
        if len(combinations) > MOST_ARCHITECTURES:
            combinations = [tuple(max(each) for each in sets)]
        return [price(self.job(dict(zip(choices, each, strict=True)))).train_flops for each in combinations]


def studies_of(spec: SweepSpec) -> list[Study]:
    """The spec's own studies, one for each cell that is searched on.

    Raises:
        UserError: the sweep has no search.
    """
    if spec.search is None:
        raise UserError(f"sweep {spec.name} has no search section; add one, with trials and parameters")
    serves: dict[Cell, list[str]] = {}
    for cell in spec.cells:
        searched_on = spec.search_cell(cell)
        if searched_on is not None:
            if not spec.searched_parameters(searched_on):
                raise UserError(f"{searched_on.slug} has none of the searched parameters; name another cell in search")
            serves.setdefault(searched_on, []).append(cell.slug)
    return [_study(spec, spec.search, cell, tuple(slugs)) for cell, slugs in serves.items()]


def _study(spec: SweepSpec, search: SearchSpec, cell: Cell, serves: tuple[str, ...]) -> Study:
    unsearched = replace(spec, searched={})
    return Study(
        sweep=spec.name,
        cell=cell,
        serves=serves,
        protocol=spec.protocol,
        hyperparameters=unsearched.resolved_hyperparameters(cell),
        space=spec.searched_parameters(cell),
        sampler="random" if search.method == "random" else search.sampler,
        seed=search.seed,
        epochs=search.epochs or spec.protocol.epochs,
        batch=search.batch,
        pruning=search.pruning,
        trials=search.trials,
    )


def studies_to_run(spec: SweepSpec, cells: Sequence[Cell], *, compare: bool) -> list[Study]:
    """The spec's own studies that serve some of the cells, each followed by those of its `compare`, if asked.

    Raises:
        UserError: the sweep has no search, or a searched hyper-parameter is set on the command line.
    """
    served = {cell.slug for cell in cells}
    own = [study for study in studies_of(spec) if served.intersection(study.serves)]
    assert spec.search is not None
    for name in spec.protocol.overrides:
        if name in spec.search.parameters:
            raise UserError(
                f"{name} is searched; leave out --set {name}=..., or remove it from the parameters of the search"
            )
    return [study for each in own for study in (each, *(_compared(each, spec.search) if compare else ()))]


def _compared(own: Study, search: SearchSpec) -> list[Study]:
    """The same search by the samplers, seeds, epochs and batches of `compare`; no final run uses its winners."""
    axes = {name: values for name, values in search.compare.model_dump().items() if values}
    studies = []
    for values in itertools.product(*axes.values()) if axes else ():
        changed = dict(zip(axes, values, strict=True))
        label = ".".join(f"{name}-{value}" for name, value in changed.items())
        other = replace(own, **changed, serves=(), label=label)
        if other.spec_digest != own.spec_digest:
            studies.append(other)
    return studies
