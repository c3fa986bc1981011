"""YAML is read into plain values with their lines: all that has a plain meaning, and a sentence for all else."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from vdae_bench.errors import UserError
from vdae_bench.system.yaml_file import YamlFile

READ = {
    "a: 1e-5": {"a": 1e-5},
    "%YAML 1.2\n---\na: no": {"a": "no"},
    "\ufeffa: 1\r\nb: 2\r\n": {"a": 1, "b": 2},
    "a: 0o17\nb: 010\nc: 0x1F\nd: -.inf\ne: ~\nf:\ng: 'x'\nh: true": {
        "a": 15, "b": 10, "c": 31, "d": -float("inf"), "e": None, "f": None, "g": "x", "h": True,
    },
    "a: !!str 5\nb: !!float 3\nc: !!map {d: !!seq [1]}": {"a": "5", "b": 3.0, "c": {"d": [1]}},
    "a: |\n  x\n  y\nb: >-\n  x\n  y": {"a": "x\ny\n", "b": "x y"},
    "a: &x [1, 2]\nb: *x": {"a": [1, 2], "b": [1, 2]},
    "a: &x 1\nb: &x 2\nc: *x": {"a": 1, "b": 2, "c": 2},
    "b: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}": {"b": {"x": 1, "y": 2}, "c": {"y": 3, "x": 1}},
    "b: &b {x: 1}\nc: {<<: [*b, {x: 2, z: 3}]}": {"b": {"x": 1}, "c": {"x": 1, "z": 3}},
    "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}": {"a": {"x": 1}, "b": {"y": 2, "x": 1}, "c": {"y": 2, "x": 1}},
    "? a\n: 1": {"a": 1},
    "": None,
    "# nothing": None,
}  # fmt: skip


@pytest.mark.parametrize("text", READ, ids=repr)
def test_what_has_a_plain_meaning_is_read_without_a_warning(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert YamlFile(Path("f"), text).content == READ[text]


REFUSED = {
    "!!python/object/apply:os.system [x]": (1, "the tag !!python/object/apply:os.system is not allowed here"),
    "a: 1\nb: !mine {c: 1}": (2, "the tag !mine is not allowed here"),
    "a: !!set {x}": (1, "the tag !!set"),
    "a: !!omap [x: 1]": (1, "the tag !!omap"),
    "a: !!binary aGk=": (1, "the tag !!binary"),
    "a: !!map 3": (1, "the tag !!map"),
    "a: !!int x": (1, "'x' cannot be read as int"),
    "a: !!null 3": (1, "'3' cannot be read as null"),
    "a: 0x_": (1, "cannot be read as int"),
    f"a: {'9' * 5000}": (1, "cannot be read as int"),
    "a: 1\nb: 2020-01-01": (2, "'2020-01-01' is neither a word nor a number here; put it in quotes"),
    "a: =": (1, "put it in quotes"),
    "a: <<": (1, "put it in quotes"),
    "<<: 3": (1, "the merge key << takes a mapping"),
    "a: 1\n<<: [{b: 1}, 3]": (2, "the merge key << takes a mapping"),
    "a: 1\n2: x": (2, "the key '2' must be a word"),
    "a: 1\nnull: x": (2, "the key 'null' must be a word"),
    "a: 1\n? [b]\n: 1": (2, "must be a word"),
    "a: 1\nb: 2\na: 3": (3, "the key 'a' is there twice"),
    "# by hand\n%YAML 1.1\n---\na: 1e-5": (2, "this file says YAML 1.1; write YAML 1.2 and delete this line"),
    "%YAML 1.11\n---\na: 1": (1, "YAML 1.11"),
    "a: 1\n---\nb: 2": (2, "expected a single document"),
    "a: *b": (1, "undefined alias"),
    "a: [1, 2\nb: 3": (2, "this is not YAML"),
    "a:\n\t- 1": (2, "this is not YAML"),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text)[:40])
def test_what_has_none_is_refused_with_its_line(text):
    line, words = REFUSED[text]
    with pytest.raises(UserError) as caught:
        YamlFile(Path("f"), text)
    assert f"f, line {line}: " in str(caught.value) and words in str(caught.value)


def test_every_value_at_fault_is_named_in_one_go():
    faults: list[tuple[int, str]] = []
    text = "a: !x 1\nb: 2020-01-01\n3: c\na: 2\nd: {<<: 1}"
    content = YamlFile(Path("f"), text, faults).content
    assert [line for line, _ in faults] == [3, 4, 1, 2, 5] and set(content) == {"a", "b", "d"}
    with pytest.raises(UserError) as caught:
        YamlFile(Path("f"), text)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [f"f, line {n}" for n in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "a: &a {<<: *a}",
        "a: &a {<<: [*a, *a]}",
        "\n".join(
            ["a0: &a0 {x: 1}"] + [f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}" for k in range(1, 9)]
        ),
    ],
)
def test_aliases_that_multiply_are_refused(text):
    with pytest.raises(UserError, match="too large or too deep"):
        YamlFile(Path("f"), text)


def test_a_merged_key_has_the_line_where_it_is_written():
    file = YamlFile(Path("f"), "base: &b\n  x: 1\n  y: 2\nown:\n  <<: *b\n  y: 3\n")
    assert [file.line(("own", key)) for key in ("x", "y")] == [2, 6]


@pytest.mark.parametrize(
    "text", ["plain", "é", "\u2028 and \x85", "\U0001f600", "\\ud83d\\ude00", "a\\", '"\n', "\uffff", "\x7f"]
)
def test_a_mapping_reads_as_it_was(text):
    content = {"name": text, text: [text, {"x": text}]}
    assert YamlFile.of(content).content == content


def test_half_a_character_is_refused_in_a_mapping_too():
    faults = []
    assert YamlFile.of({"name": "\ud83d"}, faults).content is not None and len(faults) == 1
