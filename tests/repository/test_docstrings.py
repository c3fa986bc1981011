"""Docstrings that make sense on their own: the first line is what an editor shows, without the class above it."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vdae_bench
from vdae_bench import api
from vdae_bench.models import layers, likelihoods, model, networks, posteriors, priors, space
from vdae_bench.models.flows import base, continuous, couplings, images, residual
from vdae_bench.models.registry import BUILT_IN, get_method

PACKAGE = Path(vdae_bench.__file__).parent
ROOMS = ("models", "data", "evaluation", "training", "system", "paper", "illustration")
FILES = [
    *(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py")),
    PACKAGE / "api.py",
    PACKAGE / "errors.py",
]
FRAGMENT = re.compile(r"(Of|What|Whether|As)\b")
"""Words with which a first line continues a sentence that the reader does not see."""

PARTS = (layers, networks, base, couplings, images, residual, continuous, space, priors, likelihoods, posteriors, model)
WITHOUT_EXAMPLE = (
    *(layers.Layer, priors.Prior, likelihoods.Likelihood, posteriors.FlowPosterior, model.Model, model.ExactModel),
    *(layers.Cotangents, likelihoods.Denoiser, posteriors.PosteriorSample, model.BoundTerms, model.Samples),
    *(posteriors.NoiseScale, base.StandardisedFlow, base.FlowKind, space.OnLogits),
    *(images.Convolution, images.AffineParameters, images.Mixing, images.Scale, residual.Contraction, continuous.Field),
)
"""Classes without an example of their own: bases, values, and the parts that the examples of the whole have."""
EXAMPLES = [
    each
    for module in PARTS
    for _, each in inspect.getmembers(module, inspect.isclass)
    if each.__module__ == module.__name__ and each not in WITHOUT_EXAMPLE
]
METHODS = [type(get_method(name)) for name in BUILT_IN]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of a module, its classes, functions and attributes, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        if not isinstance(body, list):  # the body of a lambda or of a conditional is an expression
            continue
        for before, after in zip([None, *body], body, strict=False):
            if (
                isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
                and isinstance(before, ast.Assign | ast.AnnAssign | None)
            ):
                yield after.lineno, after.value.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_first_line_is_a_thought_of_its_own(path):
    fragments = [f"line {line}: {text.splitlines()[0]}" for line, text in docstrings(path) if FRAGMENT.match(text)]
    assert not fragments


@pytest.mark.parametrize(
    "each", [*EXAMPLES, *METHODS, api.records, api.images, api.TrainedModel, api.load], ids=lambda each: each.__name__
)
def test_what_is_public_has_an_example_that_runs(each):
    assert doctest.DocTestFinder(recurse=False).find(each)[0].examples


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_a_method_gives_its_equation(method):
    assert ".. math::" in method.__doc__
