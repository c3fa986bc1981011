"""A study killed anywhere comes to the trials and the winner of one that was not."""

from __future__ import annotations

import itertools
import json
import math
import os
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.support.runs import StopAfter
from tests.support.searches import entries, made_up_winner, outcome, search
from vdae_bench.errors import UserError
from vdae_bench.search import ledger
from vdae_bench.search import run as search_module
from vdae_bench.search import winner as winner_module
from vdae_bench.search.ledger import JOURNAL, open_storage, repair_journal
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import winner_json, with_winners
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Interrupted


class Kill(BaseException):
    """Not caught by anything that handles errors."""


def assert_each_told_once(study, context):
    finished = [each for each in entries(study, context) if "stale" not in each.user_attrs]
    told = [each.user_attrs["number"] for each in finished]
    assert all(each.state.is_finished() for each in finished) and sorted(told) == list(range(study.trials))
    assert not list(context.store.root.rglob("checkpoints/*"))


def test_killed_at_any_write_to_the_journal(make_study, context, elsewhere, whole_of, monkeypatch):
    """At every third write: before it, in the middle of it, after it. One study, killed again and again."""
    study = make_study()
    whole = whole_of(study, elsewhere)
    append = JournalFileBackend.append_logs
    life = itertools.count()
    killed = set()

    def kill_at(allowed, how):
        left = iter(range(allowed))

        def append_logs(self, logs):
            if next(left, None) is not None:
                return append(self, logs)
            if how == "torn":
                with Path(self._file_path).open("ab") as file:
                    file.write(json.dumps(logs[0]).encode()[:20])
            if how == "after":
                append(self, logs)
            killed.add(how)
            raise Kill

        return append_logs

    for how in itertools.cycle(["before", "torn", "after"]):
        allowed = 3 + next(life)  # a life is a little longer each time, so that the study comes to its end
        monkeypatch.setattr(JournalFileBackend, "append_logs", kill_at(allowed, how))
        try:
            resumed = search(study, context)
            break
        except Kill:
            continue
    assert next(life) > 8 and killed == {"before", "torn", "after"}
    assert outcome(resumed) == whole
    stale = [each for each in entries(study, context) if each.user_attrs.get("stale")]
    assert stale and all(each.state == optuna.trial.TrialState.FAIL for each in stale)
    assert_each_told_once(study, context)


