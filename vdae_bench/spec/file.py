"""The sweep file as written: its sections, the bounds of each value, and what a search may vary."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from vdae_bench.spec.protocol import Whole
from vdae_bench.system.atomic import is_plain

MAX_CELLS = 10_000
"""Cells of a sweep at most, counted before any is made; and cells that it leaves out, or studies beside its own."""
MAX_SEEDS = 1000
"""Training seeds are 0 .. 999 at most; those of trials are far above (`search.studies`)."""


MAX_TRIALS = 10_000


class Range(BaseModel):
    """A continuous or integer interval of a search."""

    model_config = ConfigDict(extra="forbid", strict=True)

    distribution: Literal["log_uniform_values", "uniform", "int_uniform"]
    """How values are drawn: evenly in the logarithm, evenly, or evenly among whole numbers."""
    min: float = Field(allow_inf_nan=False)
    """Lower end, which is included."""
    max: float = Field(allow_inf_nan=False)
    """Upper end, which is included."""

    @property
    def faults(self) -> list[str]:
        """Sentences that say what is wrong with the ends of the interval."""
        order = [] if self.min < self.max else [f"min {self.min:g} must be below max {self.max:g}"]
        start = self.distribution == "log_uniform_values" and self.min <= 0
        return order + (["a logarithmic interval must start above 0"] if start else [])

    @property
    def largest(self) -> int | float:
        """Largest value in the interval."""
        return round(self.max) if self.distribution == "int_uniform" else self.max

    def has(self, value: Any) -> bool:
        """True where a value is in the interval, up to rounding."""
        kinds = (int,) if self.distribution == "int_uniform" else (int, float)
        slack = 1e-9 * max(abs(self.min), abs(self.max))
        return type(value) in kinds and self.min - slack <= value <= self.max + slack


class Choices(BaseModel):
    """A categorical set of a search."""

    model_config = ConfigDict(extra="forbid", strict=True)

    values: list[Any] = Field(min_length=1)
    """The values to choose from."""
    faults: ClassVar[tuple[str, ...]] = ()
    """Empty: a set cannot be wrong in itself, where an interval can (`Range.faults`)."""

    def has(self, value: Any) -> bool:
        """True where a value is one of the set."""
        return type(value) in (str, int, float) and value in self.values


def _kind_of_space(value: Any) -> str | None:
    """Range or Choices, by the keys that are there; so that a fault is one of the kind that is meant."""
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else ()
    if "values" in keys:
        return "Choices"
    return "Range" if any(key in Range.model_fields for key in keys) else None


Space = Annotated[
    Annotated[Range, Tag("Range")] | Annotated[Choices, Tag("Choices")],
    Discriminator(
        _kind_of_space,
        custom_error_type="no_space",
        custom_error_message="Give values: [...], or distribution, min and max",
    ),
]
"""The space of a searched parameter."""


class Metric(BaseModel):
    """The quantity that a search optimises."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Literal["validation_elbo"]
    goal: Literal["maximize"]


class StudyGrid(BaseModel):
    """Studies beside the spec's own, multiplied out: other samplers, seeds, epochs, numbers of trials at once."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sampler: list[Literal["gp", "tpe", "random"]] = []
    """Samplers to compare."""
    seed: list[Annotated[Whole, Field(ge=0, le=MAX_SEEDS)]] = []
    """Seeds of searches to compare."""
    epochs: list[Annotated[Whole, Field(ge=1)]] = []
    """Lengths of trials to compare."""
    batch: list[Annotated[Whole, Field(ge=1, le=256)]] = []
    """Numbers of trials proposed together, to compare."""


class SearchSpec(BaseModel):
    """The hyper-parameter search of a spec."""

    model_config = ConfigDict(extra="forbid", strict=True)

    method: Literal["bayes", "random"] = "bayes"
    """`bayes` proposes by a sampler that learns from earlier trials, `random` draws evenly."""
    sampler: Literal["gp", "tpe"] = "gp"
    """Sampler of method `bayes`: Optuna's Gaussian process, or its tree-structured Parzen estimator."""
    metric: Metric = Metric(name="validation_elbo", goal="maximize")
    """The one quantity that a search maximises."""
    trials: Whole = Field(ge=1, le=MAX_TRIALS)
    """Number of trials in total, across resumes."""
    epochs: Whole | None = Field(default=None, ge=1)
    """Epochs of a trial; None takes those of the protocol."""
    batch: Whole = Field(default=8, ge=1, le=256)
    """Number of trials that are proposed together; those of one architecture train as replicas of one model."""
    pruning: bool = True
    """Stop trials early that fall behind the median of the others."""
    seed: Whole = Field(default=0, ge=0, le=MAX_SEEDS)
    """Seed of the proposals and of the trials."""
    share: list[Any] = []
    """Axes whose cells share one study, which runs on the first of these cells."""
    cell: str | None = None
    """Name of a cell, whose study then serves all cells."""
    compare: StudyGrid = StudyGrid()
    """More studies beside this one, to compare samplers, seeds and lengths."""
    parameters: dict[str, Space] = Field(min_length=1)
    """Hyper-parameters to search, each with its interval or set."""


