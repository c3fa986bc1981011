"""Protocols: how long, how exact, with which seeds. A protocol is a file: a shipped one (`PROTOCOLS`), or a user's.

A protocol that differs from its base in anything that changes a number has a name of its own, `<base>+<8 hex digits>`,
so that results of two protocols never share a folder or a table. How many seeds are run, and on how many samples their
quality is measured, changes no number of any record, so these keep the name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vdae_bench.errors import UserError
from vdae_bench.models.hyperparameters import whole
from vdae_bench.models.log_det import Estimator
from vdae_bench.models.precision import Precision
from vdae_bench.system.atomic import is_plain
from vdae_bench.system.strict_json import digest
from vdae_bench.system.words import nearest
from vdae_bench.system.yaml_file import YamlFile

PROTOCOLS = ("smoke", "quick", "standard", "paper-mixed", "paper")
"""The shipped protocols, files in `sweeps/protocols/`: the longest and most exact last."""
Whole = Annotated[int, BeforeValidator(whole)]
"""A whole number, which may be written 1e2; nothing else is taken for one."""
NOT_PROTOCOLS = ("budgets", "illustration")
"""Folders beside those of protocols, in results/<sweep>/ and in reports/."""
NOT_IN_CONTENT = ("name", "base", "seeds", "description", "cannot_show", "quality_samples")


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
    overrides: dict[str, Any] = {}
    """Hyper-parameters that a user set for this protocol; they win over the spec's."""

    def content(self) -> dict[str, Any]:
        """Fields that determine numbers: all but names, texts and how many seeds are run and samples judged."""
        return self.model_dump(exclude=set(NOT_IN_CONTENT))

    def deviations(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """Fields in which this protocol differs from `other`: `{field: (own value, other's value)}`."""
        own, theirs = self.model_dump(), other.model_dump()
        skip = {"name", "base", "description", "cannot_show", "overrides", "hyperparameters"}
        return {key: (own[key], theirs[key]) for key in own if key not in skip and own[key] != theirs[key]}


def sweeps_folder() -> Path:
    """Where the shipped sweeps are: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "sweeps"
    return inside if inside.is_dir() else inside.parents[1] / "sweeps"


def load_protocol(word: str) -> Protocol:
    """A shipped protocol by its name, or the one in a file: a shipped one as `base`, and the fields that differ.

    Raises:
        UserError: there is none of that name, or the file is no protocol.
    """
    path = Path(word)
    if word in PROTOCOLS:
        return _shipped(word)
    if path.suffix in (".yaml", ".yml"):
        return _shipped(path.stem) if path.resolve().parent == _shipped_folder().resolve() else _from_file(path)
    raise UserError(
        f"there is no protocol {word!r}{nearest(word, PROTOCOLS)}; use one of {', '.join(PROTOCOLS)}, or a YAML file"
    )


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
        raise UserError(f"{path}: a protocol is named as its file is, with small letters, digits, '.', '_' and '-'")
    if name in NOT_PROTOCOLS:
        raise UserError(f"{path}: {name} is the name of another folder; give the file another one")
    if name in PROTOCOLS:
        raise UserError(f"{path}: {name} is a shipped protocol; give the file another name")
    if not isinstance(file.content, dict) or file.content.get("base") not in PROTOCOLS:
        raise UserError(f"{path}: a protocol needs base, one of {', '.join(PROTOCOLS)}, and the fields that differ")
    known = [field for field in Protocol.model_fields if field not in ("name", "overrides", "cannot_show")]
    for key in file.content:
        if key not in known:
            raise UserError(f"{path}, line {file.line((key,))}: unknown key {key!r}{nearest(key, known)}")
    try:
        return _on_base(name, file.content["base"], file.content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}, line {file.line(first['loc'])}: {place}: {first['msg']}") from None


def _on_base(name: str, base: str, content: Mapping[str, Any]) -> Protocol:
    """A protocol from the fields in its file, over those of the protocol that the file is based on."""
    below = content.get("base")
    fields = _shipped(below).content() if below else {}
    if below:
        fields |= {"seeds": _shipped(below).seeds, "quality_samples": _shipped(below).quality_samples}
    return with_limits(Protocol.model_validate({**fields, **content, "name": name, "base": base}))


def override(protocol: Protocol, fields: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> Protocol:
    """The protocol with some fields replaced and hyper-parameters set, under its own name where that changes a number.

    Raises pydantic's `ValidationError` for a field that does not exist or cannot have that value.
    """
    merged = {**protocol.model_dump(), **fields}
    merged["overrides"] = {**protocol.overrides, **hyperparameters}
    changed = Protocol.model_validate(merged)
    alike = [each.name for each in (_shipped(protocol.base), protocol) if each.content() == changed.content()]
    name = alike[0] if alike else f"{protocol.base}+{digest(changed.content())[:8]}"
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


PAPER_EPOCHS, PAPER_SEEDS = 1000, 10
EPOCHS_TO_ORDER = 30
"""Fewer epochs than this order nothing, by an independent prototype's curves at m = 16 on binary MNIST."""


def with_limits(protocol: Protocol, *, searched: bool = False) -> Protocol:
    """Say what results of this protocol cannot show, from what it is; `searched`: its hyper-parameters are winners."""
    limits = []
    if protocol.base == "smoke":
        limits.append("anything: a few hundred images and a handful of steps; these numbers mean nothing")
    else:
        if protocol.epochs < PAPER_EPOCHS:
            smaller = ", with smaller networks" if protocol.hyperparameters else ""
            untuned = "" if searched else ", without its hyper-parameter search"
            limits.append(f"the paper's numbers: {protocol.epochs} epochs instead of {PAPER_EPOCHS}{smaller}{untuned}")
        if protocol.epochs < EPOCHS_TO_ORDER:
            limits.append(f"which method is better: {protocol.epochs} epochs stop while all curves still fall")
        if protocol.seeds < PAPER_SEEDS:
            limits.append(f"small differences: {protocol.seeds} seeds, where the paper has {PAPER_SEEDS}")
    return protocol.model_copy(update={"cannot_show": tuple(limits)})
