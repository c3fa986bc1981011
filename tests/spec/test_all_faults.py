"""Every fault of a spec in one go, each at its own line and with the nearest valid word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vdae_bench.errors import UserError
from vdae_bench.spec.check import find_spec, load_spec

MANY = """\
version: 1
nme: many                                                        # did you mean 'name'
grid:
  - dataset: [binary-mnist, binary-mnst]                         # did you mean 'binary-mnist'
    method: [vae, lvdea, 3]                                      # did you mean 'lvdae' & given by its name, not 3
    latent: [16, 32]                                             # did you mean 'latents'
  - dataset: [continuous-mnist]
    method:
      - nice
      - VAE                                                      # did you mean 'vae'
    latents:
      - 16
      - many                                                     # whole numbers, not 'many'
    decoder_outptu: [linear]                                     # did you mean 'decoder_output'
  - dataset: [continuous-mnist]
    method:
      - vae
      - nice                                                     # -
    latents:
      - 784
      - 16                                                       # latents must be 784
      - 9000                                                     # must be 784, not 9000 & vae needs 1 <= latents
    l2:                                                          # -
      - -1                                                       # method vae has no option l2 & from 0 to inf
include:
  - {dataset: binary-mnist, method: vae}                         # needs latents too
  - dataset: binary-mnist
    method: vea                                                  # did you mean 'vae'
    latents: x                                                   # valid integer
    colour: red                                                  # the keys here are dataset, method, latents
  - {dataset: binary-mnist, method: vae, latents: 8, log_sigma: -3}                # put it under options
  - dataset: binary-mnist
    method: vae
    latents: 8
    options:
      decoder_output: linear                                     # is for continuous data
    hyperparameters:
      couplings: 2                                               # method vae does not have it
      lr: 3                                                      # did you mean 'learning_rate'
exclude:
  - {method: vea}                                                # did you mean 'vae'
  - {latents: 32, options: {decoder_outpt: linear}}              # did you mean 'decoder_output'
  - {}                                                           # this pattern is empty
  - {method: vae, hyperparameters: {a: 1}}                       # unknown key 'exclude.3.hyperparameters'
protocol:
  base: qick                                                     # did you mean 'quick'
  epochs: 0                                                      # greater than or equal to 1
  batch: 3                                                       # did you mean 'batch_size'
  precision: float23                                             # did you mean 'float32'
hyperparameters:
  learning_rat: 1e-3                                             # did you mean 'learning_rate'
  schedule: cosine                                               # 'linear' or 'none'
search:
  metod: bayes                                                   # did you mean 'method'
  method: baes                                                   # did you mean 'bayes'
  metric: {name: validation_elbo, goal: minimise}                # did you mean 'maximize'
  trials: 0                                                      # greater than or equal to 1
  share:
    - latent                                                     # did you mean 'latents'
    - 3                                                          # 3 is not an axis
  parameters:
    learning_rate: {min: 1e-5, max: 1e-3}                        # use log_uniform_values, uniform or int_uniform
    schedule: {values: [linear, cosine, [1]]}                    # 'linear' or 'none' & a word or a number, not [1]
    hidden_size: {distribution: int_unif, min: 1, max: 8}        # did you mean 'int_uniform'
    lr: 3                                                        # did you mean 'learning_rate' & give values: [...]
    adam_eps: {distribution: uniform, min: 0.9, max: 0.1}        # min 0.9 must be below max 0.1
    seed: {values: [1]}                                          # seeds are never searched
    residual_blocks: {}                                          # give values: [...], or distribution, min and max
seeds: none                                                      # valid integer
<<: 3                                                            # merge key
others: !foo 3                                                   # the tag !foo & unknown key 'others'
"""


def faults(path: Path) -> list[tuple[int, str]]:
    """(line, sentence) of each fault of a spec."""
    with pytest.raises(UserError) as caught:
        load_spec(path)
    found = [re.fullmatch(r"(\S+), line (\d+): (.*)", line) for line in str(caught.value).splitlines()]
    assert all(found), caught.value
    return [(int(match[2]), match[3]) for match in found if match]


@pytest.fixture
def write(tmp_path):
    def put(text: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return path

    return put


def test_every_fault_has_its_line_and_its_words_and_nothing_else_is_said(write):
    expected = []
    for number, line in enumerate(MANY.splitlines(), 1):
        words = line.partition("  # ")[2]
        expected += [(number, each) for each in words.split(" & ") if each and each != "-"]
    found = faults(write(MANY))
    for line, words in expected:
        assert any(at == line and words in said for at, said in found), (line, words, found)
    assert [line for line, _ in found] == [line for line, _ in expected], found


SOUND = """\
version: 1
name: sound
grid:
  dataset: [continuous-mnist]
  method: [vae, lvdae]
  latents: [16, 32]
