"""Specs: what they mean, and faults named with their line and the nearest valid word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.specs import Spec
from vdae_bench.errors import UserError
from vdae_bench.report.numbers.settings import in_words
from vdae_bench.spec.check import apply_overrides, find_spec, load_spec
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.shipped import PROTOCOLS, shipped_sweeps, sweeps_folder
from vdae_bench.spec.sweep import Cell

CONTRACT = """\
version: 1
name: mini
grid: {dataset: [binary-mnist], method: [vae, lvdae], latents: [16]}
include: [{dataset: continuous-mnist, method: vae, latents: 32, options: {decoder_output: linear}}]
protocol: {base: quick, epochs: 2, batch_size: 250, importance_samples: 50}
hyperparameters: {learning_rate: 1e-3, schedule: linear, hidden_size: 64, residual_blocks: 1}
search:
  method: bayes
  metric: {name: validation_elbo, goal: maximize}
  trials: 30
  parameters:
    learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}
    schedule: {values: [linear, none]}
seeds: 2
"""
ONE = Spec(include=[{"dataset": "binary-mnist", "method": "vae", "latents": 4}])
"""One cell at the default protocol."""


@pytest.fixture
def write(tmp_path):
    def put(spec: Spec | str) -> Path:
        if isinstance(spec, Spec):
            return spec.write(tmp_path)
        path = tmp_path / "spec.yaml"
        path.write_text(spec)
        return path

    return put


def test_the_contract_example(write):
    spec = load_spec(write(CONTRACT))
    assert [cell.slug for cell in spec.cells] == [
        "binary-mnist_vae_16",
        "binary-mnist_lvdae_16",
        "continuous-mnist_vae_32_decoder_output-linear",
    ]
    assert spec.seeds == 2 and spec.protocol.epochs == 2 and spec.protocol.importance_samples == 50
    assert spec.protocol.name.startswith("quick+") and spec.protocol.base == "quick"
    hyper = spec.resolved_hyperparameters(spec.cells[0])
    assert hyper["learning_rate"] == 1e-3 and hyper["hidden_size"] == 64 and hyper["adam_beta2"] == 0.999
    assert spec.search is not None and spec.search.trials == 30


FAULTS = {
    "unknown key": ("seeds: 2", "seedz: 2", 14, "unknown key 'seedz' (did you mean 'seeds'?)"),
    "unknown method": ("[vae, lvdae]", "[vae, lvdea]", 3, "did you mean 'lvdae'?"),
    "unknown data set": ("[binary-mnist]", "[binary-mnst]", 3, "binary-mnist"),
    "latents out of range": ("latents: [16]", "latents: [9000]", 3, "784"),
    "latents no number": ("latents: [16]", "latents: [many]", 3, "whole numbers"),
    "axis missing": (", latents: [16]", "", 3, "latents"),
    "unknown option": ("decoder_output: linear", "decoder_outptu: linear", 4, "did you mean 'decoder_output'?"),
    "option value": ("decoder_output: linear", "decoder_output: relu", 4, "sigmoid, linear"),
    "protocol field": ("epochs: 2", "epoch: 2", 5, "did you mean 'epochs'?"),
    "protocol value": ("epochs: 2", "epochs: 0", 5, "greater than or equal to 1"),
    "protocol base": ("base: quick", "base: qick", 5, "did you mean 'quick'?"),
    "hyper-parameter": ("learning_rate: 1e-3,", "learning_rat: 1e-3,", 6, "did you mean 'learning_rate'?"),
    "schedule": ("schedule: linear", "schedule: cosine", 6, "'linear' or 'none'"),
    "search min over max": ("min: 1e-5, max: 1e-3", "min: 1e-3, max: 1e-5", 12, "below max"),
    "search log of zero": ("min: 1e-5", "min: 0", 12, "start above 0"),
    "search unknown name": ("    schedule: {values", "    shedule: {values", 13, "did you mean 'schedule'?"),
    "search seed": ("    schedule: {values: [linear, none]}", "    seed: {values: [1, 2]}", 13, "never searched"),
    "search empty set": ("values: [linear, none]", "values: []", 13, "at least 1 item"),
    "search value": ("values: [linear, none]", "values: [linear, cosine]", 13, "'linear' or 'none'"),
    "search value twice": ("values: [linear, none]", "values: [none, none]", 13, "write each value once"),
    "search interval of words": (
        "{values: [linear, none]}",
        "{distribution: uniform, min: 0, max: 1}",
        13,
        "'linear' or 'none'",
    ),
    "search fractions of whole numbers": (
        "schedule: {values: [linear, none]}",
        "hidden_size: {values: [32, 64.5]}",
        13,
        "integer",
    ),
    "search uniform whole numbers": (
        "schedule: {values: [linear, none]}",
        "hidden_size: {distribution: uniform, min: 32, max: 64}",
        13,
        "need int_uniform or values",
    ),
    "search of what no method has": (
        "schedule: {values: [linear, none]}",
        "couplings: {values: [2, 4]}",
        13,
        "no method of this sweep has it",
    ),
    "search out of bounds": ("max: 1e-3", "max: 50", 12, "less than 10"),
    "search infinite": ("max: 1e-3", "max: .inf", 12, "finite"),
    "search without trials": ("trials: 30", "trials: 0", 10, "greater than or equal to 1"),
    "search sampler": ("method: bayes", "sampler: gpp", 8, "'gp' or 'tpe'"),
    "search shares no axis": ("trials: 30", "trials: 30\n  share: [latent]", 11, "did you mean 'latents'?"),
    "search on no cell": (
        "trials: 30",
        "trials: 30\n  cell: binary-mnist_vae_17",
        11,
        "did you mean 'binary-mnist_vae_16'?",
    ),
    "search share and cell": (
        "trials: 30",
        "trials: 30\n  share: [latents]\n  cell: binary-mnist_vae_16",
        12,
        "not both",
    ),
    "search compares unknown": ("trials: 30", "trials: 30\n  compare: {seeds: [1]}", 11, "did you mean 'seed'?"),
    "version": ("version: 1", "version: 2", 1, "version"),
    "name leaves the folder": ("name: mini", "name: ../mini", 2, "name"),
    "no YAML": ("seeds: 2", "seeds: [2", 15, "not YAML"),
    "twice the same key": ("seeds: 2", "version: 1", 14, "version"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_with_line_and_remedy(write, fault):
    before, after, line, words = FAULTS[fault]
    assert before in CONTRACT
    with pytest.raises(UserError) as caught:
        load_spec(write(CONTRACT.replace(before, after, 1)))
    assert f"line {line}" in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "version: 1", "&a [*a]", "a: !!python/object:os.system x", "\x00"])
def test_what_is_no_spec_gives_one_sentence(write, text):
    with pytest.raises(UserError):
        load_spec(write(text))


def test_many_laughs_are_refused(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    with pytest.raises(UserError, match="aliases"):
        load_spec(write("\n".join(lines)))


def test_exclude_and_option_axes(write):
    axes = {"method": ["vae"], "latents": [16, 32], "decoder_output": ["sigmoid", "linear"]}
    spec = Spec(
        grid={"dataset": ["continuous-mnist"], **axes},
        exclude=[{"latents": 32, "options": {"decoder_output": "linear"}}],
    )
    assert [cell.slug for cell in load_spec(write(spec)).cells] == [
        "continuous-mnist_vae_16",
        "continuous-mnist_vae_16_decoder_output-linear",
        "continuous-mnist_vae_32",
    ]


def test_exclude_leaves_cells_of_the_grid_out_and_no_included_one(write):
    spec = Spec(
        grid={"dataset": ["binary-mnist"], "method": ["vae"], "latents": [16, 32]},
        exclude=[{"latents": 32}],
        include=[
            {"dataset": "binary-mnist", "method": "vae", "latents": 32, "hyperparameters": {"learning_rate": 1e-4}}
        ],
    )
    cells = load_spec(write(spec)).cells
    assert [cell.slug for cell in cells] == ["binary-mnist_vae_16", "binary-mnist_vae_32"]
    assert dict(cells[1].hyperparameters) == {"learning_rate": 1e-4}


@pytest.mark.parametrize(("flow", "fault"), [("nice", True), ("glow", False)])
def test_a_search_of_what_no_cell_has_is_refused(write, flow, fault):
    spec = Spec(
        grid={"dataset": ["continuous-mnist"], "method": ["vdae-resnet"], "latents": [784], "flow": [flow]},
        search={"trials": 8, "parameters": {"flow_steps": {"values": [2, 4]}}},
    )
    if not fault:
        assert load_spec(write(spec)).search
        return
    with pytest.raises(UserError, match="'flow_steps': no cell of this sweep that trains has it"):
        load_spec(write(spec))


def test_a_protocol_of_the_command_line_replaces_the_specs_but_for_its_own_changes(write):
    path = write(ONE.but(protocol={"base": "quick", "epochs": 16}))
    assert load_spec(path, "quick").protocol == load_spec(path).protocol and load_spec(path).protocol.epochs == 16
    assert load_spec(path, "standard").protocol == load_protocol("standard")


def test_a_flow_keeps_the_dimension_and_models_no_binary_data(write):
    for dataset, latents, said in (("continuous-mnist", 16, "784"), ("binary-mnist", 784, "continuous data")):
        with pytest.raises(UserError, match=said):
            load_spec(write(Spec(include=[{"dataset": dataset, "method": "nice", "latents": latents}])))


def test_overrides_make_another_protocol_and_seeds_do_not(write):
    path = write(ONE)
    plain = load_spec(path)
    assert plain.protocol.name == "quick"
    assert load_spec(path, seeds=7).protocol.name == "quick"
    changed = load_spec(path, overrides={"epochs": 9})
    again = load_spec(path, overrides={"epochs": 9})
    other = load_spec(path, overrides={"hidden_size": 9})
    assert changed.protocol.name == again.protocol.name != other.protocol.name
    assert changed.protocol.base == "quick" and changed.protocol.name.startswith("quick+")
    assert other.resolved_hyperparameters(other.cells[0])["hidden_size"] == 9
    same = load_spec(path, overrides={"epochs": plain.protocol.epochs})
    assert same.protocol.name == "quick"
    with pytest.raises(UserError, match="did you mean 'epochs'"):
        load_spec(path, overrides={"epoch": 3})
    with pytest.raises(UserError, match="learning_rate"):
        load_spec(path, overrides={"learning_rate": -1})


@pytest.mark.parametrize(
    ("written", "settings", "seeds", "asked", "own"),
    [
        (None, {}, None, 2, 2),
        (5, {}, None, 5, 5),
        (5, {}, 1, 1, 5),
        (5, {"seeds": 3}, None, 3, 5),
        (None, {"seeds": 3}, None, 3, 2),
        (None, {"seeds": 3}, 4, 4, 2),
    ],
)
def test_how_many_seeds_are_asked_for_has_one_home(write, written, settings, seeds, asked, own):
    spec = load_spec(write(ONE.but(seeds=written)), overrides=settings, seeds=seeds)
    assert (spec.seeds, spec.protocol.seeds, spec.spec_seeds) == (asked, asked, own)
    assert spec.protocol.name == "quick"
    assert f"small differences: {asked} seed{'s'[: asked != 1]}," in spec.protocol.cannot_show[-1]


@pytest.mark.parametrize("seeds", [0, -1, 1001, "three", 1.5])
def test_so_many_seeds_cannot_be(write, seeds):
    with pytest.raises(UserError, match="seeds: "):
        load_spec(write(ONE), overrides={"seeds": seeds})


def test_every_shipped_sweep_is_found_by_its_own_name():
    for word in shipped_sweeps():
        name = load_spec(find_spec(word)).name
        assert find_spec(name) == find_spec(word), "its folder of results has its name"


def test_precedence_of_hyperparameters(write):
    (cell,) = ONE.include
    two = [{**cell, "hyperparameters": {"hidden_size": 60}}, {**cell, "latents": 5}]
    spec = load_spec(write(ONE.but(include=two, hyperparameters={"hidden_size": 50})))
    assert [spec.resolved_hyperparameters(cell)["hidden_size"] for cell in spec.cells] == [60, 50]
    quick = load_protocol("quick").hyperparameters["hidden_size"]
    bare_spec = load_spec(write(ONE))
    assert bare_spec.resolved_hyperparameters(bare_spec.cells[0])["hidden_size"] == quick
    assert "couplings" not in bare_spec.resolved_hyperparameters(bare_spec.cells[0])


def test_a_link_to_a_shipped_protocol_is_that_protocol(tmp_path):
    link = tmp_path / "mine.yaml"
    link.symlink_to((sweeps_folder() / "protocols" / "paper-mixed.yaml").resolve())
    assert load_protocol(str(link)) == load_protocol("paper-mixed")


def test_shipped_sweeps_and_protocols_are_valid():
    assert set(PROTOCOLS) == {path.stem for path in (sweeps_folder() / "protocols").glob("*.yaml")}
    for name in PROTOCOLS:
        assert load_protocol(name).name == load_protocol(name).base == name
        assert load_protocol(str(sweeps_folder() / "protocols" / f"{name}.yaml")) == load_protocol(name)
    for path in sweeps_folder().glob("*.yaml"):
        for protocol in PROTOCOLS:
            assert load_spec(path, protocol).cells
    paper = load_protocol("paper")
    assert (paper.epochs, paper.batch_size, paper.seeds, paper.importance_samples) == (1000, 1000, 10, 5000)
    assert (paper.nll_images, paper.elbo_images, paper.initialisation, paper.scalar_rate) == (10000, 10000, "paper", 1)


def test_which_cells_share_a_search(write):
    shared = Spec(
        grid={"dataset": ["binary-mnist"], "method": ["vae", "lvdae"], "latents": [16, 32]},
        include=[
            {"dataset": "binary-mnist", "method": "vdae-resnet", "latents": 784},
            {"dataset": "binary-mnist", "method": "independent-pixels", "latents": 0},
        ],
        search={
            "trials": 3,
            "parameters": {"schedule": {"values": ["linear", "none"]}, "hidden_size": {"values": [32, 64]}},
        },
    )

    def served(**where):
        spec = load_spec(write(shared.but(search=where)))
        on = [spec.search_cell(cell) for cell in spec.cells]
        return spec, [cell and cell.slug.removeprefix("binary-mnist_") for cell in on]

    spec, own = served()
    assert own == ["vae_16", "vae_32", "lvdae_16", "lvdae_32", "vdae-resnet_784", None]
    assert list(spec.searched_parameters(spec.cells[0])) == ["schedule", "hidden_size"]
    assert list(spec.searched_parameters(spec.cells[4])) == ["schedule"]  # its networks have no such size
    assert served(share=["latents"])[1] == ["vae_16", "vae_16", "lvdae_16", "lvdae_16", "vdae-resnet_784", None]
    assert served(share=["method", "latents"])[1] == ["vae_16"] * 5 + [None]
    assert served(cell="binary-mnist_lvdae_32")[1] == ["lvdae_32"] * 5 + [None]


def test_unknown_sweeps_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'table1'"):
        find_spec("tabel1")


def test_slug_of_options():
    cell = Cell("continuous-mnist", "vdae-resnet", 784, (("decoder_variance", "tied"), ("log_sigma", -3.0)))
    assert cell.slug == "continuous-mnist_vdae-resnet_784_decoder_variance-tied_log_sigma--3"


def test_paper_mixed_is_paper_but_for_the_precision():
    mixed, paper = load_protocol("paper-mixed"), load_protocol("paper")
    assert mixed.deviations(paper) == {"precision": ("mixed", "float32")}
    assert {**mixed.content(), "precision": "float32"} == paper.content()
    assert apply_overrides(mixed, {"seeds": 3}).name == "paper-mixed"
    assert apply_overrides(paper, {"precision": "mixed"}).name.startswith("paper+")
    assert apply_overrides(mixed, {"epochs": 3}).name.startswith("paper-mixed+")


def test_a_protocol_is_a_file(tmp_path, write):
    file = tmp_path / "mine.yaml"
    file.write_text("base: quick\nepochs: 7\nhyperparameters: {hidden_size: 16}\n")
    mine, quick = load_protocol(str(file)), load_protocol("quick")
    assert (mine.name, mine.base, mine.epochs, mine.seeds) == ("mine", "quick", 7, quick.seeds)
    assert mine.hyperparameters == {**quick.hyperparameters, "hidden_size": 16} and mine.batch_size == quick.batch_size
    spec = load_spec(write(ONE), str(file))
    assert spec.protocol == mine and apply_overrides(mine, {"seeds": 4}).name == "mine"
    assert apply_overrides(mine, {"epochs": 8}).name.startswith("quick+")
    file.write_text("base: quick\n")
    assert apply_overrides(load_protocol(str(file)), {"epochs": 8}).name == apply_overrides(quick, {"epochs": 8}).name


def test_a_mapping_in_a_protocol_changes_the_entries_that_it_names(tmp_path, write):
    quick, file = load_protocol("quick"), tmp_path / "mine.yaml"
    file.write_text("base: quick\nhyperparameters: {learning_rate: 2e-3}\nflow_sizes: {flow_steps: 3}\n")
    mine = load_protocol(str(file))
    assert mine.hyperparameters == {**quick.hyperparameters, "learning_rate": 2e-3}
    assert mine.flow_sizes == {**quick.flow_sizes, "flow_steps": 3}
    inline = load_spec(
        write(ONE.but(protocol={"base": "quick", "learning_rate": 2e-3, "flow_sizes": {"flow_steps": 3}}))
    )
    assert inline.protocol.flow_sizes == mine.flow_sizes
    cell = inline.cells[0]
    from_file = load_spec(write(ONE), str(file)).resolved_hyperparameters(cell)
    assert inline.resolved_hyperparameters(cell) == from_file and from_file["hidden_size"] == 128
    for content in ("hyperparameters: {}", "hyperparameters: {hidden_size: 128}", ""):
        file.write_text(f"base: quick\n{content}\n")
        assert load_protocol(str(file)).content() == quick.content()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mine.yaml", "base: quick\nepoch: 7\n", "line 2: unknown key 'epoch' .did you mean 'epochs'"),
        ("mine.yaml", "base: quick\nepochs: none\n", "line 2: epochs"),
        ("mine.yaml", "base: quick\nname: other\n", "line 2: unknown key 'name'"),
        ("mine.yaml", "base: quik\n", "needs base, one of smoke, quick"),
        ("mine.yaml", "epochs: 7\n", "needs base"),
        ("mine.yaml", "- quick\n", "needs base"),
        ("mine.yaml", "base: quick\nhyperparameters: {hiden_size: 3}\n", "did you mean 'hidden_size'"),
        ("mine.yaml", "base: quick\nhyperparameters: {hidden_size: 0}\n", "hidden_size"),
        ("mine.yaml", "base: [quick\n", "not YAML"),
        ("quick.yaml", "base: quick\nepochs: 7\n", "give the file another name"),
        ("Mine+1.yaml", "base: quick\n", "has the name of its file"),
        ("missing.yaml", None, "cannot read"),
    ],
)
def test_a_file_that_is_no_protocol_is_refused_with_its_line(tmp_path, write, name, text, said):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    path = write(ONE)
    with pytest.raises(UserError, match=said):
        load_spec(path, str(file))


def test_other_sizes_of_flows_are_another_protocol_and_pages_say_which():
    quick = load_protocol("quick")
    changed = apply_overrides(quick, {"flow_sizes": {**quick.flow_sizes, "flow_steps": 8}})
    assert changed.name.startswith("quick+") and apply_overrides(quick, {"flow_sizes": quick.flow_sizes}) == quick
    assert changed == apply_overrides(quick, {"flow_sizes": {"flow_steps": 8}})  # the others stay
    assert in_words(changed) == "quick with flow_steps 8".replace("_", " ")
    without = apply_overrides(quick, {"epochs": 5}).model_copy(update={"flow_sizes": {}})  # as in older records
    assert in_words(without) == "quick with epochs 5"
    assert apply_overrides(changed, {"flow_sizes": quick.flow_sizes}).name == "quick"


def test_override_of_a_paper_protocol_lists_its_deviations():
    quick, paper = load_protocol("quick"), load_protocol("paper")
    deviations = quick.deviations(paper)
    assert deviations["epochs"] == (quick.epochs, 1000) and "batch_size" in deviations
    assert apply_overrides(paper, {}).deviations(paper) == {}


@pytest.mark.parametrize(
    ("cell", "sizes", "said"),
    [
        ("method: glow, latents: 784", "flow_scales: 3", "glow: images of 28 x 28 cannot be halved 3 times: both"),
        ("method: vdae-resnet, latents: 784, options: {flow: realnvp}", "flow_scales: 4", "28 x 28 cannot be halved 4"),
        (
            "method: vdae-resnet, latents: 784, options: {flow: ffjord}",
            "ode_steps: 2",
            "costs too much for ffjord; use another",
        ),
        (
            "method: lvdae-nice, latents: 784, options: {flow: glwo}",
            "flow_scales: 2",
            "option flow is 'glwo'; use one of",
        ),
        ("method: vae, latents: 16, options: {space: logit, alpha: 0.5}", "hidden_size: 8", "from 1e-09 to 0.49"),
        ("method: i-resnet, latents: 784", "lipschitz: 0.9999999", "less than or equal to 0.99, not 0.9999999"),
        (
            "method: i-resnet, latents: 784",
            "learning_rate: 1e-320",
            "greater than or equal to 0.0000000001, not ",
        ),
    ],
)
def test_what_a_flow_cannot_serve_is_one_sentence_at_the_border(
    tmp_path: Path, cell: str, sizes: str, said: str
) -> None:
    path = tmp_path / "flows.yaml"
    path.write_text(
        f"version: 1\nname: flows\ninclude: [{{dataset: continuous-mnist, {cell}}}]\nhyperparameters: {{{sizes}}}\n"
    )
    with pytest.raises(UserError, match=said) as refused:
        load_spec(path)
    assert "line " in str(refused.value) and "\n" not in str(refused.value)


ONE_CELL = "include: [{dataset: continuous-mnist, method: vae, latents: 4}]"
INTERVAL = "{distribution: int_uniform, min: null, max: 2}"
NULLS = {
    "an option": "include: [{dataset: continuous-mnist, method: vae, latents: 4, options: {kl_weight: null}}]",
    "an axis": "grid: {dataset: [continuous-mnist], method: [nice], latents: [784], l2: [0.1, null]}",
    "an axis of a search's spec": (
        "grid: {dataset: [continuous-mnist], method: [vdae-nice], latents: [784], initial_log_sigma: [null]}\n"
        "search: {trials: 1, parameters: {couplings: {values: [2]}}}"
    ),
    "a word": "grid: {dataset: [continuous-mnist], method: [vae], latents: [4], space: [null]}",
    "a hyper-parameter": f"{ONE_CELL}\nhyperparameters: {{hidden_size: null}}",
    "one of a cell": f"{ONE_CELL[:-2]}, hyperparameters: {{hidden_size: null}}}}]",
    "one of a protocol": f"{ONE_CELL}\nprotocol: {{base: smoke, hidden_size: null}}",
    "a field of a protocol": f"{ONE_CELL}\nprotocol: {{base: smoke, epochs: null}}",
    "a searched value": f"{ONE_CELL}\nsearch: {{trials: 1, parameters: {{hidden_size: {{values: [null]}}}}}}",
    "an end of an interval": f"{ONE_CELL}\nsearch: {{trials: 1, parameters: {{hidden_size: {INTERVAL}}}}}",
}


@pytest.mark.parametrize("door", NULLS)
def test_null_is_refused_where_it_is_no_declared_value(tmp_path: Path, door: str) -> None:
    path = tmp_path / "nulls.yaml"
    path.write_text(f"version: 1\nname: nulls\n{NULLS[door]}\n")
    with pytest.raises(UserError, match=r"null|None") as refused:
        load_spec(path)
    assert "line " in str(refused.value) and "\n" not in str(refused.value)


def test_null_is_refused_on_the_command_line_and_kept_where_it_is_a_value(tmp_path: Path) -> None:
    path = tmp_path / "nulls.yaml"
    path.write_text(f"version: 1\nname: nulls\n{ONE_CELL[:-2]}, options: {{log_lambda: null, precision: null}}}}]\n")
    assert load_spec(path).cells[0].options == ()
    for name in ("hidden_size", "learning_rate", "epochs"):
        with pytest.raises(UserError, match="not None"):
            load_spec(path, overrides={name: None})
