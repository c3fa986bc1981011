"""The runs asked for, as a command keeps them beside the records; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.records import made_up_record, publish
from tests.support.specs import PAIR, TINY
from vdae_bench.cli.run import raise_if_failed
from vdae_bench.errors import Failed
from vdae_bench.running.context import RunContext
from vdae_bench.running.execute import Outcome
from vdae_bench.running.job import Job
from vdae_bench.running.plan import note_asked, plan, replaced
from vdae_bench.spec.check import load_spec
from vdae_bench.store.asked import Asked, read_asked
from vdae_bench.store.records import Store


def ask(store: Store, path: Path, seeds: int | None = None, only: tuple[str, ...] = ()) -> Asked:
    spec = load_spec(path, seeds=seeds)
    note_asked(spec, plan(spec, store, only=only), store)
    asked = read_asked(store, spec.name, spec.protocol.name)
    assert asked and asked.spec_seeds == spec.spec_seeds == 3
    return asked


def seeds_of(asked: Asked) -> dict[str, int]:
    return {each.key.slug: each.seeds for each in asked.cells}


def test_all_cells_of_the_spec_are_asked_for_in_its_order_with_their_identities(context: RunContext, tmp_path: Path):
    path = TINY.but(seeds=3).write(tmp_path)
    spec, asked = load_spec(path), ask(context.store, path)
    assert [each.key for each in asked.cells] == list(spec.cells)
    assert set(seeds_of(asked).values()) == {3, 1}, "what is not trained has one seed"
    for each in asked.cells:
        job = Job(spec.name, each.key, spec.protocol, spec.resolved_hyperparameters(each.key))
        assert each.run_digests == [job.run_digest(seed) for seed in range(each.seeds)]


def test_a_command_whose_runs_another_one_replaced_does_not_pass_for_done(context: RunContext, tmp_path: Path):
    """Two specs of one name at once: the later has the place, and the earlier has to say so."""
    store, spec = context.store, load_spec(PAIR.but(seeds=1).write(tmp_path))
    planned = plan(spec, store)
    assert replaced(planned, store) == []  # nothing there yet, as after a failure that is told elsewhere
    for own in (True, False):
        for each in planned.cells:
            identity = {"run_digest": each.job.run_digest(0) if own else "0" * 64}
            record = made_up_record(each.job.cell, 0, spec.protocol, provenance=identity)
            publish(store, spec.name, spec.protocol.name, each.job.cell.slug, [record])
        assert len(replaced(planned, store)) == (0 if own else len(planned.cells))
    with pytest.raises(Failed, match=r"(?s)binary-tiny_vae_4 seed 0: another command .* called tiny another name"):
        raise_if_failed(Outcome(), planned, replaced(planned, store))


def test_some_cells_are_asked_for_anew_and_the_others_stay_while_they_are_the_same(context: RunContext, tmp_path: Path):
    store, path = context.store, TINY.but(seeds=3).write(tmp_path)
    ask(store, path)
    vae, lvdae = "binary-tiny_vae_4", "binary-tiny_lvdae_4"
    asked = ask(store, path, 1, (vae,))
    assert (seeds_of(asked)[vae], seeds_of(asked)[lvdae]) == (1, 3)
    assert len(asked.cells[0].run_digests) == 3, "more of the same seeds are known again"
    changed = ask(store, TINY.but(seeds=3, hyperparameters={"learning_rate": 1e-3}).write(tmp_path), 2, (vae,))
    assert (seeds_of(changed)[vae], seeds_of(changed)[lvdae]) == (2, 2)
    assert not {*changed.cells[0].run_digests} & {*asked.cells[0].run_digests}


def test_seeds_with_a_record_are_known_however_many_are_asked_for(context: RunContext, tmp_path: Path):
    store, path = context.store, TINY.but(seeds=3).write(tmp_path)
    spec = load_spec(path)
    cell = spec.cells[0]
    publish(store, spec.name, spec.protocol.name, cell.slug, [made_up_record(cell, 6, spec.protocol)])
    assert len(ask(store, path, 1).cells[0].run_digests) == 7
    store.path(spec.name, spec.protocol.name, cell.slug, 10**12).write_text("{}")
    assert len(ask(store, path, 1).cells[0].run_digests) == 1000