"""
IDLE = {
    "exclude: [{method: nice}]": "no cell has method 'nice'; there are vae, lvdae",
    "exclude: [{latents: 33}]": "no cell has latents 33; there are 16, 32",
    "exclude: [{dataset: binary-mnist}]": "no cell has dataset 'binary-mnist'; there are continuous-mnist",
    "exclude: [{options: {decoder_output: linear}}]": "no cell has decoder_output 'linear'; there are sigmoid",
    "exclude: [{options: {colour: red}}]": "no cell has the option 'colour'",
    "exclude: [{method: vae, options: {decoder_variance: tied}}]": "decoder_variance",
    "exclude: [{method: [vae]}]": "valid string, not ['vae']",
    "exclude: [{}]": "this pattern is empty",
    "exclude: [{dataset: continuous-mnist}]": "exclude takes away every cell",
    "hyperparameters: {couplings: 2}": "no method of this sweep has it; leave it out",
    "protocol: {couplings: 2}": "no method of this sweep has it; leave it out",
    "protocol: 3": "a protocol is a name, or a mapping",
    "include: [{dataset: continuous-mnist, method: nice, latents: 784, hyperparameters: {hidden_size: 3}}]": (
        "method nice does not have it"
    ),
    "include: [{dataset: continuous-mnist, method: vae, latents: 4, options: {method: {a: 1}}}]": "it beside options",
    "search: {trials: 1, share: [{}], parameters: {learning_rate: {values: [0.1]}}}": "{} is not an axis",
    "learning_rate: 1e-3": "put it under hyperparameters",
    "grids: []": "did you mean 'grid'",
    "search: {trials: 1, parameters: {learning_rate: {min: 1, max: 2}}}": "distribution' is missing; use log_uniform",
    "search: {trials: 1, parameters: {learning_rate: {value: 1}}}": "give values: [...]",
    "search: {parameters: {learning_rate: {values: [0.1]}}}": "'search.trials' is missing",
    "search: {trials: 1, parameters: {couplings: {values: [2]}}}": "no method of this sweep has it",
}


@pytest.mark.parametrize("line", IDLE)
def test_what_changes_nothing_or_is_no_key_is_one_fault_with_its_line(write, line):
    ((at, said),) = faults(write(f"{SOUND}{line}\n"))
    assert at == 7 and IDLE[line] in said


def test_exclude_knows_the_default_of_an_option(write):
    spec = load_spec(
        write(f"{SOUND}  decoder_output: [sigmoid, linear]\nexclude: [{{options: {{decoder_output: sigmoid}}}}]\n")
    )
    assert {dict(cell.options)["decoder_output"] for cell in spec.cells} == {"linear"}


def test_merge_keys_and_empty_sections_mean_what_they_say(write):
    text = """\
version: 1
name: merged
seeds:
exclude:
include:
  - &base {dataset: binary-mnist, method: vae, latents: 4}
  - {<<: *base, latents: 5}
"""
    spec = load_spec(write(text))
    assert [cell.slug for cell in spec.cells] == ["binary-mnist_vae_4", "binary-mnist_vae_5"]
    ((at, said),) = faults(write(text.replace("method: vae", "method: vea")))
    assert at == 6 and "did you mean 'vae'" in said


def test_a_protocol_file_has_all_its_faults_named_too(write, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: quick\nepoch: 3\nseeds: 0\nbatch_size: x\n")
    with pytest.raises(UserError) as caught:
        load_spec(write(SOUND), str(file))
    lines = str(caught.value).splitlines()
    assert [re.search(r"line (\d)", line)[1] for line in lines] == ["2", "3", "4"] and "'epochs'" in lines[0]
    file.write_text("base: quick\nhyperparameters:\n  hiden_size: 3\n  adam_eps: 2\n")
    with pytest.raises(
        UserError, match=r"(?s)mine.yaml, line 3: hiden_size: .*'hidden_size'.*mine.yaml, line 4: adam_eps"
    ):
        load_spec(write(SOUND), str(file))


def test_overrides_are_all_named_too(write):
    with pytest.raises(UserError) as caught:
        load_spec(write(SOUND), overrides={"lr": None, "epochs": 0, "couplings": 3, "hidden_size": -1})
    assert "did you mean 'learning_rate'" in str(caught.value) and len(str(caught.value).splitlines()) == 4


def test_nothing_in_the_current_folder_hides_a_shipped_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = find_spec("table1")
    (tmp_path / "table1").mkdir()
    assert find_spec("table1") == shipped
    (tmp_path / "table2").write_text(SOUND)
    assert find_spec("table2") == shipped.with_name("table2.yaml")
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="mine is a folder; give the YAML file in it"):
        find_spec("mine")
    (tmp_path / "own").write_text(SOUND)
    assert load_spec(find_spec("own")).name == "sound"