HOOKS = {
    "a checkpoint": (Checkpoint, "save"),
    "asking": (search_module, "propose"),
    "training": (search_module, "train"),
    "keeping results": (search_module._Results, "write"),
    "forgetting results": (search_module._Results, "remove"),
    "freezing": (search_module, "write_winner"),
    "the last rename": (winner_module, "set_aside"),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("hook", HOOKS)
def test_killed_at_any_phase(make_study, context, elsewhere, whole_of, monkeypatch, hook, after):
    study = make_study(search={"trials": 4, "batch": 2})
    whole = whole_of(study, elsewhere)
    owner, name = HOOKS[hook]
    original = getattr(owner, name)
    hits = []

    def kill(*words, **more):
        hits.append(name)
        if len(hits) == 2 or hook in ("freezing", "the last rename"):  # these come once
            if after:
                original(*words, **more)
            raise Kill
        return original(*words, **more)

    monkeypatch.setattr(owner, name, kill)
    with pytest.raises(Kill):
        search(study, context)
    monkeypatch.setattr(owner, name, original)
    assert outcome(search(study, context)) == whole
    assert_each_told_once(study, context)
    assert not list(context.store.root.rglob("*superseded*"))


@pytest.mark.parametrize(
    "content", ["", "[", "{}", "null", "[[]]", '{"trials": [], "checkpoints": ["../../../kept.pt"]}']
)
def test_damaged_results_of_a_batch_are_set_aside_and_nothing_outside_is_touched(
    make_study, context, elsewhere, whole_of, tmp_path, content
):
    study = make_study(search={"trials": 4, "batch": 2})
    with pytest.raises(Interrupted):
        search(study, context, StopAfter(4))
    kept = tmp_path / "kept.pt"
    kept.touch()
    folder = context.store.folder(study.sweep, study.protocol.name, "checkpoints")
    (folder / f"{study.batch_name(0)}.json").write_text(content)
    for ending in ("pt", "lease"):  # of a group that memory no longer holds
        (folder / f"{study.batch_name(0)}-0123456789abcdef.{ending}").touch()
    assert outcome(search(study, context)) == whole_of(study, elsewhere)
    assert [path.read_text() for path in folder.iterdir()] == [content] and kept.exists()


@pytest.mark.parametrize("asked", [0, 1, 4, 9])
def test_stopped_on_request_after_a_checkpoint(make_study, context, elsewhere, whole_of, asked):
    study = make_study(search={"trials": 4, "batch": 2})
    with pytest.raises(Interrupted):
        search(study, context, StopAfter(asked))
    assert list(context.store.root.rglob("checkpoints/*.pt"))
    assert outcome(search(study, context)) == whole_of(study, elsewhere)


@pytest.mark.parametrize("first", [2, 3, 4])
def test_trials_are_a_total_across_resumes(make_study, context, elsewhere, whole_of, first):
    """Also where the first call ended in the middle of a batch (of 3)."""
    early = make_study(search={"trials": first})
    assert len(search(early, context).trials) == first
    study = make_study()
    raised = outcome(search(study, context))
    whole = whole_of(study, elsewhere)
    # A batch that was cut trains in other groups: the same to rounding.
    for trial, same in zip(raised.pop("trials"), whole["trials"], strict=True):
        assert trial.pop("value") == pytest.approx(same["value"], rel=1e-5)
        trial.pop("curve")
        assert trial == {name: value for name, value in same.items() if name not in ("value", "curve")}
    assert raised.pop("value") == pytest.approx(whole["value"], rel=1e-5)
    assert raised == {name: value for name, value in whole.items() if name not in ("trials", "value")}
    assert len(search(early, context).trials) == 6  # fewer than there are: nothing is thrown away
    assert len(list(context.store.root.rglob("search/*.superseded-*.json"))) == 1


def test_a_finished_study_is_not_opened_again(make_study, context, monkeypatch):
    study = make_study(search={"trials": 2})
    first = search(study, context)
    monkeypatch.setattr(search_module, "Ledger", None)
    assert search(study, context) == first


def test_a_deleted_journal_is_rebuilt_from_the_frozen_winner(make_study, context, elsewhere, whole_of):
    search(make_study(search={"trials": 3}), context)
    (context.store.searches("tiny", make_study().protocol.name) / JOURNAL).unlink()
    study = make_study()
    assert outcome(search(study, context))["trials"] == whole_of(study, elsewhere)["trials"]
    assert_each_told_once(study, context)


def test_a_journal_is_mended_at_its_end_alone(tmp_path):
    path = tmp_path / JOURNAL
    repair_journal(path)  # there is none
    good = b'{"op_code":0}\n{"op_code":1}\n'
    for torn in (b"", b'{"op_c', b"\0\0\0\0\n", b'{"op_code":2'):
        path.write_bytes(good + torn)
        repair_journal(path)
        assert path.read_bytes() == good
    path.write_bytes(b'{"op')
    repair_journal(path)
    assert path.read_bytes() == b""
    path.write_bytes(b'{"op_code":0{"op_code":1}\n' + good)
    with pytest.raises(UserError, match="damaged"):
        open_storage(tmp_path, None)


WRONG_LINES = ["[]", "1", "null", '{"op_code": 99}', "[" * 100_000]
WRONG_PARTS = [("trial_id", []), ("user_attr", 1), ("user_attr", {"epochs": None}), ("values", [])]
WRONG_PARTS += [("step", None), ("params", {"hidden_size": "x"})]


def test_two_that_make_a_databases_tables_at_one_moment_both_open_it(tmp_path, monkeypatch):
    opened, orders = ledger.optuna.storages.get_storage, []

    def opens(url):
        orders.append(url)
        if len(orders) < 3:
            raise (
                IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed: alembic_version.version_num")),
                OperationalError("CREATE", {}, Exception("table studies already exists")),
            )[len(orders) - 1]
        return opened(url)

    monkeypatch.setattr(ledger.optuna.storages, "get_storage", opens)
    monkeypatch.setattr(ledger, "SECONDS_BETWEEN_TRIES", 0)
    url = f"sqlite:///{tmp_path}/studies.db"
    assert ledger.open_storage(tmp_path, url).get_all_studies() == [] and orders == [url] * 3
    monkeypatch.setattr(
        ledger.optuna.storages, "get_storage", lambda url: orders.append(url) or opened("sqlite:////no/such/folder")
    )
    with pytest.raises(UserError, match="cannot open the storage"):
        ledger.open_storage(tmp_path, url)
    assert len(orders) == 4  # what no patience mends is said at once


@pytest.mark.parametrize("wrong", [*WRONG_LINES, *WRONG_PARTS], ids=lambda wrong: str(wrong)[:30])
def test_a_journal_that_makes_no_sense_is_named_with_a_remedy(make_study, context, wrong):
    study = make_study(search={"trials": 2, "batch": 2})
    search(study, context)
    study.path(context.store).unlink()
    journal = context.store.searches(study.sweep, study.protocol.name) / JOURNAL
    lines = journal.read_text().splitlines()
    if isinstance(wrong, str):
        lines[-1:] = [wrong, lines[-1]]
    else:
        part, value = wrong
        at = max((at for at, line in enumerate(lines) if part in json.loads(line)), default=None)
        if at is None:
            pytest.skip(f"this Optuna writes no {part}")
        lines[at] = json.dumps({**json.loads(lines[at]), part: value})
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"is damaged .*; take it from a backup, or delete it"):
        search(make_study(search={"trials": 4, "batch": 2}), context)


