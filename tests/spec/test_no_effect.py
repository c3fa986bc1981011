"""Settings that would change nothing, or contradict each other, are refused at their line; lists say what they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.support.shell import call
from vdae_bench.data import registry as datasets
from vdae_bench.errors import UserError
from vdae_bench.models import registry
from vdae_bench.models.registry import BUILT_IN, Method, Option, get_method, known_methods, register
from vdae_bench.spec.check import load_spec

BEFORE = """\
version: 1
name: idle
protocol: {protocol}
include:
  - {{dataset: binary-mnist, method: vae, latents: 16}}
  - {{dataset: continuous-mnist, method: {cell}}}
"""
CELL = 6
"""The line of the cell in question."""


def written(folder: Path, cell: str, more: str = "", protocol: str = "smoke") -> Path:
    """A spec with the cell on line 6, and more lines after it."""
    path = folder / "idle.yaml"
    path.write_text(BEFORE.format(cell=cell, protocol=protocol) + more)
    return path


def refused(path: Path, **words) -> list[str]:
    """The sentences about a spec, each with its line."""
    with pytest.raises(UserError) as caught:
        load_spec(path, **words)
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{path}, ") for line in str(caught.value).splitlines()]


WITHOUT_EFFECT = {
    "vae, latents: 16, options: {alpha: 0.1}": "alpha needs space: logit; leave alpha out, or set space to logit",
    "vdae-resnet, latents: 784, options: {flow: glow, hidden_init: uniform}": (
        "option hidden_init needs flow: nice or couplings; leave hidden_init out, or set flow to nice or couplings"
    ),
    "vdae-resnet, latents: 784, options: {log_sigma: -2, initial_log_sigma: -3}": (
        "option initial_log_sigma needs log_sigma: null; leave initial_log_sigma out, or set log_sigma to null"
    ),
    "lvdae, latents: 64, options: {lanczos_steps: 5}": (
        "option lanczos_steps needs log_det: lanczos; leave lanczos_steps out, or set log_det to lanczos"
    ),
    "lvdae, latents: 64, options: {lanczos_steps: 5, log_det: exact}": "option lanczos_steps needs log_det: lanczos;",
    "lvdae, latents: 16, options: {lanczos_steps: 20, log_det: lanczos}": (
        "option lanczos_steps is 20, but at most 16, m, have an effect; use fewer, or leave lanczos_steps out"
    ),
    "vae, latents: 16, options: {space: logit, decoder_output: sigmoid}": (
        "option decoder_output needs space: pixels; leave decoder_output out, or set space to pixels"
    ),
    "vae, latents: 16, options: {space: logit, decoder_output: linear}": "option decoder_output needs space: pixels;",
    "vdae-nice, latents: 784, options: {decoder_variance: tied, log_lambda: -2}": "give one of the two",
}


@pytest.mark.parametrize("cell", WITHOUT_EFFECT)
def test_an_option_that_would_change_nothing_is_refused(tmp_path, cell):
    (said,) = refused(written(tmp_path, cell))
    assert said.startswith(f"line {CELL}: ") and WITHOUT_EFFECT[cell] in said


@pytest.mark.parametrize(
    ("method", "latents", "axes", "line"),
    [
        ("vae", 16, {"space": "[pixels, logit]", "alpha": "[0.1, 0.2]"}, 8),
        ("lvdae", 16, {"log_det": "[subset, lanczos]", "lanczos_steps": "[5, 10]"}, 8),
        ("vdae-resnet", 784, {"flow": "[nice, glow]", "hidden_init": "[he, uniform]"}, 8),
        ("vdae-resnet", 784, {"log_sigma": "[null, -2]", "initial_log_sigma": "[-2, -3]"}, 8),
    ],
)
def test_axes_that_cross_without_effect_are_refused_once(tmp_path, method, latents, axes, line):
    path = tmp_path / "crossed.yaml"
    rest = "".join(f"  {name}: {values}\n" for name, values in axes.items())
    first = "version: 1\nname: crossed\ngrid:\n  dataset: [continuous-mnist]\n"
    path.write_text(f"{first}  method: [{method}]\n  latents: [{latents}]\n{rest}")
    (said,) = refused(path)
    option = list(axes)[1]
    assert said.startswith(f"line {line}: option {option} needs ")


def test_an_option_counts_where_the_protocol_says_what_it_needs(tmp_path):
    for path in (
        written(
            tmp_path, "lvdae, latents: 64, options: {lanczos_steps: 5}", protocol="{base: smoke, log_det: lanczos}"
        ),
        written(tmp_path, "lvdae, latents: 64, options: {lanczos_steps: 5, log_det: lanczos}"),
    ):
        assert dict(load_spec(path).cells[1].options)["lanczos_steps"] == 5
    path = written(tmp_path, "lvdae, latents: 64, options: {lanczos_steps: 5}")
    assert load_spec(path, overrides={"log_det": "lanczos"}).cells[1].options == (("lanczos_steps", 5),)


@pytest.fixture
def foreign(monkeypatch):
    """A method from outside whose option says nothing of others, and one whose option needs what it does not have."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @register
    class Foreign(Method):
        id = "foreign"
        title = "From outside"
        views = ("binary",)
        options: ClassVar = {
            "colour": Option(1, meaning="a number"),
            "shade": Option(1, meaning="a number", only_with=("space", ("pixels",))),
        }

        def build(self, problem):
            raise NotImplementedError

    return Foreign


