"""A hyper-parameter is declared once: specs, --set, searches, plans, records, reports and lists know it from there."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from tests.support.shell import Shell, call
from tests.support.specs import Spec
from vdae_bench.data.registry import dataset_ids
from vdae_bench.errors import UserError
from vdae_bench.models import registry
from vdae_bench.models.hyperparameters import Hyperparameter, defaults
from vdae_bench.models.registry import known_methods, load_plugin, method_ids
from vdae_bench.running.job import Job
from vdae_bench.search.studies import studies_of
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.file import Range
from vdae_bench.spec.hyperparameters import OPTIMISER, hyperparameters_of
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.shipped import PROTOCOLS, shipped_sweeps
from vdae_bench.training.adam import AdamSettings

PLUGIN = """
from vdae_bench.models.hyperparameters import Hyperparameter
from vdae_bench.models.methods.vae import VAE
from vdae_bench.models.registry import register

TEMPERATURE = Hyperparameter("temperature", float, 1, gt=0, le=4, meaning="factor on the KL | in training")


@register
class TemperedVAE(VAE):
    id = "tempered-vae"
    title = "VAE, tempered"
    hyperparameters = (*VAE.hyperparameters, TEMPERATURE)

    def build(self, problem):
        model = super().build(problem)
        model.kl_weight = model.kl_weight * TEMPERATURE.of(problem.hyperparameters)
        return model
"""
SPEC = Spec(
    name="tempered",
    grid={"dataset": ["binary-tiny"], "method": ["vae", "tempered-vae"], "latents": [3]},
    protocol={
        "base": "smoke",
        "epochs": 2,
        "batch_size": 60,
        "train_images": None,
        "validation_images": 20,
        "elbo_images": 30,
        "nll_images": 10,
        "importance_samples": 5,
    },
    hyperparameters={"hidden_size": 4},
    search={
        "method": "random",
        "trials": 3,
        "parameters": {
            "temperature": {"distribution": "uniform", "min": 0.1, "max": 0.4},
            "learning_rate": {"values": [0.01, 0.001]},
        },
    },
    seeds=1,
)
TEMPERED = "binary-tiny_tempered-vae_3"


@pytest.fixture
def plugin(tiny_data, tmp_path, monkeypatch):
    """The file of a method from outside; whatever is registered is forgotten after the test."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tempered.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def load(plugin, tmp_path):
    """Load a spec, by default the tempered one, with the method known."""
    load_plugin(plugin)
    return lambda spec=SPEC, **words: load_spec(spec.write(tmp_path), **words)


def trained_with(spec):
    """What the tempered cell of a spec trains with, and the identity that it has with it."""
    cell = spec.cells[-1]
    values = spec.resolved_hyperparameters(cell)
    return values, Job(spec.name, cell, spec.protocol, values).run_digest(0)


def test_a_methods_own_hyperparameter_is_set_wherever_others_are(load, tmp_path):
    plain, digest = trained_with(load())
    assert plain == {**defaults(OPTIMISER), "hidden_size": 4, "residual_blocks": 1, "temperature": 1.0}
    assert type(plain["temperature"]) is float
    assert "temperature" not in load().resolved_hyperparameters(load().cells[0])  # the VAE's
    (tmp_path / "warm.yaml").write_text("base: smoke\nhyperparameters: {temperature: 3}\n")
    warm = {"temperature": 3}
    include = [{"dataset": "binary-tiny", "method": "tempered-vae", "latents": 4, "hyperparameters": warm}]
    for spec in (
        load(SPEC.but(hyperparameters=warm)),
        load(overrides=warm),
        load(SPEC.but(protocol=warm)),
        load(protocol=str(tmp_path / "warm.yaml")),
        load(SPEC.but(include=include)),
    ):
        values, other = trained_with(spec)
        assert values["temperature"] == 3 and other != digest


def searching(**parameters):
    return SPEC.but(search={"parameters": parameters})


