"""From spec to records: what is there is not run again, a stop or kill loses nothing, one failure spares the rest."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.runs import StopAfter, run, without_time
from tests.support.specs import LONG, Spec
from vdae_bench.data.registry import find_dataset
from vdae_bench.errors import EnvironmentFault
from vdae_bench.models.registry import get_method
from vdae_bench.running import group as runner
from vdae_bench.running.context import RunContext
from vdae_bench.running.cost import GroupLimit, predict_seconds, price, train_bytes
from vdae_bench.running.execute import clear_leftovers, run_plan
from vdae_bench.running.group import run_group
from vdae_bench.running.job import Job, RunGroup
from vdae_bench.running.plan import Plan, plan
from vdae_bench.running.progress import QuietProgress
from vdae_bench.running.shards import Shard
from vdae_bench.running.stop import StopToken
from vdae_bench.running.task import lease_of
from vdae_bench.running.workbench import Workbench
from vdae_bench.spec.check import load_spec
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.lease import Lease
from vdae_bench.training import trainer as trainer_module
from vdae_bench.training.checkpoint import Checkpoint
from vdae_bench.training.trainer import Interrupted, Trainer, ValidationPoint


def test_a_run_gives_every_field_of_its_record(whole):
    """A field that `_records` forgets would say its default of every run, as if it had been measured."""
    for record in whole[1].records:
        for part in (record, record.metrics, record.curve, record.cost):
            assert type(part).model_fields.keys() <= part.model_fields_set, type(part).__name__


def test_a_sweep_becomes_records(whole):
    store, outcome = whole
    assert not outcome.failures and len(outcome.records) == 5 * 2 + 2
    stored = {(r.cell.dataset, r.cell.method, r.seed): r for _, r in store.records()}
    assert len(stored) == len(outcome.records)
    for (dataset, method, _), record in stored.items():
        test = record.metrics.test
        assert record.status == "completed" and test is not None
        if method in ("vae", "lvdae"):
            assert test.nll_nats <= test.neg_elbo_nats
            assert 1 <= test.effective_sample_size <= 20
        else:
            assert test.neg_elbo_nats is None
        if dataset == "continuous-tiny":
            assert test.nll_bits_per_dim == pytest.approx(test.nll_nats / (36 * 0.6931471805599453) + 8)
        else:
            assert test.nll_bits_per_dim is None
        if method == "independent-pixels":
            assert record.curve.epoch == [] and test.redraw_standard_deviation_nats > 0
        else:
            assert record.curve.epoch == [1, 2, 3] and len(record.curve.validation_neg_elbo_nats) == 3
            assert record.cost.train_flops > 0 and record.cost.replicas == 2
    seeds = [stored["binary-tiny", "vae", seed].metrics.test.nll_nats for seed in (0, 1)]
    assert seeds[0] != seeds[1]
    assert not list(store.root.rglob("*.pt")) and not list(store.root.rglob("*tmp*"))


def test_what_has_a_record_is_not_run_again(sweep, context):
    first = run(sweep, context)
    assert run(sweep, context).records == []
    lost = context.store.path("tiny", sweep.protocol.name, "binary-tiny_vae_4", 1)
    lost.unlink()
    (again,) = run(sweep, context).records
    before = next(r for r in first.records if (r.cell.dataset, r.cell.method, r.seed) == ("binary-tiny", "vae", 1))
    assert again.run_digest == before.run_digest
    assert again.metrics.test.nll_nats == pytest.approx(before.metrics.test.nll_nats, rel=1e-4)


@pytest.mark.parametrize("asked", [0, 2, 5, 9])
@pytest.mark.parametrize("index", [1, 4])
def test_a_stopped_group_continues_to_the_same_record(sweep, context, tmp_path, asked, index):
    """9 training steps and then the evaluation: stopped after the first, a third, two thirds, and while evaluating."""
    group = plan(sweep, context.store).groups[index]
    with pytest.raises(Interrupted):
        run_group(group, context, lambda *_: None, StopAfter(asked))
    assert list(context.store.records()) == []
    resumed = run_group(group, context, lambda *_: None, StopToken())
    elsewhere = RunContext(Store(tmp_path / "other"), context.device, 1, context.data_folder, 1e9)
    whole = run_group(group, elsewhere, lambda *_: None, StopToken())
    assert [without_time(r) for r in resumed] == [without_time(r) for r in whole]


def test_a_failing_group_spares_the_rest(sweep, context, monkeypatch):
    original = trainer_module.Trainer.train_step

    def fail(self):
        if self.model.__class__.__name__ == "FlowModel":
            raise EnvironmentFault("no room")
        original(self)

    monkeypatch.setattr(trainer_module.Trainer, "train_step", fail)
    outcome = run(sweep, context)
    assert [task.label for task, _ in outcome.failures] == ["continuous-tiny_nice_36 seeds 0, 1"]
    assert len(outcome.records) == 4 * 2 + 2


def test_a_diverged_seed_is_recorded_as_such(sweep, context, monkeypatch):
    original = trainer_module.Trainer.train_step

    def poison(self):
        original(self)
        if self.step == 2:
            self.optimiser.parameters[1] = torch.nan

    monkeypatch.setattr(trainer_module.Trainer, "train_step", poison)
    outcome = run(sweep, context)
    assert {(r.seed, r.status) for r in outcome.records if r.cell.method != "independent-pixels"} == {
        (0, "completed"), (1, "diverged"),
    }  # fmt: skip
    assert all(r.metrics.test is None and "diverged at step 2" in r.flags for r in outcome.diverged)


def test_identity_covers_what_determines_numbers(sweep, tmp_path):
    job = plan(sweep, Store(tmp_path)).cells[0].job
    base = job.run_digest(0)
    assert base == job.run_digest(0) != job.run_digest(1)
    changed = [
        Job(job.sweep, job.cell, job.protocol.model_copy(update={"epochs": 4}), job.hyperparameters),
        Job(job.sweep, job.cell, job.protocol, {**job.hyperparameters, "learning_rate": 1e-4}),
        Job(job.sweep, plan(sweep, Store(tmp_path)).cells[1].job.cell, job.protocol, job.hyperparameters),
    ]
    assert len({base, *(each.run_digest(0) for each in changed)}) == 4
    renamed = Job("other", job.cell, job.protocol.model_copy(update={"name": "x", "seeds": 9}), job.hyperparameters)
    assert renamed.run_digest(0) == base


def test_flops_by_hand():
    """A VAE on n = 784, m = 16, H = 256, B = 1: 2 FLOPs a weight and image forward, 6 with the backward pass."""
    from vdae_bench.spec.protocol import load_protocol
    from vdae_bench.spec.sweep import Cell

    def block(width, hidden):
        return 2 * width * hidden + hidden * hidden

    widths = [784, 128, 64, 32, 16]
    pairs = list(itertools.pairwise(widths))
    encoder = sum(block(a, 256) + a * b for a, b in pairs)
    decoder = sum(block(b, 256) + a * b for a, b in pairs)
    head = 32 * 16
    # The first layer needs no gradient with respect to the data: 2 of its 6 are not done.
    step = 6 * (encoder + decoder + head) - 2 * 784 * 256
    protocol = load_protocol("paper")
    hyper = {"learning_rate": 1e-3, "hidden_size": 256, "residual_blocks": 1}
    counted = price(Job("x", Cell("binary-mnist", "vae", 16), protocol, hyper))
    assert counted.train_flops == step * 50_000 * 1000
    assert counted.evaluation_flops == 10_000 * (2 * (encoder + head) + 5000 * 2 * decoder)
    biases = sum(2 * 256 + a + b for a, b in pairs) + sum(2 * 256 + b + a for a, b in pairs) + 16
    assert counted.parameters == encoder + decoder + head + biases


def test_flops_are_of_the_images_that_there_are(tiny_data, tmp_path):
    job, there = plan(load_spec(LONG.write(tmp_path)), Store(tmp_path)).cells[0].job, find_dataset("tiny").counts

    def counted(**images):
        return price(replace(job, protocol=job.protocol.model_copy(update=images)))

    assert counted(train_images=None).train_flops == counted(train_images=there["train"]).train_flops
    assert counted(train_images=None).train_flops == pytest.approx(
        there["train"] / 30 * counted(train_images=30).train_flops, rel=1e-6
    )
    all_images = {"elbo_images": there["test"], "nll_images": there["test"]}
    assert counted(elbo_images=10_000, nll_images=10_000).evaluation_flops == counted(**all_images).evaluation_flops


def test_seconds_on_another_device_are_flops_over_its_rate(sweep, tmp_path):
    planned = plan(sweep, Store(tmp_path))
    for group in planned.groups:
        cost, timing = price(group.job), predict_seconds(group, 1e9)
        train = timing.epoch_seconds * group.job.training_settings().epochs
        assert train == pytest.approx(cost.train_flops * len(group.runs) / 1e9)
        assert timing.evaluation_seconds == pytest.approx(cost.evaluation_flops * len(group.runs) / 1e9)
        assert (cost.nll_flops > 0) == (cost.train_flops > 0)  # independent pixels multiply no matrices


def test_a_group_fits_the_memory_that_it_is_given(sweep, tmp_path):
    whole = plan(sweep, Store(tmp_path)).groups[0]
    need = train_bytes(whole.job)
    assert len(whole.runs) == 2
    limits = [(GroupLimit(2 * need), [2]), (GroupLimit(2 * need - 1), [1, 1]), (GroupLimit(1), [1, 1])]
    for limit, sizes in [*limits, (GroupLimit(replicas=1), [1, 1])]:
        groups = [group for group in plan(sweep, Store(tmp_path), limit).groups if group.job.cell == whole.job.cell]
        assert [len(group.runs) for group in groups] == sizes


@pytest.mark.parametrize("method", ["vae", "lvdae", "lvdae-nice", "nice", "vdae-resnet"])
@pytest.mark.parametrize("log_det", ["subset", "exact", "lanczos"])
def test_the_memory_of_a_step_is_what_the_whole_step_keeps(sweep, method, log_det):
    latents = 36 if "nice" in method or "resnet" in method else 4
    job = plan(sweep, Store(Path())).groups[0].job
    cell = replace(job.cell, dataset="continuous-tiny", method=method, latents=latents, options=(("log_det", log_det),))
    method_options = get_method(method).options
    cell = cell if "log_det" in method_options else replace(cell, options=())
    job = replace(job, cell=cell, hyperparameters=sweep.resolved_hyperparameters(cell))
    model = get_method(method).build(job.problem(1))
    images = job.protocol.batch_size
    places = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        noise = torch.zeros(1, images, model.training_noise_dim)
        model.bound_terms(torch.rand(1, images, 36), noise, round(job.protocol.log_det_rows * images))
    activations = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in places)
    parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
    need = 4 * parameters + activations
    assert 0.97 * need < train_bytes(job) < 1.2 * need  # small batches multiply some Jacobians in another order


GRID = """\
version: 1
name: noise
grid:
  - {dataset: [continuous-tiny], method: [vdae-coupled], latents: [36], decoder_variance: [tied, learned],
     log_sigma: [-3, -1]}
  - {dataset: [continuous-tiny], method: [vdae-resnet], latents: [36], log_sigma: [-3, -1, null]}