@pytest.mark.parametrize("at_samples", [True, False])
def test_a_method_from_outside_on_a_flow_takes_the_flows_that_can_serve_it(at_samples):
    class Mine(get_method("vdae-resnet").__class__):
        id = "mine"
        flow_at_samples = at_samples

    assert ("ffjord" in Mine.options["flow"].choices) is not at_samples
    Mine().check_option("flow", "glow", "continuous")


def test_a_method_from_outside_needs_no_declaration(tmp_path, foreign):
    path = tmp_path / "foreign.yaml"
    path.write_text(
        "version: 1\nname: foreign\n"
        "include: [{dataset: binary-mnist, method: foreign, latents: 3, options: {colour: 2, shade: 2}}]\n"
    )
    assert load_spec(path).cells[0].options == (("colour", 2), ("shade", 2))


OF_OTHERS = {
    "vdae-resnet, latents: 784, options: {flow: glow}, hyperparameters: {coupling_layers: 3}": (
        "1.hyperparameters.coupling_layers: method vdae-resnet has it only with flow: nice or couplings; leave it out"
    ),
    "vdae-resnet, latents: 784, hyperparameters: {flow_steps: 4}": "has it only with flow: realnvp or glow; leave it",
    "vdae-resnet, latents: 784, hyperparameters: {lipschitz: 0.5}": "method vdae-resnet does not have it; leave it out",
    "lvdae-nice, latents: 784, hyperparameters: {lipschitz: 0.5}": "has it only with flow: i-resnet; leave it out",
    "conditioned, latents: 16, hyperparameters: {decoder_hidden_size: 8}": "has it only with decoder: blocks; leave",
    "conditioned, latents: 16, options: {coupling: none}, hyperparameters: {conditioned_couplings: 4}": (
        "method conditioned has it only with coupling: affine or additive; leave it out"
    ),
    "conditioned, latents: 16, options: {coupling: affine}, hyperparameters: {conditioned_couplings: 0}": (
        "coupling: affine has no effect with conditioned_couplings: 0; use more couplings, or coupling: none"
    ),
}


@pytest.mark.parametrize("cell", OF_OTHERS)
def test_a_hyperparameter_of_a_cell_that_its_options_rule_out_is_refused(tmp_path, cell):
    (said,) = refused(written(tmp_path, cell))
    assert said.startswith(f"line {CELL}: ") and OF_OTHERS[cell] in said