FAULTS = {
    "out of bounds": (SPEC.but(hyperparameters={"temperature": 5}), 5, "less than or equal to 4, not 5"),
    "unknown": (SPEC.but(hyperparameters={"temprature": 2}), 5, "did you mean 'temperature'?"),
    "of a cell": (
        SPEC.but(
            include=[
                {"dataset": "binary-tiny", "method": "vae", "latents": 4, "hyperparameters": {"hiden_size": 4}},
            ]
        ),
        4,
        "include.0.hyperparameters.hiden_size: unknown hyper-parameter (did you mean 'hidden_size'?)",
    ),
    "infinite": (SPEC.but(hyperparameters={"temperature": math.inf}), 5, "finite"),
    "no number": (SPEC.but(hyperparameters={"temperature": [1]}), 5, "valid number"),
    "of the protocol": (SPEC.but(protocol={"temprature": 2}), 4, "did you mean 'temperature'?"),
    "searched out of bounds": (searching(temperature={"min": -1}), 10, "greater than 0"),
    "searched as whole numbers": (
        searching(temperature={"distribution": "int_uniform", "min": 1, "max": 2}),
        10,
        "use uniform",
    ),
    "searched word": (searching(learning_rate={"values": [0.01, "low"]}), 11, "valid number"),
    "searched by no method": (SPEC.but(grid={"method": ["vae"]}), 10, "no method of this sweep has it"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_its_faults_are_named_with_line_and_remedy(load, fault):
    spec, line, words = FAULTS[fault]
    with pytest.raises(UserError) as caught:
        load(spec)
    assert f"line {line}:" in str(caught.value) and words in str(caught.value)


def test_a_hyperparameter_that_no_cell_has_is_refused_wherever_a_spec_or_the_command_line_sets_it(load):
    """A protocol's file may have it: it serves many sweeps."""
    assert "coupling_hidden_size" in load_protocol("smoke").hyperparameters
    lacks = "no method of this sweep has it; leave it out"
    for part in ("hyperparameters", "protocol"):
        with pytest.raises(UserError, match=f"line [45]: .*coupling_layers: {lacks}"):
            load(SPEC.but(**{part: {"coupling_layers": 2}}))
    with pytest.raises(UserError, match="coupling_layers: input should be greater than or equal to 1, not 0"):
        load(SPEC.but(hyperparameters={"coupling_layers": 0}))
    with pytest.raises(UserError, match=f"coupling_layers: {lacks}"):
        load(overrides={"coupling_layers": 2})
    cells = [{"dataset": "binary-tiny", "method": "vae", "latents": 2, "hyperparameters": {"temperature": 2}}]
    with pytest.raises(UserError, match=r"include\.0\.hyperparameters\.temperature: method vae does not have it"):
        load(SPEC.but(include=cells))


def test_a_hint_is_of_the_sweeps_methods(load):
    unnamed = replace(SPEC, search={"trials": 3, "parameters": {"temperatur": {"values": [0.1, 0.4]}}})
    for method, hint in (("tempered-vae", r"did you mean 'temperature'"), ("vae", r"unknown hyper-parameter$")):
        with pytest.raises(UserError, match=hint):
            load(unnamed.but(grid={"method": [method]}))


def test_from_the_command_line_to_the_page(plugin, tiny_data, tmp_path, monkeypatch, capsys):
    SPEC.but(grid={"method": ["tempered-vae"]}).write(tmp_path)
    words = ("--plugin", str(plugin))
    code, out = call(monkeypatch, capsys, *words, "list", "hyperparameters", "--format", "json")
    (shown,) = (each for each in json.loads(out) if each["name"] == "temperature")
    assert code == 0 and shown == {
        "name": "temperature",
        "type": "float",
        "allowed": "(0, 4]",
        "bounds": {"gt": 0, "le": 4},
        "choices": None,
        "default": 1,
        "meaning": "factor on the KL | in training",
        "methods": ["tempered-vae"],
        "only_with": [],
    }
    plan = ("plan", "tempered.yaml", "--set", "temperature=0.5", "--format", "json")
    code, out = call(monkeypatch, capsys, *words, *plan)
    cells = {each["cell"]: each["hyperparameters"] for each in json.loads(out)["cells"]}
    assert code == 0 and cells[TEMPERED]["temperature"] == 0.5
    assert call(monkeypatch, capsys, *words, "plan", "tempered.yaml", "--set", "temperature=5")[0] == 2

    done = Shell(tmp_path, tiny_data).run("sweep", "tempered.yaml", "--search", "-q", plugins=(plugin,))
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "results").rglob(f"{TEMPERED}/seed-0.json")
    recorded = json.loads(record.read_text())["hyperparameters"]
    (winner,) = (tmp_path / "results").rglob(f"search/{TEMPERED}.json")
    frozen = json.loads(winner.read_text())
    assert 0.1 <= recorded["temperature"] == frozen["chosen"]["temperature"] <= 0.4
    assert len({trial["parameters"]["temperature"] for trial in frozen["trials"]}) == 3
    (page,) = (tmp_path / "reports").rglob("tempered.md")
    (row,) = (line for line in page.read_text().splitlines() if line.startswith("| `temperature` ("))
    assert "the method is a plug-in's" in row and f"{recorded['temperature']}" in row


def test_trials_that_differ_in_a_methods_own_hyperparameter_are_priced_within_its_space(load):
    study = studies_of(load())[-1]
    assert study.cell.slug == TEMPERED and list(study.space) == ["temperature", "learning_rate"]
    assert study.train_flops > 0
    assert Range(distribution="uniform", min=0.1, max=0.4).largest == 0.4
    assert Range(distribution="int_uniform", min=1, max=4).largest == 4


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"temperature", float', '"epochs", float', "calls a hyper-parameter 'epochs', but that name is taken"),
        ('"temperature", float', '"source", float', "calls a hyper-parameter 'source', but that name is taken"),
        (
            '"temperature", float',
            '"learning_rate", float',
            "calls a hyper-parameter 'learning_rate', but that name is taken",
        ),
        (
            'id = "tempered-vae"',
            'id = "nice"',
            "'nice' is already that of vdae_bench.models.methods.nice:Nice; give TemperedVAE",
        ),
        ('id = "tempered-vae"', 'id = "glow"', "'glow' is already that of the flow Glow; give TemperedVAE"),
        ('id = "tempered-vae"', "id = None", "method class TemperedVAE has no id; give it one"),
        ('title = "VAE, tempered"', "title = 5", "method class TemperedVAE has no title; give it one"),
        ('"temperature", float', '"Temperature!", float', "must be lower-case letters"),
        ("float, 1,", "float, 9,", "its default: input should be less than or equal to 4"),
        ("float, 1,", "int, 1.5,", "its default: input should be a valid integer"),
        ("float, 1, gt=0, le=4", 'str, "hot"', "a str with choices"),
        ("float, 1, gt=0, le=4", "bool, True", "an int or a float with bounds"),
        ("factor on the KL | in training", "", "give its meaning in one line"),
        ("TEMPERATURE)\n", '"temperature")\n', "a tuple of Hyperparameter values"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(plugin, tmp_path, before, after, said):
    assert PLUGIN.count(before) == 1
    plugin.write_text(PLUGIN.replace(before, after))
    path = SPEC.write(tmp_path)
    with pytest.raises(UserError, match=said):
        load_plugin(plugin)
        load_spec(path)


def test_a_value_is_read_in_its_type():
    whole = Hyperparameter("whole", int, 3, ge=1, meaning="a number")
    word = Hyperparameter("word", str, "on", choices=("on", "off"), meaning="a switch")
    assert whole.read(4.0) == 4 and type(whole.read(4.0)) is int
    assert whole.allowed == "[1, inf)" and word.allowed == "on, off"
    with pytest.raises(UserError, match=r"fractional part, not 4\.5"):
        whole.read(4.5)
    with pytest.raises(UserError, match="'on' or 'off', not 'dim'"):
        word.read("dim")


def test_adam_gets_the_values_that_a_job_names():
    values = {"learning_rate": 0.5, "schedule": "none", "adam_beta2": 0.25, "adam_eps": 0.125}
    job = Job("x", None, load_protocol("smoke"), {**values, "hidden_size": 4})
    assert job.adam_settings == AdamSettings(0.5, "none", 0.25, 0.125)


@pytest.mark.parametrize("kind", ["sweeps", "methods", "datasets", "protocols", "options", "hyperparameters"])
def test_lists_have_what_the_registries_have(kind, monkeypatch, capsys):
    known = {
        "sweeps": shipped_sweeps(),
        "methods": method_ids(),
        "datasets": dataset_ids(),
        "protocols": PROTOCOLS,
        "options": {name for method in known_methods() for name in method.options},
        "hyperparameters": {name for method in known_methods() for name in hyperparameters_of(method)},
    }[kind]
    code, out = call(monkeypatch, capsys, "list", kind, "--format", "json")
    rows = json.loads(out)
    assert code == 0 and {row["name"] for row in rows} == set(known)
    assert all(row.get("meaning", "said") for row in rows)
    code, out = call(monkeypatch, capsys, "list", kind)
    assert code == 0 and {line.split("  ")[0] for line in out.splitlines()} >= set(known)


def test_a_list_of_nothing_known_is_refused(monkeypatch, capsys):
    assert call(monkeypatch, capsys, "list", "flows")[0] == 2
