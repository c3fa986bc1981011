"""Command lines that are wrong: never a traceback, exit code 2 and a sentence, nothing written outside the results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import ODD, examples, tried
from tests.support.records import made_up_record
from tests.support.specs import TINY
from vdae_bench.cli import main as cli
from vdae_bench.cli import run as commands
from vdae_bench.running.execute import Outcome
from vdae_bench.search import searches as sweep
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store

VERBS = {
    "reproduce": "--protocol --epochs --seeds --set --budget --device --threads --results --trials",
    "sweep": "--noise-grid --protocol --epochs --set --results --search --no-search --checkpoint-every",
    "search": "--trials --storage --set --results --protocol",
    "plan": "--format --flops-per-second --set --search --trials --results --data",
    "status": "--protocol --results",
    "claims": "--protocol --format --check --results --reports",
    "explain": "--protocol --spec --results",
    "compare": "--format",
    "validate": "--plugin",
    "report": "--protocol --sweep --format --check --results",
    "data": "fetch verify path --data",
    "bench": "--only --threads",
    "doctor": "--format --results",
    "nonsense": "--debug",
}
"""The verbs and some of their options; `bench` and `data fetch` themselves are not let run."""
VALUES = """
table1 table2 tiny.yaml missing.yaml tabel1 all figure2 -q --dry-run --check --help epochs=2 epochs= =3
learning_rate=1e-3 hidden_size=[1] search.trials=-1 search.batch={} epochs=1e999 a.b=c seeds=3 name=x base=paper
1e13 30m -5s sqlite:///nowhere/x.db redis:// text json md csv,html smoke quick binary-tiny_vae_4
made/quick/binary-mnist_vae_16 mnist results /dev/null /proc/self/mem results/made tiny.yaml/x ~ - --
"""
WORDS = [*VALUES.split(), *(each for each in ODD if isinstance(each, str))]
words = st.sampled_from(sorted(VERBS)).flatmap(
    lambda verb: (
        st.lists(
            st.sampled_from([*2 * VERBS[verb].split(), *WORDS]) | st.text(max_size=6) | st.integers().map(str),
            max_size=6,
        )
        .filter(lambda rest: not any("\0" in word for word in rest))  # no system passes such a word
        .map(lambda rest: [verb, *rest])
    )
)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_data):
    """A folder with a spec and a record, where nothing trains, fetches or takes long."""
    folder = tmp_path_factory.mktemp("words")
    TINY.write(folder)
    store = Store(folder / "results")
    record = made_up_record(Cell("binary-mnist", "vae", 16), 0, provenance={"run_digest": "d" * 64})
    store.publish([(store.path("made", "quick", "binary-mnist_vae_16", 0), record)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VDAE_BENCH_DATA", str(tiny_data[0]))
        patch.setattr(commands, "run_groups", lambda *_: Outcome())
        for module in (commands, sweep):
            patch.setattr(module, "run_studies", lambda *_: None)
        patch.setattr("vdae_bench.cli.tools.run_bench", lambda *_: None)
        patch.setattr("vdae_bench.cli.results.build_reports", lambda *_, **__: [])
        patch.setattr("vdae_bench.data.fetch._fill_from_sources", lambda *_: None)
        patch.setattr("vdae_bench.running.budget.calibrate", lambda *_: pytest.fail("no budget is that valid"))
        yield folder


def run(words: list[str], capsys) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vdae-bench", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


@examples("words")
@given(words=words)
def test_words(place, capsys, words):
    tried["words"] += 1
    before = {path for path in place.rglob("*") if path.is_file()}
    code, said = run(words, capsys)
    assert code in (0, 1, 2), (code, said)
    assert "Traceback" not in said and "bug in vdae-bench" not in said and (said.strip() or code == 0)
    new = {path for path in place.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(place) for path in new) and not [path for path in new if ".tmp-" in path.name]


NAMES = [
    "..",
    "../../x",
    "/tmp/x",
    "a/b",
    "a\\b",
    "nul",
    "con.txt",
    "LPT1",
    "x.",
    "",
    " ",
    "\0",
    "bench",
    "chaos",
    "x" * 300,
]


@pytest.mark.parametrize("name", NAMES)
def test_no_sweep_is_named_out_of_the_results_folder(place, capsys, name):
    (place / "named.yaml").write_text(TINY.but(name=name).text)
    code, said = run(["sweep", "named.yaml"], capsys)
    assert code == 2 and "named.yaml, line 2" in said
    assert not (Path(place).parent / "x").exists()


def test_no_option_leads_out_of_the_results_folder(tmp_path):
    """A plugin's option may have any value; a folder's name may not."""
    from vdae_bench.errors import UserError

    for value in ("../../x", "a/b", "a\\b", "\0", "x" * 300):
        cell = Cell("binary-mnist", "vae", 4, (("flavour", value),))
        with pytest.raises(UserError, match="cannot be the name of a results folder"):
            Store(tmp_path).path("s", "quick", cell.slug, 0)