def test_the_sizes_of_a_sweep_may_serve_several_methods(tmp_path):
    """And a number of couplings of 0 gives the VAE, where no kind of them is written."""
    sizes = "hyperparameters: {flow_steps: 3, coupling_layers: 2, conditioned_couplings: 4}\n"
    more = "  - {dataset: continuous-mnist, method: conditioned, latents: 16, options: {coupling: none}}\n"
    spec = load_spec(written(tmp_path, "vdae-resnet, latents: 784, options: {flow: glow}", more + sizes))
    assert spec.resolved_hyperparameters(spec.cells[1])["flow_steps"] == 3
    assert load_spec(written(tmp_path, "conditioned, latents: 16, hyperparameters: {conditioned_couplings: 0}"))


HALVED = "glow: images of 28 x 28 cannot be halved 3 times"
GLOW = "glow, latents: 784"


@pytest.mark.parametrize(
    ("cell", "more", "protocol", "line"),
    [
        (f"{GLOW}, hyperparameters: {{flow_scales: 3}}", "", "smoke", CELL),
        (GLOW, "hyperparameters:\n  flow_steps: 2\n  flow_scales: 3\n", "smoke", 9),
        (GLOW, "", "{base: smoke, flow_scales: 3}", 3),
        (GLOW, "", "{base: smoke, flow_sizes: {flow_scales: 3}}", 3),
    ],
)
def test_a_size_that_cannot_be_is_blamed_where_it_is_written(tmp_path, cell, more, protocol, line):
    (said,) = refused(written(tmp_path, cell, more, protocol))
    assert said.startswith(f"line {line}: {HALVED}")


@pytest.mark.parametrize("values", [{"flow_scales": 3}, {"flow_sizes": {"flow_scales": 3}}])
def test_a_size_of_the_command_line_blames_no_line(tmp_path, values):
    (said,) = refused(written(tmp_path, GLOW), overrides=values)
    assert said.startswith(HALVED)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("method: glow, latents: 49}", 8),
        ("method: vdae-resnet, latents: 49, options: {flow: glow}}", 8),
        ("method: vdae-resnet,\n    latents: 49,\n    options: {log_sigma: -1,\n    flow: glow}}", 11),
    ],
)
def test_images_that_no_size_could_serve_are_blamed_on_the_cell(tmp_path, monkeypatch, cell, line):
    monkeypatch.setattr(datasets, "DATASETS", dict(datasets.DATASETS))
    pictures = np.random.default_rng(0).integers(0, 256, (12, 7, 7), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pictures)
    path = tmp_path / "odd.yaml"
    path.write_text(
        "version: 1\nname: odd\ndatasets: {odd: {train: images.npy, test: images.npy}}\n"
        "hyperparameters:\n  flow_scales: 1\n"
        "include:\n  - {dataset: continuous-odd, method: nice, latents: 49}\n"
        f"  - {{dataset: continuous-odd, {cell}\n"
    )
    (said,) = refused(path)
    assert said.startswith(f"line {line}: ") and "images of 7 x 7 cannot be halved" in said


MISSPELT = {
    ("flow_stepz", 3): "flow_sizes: no flow has a size 'flow_stepz' (did you mean 'flow_steps'?)",
    ("hidden_size", 3): "flow_sizes: no flow has a size 'hidden_size'; put it under hyperparameters",
    ("zzz", 3): "flow_sizes: no flow has a size 'zzz'; the sizes are couplings, ",
    ("flow_steps", 0): "flow_sizes: flow_steps: input should be greater than or equal to 1, not 0",
}


@pytest.mark.parametrize(("name", "value"), MISSPELT)
def test_what_is_no_size_of_a_flow_is_refused_in_flow_sizes(tmp_path, name, value):
    sizes = f"\n  base: smoke\n  flow_sizes:\n    flow_scales: 1\n    {name}: {value}"
    expected = MISSPELT[name, value]
    path = written(tmp_path, GLOW, protocol=sizes)
    (said,) = refused(path)
    assert said.startswith(f"line 7: {expected}")
    path = written(tmp_path, GLOW)
    (said,) = refused(path, overrides={"flow_sizes": {name: value}})
    assert said.startswith(expected)
    (tmp_path / "mine.yaml").write_text(f"base: smoke\nflow_sizes:\n  {name}: {value}\n")
    (said,) = refused(path, protocol=str(tmp_path / "mine.yaml"))
    assert f"mine.yaml, line 3: {expected}" in said


