"""Sentences on what a protocol cannot show: each follows from its values, and from those that its runs trained with."""

from __future__ import annotations

import pytest

from vdae_bench.models.registry import OWN_METHODS, get_method
from vdae_bench.spec.protocol import PAPER_SIZES, Protocol, few_steps, load_protocol, override, with_limits
from vdae_bench.spec.shipped import PROTOCOLS

SMALLER = "with smaller networks"


def said(protocol: Protocol) -> str:
    return "; ".join(protocol.cannot_show)


def changed(base: str, fields: dict | None = None, **sizes: int) -> Protocol:
    return override(load_protocol(base), fields or {}, sizes)


def test_sizes_of_the_paper_are_the_defaults_of_the_methods() -> None:
    declared = [each for method in OWN_METHODS for each in get_method(method).possible_hyperparameters]
    assert {(each.name, each.default) for each in declared if each.name in PAPER_SIZES} == set(PAPER_SIZES.items())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_protocol_speaks_of_curves(name: str) -> None:
    for epochs in (1, 29, 30, 1000):
        assert "curve" not in said(changed(name, {"epochs": epochs}))


def test_few_epochs_are_said_with_how_many_order_methods() -> None:
    limit = "which method is better: 29 epochs, and we order methods after 30 or more"
    assert limit in changed("quick", {"epochs": 29}).cannot_show
    assert "which method" not in said(changed("quick", {"epochs": 30}))


@pytest.mark.parametrize(
    ("sizes", "smaller"),
    [
        ({}, False),
        ({"hidden_size": 512}, False),
        ({"hidden_size": 256, "coupling_hidden_size": 1024}, False),
        ({"hidden_size": 255}, True),
        ({"coupling_hidden_size": 1023}, True),
        ({"flow_steps": 3}, True),
    ],
)
def test_networks_are_smaller_where_a_size_is_below_the_papers(sizes: dict[str, int], smaller: bool) -> None:
    assert (SMALLER in said(changed("paper", {"epochs": 50}, **sizes))) == smaller
    in_file = load_protocol("paper").model_copy(update={"epochs": 50, "hyperparameters": sizes})
    assert (SMALLER in said(with_limits(in_file))) == smaller


def test_networks_are_those_that_ran() -> None:
    quick = load_protocol("quick")
    assert SMALLER in said(quick) and SMALLER in said(with_limits(quick, ran=[{"hidden_size": 128}]))
    assert SMALLER not in said(with_limits(quick, ran=[{"hidden_size": 256}, {"flow_steps": 4}]))
    assert SMALLER not in said(with_limits(quick, searched=True))  # winners take their place, and are not known yet
    assert SMALLER in said(with_limits(quick, searched=True, ran=[{"hidden_size": 64}]))


def test_few_steps_and_images_are_said_as_numbers() -> None:
    assert said(load_protocol("smoke")) == "anything: 8 steps on 400 images are so few that these numbers mean nothing"
    long = changed("smoke", {"epochs": 1000})
    assert long.cannot_show[0] == (
        "the paper's numbers: on 400 training images, with smaller networks, without its hyper-parameter search"
    )
    assert "anything" not in said(long) and not few_steps(long)
    assert said(changed("quick", {"train_images": 500})).startswith("anything: 4 steps on 500 images")
    assert few_steps(load_protocol("quick"), 1) == "2 steps on 1 image"
    assert said(with_limits(load_protocol("quick"), images=300)).startswith("anything: 4 steps on 300 images")
