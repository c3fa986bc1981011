"""Protocols: how long, how exact, with which seeds. A protocol is a file: a shipped one (`PROTOCOLS`), or a user's.

A protocol that differs from its base in anything that changes a number has a name of its own, `<base>+<8 hex digits>`,
so that results of two protocols never share a folder or a table. How many seeds are run, and on how many samples their
quality is measured, changes no number of any record, so these keep the name.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vdae_bench.data.registry import ImageFiles
from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import whole
from vdae_bench.models.log_det import Estimator
from vdae_bench.models.precision import Precision
from vdae_bench.spec.shipped import PROTOCOLS, sweeps_folder
from vdae_bench.system.atomic import is_plain
from vdae_bench.system.paths import user_path
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import counted, nearest
from vdae_bench.system.yaml_file import Location, YamlFile, listed

Whole = Annotated[int, BeforeValidator(whole), Field(le=10**12)]
"""A whole number, which may be written 1e2; nothing else is taken for one, nor a number that no run reaches."""
NOT_PROTOCOLS = ("budgets", "illustration")
"""Folders beside those of protocols, in results/<sweep>/ and in reports/."""
PAGES = (".md", ".html", ".png", ".svg", ".json", ".csv")
"""Endings of files that lie beside the folders of protocols in reports/."""
NOT_IN_CONTENT = ("name", "base", "seeds", "description", "cannot_show", "quality_samples", "flow_sizes")
SPLIT_OF = {
    "train_images": "train",
    "validation_images": "validation",
    "quality_samples": "validation",
    "nll_images": "test",
    "elbo_images": "test",
}
"""The split of the data that each number of images is of; as many validation images are the floor of sample quality."""


class Protocol(BaseModel):
    """A resolved protocol; the fields are explained in `sweeps/protocols/paper.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    base: str
    """The shipped protocol that it is, or differs from."""
    description: str = ""
    cannot_show: Annotated[tuple[str, ...], Field(strict=False)] = ()
    epochs: Whole = Field(ge=1)
    batch_size: Whole = Field(ge=1)
    seeds: Whole = Field(ge=1, le=1000)
    train_images: Whole | None = Field(default=None, ge=1)
    validation_images: Whole = Field(ge=1)
    importance_samples: Whole = Field(ge=1)
    nll_images: Whole = Field(ge=1)
    elbo_images: Whole = Field(ge=1)
    elbo_samples: Whole = Field(ge=1)
    quality_samples: Whole = Field(default=0, ge=0)
    precision: Precision = "float32"
    log_det: Estimator = "subset"
    log_det_rows: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    initialisation: Literal["data", "paper"]
    scalar_rate: float = Field(gt=0, allow_inf_nan=False)
    hyperparameters: dict[str, Any] = {}
    flow_sizes: dict[str, Any] = {}
    """Defaults of the flows' own sizes, below `hyperparameters`; the sizes that a run has are in its identity."""
    overrides: dict[str, Any] = {}
    """Hyper-parameters that a user set for this protocol; they win over the spec's."""

    def content(self) -> dict[str, Any]:
        """Fields that determine numbers: all but names, texts and how many seeds are run and samples judged."""
        return self.model_dump(exclude=set(NOT_IN_CONTENT))

    def _named_by(self, base: Protocol) -> dict[str, Any]:
        """The fields that a name of its own stands for; flows' sizes are among them only if the base has others."""
        own_sizes = {"flow_sizes": self.flow_sizes} if self.flow_sizes != base.flow_sizes else {}
        return {**self.content(), **own_sizes}

    def deviations(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """Fields in which this protocol differs from `other`: `{field: (own value, other's value)}`."""
        own, theirs = self.model_dump(), other.model_dump()
        skip = {"name", "base", "description", "cannot_show", "overrides", "hyperparameters", "flow_sizes"}
        return {key: (own[key], theirs[key]) for key in own if key not in skip and own[key] != theirs[key]}

    def done_on(self, dataset: ImageFiles) -> Protocol:
        """The protocol as it is done on a data set: with no more images than there are, and -ELBO on all that have K.

        >>> from vdae_bench.data.registry import find_dataset
        >>> asked = load_protocol("smoke").model_copy(update={"nll_images": 20001})
        >>> done = asked.done_on(find_dataset("mnist"))
        >>> done.nll_images, done.elbo_images
        (10000, 10000)
        """
        return self.done_with(dataset.counts)

    def done_with(self, there: Mapping[str, int]) -> Protocol:
        """The protocol as it is done where each split of the data, by its name, has so many images."""
        done = {name: min(getattr(self, name) or there[split], there[split]) for name, split in SPLIT_OF.items()}
        test = there["test"]
        scored = {index * test // done[name] for name in ("nll_images", "elbo_images") for index in range(done[name])}
        done |= {"elbo_images": len(scored), "batch_size": min(self.batch_size, done["train_images"])}
        if self.train_images is None:
            done.pop("train_images")
        if not self.quality_samples:
            done.pop("quality_samples")
        return self.model_copy(update=done)

    def asks_too_much(self, dataset: ImageFiles) -> Iterator[tuple[str, str]]:
        """(field, sentence) for each number of images that this protocol sets above what a data set has.

        What a shipped protocol sets means at most so many: its tables can be made on a smaller data set too. Evidence
        of samples says how many they were.
        """
        there, shipped = dataset.counts, _shipped(self.base)
        most = {name: (there[split], f"{dataset.name} has {there[split]}") for name, split in SPLIT_OF.items()}
        del most["quality_samples"]
        trained = min(self.train_images or there["train"], there["train"])
        most["batch_size"] = (trained, f"{counted(trained, 'image')} {'is' if trained == 1 else 'are'} trained on")
        for name, (limit, why) in most.items():
            asked = getattr(self, name)
            if asked is not None and asked > limit and asked != getattr(shipped, name):
                yield name, f"{name} is {asked}, but {why}; use at most {limit}"
        scored = min(self.elbo_images, there["test"])
        if min(self.nll_images, there["test"]) > scored:
            yield "nll_images", f"nll_images is {self.nll_images}, more than elbo_images, {scored}; use at most as many"


def load_protocol(word: Any) -> Protocol:
    """A shipped protocol by its name, or the one in a file: a shipped one as `base`, and the fields that differ.

    Raises:
        UserError: there is none of that name, or the file is no protocol.
    """
    if word in PROTOCOLS:
        return _shipped(word)
    if _is_file(word):
        path = user_path(word)
        real = path.resolve()  # a link to a shipped one is that one
        return _shipped(real.stem) if real.parent == _shipped_folder().resolve() else _from_file(path)
    raise UserError(
        f"there is no protocol {word!r}{nearest(word, PROTOCOLS)}; use one of {', '.join(PROTOCOLS)}, or a YAML file"
    )


def name_of_protocol(word: str) -> str:
    """The name of a protocol that is given by it, or by its file.

    Raises:
        UserError: the file is no protocol.
    """
    return load_protocol(word).name if _is_file(word) else word


def place_in_protocol(word: str, at: Location) -> str:
    """The file and line of a key of a protocol, or its name where it is a shipped one."""
    if not _is_file(word):
        return f"protocol {word}"
    path = user_path(word)
    return f"{path}, line {YamlFile.read(path).line(at)}"


def _is_file(word: Any) -> bool:
    return isinstance(word, str) and word.endswith((".yaml", ".yml"))


def _shipped_folder() -> Path:
    return sweeps_folder() / "protocols"


@functools.cache
def _shipped(name: str) -> Protocol:
    content = YamlFile.read(_shipped_folder() / f"{name}.yaml").content
    return _on_base(name, name, content)


def _from_file(path: Path) -> Protocol:
    """A user's protocol, named as its file is; its results have a folder of that name."""
    file, name = YamlFile.read(path), path.stem
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name) or not is_plain(name):
        raise UserError(
            f"{path}: a protocol has the name of its file; use lower-case letters, digits, '.', '_' and '-'"
        )
    if name in NOT_PROTOCOLS or Path(name).suffix in PAGES:
        raise UserError(f"{path}: {name} is the name of another folder, or of a page; give the file another one")
    if name in PROTOCOLS:
        raise UserError(f"{path}: {name} is a shipped protocol; give the file another name")
    if not isinstance(file.content, dict) or file.content.get("base") not in PROTOCOLS:
        given = str(file.content.get("base", "")) if isinstance(file.content, dict) else ""
        what = f"a protocol needs base, one of {', '.join(PROTOCOLS)}, and the fields that differ"
        raise UserError(f"{path}, line {file.line(('base',))}: {what}{nearest(given, PROTOCOLS)}")
    known = [field for field in Protocol.model_fields if field not in ("name", "overrides", "cannot_show")]
    unknown = [key for key in file.content if key not in known]
    faults = [(file.line((key,)), f"unknown key {key!r}{nearest(key, known)}") for key in unknown]
    try:
        protocol = _on_base(
            name, file.content["base"], {key: file.content[key] for key in file.content if key in known}
        )
    except ValidationError as error:
        for each in error.errors():
            place = ".".join(map(str, each["loc"]))
            faults.append((file.line(each["loc"]), f"{place}: {each['msg']}, not {each['input']!r}"))
    if faults:
        raise UserError(listed(path, faults))
    return protocol


def _on_base(name: str, base: str, content: Mapping[str, Any]) -> Protocol:
    """A protocol from the fields in its file, over those of the protocol that the file is based on."""
    below = content.get("base")
    fields = _shipped(below).content() if below else {}
    if below:
        fields |= {name: getattr(_shipped(below), name) for name in ("seeds", "quality_samples", "flow_sizes")}
    return with_limits(Protocol.model_validate({**_merged(fields, content), "name": name, "base": base}))


def _merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with changes; a change to a mapping, such as `hyperparameters`, is one of the entries that it names."""
    return {**fields, **{name: _entry(fields.get(name), value) for name, value in changes.items()}}


def _entry(below: Any, value: Any) -> Any:
    return {**below, **value} if isinstance(below, Mapping) and isinstance(value, Mapping) else value


def override(protocol: Protocol, fields: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> Protocol:
    """The protocol with some fields replaced and hyper-parameters set, under its own name where that changes a number.

    Raises pydantic's `ValidationError` for a field that does not exist or cannot have that value.
    """
    merged = _merged(protocol.model_dump(), fields)
    merged["overrides"] = {**protocol.overrides, **hyperparameters}
    changed, base = Protocol.model_validate(merged), _shipped(protocol.base)
    alike = [each.name for each in (base, protocol) if each._named_by(base) == changed._named_by(base)]
    name = alike[0] if alike else f"{protocol.base}+{digest(changed._named_by(base))[:8]}"
    return with_limits(changed.model_copy(update={"name": name}))


def with_seeds(protocol: Protocol, seeds: Any) -> Protocol:
    """The protocol with so many seeds, under the name that it has: they change no number of any record.

    Raises:
        UserError: there cannot be so many.
    """
    try:
        return with_limits(Protocol.model_validate({**protocol.model_dump(), "seeds": seeds}))
    except ValidationError as error:
        raise UserError(f"seeds: {error.errors()[0]['msg']}, not {seeds!r}") from None


PAPER_EPOCHS, PAPER_SEEDS, PAPER_IMAGES = 1000, 10, 50_000
PAPER_SIZES = {
    "hidden_size": 256,
    "residual_blocks": 1,
    "couplings": 4,
    "coupling_layers": 5,
    "coupling_hidden_size": 1024,
    "decoder_hidden_size": 1024,
    "flow_scales": 2,
    "flow_steps": 4,
    "flow_channels": 64,
    "flow_blocks": 6,
    "flow_hidden_size": 128,
}
"""Sizes of networks in the paper, or in the papers of the flows: the defaults of the methods, as a test has it."""
EPOCHS_TO_ORDER = 30
"""Fewer epochs than this order nothing, by an independent prototype's curves at m = 16 on binary MNIST."""
FEW_STEPS = 100
"""Fewer steps than this say nothing: at a learning rate of 1e-3 Adam moves no weight by more than about 0.1 in them."""


def few_steps(protocol: Protocol, images: int | None = None) -> str:
    """How few steps a protocol takes, on how many of the `images` to train on; "" where they are not so few.

    Without `images` nothing is said of a protocol that takes all there are.

    >>> few_steps(load_protocol("smoke")), few_steps(load_protocol("quick")), few_steps(load_protocol("quick"), 300)
    ('8 steps on 400 images', '', '4 steps on 300 images')
    """
    trained = min(protocol.train_images or math.inf, images or math.inf)
    if math.isinf(trained):
        return ""
    steps = protocol.epochs * math.ceil(trained / protocol.batch_size)
    return f"{counted(steps, 'step')} on {counted(int(trained), 'image')}" if steps < FEW_STEPS else ""


def with_limits(
    protocol: Protocol,
    *,
    searched: bool = False,
    ran: Iterable[Mapping[str, Any]] | None = None,
    images: int | None = None,
) -> Protocol:
    """Say what results of this protocol cannot show, from what it is.

    Args:
        protocol: the protocol.
        searched: True where its hyper-parameters are winners.
        ran: the hyper-parameters of the runs, where there are some; a spec or a search may change the protocol's.
        images: how many images there are to train on, where that is known.
    """
    limits = []
    if few := few_steps(protocol, images):
        limits.append(f"anything: {few} are so few that these numbers mean nothing")
    else:
        differing = [f"{counted(protocol.epochs, 'epoch')} instead of {PAPER_EPOCHS}"]
        differing = differing if protocol.epochs < PAPER_EPOCHS else []
        if protocol.train_images is not None and protocol.train_images < (images or PAPER_IMAGES):
            differing.append(f"on {counted(protocol.train_images, 'training image')}")
        if _has_smaller_networks(protocol, searched, ran):
            differing.append("with smaller networks")
        if differing and not searched:
            differing.append("without its hyper-parameter search")
        if differing:
            limits.append(f"the paper's numbers: {', '.join(differing)}")
        if protocol.epochs < EPOCHS_TO_ORDER:
            epochs = counted(protocol.epochs, "epoch")
            limits.append(f"which method is better: {epochs}, and we order methods after {EPOCHS_TO_ORDER} or more")
        if protocol.seeds < PAPER_SEEDS:
            limits.append(f"small differences: {counted(protocol.seeds, 'seed')}, where the paper has {PAPER_SEEDS}")
    return protocol.model_copy(update={"cannot_show": tuple(limits)})


def _has_smaller_networks(protocol: Protocol, searched: bool, ran: Iterable[Mapping[str, Any]] | None) -> bool:
    """True where a size that the protocol sets is below the paper's: in a run, or before there are any in itself.

    Winners of a search take the place of the protocol's sizes, so that before their runs nothing is said of these.
    """
    own = {**protocol.flow_sizes, **protocol.hyperparameters, **protocol.overrides}
    values = ran if ran is not None else [] if searched else [own]
    sizes = {name: paper for name, paper in PAPER_SIZES.items() if name in own}
    return any(
        isinstance(value := each.get(name), int | float) and value < paper
        for each in values
        for name, paper in sizes.items()
    )
