"""Made-up records, as the runner writes them, without training anything."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vdae_bench.data.registry import dims_of, parse_dataset_id
from vdae_bench.data.units import bits_per_dim
from vdae_bench.models.hyperparameters import defaults
from vdae_bench.models.registry import get_method, method_ids
from vdae_bench.spec.hyperparameters import OPTIMISER
from vdae_bench.spec.protocol import Protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Numbers, Quality
from vdae_bench.store.records import (
    RECORD_SCHEMA,
    Cost,
    Curve,
    Metrics,
    Record,
    RecordedCell,
    Store,
    TestMetrics,
    ValidationMetrics,
    to_content,
)
from vdae_bench.system.strict_json import digest

PROTOCOL = Protocol(
    name="quick",
    base="quick",
    description="the first evening",
    cannot_show=("the paper's numbers: 3 epochs instead of 1000, networks of half the width, no search",),
    epochs=3,
    batch_size=250,
    seeds=2,
    validation_images=2500,
    importance_samples=200,
    nll_images=500,
    elbo_images=10000,
    elbo_samples=1,
    initialisation="data",
    scalar_rate=10,
    hyperparameters={"hidden_size": 128, "coupling_hidden_size": 256},
)
"""A short protocol of the tests' own, whatever the shipped one of that name becomes."""

QUALITY = Quality(
    samples=2000,
    view="continuous",
    frechet=50.0,
    frechet_error=1.5,
    frechet_floor=5.0,
    frechet_floor_error=0.7,
    classifier_entropy=0.3,
    classifier_entropy_error=0.01,
    class_entropy=2.2,
    class_entropy_error=0.02,
    data_classifier_entropy=0.016,
    data_class_entropy=2.299,
    classifier_accuracy=0.9933,
    classifier="0" * 12,
)


def made_up_record(
    cell: Cell,
    seed: int = 0,
    protocol: Protocol | None = None,
    *,
    nll_nats: float = 90.0,
    gap_nats: float = 4.0,
    diverged: bool = False,
    trained: bool = True,
    exact: bool = False,
    flags: tuple[str, ...] = (),
    curve: list[float | None] | None = None,
    errors: list[float | None] | None = None,
    hyperparameters: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    test: dict[str, Any] | None = None,
) -> Record:
    """A record as the runner writes it: scores in nats as given, the rest made up by the seed."""
    protocol = protocol or PROTOCOL
    dims = dims_of(cell.dataset) or 784
    continuous = parse_dataset_id(cell.dataset)[0] == "continuous"
    elbo = None if exact else nll_nats + gap_nats
    points = protocol.epochs if trained else 0
    falling: list[float | None] = [nll_nats + gap_nats + 60 / epoch for epoch in range(1, points + 1)]
    validation = falling if curve is None else curve
    known = cell.method in method_ids()
    used = defaults((*OPTIMISER, *(get_method(cell.method).hyperparameters if known else ())))
    used |= {name: value for name, value in protocol.hyperparameters.items() if name in used}
    used |= {"source": "spec", **(hyperparameters or {})}
    metrics = {
        "neg_elbo_nats": elbo,
        "nll_nats": nll_nats,
        "neg_elbo_bits_per_dim": bits_per_dim(elbo, dims) if continuous and elbo is not None else None,
        "nll_bits_per_dim": bits_per_dim(nll_nats, dims) if continuous else None,
        "effective_sample_size": 1.0 if exact else 40.0 + seed,
        "nll_standard_error_nats": 0.0 if exact else 0.05,
        "nll_bias_nats": 0.0 if exact else 0.02,
        **(test or {}),
    }
    return Record(
        schema_=RECORD_SCHEMA,
        status="diverged" if diverged else "completed",
        cell=RecordedCell(**cell.as_record()),
        seed=seed,
        protocol=protocol.model_dump(mode="json"),
        hyperparameters=used,
        metrics=Metrics(
            test=None if diverged else TestMetrics.model_validate(metrics),
            validation=ValidationMetrics(neg_elbo_nats=validation[-1] or 0.0, best_epoch=points)
            if points and not diverged
            else None,
        ),
        curve=Curve(
            epoch=list(range(1, len(validation) + 1)),
            train_neg_elbo_nats=[value and value + 1 for value in validation],
            validation_neg_elbo_nats=validation,
            **({} if errors is None else {"validation_standard_error_nats": errors}),
        ),
        flags=[*flags, *(["diverged at step 7"] if diverged else [])],
        cost=Cost.model_validate(
            {
                "train_seconds": 30.0 + seed if trained else 0.0,
                "validation_seconds": 1.0,
                "evaluation_seconds": 4.0 + seed,
                "train_flops": 2_500_000_000_000 if trained else 0,
                "evaluation_flops": 300_000_000_000,
                "parameters": 1_000_000,
                "device": "cpu",
                "threads": 2,
                "replicas": 2,
                **(cost or {}),
            }
        ),
        provenance={
            "package_version": "0.1.0",
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "git_dirty": False,
            "torch": "2.11.0",
            "python": "3.11.9",
            "platform": "Linux x86_64, a processor",
            "dataset_sha256": digest(cell.dataset),
            "run_digest": digest([cell.slug, seed, protocol.content(), used]),
            "started_at": f"2025-01-02T03:04:{seed:02d}+00:00",
            "command": "vdae-bench reproduce table1 --protocol quick",
            **(provenance or {}),
        },
    )


