"""A record says what made it: every code and machine that took part in its run, and the bytes of a plug-in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from tests.support.runs import StopAfter
from tests.support.specs import PAIR, SEARCHED
from vdae_bench.errors import EnvironmentFault, UserError
from vdae_bench.models import registry
from vdae_bench.models.methods.vae import VAE
from vdae_bench.models.registry import BUILT_IN, Option, get_method, load_plugin
from vdae_bench.report.explain import explain
from vdae_bench.report.numbers.runs import Run
from vdae_bench.report.sections.origin import PROPERTIES
from vdae_bench.running.group import GroupTask, run_group
from vdae_bench.running.job import RunGroup
from vdae_bench.running.plan import plan
from vdae_bench.running.pools import Worker
from vdae_bench.running.stop import StopToken
from vdae_bench.search.studies import studies_of
from vdae_bench.spec.check import load_spec
from vdae_bench.store import provenance
from vdae_bench.training.trainer import Interrupted

CLEAN, DIRTY = ("a" * 40, False, None), ("a" * 40, True, "0123456789ab")
OTHER = ("b" * 40, False, None)


def code_is(monkeypatch, code):
    commit, dirty, changes = code
    monkeypatch.setattr(provenance, "code_state", lambda: (commit, dirty))
    monkeypatch.setattr(provenance, "code_changes", lambda: changes)


@pytest.fixture
def group(tiny_data, tmp_path, context):
    return plan(load_spec(PAIR.write(tmp_path)), context.store).groups[0]


def in_parts(group, context, monkeypatch, *parts):
    """Run a group by several codes, or with several numbers of threads, each stopped after as many questions."""
    for code, threads, asked in parts:
        code_is(monkeypatch, code)
        here = replace(context, threads=threads)
        if asked is None:
            return run_group(group, here, lambda *_: None, StopToken())
        with pytest.raises(Interrupted):
            run_group(group, here, lambda *_: None, StopAfter(asked))
    return None


@pytest.mark.parametrize("first", [DIRTY, OTHER])
def test_each_part_of_a_resumed_run_is_listed_and_a_dirty_or_foreign_one_flagged(group, context, monkeypatch, first):
    record = in_parts(group, context, monkeypatch, (first, 1, 3), (CLEAN, 1, None))[0]
    assert [part["from_step"] for part in record.provenance["parts"]] == [0, 4]
    assert [part["git_commit"] for part in record.provenance["parts"]] == [first[0], CLEAN[0]]
    assert {"torch", "threads", "device", "git_dirty", "platform"} <= record.provenance["parts"][0].keys()
    (flag,) = record.flags
    assert flag.startswith("steps 1 to 4 of 9: with git_") and " (then " in flag
    assert ("git_dirty True" in flag) == (first is DIRTY) and (OTHER[0] in flag) == (first is OTHER)
    shown = PROPERTIES["git commit"](Run(context.store.root, "tiny", "smoke", record))
    assert first[0] in shown and shown.endswith(f", then {CLEAN[0]}") and ("dirty" in shown) == (first is DIRTY)


def test_the_same_code_and_machine_are_one_part_however_often_it_stops(group, context, monkeypatch):
    for record in in_parts(group, context, monkeypatch, (CLEAN, 1, 2), (CLEAN, 1, 2), (CLEAN, 1, None)):
        assert "parts" not in record.provenance and record.flags == []


def test_threads_torch_and_what_was_changed_tell_parts_apart_and_a_part_may_be_of_the_evaluation(
    group, context, monkeypatch
):
    changed = (*DIRTY[:2], "ba9876543210")
    parts = (DIRTY, 1, 2), (changed, 1, 2), (changed, 2, 3), (DIRTY, 1, None)
    record = in_parts(group, context, monkeypatch, *parts)[0]
    assert [(part["from_step"], part["threads"]) for part in record.provenance["parts"]] == [
        (0, 1), (3, 1), (6, 2), (9, 1),
    ]  # fmt: skip
    second, third = record.flags  # the first part is of the last one's code
    assert second.startswith("steps 4 to 6 of 9") and "git_changes ba9876543210 (then 0123456789ab)" in second
    assert third.startswith("steps 7 to 9 of 9") and "threads 2 (then 1)" in third


PLUGIN = """
from vdae_bench.models.methods.vae import VAE
from vdae_bench.models.registry import register

@register
class Scaled(VAE):
    id = "scaled-vae"
    title = "VAE, scaled"
    scale = 1