protocol: {base: smoke, train_images: null, validation_images: 20, elbo_images: 30, nll_images: 10, epochs: 3}
hyperparameters: {coupling_hidden_size: 8, coupling_layers: 1, decoder_hidden_size: 8, learning_rate: 1e-2}
"""


def test_fixed_sigmas_of_an_architecture_are_replicas_of_one_model(tiny_data, context, tmp_path):
    path = tmp_path / "noise.yaml"
    path.write_text(GRID)
    spec = load_spec(path)
    groups = plan(spec, context.store).groups
    assert [len(group.runs) for group in groups] == [4, 4, 4, 2]  # two variances, fixed and learned ResNet
    assert [len(group.cells) for group in groups] == [2, 2, 2, 1]
    outcome = run(spec, context)
    assert not outcome.failures and len(list(context.store.records())) == 14
    # A cell that runs on its own has the numbers it has beside other sigmas.
    alone = RunGroup(tuple(each for each in groups[0].runs if each[0].cell == groups[0].cells[1]))
    elsewhere = RunContext(Store(tmp_path / "other"), context.device, 1, context.data_folder, 1e9)
    for record in run_group(alone, elsewhere, lambda *_: None, StopToken()):
        job = alone.job
        beside = context.store.find("noise", spec.protocol.name, job.cell.slug, record.seed, record.run_digest)
        assert beside.metrics.test.neg_elbo_nats == pytest.approx(record.metrics.test.neg_elbo_nats, rel=1e-4)
        assert record.cell.options["log_sigma"] == -1.0
    options = {record.cell.options.get("log_sigma") for record in outcome.records}
    assert options == {-3.0, -1.0, None}


def test_an_unbounded_loss_is_held_at_the_floor_and_reported(tiny_data, context, tmp_path):
    """A coupled decoder under beta < 1 with a learned sigma: the loss falls without bound in log sigma."""
    unbounded = Spec(
        grid={"dataset": ["continuous-tiny"], "method": ["vdae-coupled"], "latents": [36], "initial_log_sigma": [-9]},
        protocol={
            "base": "smoke",
            "train_images": None,
            "epochs": 400,
            "scalar_rate": 1000,
            "seeds": 1,
            "elbo_images": 5,
            "nll_images": 5,
            "batch_size": 120,
        },
        hyperparameters={"coupling_hidden_size": 4, "coupling_layers": 1, "learning_rate": 1e-2},
    )
    (record,) = run(load_spec(unbounded.write(tmp_path)), context).records
    assert any("log_sigma reached its floor" in flag for flag in record.flags)


def test_the_parameters_after_the_last_epoch_are_evaluated(sweep, context):
    """Not those that were best on validation, which is only noted."""
    (group, *_) = plan(sweep, context.store).groups
    records = run_group(group, context, lambda phase, fraction: None, StopToken())
    bench = Workbench(group, context)
    while bench.trainer.step < bench.trainer.steps:
        bench.trainer.train_step()
    evaluator = bench.evaluator()
    assert evaluator.run(lambda: False, lambda: None)
    for record, metrics in zip(records, evaluator.metrics(), strict=True):
        assert record.metrics.test.nll_nats == pytest.approx(metrics["nll_nats"], rel=1e-6)


def test_the_validation_of_a_record_is_that_of_the_last_epoch(sweep, context, monkeypatch):
    """The lowest one is only noted, by its epoch."""

    def rising(self):
        return ValidationPoint(
            torch.full((len(self.noise.seeds),), float(self.step)), torch.zeros(len(self.noise.seeds))
        )

    monkeypatch.setattr(Trainer, "validate", rising)
    (group, *_) = plan(sweep, context.store).groups
    for record in run_group(group, context, lambda phase, fraction: None, StopToken()):
        curve = record.curve.validation_neg_elbo_nats
        assert record.metrics.validation.neg_elbo_nats == curve[-1] > curve[0]
        assert record.metrics.validation.best_epoch == 1
        assert record.method_version == get_method(record.cell.method).version
        assert record.metrics.test.nll_standard_error_covers == "level"


def test_what_a_kill_after_the_publication_left_is_cleared(sweep, context):
    """Whatever the group was: of other seeds, or of another memory."""
    planned = plan(sweep, context.store)
    run(sweep, context)
    group, other = planned.groups[:2]
    left = RunGroup((group.runs[1], other.runs[0]))
    checkpoint = Checkpoint(left.checkpoint_path(context.store), left.identity)
    for _ in range(2):
        checkpoint.save({"runs": [job.run_digest(seed) for job, seed in left.runs]})
    lease = checkpoint.path.with_suffix(".lease")
    lease.write_text("{}")
    foreign = checkpoint.path.with_name("0123456789abcdef.pt")
    unfinished = Checkpoint(checkpoint.path.with_name("fedcba9876543210.pt"), "another")
    foreign.write_text("of another spec")
    unfinished.save({"runs": [group.job.run_digest(0), "of a run without a record"]})
    stale = atomic.temporary_beside(context.store.path("tiny", sweep.protocol.name, "binary-tiny_vae_4", 0))
    stale = stale.with_name(stale.name.replace(f"-{os.getpid()}-", "-9999999999-"))
    stale.touch()
    clear_leftovers(plan(sweep, context.store), context.store)
    assert checkpoint.path.exists() and not stale.exists()  # whoever has that lease is not known to be dead
    lease.write_text(json.dumps({**Lease(lease)._own, "process": 9999999999}))
    clear_leftovers(plan(sweep, context.store), context.store)
    assert set(foreign.parent.iterdir()) == {foreign, unfinished.path}


def test_killed_while_it_publishes_a_group_goes_on_from_its_checkpoint(sweep, context, monkeypatch):
    (group, *_) = plan(sweep, context.store).groups
    put, puts = Store._put, iter([True])

    def put_one(self, path, record, temporary):
        if next(puts, None) is None:
            raise KeyboardInterrupt
        put(self, path, record, temporary)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "_put", put_one)
        run(sweep, context)
    ((_, first),) = context.store.records()
    again, *_ = plan(sweep, context.store).groups
    assert again == group
    step, steps = Trainer.train_step, []
    monkeypatch.setattr(Trainer, "train_step", lambda self: steps.append(self.step) or step(self))
    records = run_group(again, context, lambda *_: None, StopToken())
    assert 0 not in steps and [record.seed for record in records] == list(group.seeds)
    assert without_time(records[0]) == without_time(first)
    assert len([path for path in context.store.root.rglob("seed-*") if "binary-tiny_vae_4" in str(path)]) == 2


@pytest.mark.parametrize("shard", [None, Shard(1, 1)])
def test_parts_that_were_stopped_go_on_as_they_were_whatever_of_the_group_is_recorded(
    tiny_data, context, tmp_path, shard
):
    """Ten seeds in the parts 012, 34, 567 and 89: of 012 there are records, of 34 and 567 checkpoints."""
    spec = load_spec(LONG.but(protocol={"epochs": 1}, seeds=10).write(tmp_path))
    (whole,) = plan(spec, context.store).groups
    recorded, *begun = (RunGroup(whole.runs[low:high]) for low, high in ((0, 3), (3, 5), (5, 8)))
    run_group(recorded, context, lambda *_: None, StopToken())
    for part in begun:
        with pytest.raises(Interrupted):
            run_group(part, context, lambda *_: None, StopAfter(2))
    checkpoint = begun[0].checkpoint(context.store)
    checkpoint.save(checkpoint.load())
    checkpoint.path.write_bytes(b"torn")  # the one before says which runs it is of

    def groups():
        planned = plan(spec, context.store)
        return [each.seeds for each in (shard.part_of(planned, context.store) if shard else planned).groups]

    assert groups() == [(5, 6, 7), (3, 4), (8, 9)]
    fewer = plan(spec, context.store, GroupLimit(replicas=2)).groups
    assert [each.seeds for each in fewer] == [(3, 4), (5,), (6, 7), (8, 9)]
    outcome = run(spec, context)
    assert sorted(record.seed for record in outcome.records) == list(range(3, 10)) and not outcome.failures
    assert not list(checkpoint.path.parent.glob("*.pt")) and not groups()


def test_a_second_process_cuts_what_the_first_has_not_begun_as_the_first_does(tiny_data, context, tmp_path):
    spec = load_spec(LONG.but(protocol={"epochs": 1}, seeds=10).write(tmp_path))
    (whole,) = plan(spec, context.store).groups
    for low, high in ((3, 5), (5, 8)):
        with pytest.raises(Interrupted):
            run_group(RunGroup(whole.runs[low:high]), context, lambda *_: None, StopAfter(2))
    found = plan(spec, context.store).groups
    assert sorted(each.seeds for each in found) == [(0, 1, 2), (3, 4), (5, 6, 7), (8, 9)]


def test_what_a_process_works_on_is_begun_though_it_has_no_checkpoint_yet(tiny_data, context, tmp_path):
    spec = load_spec(LONG.but(protocol={"epochs": 1}, seeds=10).write(tmp_path))
    (whole,) = plan(spec, context.store).groups
    run_group(RunGroup(whole.runs[:3]), context, lambda *_: None, StopToken())
    lease = lease_of(RunGroup(whole.runs[5:8]), context.store)
    lease.note = {"label": "x", "phase": "", "fraction": 0.0}
    lease.take()
    with lease.kept():
        assert [each.seeds for each in plan(spec, context.store).groups] == [(5, 6, 7), (3, 4), (8, 9)]
    assert [each.seeds for each in plan(spec, context.store).groups] == [tuple(range(3, 10))]


def test_of_two_checkpoints_with_a_run_in_common_that_which_is_further_goes_on(tiny_data, context, tmp_path):
    spec = load_spec(LONG.but(protocol={"epochs": 2}, seeds=4).write(tmp_path))
    (whole,) = plan(spec, context.store).groups
    for part, steps in ((whole, 1), (RunGroup(whole.runs[:2]), 5)):
        with pytest.raises(Interrupted):
            run_group(part, context, lambda *_: None, StopAfter(steps))
    assert [each.seeds for each in plan(spec, context.store).groups] == [(0, 1), (2, 3)]


def test_what_is_left_is_divided_as_the_whole_was(tiny_data, context, tmp_path):
    spec = load_spec(LONG.but(protocol={"epochs": 1}, seeds=10).write(tmp_path))
    before = plan(spec, context.store)
    run_group(RunGroup(before.groups[0].runs[:8]), context, lambda *_: None, StopToken())
    after = plan(spec, context.store)
    assert len(after.groups[0].runs) == 2 and after.work == before.work > 0
    assert Shard(1, 1).part_of(after, context.store).work == before.work


def test_seeds_that_are_added_train_together(tiny_data, context, tmp_path):
    spec = load_spec(LONG.but(protocol={"epochs": 1}, seeds=10).write(tmp_path))
    (whole,) = plan(spec, context.store).groups
    run_group(RunGroup(whole.runs[:3]), context, lambda *_: None, StopToken())
    assert [each.seeds for each in plan(spec, context.store).groups] == [tuple(range(3, 10))]


def test_runs_that_another_grouping_has_recorded_are_left_out(sweep, context, monkeypatch):
    planned = plan(sweep, context.store)
    (group, *_) = planned.groups
    run_group(RunGroup(group.runs[1:]), context, lambda *_: None, StopToken())
    ran = []
    monkeypatch.setattr(runner, "run_group", lambda group, *words: ran.append(group) or run_group(group, *words))
    outcome = run_plan(Plan(planned.cells, (group,)), context, QuietProgress(lambda: 1.0), StopToken())
    assert [each.runs for each in ran] == [group.runs[:1]]
    assert sorted(record.seed for record in outcome.records) == [0, 1]


def test_a_group_that_was_killed_after_it_had_published_leaves_nothing_to_who_waited(sweep, context):
    planned = plan(sweep, context.store)
    run(sweep, context)
    (group, *_) = planned.groups
    Checkpoint(group.checkpoint_path(context.store), group.identity).save({})
    run_plan(Plan(planned.cells, (group,)), context, QuietProgress(lambda: 1.0), StopToken())
    assert not list(group.checkpoint_path(context.store).parent.iterdir())


@pytest.mark.parametrize("part", ["trainer", "scores", "started_at", "evaluation_seconds"])
@pytest.mark.parametrize("value", [None, {}, {"step": "x"}, [1], "x"])
def test_a_checkpoint_of_another_form_is_set_aside_with_a_sentence(sweep, context, part, value):
    (group, *_) = plan(sweep, context.store).groups
    with pytest.raises(Interrupted):
        run_group(group, context, lambda *_: None, StopAfter(4))
    checkpoint = Checkpoint(group.checkpoint_path(context.store), group.identity)
    whole = checkpoint.load()
    checkpoint.remove()
    checkpoint.save({**whole, part: value})
    outcome = run_plan(Plan((), (group,)), context, QuietProgress(lambda: 1.0), StopToken())
    if outcome.failures:
        ((_, error),) = outcome.failures
        assert "was set aside; give the same command again" in str(error)
        assert list(checkpoint.path.parent.glob("*.unusable-*"))
        outcome = run_plan(Plan((), (group,)), context, QuietProgress(lambda: 1.0), StopToken())
    else:
        assert part == "scores" and not value  # there was none yet
    assert len(outcome.records) == 2