def made_up_evidence(run_digest: str) -> Evidence:
    """Samples and reconstructions of a run that are noise."""
    random = np.random.default_rng(0)
    shapes = {"data": (20, 784), "means": (24, 784), "drawn": (16, 784), "reconstructions": (6, 4, 784)}
    arrays = {name: random.integers(0, 256, shape).astype(np.uint8) for name, shape in shapes.items()}
    return Evidence(Numbers(run_digest=run_digest, image_shape=(28, 28), seconds=1.0), arrays)


def small_record(seed: int, run_digest: str = "d" * 64) -> Record:
    """A made-up record of one VAE with a digest of the test's choice."""
    return made_up_record(Cell("binary-mnist", "vae", 16), seed, provenance={"run_digest": run_digest})


def publish(store: Store, sweep: str, protocol: str, slug: str, records: list[Record]) -> None:
    """Put records where the runner puts them, in the place of what a test put there before."""
    for record in records:
        path = store.path(sweep, protocol, slug, record.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one line, which takes a tenth of the time; `Store.publish` would read each twice too.
        path.write_text(json.dumps(to_content(record)))


def publish_table(store: Store, name: str = "table1", protocol: Protocol | None = None, seeds: int = 2) -> list[Record]:
    """Records of the rows of a table that sweeps/ has: scores near the paper's, different for each seed."""
    protocol = protocol or PROTOCOL
    dataset = "continuous-mnist" if name == "table1" else "binary-mnist"
    random = np.random.default_rng(3)
    first, step, spread = (-900.0, 40.0, 3.0) if name == "table1" else (100.0, 0.8, 0.5)
    cells = [Cell(dataset, method, m) for m in (16, 32, 64, 128) for method in ("vae", "lvdae")]
    published = []
    for place, cell in enumerate(cells):
        records = [
            made_up_record(cell, seed, protocol, nll_nats=first - step * place + spread * random.normal())
            for seed in range(seeds)
        ]
        publish(store, name, protocol.name, cell.slug, records)
        published += records
    if name == "table1":
        nice = Cell(dataset, "nice", 784)
        records = [
            made_up_record(nice, seed, protocol, nll_nats=200.0 + seed, exact=True, gap_nats=0.0)
            for seed in range(seeds)
        ]
        publish(store, name, protocol.name, nice.slug, records)
        published += records
    baseline = Cell(dataset, "independent-pixels", 0)
    nll = -967.0 if name == "table1" else 206.0
    record = made_up_record(
        baseline,
        0,
        protocol,
        nll_nats=nll,
        trained=False,
        exact=True,
        test={"redraw_standard_deviation_nats": 0.044},
    )
    publish(store, name, protocol.name, baseline.slug, [record])
    return [*published, record]