@pytest.mark.parametrize(("flow", "meant"), [("Glow", "glow"), ("real-nvp", "realnvp"), ("NICE", "nice")])
def test_a_misspelt_choice_gets_the_nearest(tmp_path, flow, meant):
    (said,) = refused(written(tmp_path, f"vdae-resnet, latents: 784, options: {{flow: {flow}}}"))
    assert f"option flow is {flow!r}; use one of nice, couplings, " in said and f"(did you mean {meant!r}?)" in said


@pytest.mark.parametrize(
    ("name", "value"), [("flow", "glow"), ("space", "logit"), ("alpha", 0.1), ("hidden_init", "he")]
)
def test_an_option_in_another_place_is_told_its_own(tmp_path, name, value):
    home = f"{name} is an option of a cell; set it in a spec, as an axis of a grid or under the options of a cell"
    plain = "vdae-resnet, latents: 784"
    assert refused(written(tmp_path, plain), overrides={name: value}) == [home]
    for path in (
        written(tmp_path, f"{plain}, hyperparameters: {{{name}: {value}}}"),
        written(tmp_path, plain, f"hyperparameters: {{{name}: {value}}}\n"),
        written(tmp_path, plain, f"{name}: {value}\n"),
        written(tmp_path, plain, protocol=f"{{base: smoke, {name}: {value}}}"),
    ):
        (said,) = refused(path)
        assert said.endswith(home)


def listing(monkeypatch, capsys, kind):
    code, out = call(monkeypatch, capsys, "list", kind, "--format", "json")
    assert code == 0
    return json.loads(out)


def test_lists_have_what_each_method_takes_and_what_that_needs(monkeypatch, capsys):
    ours = [get_method(each) for each in BUILT_IN]
    flows = {method: row["allowed"] for row in listing(monkeypatch, capsys, "options") if row["name"] == "flow"
             for method in row["methods"]}  # fmt: skip
    assert "ffjord" in flows["lvdae-nice"] and flows["vdae-resnet"] == "nice, couplings, realnvp, glow"
    takes = {row["name"]: row for row in listing(monkeypatch, capsys, "hyperparameters")}
    for method in (each for each in ours if each.trains):
        cells = [{}, *({name: value} for name, each in method.options.items() for value in each.choices or ())]
        has = {each.name for options in cells for each in method.hyperparameters_with(options)}
        assert has == {name for name, row in takes.items() if method.id in row["methods"]} - {
            "learning_rate", "schedule", "adam_beta2", "adam_eps"
        }  # fmt: skip
    (blocks,) = takes["decoder_hidden_size"]["only_with"]
    assert blocks == {"option": "decoder", "values": ["blocks"], "methods": ["conditioned"]}
    (steps,) = takes["flow_steps"]["only_with"]
    assert (steps["option"], steps["values"]) == ("flow", ["realnvp", "glow"])
    assert "vdae-resnet" in steps["methods"] and "glow" not in steps["methods"]
    assert takes["hidden_size"]["only_with"] == []


def test_tables_have_conditions_in_words(monkeypatch, capsys):
    code, out = call(monkeypatch, capsys, "list", "options")
    assert code == 0 and "log_det: lanczos" in out and "flow: nice or couplings" in out and "log_sigma: null" in out
    code, out = call(monkeypatch, capsys, "list", "hyperparameters")
    assert code == 0 and "decoder: blocks for conditioned" in out


def test_what_an_option_needs_is_an_option_of_the_same_method_that_may_have_that_value():
    for method in known_methods():
        for option in method.options.values():
            if option.only_with:
                other, values = option.only_with
                assert set(values) <= set(method.options[other].choices or [method.options[other].default])
