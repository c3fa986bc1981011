"""The committed evidence stays what it is: each record's digest is that of its spec today, and none is lost.

`committed-digests.json` beside this file pins them. `python -m tests.store.test_committed_records` adds new records to
it; a line that changes or goes away is a record made invalid.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from vdae_bench.report.numbers.runs import Run, load_runs, protocol_of
from vdae_bench.running.job import Job
from vdae_bench.search.studies import studies_to_run
from vdae_bench.search.winner import all_winners, with_winners
from vdae_bench.spec.check import find_spec, load_spec
from vdae_bench.spec.shipped import shipped_sweeps
from vdae_bench.spec.sweep import SweepSpec
from vdae_bench.store.records import Store

ROOT = Path(__file__).parents[2]
PINNED = Path(__file__).with_name("committed-digests.json")
STORE = Store(ROOT / "results")


def _in_git() -> frozenset[Path]:
    """Files in results/ that are committed, or would be: not those that the README's commands leave behind."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "results"]
    try:
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive has its own results alone
        return frozenset(STORE.root.rglob("*.json"))
    return frozenset(ROOT / name for name in listed.split("\0"))


IN_GIT = _in_git()
RUNS = [run for run in load_runs(STORE) if run.path in IN_GIT]
WINNERS = [(path, winner) for path, winner in all_winners(STORE) if path in IN_GIT]


def specs() -> dict[str, SweepSpec]:
    """The shipped sweeps by their own names, which name folders of results."""
    return {spec.name: spec for spec in (load_spec(find_spec(name)) for name in shipped_sweeps())}


def digest_today(spec: SweepSpec, run: Run) -> str:
    """The identity that the spec gives a run under the protocol of its record."""
    protocol = protocol_of(run)
    assert protocol is not None, f"{run.path}: its protocol is not understood"
    under = replace(spec, protocol=protocol)
    under = with_winners(under, STORE) if under.search else under
    (cell,) = (each for each in under.cells if each.slug == run.cell.slug)
    return Job(under.name, cell, protocol, under.resolved_hyperparameters(cell), under.source(cell)).run_digest(
        run.seed
    )


def committed() -> dict[str, str]:
    """The digest of each record and of each frozen search, by its place."""
    found = {run.path.relative_to(STORE.root).as_posix(): run.record.run_digest for run in RUNS}
    return found | {path.relative_to(STORE.root).as_posix(): winner.spec_digest for path, winner in WINNERS}


def test_no_committed_record_is_lost_or_of_another_identity():
    found = committed()
    pinned = json.loads(PINNED.read_text())
    assert {place: found.get(place) for place in pinned} == pinned
    assert set(found) == set(pinned), "pin new records: python -m tests.store.test_committed_records"


@pytest.mark.parametrize("name", sorted({run.sweep for run in RUNS}))
def test_each_record_has_the_digest_that_its_spec_gives_it_today(name):
    spec = specs()[name]
    runs = [run for run in RUNS if run.sweep == name]
    assert {run.path: digest_today(spec, run) for run in runs} == {run.path: run.record.run_digest for run in runs}


def test_each_frozen_search_is_one_that_its_spec_would_run_today():
    known = specs()
    assert WINNERS
    for path, winner in WINNERS:
        sweep, protocol = path.relative_to(STORE.root).parts[:2]
        spec = known[sweep]
        assert spec.protocol.name == protocol
        assert winner.spec_digest in {study.spec_digest for study in studies_to_run(spec, spec.cells, compare=True)}, (
            path
        )


if __name__ == "__main__":
    PINNED.write_text(json.dumps(dict(sorted(committed().items())), indent=1) + "\n")
