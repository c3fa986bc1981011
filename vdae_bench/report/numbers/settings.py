"""Settings of a protocol and of a method beside those of the paper, or of the protocol's base."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.registry import OWN_FLOWS, OWN_METHODS, get_method
from vdae_bench.spec.protocol import SPLIT_OF, Protocol, load_protocol
from vdae_bench.system.words import number


def setting_text(name: str, value: Any, images: int | None = None) -> str:
    """The value of a setting in words; `images` is how many there are to train on, where that is known.

    >>> setting_text("train_images", None), setting_text("train_images", None, 300), setting_text("learning_rate", 1e-3)
    ('all', 'all 300', '0.001')
    """
    if name == "train_images" and value is None:
        return "all" if images is None else f"all {images}"
    return number(value) if isinstance(value, float) else str(value)


def departures(protocol: Protocol, images: int | None = None) -> Iterator[tuple[str, str, str]]:
    """(setting, value here, value in the base as that is today) of each that differs; "" where the base sets none.

    `images` is how many there are to train on, where that is known.
    """
    base = load_protocol(protocol.base)
    for name, (own, theirs) in protocol.deviations(base).items():
        if name != "seeds":
            yield name, setting_text(name, own, images), setting_text(name, theirs, images)
    set_here, set_there = {**protocol.hyperparameters, **protocol.overrides}, base.hyperparameters
    for name in {**set_there, **set_here}:
        if set_here.get(name) != set_there.get(name):
            yield name, setting_text(name, set_here.get(name, "not set")), ""
    sizes, sizes_there = protocol.flow_sizes, base.flow_sizes
    for name in {**sizes_there, **sizes} if sizes else {}:  # older records have none
        if sizes.get(name) != sizes_there.get(name):
            yield name, setting_text(name, sizes.get(name, "not set")), setting_text(name, sizes_there.get(name, ""))


def has_fewer_images(protocol: Protocol) -> bool:
    """True where it differs from its base as a small data set alone makes it differ (`Protocol.done_on`)."""
    base, names = load_protocol(protocol.base), {name for name, *_ in departures(protocol)}
    return names <= {*SPLIT_OF, "batch_size"} and all(
        (getattr(protocol, name) or math.inf) <= (getattr(base, name) or math.inf) for name in names
    )


def name_in_figures(protocol: Protocol) -> str:
    """The protocol in the title of a figure: a changed one by its base, without the digest that its folder has."""
    return protocol.name if protocol.name == protocol.base else f"{protocol.base} with changes"


def title_of_folder(protocol: str) -> str:
    """The protocol of a folder in the title of a page, without the digest that a changed one's folder has.

    >>> title_of_folder("quick"), title_of_folder("quick+0123abcd")
    ('quick protocol', 'quick protocol with changes')
    """
    base, changed, _ = protocol.partition("+")
    return f"{base} protocol{' with changes' if changed else ''}"


def in_words(protocol: Protocol, images: int | None = None) -> str:
    """The protocol in a title: a changed one by its base and what it changes, without the digest that its folder has.

    `images` is how many there are to train on, where that is known.

    >>> quick = load_protocol("quick")
    >>> in_words(quick), in_words(quick.model_copy(update={"name": "quick+0123abcd", "epochs": 7, "elbo_images": 99}))
    ('quick', 'quick with epochs 7, elbo images 99')
    """
    changes = ", ".join(f"{name.replace('_', ' ')} {here}" for name, here, _ in departures(protocol, images))
    return f"{protocol.base} with {changes}" if changes and protocol.name != protocol.base else protocol.name


def declared_by(method: str, options: Mapping[str, Any]) -> tuple[Hyperparameter[Any], ...]:
    """The hyper-parameters of a cell, their defaults the paper's; none where `from_outside`, be it loaded or not."""
    return () if from_outside(method, options) else get_method(method).hyperparameters_with(options)


def from_outside(method: str, options: Mapping[str, Any]) -> bool:
    """True for a cell whose method or flow is a plug-in's: pages have of it what its records say, loaded or not.

    >>> from_outside("vae", {}), from_outside("mine", {}), from_outside("vdae-resnet", {"flow": "of-my-own"})
    (False, True, True)
    """
    return method not in OWN_METHODS or options.get("flow", "nice") not in OWN_FLOWS