def test_a_lock_left_by_a_kill_does_not_hold_up_the_next(make_study, context):
    study = make_study(search={"trials": 1})
    folder = context.store.searches(study.sweep, study.protocol.name)
    folder.mkdir(parents=True)
    lock = folder / f"{JOURNAL}.lock"
    lock.symlink_to(folder / JOURNAL)
    os.utime(lock, (1, 1), follow_symlinks=False)
    assert len(search(study, context).trials) == 1
    assert not lock.is_symlink()


GOOD = {"learning_rate": 1e-3, "schedule": "linear", "hidden_size": 4}
WRONG_WINNERS = {
    "not in the space": {"chosen": {**GOOD, "hidden_size": 5}},
    "not a size": {"chosen": {**GOOD, "hidden_size": None}},
    "not a number": {"chosen": {**GOOD, "learning_rate": math.nan}},
    "nothing chosen": {"chosen": {}},
    "value": {"value": math.nan},
    "another trial": {"winner": 1},
    "no trial": {"trials": []},
    "of another cell": {"cell": "../x"},
    "no interval": {
        "space": {name: {"values": [value]} for name, value in GOOD.items()}
        | {"learning_rate": {"distribution": "log_uniform_values", "min": 0, "max": 1}}
    },
    "no epochs": {"epochs": 0},
    "a loser not in the space": {"loser": {**GOOD, "schedule": "cosine"}},
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("case", WRONG_WINNERS)
@pytest.mark.parametrize("agrees", [True, False])
def test_a_winner_that_makes_no_sense_is_damaged(make_spec, context, case, agrees):
    spec = make_spec()
    study = studies_of(spec)[0]
    path, change = study.path(context.store), WRONG_WINNERS[case]
    content = json.loads(winner_json(made_up_winner(study, [GOOD, GOOD])))
    if isinstance(change, dict):
        content |= change
        content["trials"][1:] = [each | {"parameters": content.get("loser", GOOD)} for each in content["trials"][1:]]
        if agrees and "chosen" in change:  # the trial says the same
            content["trials"][0]["parameters"] = change["chosen"]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content) if isinstance(change, dict) else change)
    with pytest.raises(UserError, match="is damaged"):
        with_winners(spec, context.store)
