"""What pages tell a reader to type, copy or open: commands that parse, specs that are valid, code that runs, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from tests.support.shell import PAGES, ROOT, block, blocks, call
from vdae_bench import __version__
from vdae_bench.cli.main import cli
from vdae_bench.data.registry import DATASETS
from vdae_bench.models import registry
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.system.yaml_file import YamlFile

PLACEHOLDERS = {"SPEC", "CELL", "FILE", "RESULTS_A", "RESULTS_B", "SWEEP", "...", "\N{HORIZONTAL ELLIPSIS}"}
"""Words that stand for the reader's own."""
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every `vdae-bench ...` on a page, in blocks and in sentences; shapes such as {a,b} are none."""
    shell = "\n".join(blocks("bash", page)).replace("\\\n", " ")
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [
        part for line in shell.splitlines() for part in re.split(r"&&|\|(?!\w)|(?<= )[<>]", line.partition(" #")[0])
    ]
    lines += [" ".join(code.split()) for code in re.findall(r"`(vdae-bench [^`]+)`", prose)]
    for line in lines:
        if line.strip().startswith("vdae-bench ") and not set(line) & set("{}[]|<>"):
            yield shlex.split(line)[1:]


def parse(words: list[str]) -> dict[str, object]:
    """The parameters that click reads from a command, which it does not run."""
    command: click.Command = cli
    context = cli.make_context("vdae-bench", [*words], resilient_parsing=False)
    while isinstance(command, click.Group):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context.params


@PAGE
def test_commands_are_such_as_the_program_takes(page: Path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "load_plugin", lambda file: None)  # the reader's own file
    wrong = []
    for words in commands(page):
        try:
            spec = str(parse(words).get("spec") or "")
            if spec and spec not in PLACEHOLDERS and not spec.endswith(".yaml"):
                find_spec(spec)
        except click.MissingParameter:
            assert len(words) == 1, words  # a sentence names the verb
        except Exception as error:
            wrong.append(f"vdae-bench {shlex.join(words)}: {error}")
    assert not wrong


def test_pages_have_commands() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 60


@PAGE
def test_make_targets_are_there(page: Path) -> None:
    named = re.findall(r"`make ([a-z-]+)`", page.read_text())
    named += re.findall(r"^make ([a-z-]+)", "\n".join(blocks("bash", page)), re.MULTILINE)
    assert {*named} <= {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}


@PAGE
def test_links_lead_to_files(page: Path) -> None:
    prose = re.sub(r"^```(?!\{).*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    drawn = "_generated/"  # by `make docs`
    assert not [link for link in links if link and drawn not in link and not (page.parent / link).exists()]


OWN_METHODS = ("homoscedastic-vae", "isotropic-vae")
"""Methods that pages define, each in one block."""


@pytest.mark.parametrize("text", blocks("yaml"), ids=lambda text: text.splitlines()[1])
def test_specs_are_valid(text: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vdae_bench.data.registry.DATASETS", dict(DATASETS))
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}.npy", np.zeros((1000, 4, 4), np.uint8))
    spec = tmp_path / "spec.yaml"
    for known in ("_registered", "_plugins"):  # what is loaded here is forgotten after the test
        monkeypatch.setattr(registry, known, getattr(registry, known).copy())
    for method in OWN_METHODS:
        if method in text:
            plugin = tmp_path / f"{method}.py"
            plugin.write_text(block("python", f'"{method}"'))
            registry.load_plugin(plugin)
    if "-mine]" in text:
        monkeypatch.chdir(tmp_path)
        exec(block("python", "# make_data.py"), {})
        registry.load_plugin(tmp_path / "mine.py")
    spec.write_text(text)
    assert load_spec(spec).cells


@pytest.mark.parametrize("text", blocks("python"), ids=lambda text: text.splitlines()[0])
def test_python_is_python(text: str) -> None:
    compile(text, "page", "exec")


def test_the_script_that_makes_a_data_set(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(block("python", "# make_data.py"), {})
    try:
        words = ("--plugin", "mine.py", "data", "verify", "mine", "--data", "data")
        code, out = call(monkeypatch, capsys, *words)
        assert code == 0, out
        assert DATASETS["mine"].counts == {"train": 100, "validation": 20, "test": 40}
    finally:
        DATASETS.pop("mine", None)


def test_the_figure_of_ones_own(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table2").symlink_to(ROOT / "results" / "table2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(block("python", "import matplotlib"), {})
    assert (tmp_path / "elbo.pdf").stat().st_size > 1000


def test_every_page_is_in_the_contents() -> None:
    folder = ROOT / "docs"
    listed = set(re.findall(r"^([a-z/-]+)$", (folder / "index.md").read_text(), re.MULTILINE)) | {"index"}
    assert {page.relative_to(folder).with_suffix("").as_posix() for page in PAGES if folder in page.parents} == listed


def test_the_readme_is_short_and_begins_with_what_it_is() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.encode()) <= 8000
    places = [
        readme.index(each) for each in ("reproduces *On the relationship", "space.png", "make reproduce", "make test")
    ]
    assert places == sorted(places) and "```" not in readme[: places[2] - len("```bash\n")]
    headings = {
        re.sub(r"[^a-z -]", "", line[3:].lower()).replace(" ", "-") for line in re.findall(r"^## .*", readme, re.M)
    }
    assert {*re.findall(r"\]\(#([^)]+)\)", readme)} <= headings


def test_the_readme_cites_as_the_citation_file_does() -> None:
    readme, citation = (ROOT / "README.md").read_text(), YamlFile.read(ROOT / "CITATION.cff").content
    assert f"{{{citation['preferred-citation']['title']}}}" in readme and f"{{{citation['title']}}}" in readme
    names = [f"{each['family-names']}, {each['given-names']}" for each in citation["preferred-citation"]["authors"]]
    assert " and ".join(names) in readme and f"version = {{{__version__}}}" in readme
    assert str(citation["version"]) == __version__


def test_the_reference_has_the_verbs_in_the_order_of_use() -> None:
    (named,) = re.findall(r":commands: (.*)", Path("docs/reference/cli.md").read_text())
    assert named.split(", ") == cli.list_commands(click.Context(cli))
