"""From the winner to the table: final runs use it and say so, reports lead back to the trial."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from tests.support.searches import made_up_winner, outcome
from tests.support.shell import Shell
from tests.support.specs import SEARCHED, Spec
from vdae_bench.report.style import figure
from vdae_bench.search import ledger
from vdae_bench.search.ledger import JOURNAL, only_search_in
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import all_winners, read_winner, with_winners, write_winner
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.system import lease

ONE = SEARCHED.but(grid={"method": ["vae"]})
"""One study is enough for most of this."""


class Here:
    """Runs verbs in this process, in a folder of its own."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        self.store = Store(folder / "results")
        self.write(ONE)

    def write(self, spec: Spec):
        spec.write(self.folder)

    def run(self, *words):
        from vdae_bench.cli import main as cli

        if words[0] != "status":
            words = (*words, "--threads", "1")
        self.monkeypatch.setattr(sys, "argv", ["vdae-bench", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = self.capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    def records(self):
        return [record for _, record in self.store.records()]

    def winners(self):
        return [winner for _, winner in all_winners(self.store)]

    def page(self):
        (page,) = self.folder.rglob("reports/*/tiny.md")
        return page.read_text()


@pytest.fixture
def here(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
    # A second each, and tested elsewhere.
    monkeypatch.setattr(figure, "saved", lambda make: {"svg": b"<svg></svg>", "png": b""})
    return Here(tmp_path, monkeypatch, capsys)


def test_final_seeds_use_the_winner_and_the_chain_leads_back_to_its_trial(here):
    here.write(SEARCHED)
    code, out, err = here.run("sweep", "tiny.yaml", "--search")
    assert code == 0, err
    assert "trials an hour" in err
    by_source = {winner.source: winner for winner in here.winners()}
    assert {winner.cell for winner in by_source.values()} == {"binary-tiny_vae_3", "binary-tiny_lvdae_3"}
    records = here.records()
    assert len(records) == 4 * 2
    for record in records:
        # Table cell -> record -> file -> trial.
        winner = by_source[record.hyperparameters["source"]]
        trial = winner.trials[winner.winner]
        assert trial.number == winner.winner
        assert trial.parameters == winner.chosen == {name: record.hyperparameters[name] for name in winner.chosen}
        assert trial.value == winner.value == min(t.value for t in winner.trials if t.state == "complete")
        assert f"{record.cell.dataset}_{record.cell.method}_{record.cell.latents}" in winner.serves
        assert winner.cell.split("_")[1] == record.cell.method
        assert record.seed not in {t.seed for t in winner.trials} and record.seed < 2
    page = here.page()
    for winner in by_source.values():
        link = f"](../../results/tiny/{winner.protocol}/search/{winner.cell}.json)"
        assert f"trial {winner.winner} of 6 on `{winner.cell}` (random), 3 epochs each, as in the final runs" in page
        assert page.count(link) == 2
    assert "VAE 3; VAE 4: trial" in page and "without its hyper-parameter search" not in page
    # Found again without being asked for; not searched again, not run again.
    code, out, err = here.run("sweep", "tiny.yaml")
    assert code == 0 and "searched hyper-parameters for 4 of 4 cells" in err
    assert here.records() == records
    code, out, err = here.run("status", "tiny.yaml")
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("binary")] == ["0"] * 4


def test_without_being_asked_no_search_runs_and_the_tool_says_so(here):
    code, _, err = here.run("sweep", "tiny.yaml")
    assert code == 0 and err.count("its hyper-parameter search does not run; give --search to run it") == 1
    assert here.winners() == [] and {record.hyperparameters["source"] for record in here.records()} == {"spec"}
    assert "Hyper-parameter search\n" not in here.page()


def test_winners_are_not_used_where_nobody_wants_them(here):
    code, out, _ = here.run("search", "tiny.yaml", "-q", "--trials", "1")
    assert code == 0 and out.endswith(" sweep tiny.yaml -q --threads 1\n")
    assert "no final run yet" in here.page()
    assert here.run("sweep", "tiny.yaml", "-q", "--no-search")[0] == 0
    assert {record.hyperparameters["source"] for record in here.records()} == {"spec"}


def test_a_winner_of_another_search_is_refused_until_it_is_searched_anew(here):
    assert here.run("search", "tiny.yaml", "-q", "--trials", "2")[0] == 0
    old = here.winners()
    here.write(ONE.but(search={"parameters": {"learning_rate": {"max": 1e-2}}}))
    for words in (("sweep",), ("sweep", "--search"), ("plan",)):
        code, _, err = here.run(words[0], "tiny.yaml", *words[1:])
        assert code == 2 and "is from another search than the spec now has" in err and "vdae-bench search" in err
    assert here.records() == [] and here.winners() == old
    assert here.run("search", "tiny.yaml", "-q", "--trials", "2")[0] == 0
    kept = [path for path, winner in all_winners(here.store) if winner in old]
    assert len(kept) == 1 and all("superseded" in path.name for path in kept)
    assert here.run("sweep", "tiny.yaml", "-q")[0] == 0
    assert all(record.hyperparameters["learning_rate"] <= 1e-2 for record in here.records())


def test_a_damaged_winner_is_named(here):
    assert here.run("search", "tiny.yaml", "-q", "--trials", "1")[0] == 0
    path, _ = next(all_winners(here.store))
    path.write_text(path.read_text()[:200])
    for words in (("sweep", "tiny.yaml"), ("search", "tiny.yaml")):
        code, _, err = here.run(*words)
        assert code == 2 and path.name in err and "damaged" in err


def test_more_trials_keep_the_file_that_records_name(here):
    assert here.run("sweep", "tiny.yaml", "-q", "--search", "--trials", "2")[0] == 0
    sources = {record.hyperparameters["source"] for record in here.records()}
    assert here.run("search", "tiny.yaml", "-q", "--trials", "3")[0] == 0
    assert sources < {winner.source for winner in here.winners()}
    assert "whose file is not" not in here.page()


def test_a_search_at_fewer_epochs_says_so_beside_the_table(here):
    here.write(ONE.but(search={"trials": 2, "epochs": 1}))
    code, out, err = here.run("sweep", "tiny.yaml", "-q", "--search")
    assert code == 0, err
    said = "1 epoch each, **fewer than the 3 of the final runs**"
    assert here.page().count(said) == 1 and "1 epoch each, fewer than the 3 of the final" in out.replace("\n", " ")
    assert all(trial.epochs == 1 for winner in here.winners() for trial in winner.trials)
    assert all(record.curve.epoch == [1, 2, 3] for record in here.records())


def test_one_cell_serves_all_where_it_is_named(here, tmp_path):
    here.write(SEARCHED.but(search={"share": [], "cell": "binary-tiny_lvdae_4", "trials": 1}))
    assert here.run("sweep", "tiny.yaml", "-q", "--search")[0] == 0
    (winner,) = here.winners()
    assert winner.cell == "binary-tiny_lvdae_4" and len(winner.serves) == 4
    assert {record.hyperparameters["source"] for record in here.records()} == {winner.source}
    spec = load_spec(tmp_path / "tiny.yaml")
    (study,) = studies_of(spec)
    assert [study.spec_digest, list(study.serves)] == [winner.spec_digest, [cell.slug for cell in spec.cells]]


def test_a_cells_own_and_the_users_hyperparameters_stand_on_either_side_of_the_winners(make_spec, tmp_path):
    cell = {"dataset": "binary-tiny", "method": "vae", "latents": 5, "hyperparameters": {"learning_rate": 5e-4}}
    spec = make_spec(SEARCHED.but(include=[cell]), overrides={"hidden_size": 9})
    store = Store(tmp_path / "results")
    (vae, _) = studies_of(spec)
    write_winner(vae.path(store), made_up_winner(vae, [{"learning_rate": 0.02, "schedule": "none", "hidden_size": 4}]))
    found = with_winners(spec, store)
    hyper = found.resolved_hyperparameters(found.cells[-1])
    assert (hyper["learning_rate"], hyper["schedule"], hyper["hidden_size"]) == (0.02, "none", 9)
    assert [found.source(each)[:6] for each in found.cells] == ["search", "search", "spec", "spec", "search"]


def test_what_a_search_would_cost(here):
    here.write(SEARCHED)
    code, out, _ = here.run("plan", "tiny.yaml", "--search", "--format", "json", "--trials", "5")
    vae, lvdae = json.loads(out)["search"]
    assert code == 0 and vae["trials"] == 5 and vae["serves"] == ["binary-tiny_vae_3", "binary-tiny_vae_4"]
    # The mean over hidden sizes 4 and 6.
    sizes = []
    for size in (4, 6):
        here.write(SEARCHED.but(hyperparameters={"hidden_size": size}))
        sizes.append(json.loads(here.run("plan", "tiny.yaml", "--format", "json")[1])["cells"][0]["train_flops"])
    assert vae["train_flops"] == sum(sizes) // 2 < lvdae["train_flops"] and sizes[0] < sizes[1]
    here.write(SEARCHED)
    for words in (
        ("plan", "tiny.yaml", "--search"),
        ("search", "tiny.yaml", "--dry-run"),
        ("sweep", "tiny.yaml", "--search", "--dry-run"),
    ):
        code, out, _ = here.run(*words)
        assert code == 0 and "TFLOP a trial" in out and "binary-tiny_lvdae_3" in out
    assert not (here.folder / "results").exists()


def test_only_what_the_named_cells_need_is_searched(here):
    here.write(SEARCHED)
    only = ("--only", "binary-tiny_vae_4")
    for words in (("plan", "--search"), ("search", "--dry-run"), ("sweep", "--search", "--dry-run")):
        code, out, _ = here.run(words[0], "tiny.yaml", *words[1:], *only)
        assert code == 0 and "binary-tiny_vae_3" in out and "lvdae" not in out
    code, _, err = here.run("search", "tiny.yaml", "--dry-run", "--only", "nothing")
    assert code == 2 and "'nothing' names no cell" in err
    assert here.run("sweep", "tiny.yaml", "-q", "--search", "--trials", "1", *only)[0] == 0
    assert [winner.cell for winner in here.winners()] == ["binary-tiny_vae_3"]
    assert {record.cell.as_cell().slug for record in here.records()} == {"binary-tiny_vae_4"}


def test_the_storage_may_be_any_of_optunas(here):
    import optuna

    url = f"sqlite:///{here.folder}/studies.db"
    assert here.run("search", "tiny.yaml", "-q", "--storage", url, "--trials", "2")[0] == 0
    assert here.run("search", "tiny.yaml", "-q", "--storage", url, "--trials", "4")[0] == 0
    assert not list(here.folder.rglob(JOURNAL))
    names = optuna.get_all_study_names(url)
    assert [name.split("/")[2] for name in names] == ["binary-tiny_vae_3"]
    for name in names:
        assert [t.user_attrs["number"] for t in optuna.load_study(study_name=name, storage=url).trials] == [0, 1, 2, 3]
    assert [len(read_winner(path).trials) for path, _ in all_winners(here.store) if "superseded" not in path.name] == [
        4
    ]


def test_one_search_at_a_time(here):
    folder = studies_of(load_spec(here.folder / "tiny.yaml"))[0].path(here.store).parent
    with only_search_in(folder):
        code, _, err = here.run("search", "tiny.yaml")
    assert code == 1 and "another search works in" in err


def test_a_search_that_may_work_elsewhere_is_waited_for_in_words(here, monkeypatch):
    """Its process is on another machine, so that its next beat tells, or that there is none."""
    folder = studies_of(load_spec(here.folder / "tiny.yaml"))[0].path(here.store).parent
    folder.mkdir(parents=True)
    foreign = {"host": "elsewhere x", "process": 7, "started": 1.0, "token": "t", "beats": 3}
    (folder / "search.lease").write_text(json.dumps(foreign))
    now = [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ledger.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 10 * seconds))
    said: list[str] = []
    with only_search_in(folder, said.append):
        pass
    (line,) = said
    assert "process 7 on elsewhere" in line and "waiting 90 s" in line


NO_SEARCH = SEARCHED.but(search=None)
REFUSED = {
    "no search section": (NO_SEARCH, ("search", "tiny.yaml"), "has no search section; add one"),
    "no search section, asked": (NO_SEARCH, ("sweep", "tiny.yaml", "--search"), "has no search section"),
    "trials without one": (NO_SEARCH, ("sweep", "tiny.yaml", "--search", "--trials", "3"), "has no search section"),
    "trials and no search": (SEARCHED, ("sweep", "tiny.yaml", "--trials", "3"), "give --search too"),
    "a searched one is set": (
        SEARCHED,
        ("search", "tiny.yaml", "--set", "schedule=none"),
        "schedule is searched; leave out",
    ),
    "a budget": (
        SEARCHED,
        ("sweep", "tiny.yaml", "--search", "--budget", "1h"),
        "--budget does not include a search",
    ),
    "unknown key": (SEARCHED, ("search", "tiny.yaml", "--set", "search.sed=3"), "did you mean 'seed'?"),
    "value of a key": (SEARCHED, ("search", "tiny.yaml", "--set", "search.batch=0"), "search.batch"),
    "storage": (
        SEARCHED,
        ("search", "tiny.yaml", "--storage", "nosuch://u:secret@host/x"),
        "cannot open the storage nosuch://u:***@host/x",
    ),
    "seeds among those of trials": (SEARCHED, ("sweep", "tiny.yaml", "--seeds", "1001"), "1001"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_words_give_one_sentence_and_exit_code_2(here, case):
    spec, words, expected = REFUSED[case]
    here.write(spec)
    code, _, err = here.run(*words)
    assert code == 2 and expected in err and "Traceback" not in err and "secret" not in err
    assert here.records() == [] and here.winners() == []


IN_TRAINING = """
import os, signal
from vdae_bench.training.trainer import Trainer

step, steps = Trainer.train_step, iter(range(9))

def deadly(self):
    next(steps, None) is None and os.kill(os.getpid(), signal.SIGKILL)
    step(self)

Trainer.train_step = deadly
"""
IN_A_WRITE = """
import os, signal
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

writes = iter(range(12))
acquire = JournalFileSymlinkLock.acquire

def deadly(self):
    acquired = acquire(self)
    if next(writes, None) is None:  # the lock taken, a line half written
        with open(self._lock_target_file, "ab") as file:
            file.write(b'{"op_code":7,"worker')
        os.kill(os.getpid(), signal.SIGKILL)
    return acquired

JournalFileSymlinkLock.acquire = deadly
"""


@pytest.mark.slow
@pytest.mark.usefixtures("no_counts")
def test_killed_by_the_system_it_goes_on_to_the_same_winner(here, tiny_data):
    assert here.run("search", "tiny.yaml", "-q", "--results", "whole")[0] == 0
    words = ("search", "tiny.yaml", "-q", "--checkpoint-every", "0.01s")
    for murder in (IN_TRAINING, IN_A_WRITE):
        plugin = here.folder / "murder.py"
        plugin.write_text(murder)
        killed = Shell(here.folder, tiny_data).run(*words, "--threads", "1", plugins=(plugin,))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    (journal,) = here.folder.glob(f"results/*/*/search/{JOURNAL}")
    assert here.winners() == [] and journal.with_name(f"{JOURNAL}.lock").is_symlink()
    assert journal.read_text().endswith('{"op_code":7,"worker')
    assert here.run(*words)[0] == 0
    (resumed,) = here.winners()
    ((_, whole),) = all_winners(Store(here.folder / "whole"))
    assert outcome(resumed) == outcome(whole)