class CellPattern(BaseModel):
    """A pattern under `exclude`: the cells that have all of its values."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dataset: str | None = None
    """Id of the data set, as `binary-mnist`."""
    method: str | None = None
    """Id of the method, as `lvdae`."""
    latents: Whole | None = None
    """Number m of latents; 784, all pixels of MNIST, for methods whose encoder is a flow."""
    options: dict[str, Any] = {}
    """Options of the method that are not the default."""


class CellSpec(CellPattern):
    """A cell written out under `include`."""

    hyperparameters: dict[str, Any] = {}
    """Hyper-parameters of this cell only; they override those of the sweep."""


NOT_SWEEPS = ("bench", "chaos", "records", "claims", "index")
"""Folders of results/ that other verbs write, and files of reports/<protocol>/ that are of all sweeps."""


def _plain_name(name: str) -> str:
    if not is_plain(name) or name in NOT_SWEEPS:
        raise ValueError(f"{name} cannot be a folder of results on every system; choose another name")
    return name


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 1
        raise ValueError("this is a number")
    return value


class OwnDataset(BaseModel):
    """A data set of the user's own grey images; paths are relative to the spec's folder."""

    model_config = ConfigDict(extra="forbid", strict=True)

    train: str
    """Training images: a `.npy` file of uint8 (count, rows, columns), a `.npz` file, or a folder of pictures."""
    test: str
    """Test images, in one of the same forms."""
    train_labels: str | None = None
    """Classes of the training images, a `.npy` or `.npz` file; without it, subfolders of a folder are classes."""
    test_labels: str | None = None
    """Classes of the test images, in the same form."""
    validation_images: Whole | None = Field(default=None, ge=1)
    """Number of images held out at the end of the training images; None takes a sixth, and at most 10,000."""
    sha256: str | None = None
    """Checksum that the images must have, as `vdae-bench validate` prints it; None accepts any images."""


class SpecFile(BaseModel):
    """A sweep file as written, before its cells are multiplied out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[Literal[1], BeforeValidator(_no_bool)]
    """Version of this format."""
    name: Annotated[str, AfterValidator(_plain_name)] = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """Name of the sweep, and of its folder of results: lower-case letters, digits, `.`, `_`, `-`."""
    description: str = ""
    """One line on the purpose of the sweep, which its page and `vdae-bench list sweeps` show."""
    datasets: dict[str, OwnDataset] = Field(default={}, max_length=100)
    """Your own images by name; the name `mine` gives the data sets `binary-mine` and `continuous-mine`."""
    grid: list[dict[str, Annotated[list[Any], Field(min_length=1)]]] = []
    """Lists of `dataset`, `method`, `latents` and options, whose combinations are the cells; or a list of grids."""
    include: list[CellSpec] = Field(default=[], max_length=MAX_CELLS)
    """Cells in addition to the grid."""
    exclude: list[CellPattern] = Field(default=[], max_length=MAX_CELLS // 10)
    """Patterns of cells to leave out of the grid."""
    protocol: Any = None
    """The name of a protocol, or a mapping with a base and the fields that differ."""
    hyperparameters: dict[str, Any] = {}
    """Hyper-parameters for all cells whose methods have them; all others keep their defaults."""
    search: SearchSpec | None = None
    """The hyper-parameter search, which runs with `--search` or with `vdae-bench search`."""
    seeds: Whole | None = Field(default=None, ge=1, le=1000)
    """Number of seeds for each cell, starting from seed 0; None takes that of the protocol."""