"""
EDITED = PLUGIN.replace("scale = 1", "scale = 2")  # of the same length, so that Python's own cache would not see it


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write and import the plug-in with that text; whatever is registered is forgotten after the test."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))

    def load(text):
        path = tmp_path / "scaled.py"
        path.write_text(text)
        load_plugin(path)
        return get_method("scaled-vae")

    return load


def test_the_identity_of_a_plugins_runs_has_its_bytes_and_so_have_its_checkpoint_and_search(
    plugin, tiny_data, tmp_path, context
):
    spec = SEARCHED.but(grid={"method": ["scaled-vae"], "latents": [3]})
    identities = []
    for text, scale in ((PLUGIN, 1), (EDITED, 2), (PLUGIN, 1)):
        assert plugin(text).scale == scale
        loaded = load_spec(spec.write(tmp_path))
        job = plan(loaded, context.store).cells[0].job
        group = RunGroup(((job, 0),))
        identities.append((job.run_digest(0), group.identity, studies_of(loaded)[0].spec_digest))
    first, edited, again = identities
    assert first == again and not set(first) & set(edited)


def test_built_in_methods_have_the_identity_that_they_had(sweep, tmp_path, context):
    assert all(get_method(name).code == {"method_version": get_method(name).version} for name in BUILT_IN)


def test_an_edited_plugin_runs_again_and_explain_says_why(plugin, tiny_data, tmp_path, context):
    plugin(PLUGIN)
    path = PAIR.but(grid={"method": ["scaled-vae"]}).write(tmp_path)
    group = plan(load_spec(path), context.store).groups[0]
    run_group(group, context, lambda *_: None, StopToken())
    assert "no: its run digest agrees with the present spec, data and bytes of its plug-in" in explain(
        context.store, "binary-tiny_scaled-vae_4", spec=str(path)
    )
    old = get_method("scaled-vae").plugin_sha256
    new = plugin(EDITED).plugin_sha256
    assert plan(load_spec(path), context.store).groups
    said = explain(context.store, "binary-tiny_scaled-vae_4", spec=str(path))
    assert "yes, seed 0" in said and f"the method's code: plug-in {old[:12]} recorded, plug-in {new[:12]} now" in said


def test_a_worker_runs_the_code_that_the_command_planned_with_or_says_why_not(plugin, tiny_data, tmp_path, context):
    planned_with = plugin(PLUGIN).plugin_sha256
    spec = load_spec(PAIR.but(grid={"method": ["scaled-vae"]}, seeds=1).write(tmp_path))
    task, worker = GroupTask(plan(spec, context.store).groups[0].runs), Worker.of(context, tmp_path / "stop")
    plugin(EDITED)  # as in a worker that has run another command since, or starts after an edit
    with pytest.raises(EnvironmentFault, match=r"scaled\.py has changed since the command started; give the command"):
        worker(task)
    (tmp_path / "scaled.py").write_text(PLUGIN)
    (tmp_path / "link").symlink_to(tmp_path)  # as where a worker mounts the same folder elsewhere
    linked = {tmp_path / "link" / "scaled.py": planned_with}
    (record,) = replace(worker, plugins=linked)(task)
    assert record.provenance["plugin_sha256"] == planned_with and get_method("scaled-vae").scale == 1


def test_a_method_that_is_in_no_file_is_refused(monkeypatch):
    """Of a notebook's cell: nothing would tell its runs from those before an edit."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setitem(sys.modules, "cells", ModuleType("cells"))
    method = type("InACell", (VAE,), {"__module__": "cells", "id": "in-a-cell", "title": "In a cell"})
    with pytest.raises(UserError, match="write it to a file and load that with load_plugin"):
        registry.register(method)
    assert "in-a-cell" not in registry.method_ids()


def test_a_plugin_may_have_dataclasses_with_postponed_annotations(plugin):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    text += PLUGIN + "\n@dataclass\nclass Settings:\n    width: int = 3\n"
    plugin(text)
    name = get_method("scaled-vae").__module__
    assert sys.modules[name].Settings().width == 3
    with pytest.raises(UserError, match="cannot be imported: ZeroDivisionError"):
        plugin("1 / 0")
    assert sys.modules[name].Settings  # that of before


@pytest.mark.parametrize(("name", "choice"), [("my vae", "a"), ("mine", "one way"), ("a/b", "a"), ("mine", "../x")])
def test_what_no_folder_can_be_called_is_no_id_and_no_choice(monkeypatch, name, choice):
    """Its records would be written and never read."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    options = {**VAE.options, "way": Option("a", ("a", choice), meaning="which way")}
    method = type("Mine", (VAE,), {"__module__": __name__, "id": name, "title": "Mine", "options": options})
    with pytest.raises(UserError, match="is part of the name of a folder; use letters, digits"):
        registry.register(method)


def test_a_changed_file_may_hold_any_bytes(tmp_path, monkeypatch):
    for words in (("init", "-q"), ("config", "user.email", "a@b"), ("config", "user.name", "a")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    for name, content in (("__init__.py", b""), ("a.bib", b"author = Muller\n")):
        (tmp_path / name).write_bytes(content)
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "commit", "-qm", "x"], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    digests = set()
    for changed in (b"M\xfcller", b"M\xf6ller"):
        (tmp_path / "a.bib").write_bytes(b"author = " + changed + b"\n")
        digests.add(provenance.code_changes.__wrapped__())
    assert len(digests) == 2 and None not in digests
