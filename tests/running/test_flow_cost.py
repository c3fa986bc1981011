"""Flows are priced and weighed as every method is, alone and as an encoder, on logits too."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.models import SMALL
from vdae_bench.models.flows import FLOWS
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import get_method
from vdae_bench.running import cost
from vdae_bench.running.cost import price, train_bytes
from vdae_bench.running.job import Job
from vdae_bench.spec.hyperparameters import hyperparameters_of
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.sweep import Cell

CELLS = [
    *((flow, {"space": "logit"}) for flow in FLOWS),
    *(("lvdae-nice", {"flow": flow}) for flow in FLOWS if flow != "nice"),
    ("vdae-coupled", {"flow": "glow", "space": "logit"}),
    ("conditioned", {}),
]


def test_cells_and_trials_of_one_size_are_counted_once(monkeypatch):
    counted: list[Job] = []
    monkeypatch.setattr(cost, "_prices", {})
    monkeypatch.setattr(cost, "_count", lambda job: counted.append(job) or len(counted))
    protocol, prices = load_protocol("smoke"), []
    for sigma, rate, width in ((-3.0, 1e-3, 8), (-2.5, 1e-3, 8), (-3.0, 1e-4, 8), (-3.0, 1e-3, 9)):
        cell = Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", sigma),))
        values = {"learning_rate": rate, "hidden_size": width}
        prices.append(price(Job("x", cell, protocol, values)))
    assert prices == [1, 1, 1, 2]


@pytest.mark.parametrize(("method", "options"), CELLS, ids=str)
def test_a_cell_with_a_flow_has_a_price_and_a_weight(tiny_data, monkeypatch, method, options):
    own = defaults(hyperparameters_of(get_method(method), options).values())
    own |= {name: value for name, value in SMALL.items() if name in own}
    latents = 4 if method == "conditioned" else 36
    cell = Cell("continuous-tiny", method, latents, tuple(sorted(options.items())))
    job = Job("flows", cell, load_protocol("smoke"), own)
    priced = price(job)
    assert priced.train_flops > 0 and priced.evaluation_flops > 0
    assert train_bytes(job) > 5 * 4 * priced.parameters
    weighed = train_bytes(job)
    monkeypatch.setattr(cost, "LARGE", 0)
    monkeypatch.setattr(cost, "_counts", {})
    assert train_bytes(job) == weighed


def test_searches_beside_each_other_count_the_cost_of_flows(tiny_data, monkeypatch):
    """Their threads do, and torch has one level of forward-mode derivatives for all of them."""
    monkeypatch.setattr(cost, "_prices", {})
    monkeypatch.setattr(cost, "_counts", {})
    own = {"learning_rate": 1e-3, "schedule": "none", "adam_beta2": 0.9, "adam_eps": 1e-8, **SMALL}
    cells = [Cell("continuous-tiny", "lvdae-nice", 36, (("flow", flow),)) for flow in ("i-resnet", "ffjord")]
    jobs = []
    for cell in cells:
        names = hyperparameters_of(get_method(cell.method), dict(cell.options)).values()
        known = defaults(names)
        sizes = known | {name: value for name, value in own.items() if name in known}
        jobs += [Job("flows", cell, load_protocol("smoke"), {**sizes, "learning_rate": 1e-3})] * 2
    together = threading.Barrier(len(jobs), timeout=60)

    def count(job: Job) -> tuple[int, int]:
        together.wait()
        return train_bytes(job), price(job).train_flops

    with ThreadPoolExecutor(len(jobs)) as threads:
        counted = list(threads.map(count, jobs))
    assert counted[::2] == counted[1::2] and min(counted[0] + counted[2]) > 0


def test_a_model_that_no_machine_holds_is_weighed_without_being_built():
    sizes = {"hidden_size": 65536, "residual_blocks": 64}
    job = Job("large", Cell("binary-mnist", "lvdae", 16), load_protocol("smoke"), sizes)
    assert train_bytes(job) > 2**44


def test_the_price_of_ffjord_counts_the_steps_of_training_and_of_evaluation(tiny_data):
    sizes = {"learning_rate": 1e-3, "schedule": "none", "adam_beta2": 0.9, "adam_eps": 1e-8, "flow_hidden_size": 5}
    cell, protocol = Cell("continuous-tiny", "ffjord", 36), load_protocol("smoke")
    one, eight = (price(Job("flows", cell, protocol, {**sizes, "ode_steps": steps})) for steps in (1, 8))
    assert one.evaluation_flops == eight.evaluation_flops
    assert 6 < eight.train_flops / one.train_flops <= 8
