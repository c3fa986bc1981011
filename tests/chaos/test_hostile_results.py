"""The verbs that read a results folder in which one file is hostile: the others' report all the same, or a sentence."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tests.support.hostile import as_json, damaged, examples, mutated, tried
from tests.support.records import QUALITY, made_up_record, publish
from tests.support.searches import made_up_winner
from vdae_bench.cli import main as cli
from vdae_bench.search.propose import propose
from vdae_bench.search.studies import studies_of
from vdae_bench.search.winner import write_winner
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.evidence import Evidence, Numbers, write_evidence
from vdae_bench.store.records import Record, Store
from vdae_bench.system.strict_json import SEAL

SPEC = """\
version: 1
name: table2
grid: {dataset: [binary-mnist], method: [vae, lvdae], latents: [16, 32]}
include: [{dataset: binary-mnist, method: independent-pixels, latents: 0}]
protocol: quick
hyperparameters: {hidden_size: 16}
search:
  method: random
  trials: 10
  parameters:
    learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
    schedule: {values: [linear, none]}
seeds: 2
"""
VAE, LVDAE = Cell("binary-mnist", "vae", 16), Cell("binary-mnist", "lvdae", 16)
WIDE = Cell("binary-mnist", "lvdae", 32)
LEVELS = [Cell("continuous-mnist", "vdae-resnet", 784, (("log_sigma", level),)) for level in (-3.0, -2.0, -1.0)]
NICE = Cell("continuous-mnist", "nice", 784)


def samples(store: Store, sweep: str, record: Record) -> None:
    """Evidence of a run's samples."""
    cell, pixels = record.cell, np.full(784, 10, np.uint8)
    names = {"data": (20,), "means": (12,), "drawn": (8,), "interpolations": (1, 8), "reconstructions": (2, 4)}
    arrays = {name: np.tile(pixels, (*shape, 1)) for name, shape in names.items()}
    if cell.method == "lvdae":
        arrays["correlation"] = np.eye(cell.latents, dtype=np.int8) * 127
    level = cell.options.get("log_sigma")
    numbers = Numbers(
        run_digest=record.run_digest,
        quality={"means": QUALITY, "drawn": QUALITY},
        scales={} if level is None else {"log_sigma": float(str(level))},
        latents=cell.latents,
        active_units=12,
        mean_absolute_correlation=0.1 if cell.method == "lvdae" else None,
        image_shape=(28, 28),
        seconds=0.1,
    )
    write_evidence(store.path(sweep, "quick", slug_of(record), record.seed), Evidence(numbers, arrays))


def slug_of(record: Record) -> str:
    cell = record.cell
    return Cell(cell.dataset, cell.method, cell.latents, tuple(cell.options.items())).slug


class RecordPlace(NamedTuple):
    """A folder that holds `results` and `table2.yaml`, and what is in the former."""

    folder: Path
    files: dict[Path, bytes]

    def like(self, kind: str) -> list[Path]:
        """The JSON files with this in their name or that of their folder."""
        there = sorted(path for path in self.files if path.suffix == ".json")
        return [path for path in there if kind in (path.parent.name, path.name[:4])]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Records of two sweeps, the evidence of their samples, and the winner of a search."""
    folder = tmp_path_factory.mktemp("results")
    store = Store(folder / "results")
    (folder / "table2.yaml").write_text(SPEC)
    study = next(each for each in studies_of(load_spec(folder / "table2.yaml")) if each.cell == LVDAE)
    winner = made_up_winner(study, propose(study, [], 0, 10), [None, *np.linspace(99, 90, 9).tolist()])
    write_winner(study.path(store), winner)
    searched = {"source": winner.source, **winner.chosen}
    table2 = [made_up_record(VAE, seed) for seed in (0, 1)] + [made_up_record(WIDE, 0, flags=("a flag",))]
    table2 += [made_up_record(LVDAE, seed, diverged=seed == 2, hyperparameters=searched) for seed in (0, 1, 2)]
    table2.append(made_up_record(Cell("binary-mnist", "independent-pixels", 0), 0, trained=False, exact=True))
    figure4 = [made_up_record(cell, seed) for cell in LEVELS for seed in (0, 1)]
    figure4.append(made_up_record(NICE, 0, exact=True))
    for sweep, records in (("table2", table2), ("figure4", figure4)):
        for record in records:
            publish(store, sweep, "quick", slug_of(record), [record])
            if record.metrics.test and record.curve.epoch:
                samples(store, sweep, record)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield RecordPlace(folder, contents(Path("results")))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


VERBS = {
    "claims": ["claims", "--protocol", "quick"],
    "claims, checked": ["claims", "--check"],
    "explain": ["explain", "binary-mnist_lvdae_16", "--spec", "table2.yaml"],
    "explain a level": ["explain", "figure4/quick/continuous-mnist_vdae-resnet_784_log_sigma--2"],
    "status": ["status", "table2.yaml"],
    "plan": ["plan", "table2.yaml"],
    "plan a search": ["plan", "table2.yaml", "--search", "--format", "json"],
    "compare": ["compare", "results", "results"],
    "tables": ["report", "--format", "csv,latex"],
    "tables, checked": ["report", "--check", "--format", "csv,latex"],
    "pages": ["report", "--format", "md"],
    "web page": ["report", "--format", "html", "--sweep", "table2"],
    "figures": ["report", "--format", "md"],
}
"""`figures` draws them; the others make them and spare the drawing, which is most of the time."""


def run(words: list[str], capsys: pytest.CaptureFixture[str], drawn: bool) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vdae-bench", *words])
        if not drawn:
            patch.setattr(Figure, "savefig", lambda self, buffer, **_: buffer.write(b"<svg></svg>"))
        with pytest.raises(SystemExit) as ended:
            cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def hostile_content(valid: bytes) -> st.SearchStrategy[bytes]:
    before = {name: value for name, value in json.loads(valid).items() if name != SEAL}  # else it notices every change
    texts = mutated(before).map(as_json).map(str.encode)
    return st.one_of(texts, texts, texts, twice(valid), damaged(valid))


def twice(valid: bytes) -> st.SearchStrategy[bytes]:
    """One of the outermost keys once more, with a value of another type."""
    keys = st.sampled_from(sorted(json.loads(valid)))
    return keys.map(lambda key: valid.rstrip()[:-1] + b", " + json.dumps(key).encode() + b": [[0]]}")


@examples("results")
@given(data=st.data())
def test_results(place, capsys, data):
    tried["results"] += 1
    kind = data.draw(st.sampled_from(["seed", "samples", "search"]))
    path = data.draw(st.sampled_from(place.like(kind)))
    content = data.draw(hostile_content(place.files[path]))
    verb = data.draw(st.sampled_from(list(VERBS)[: None if rarely(data) else -1]))
    path.write_bytes(content)
    try:
        code, out, err = run(VERBS[verb], capsys, verb == "figures")
        said = f"{verb}: {code}, {err or out[-300:]}"
        assert "Traceback" not in err and "bug in vdae-bench" not in err, said
        assert code in ((0, 1) if "check" in verb else (0, 2) if verb.startswith(("plan", "explain")) else (0,)), said
        assert code == 0 or any(line.startswith("vdae-bench: ") for line in err.splitlines()), said
        assert contents(Path("results")) == {**place.files, path: content}, said
        assert not list(Path().rglob("*.tmp-*")), said
        assert Path("reports").exists() == (VERBS[verb][0] == "report" and "check" not in verb), said
    finally:
        path.write_bytes(place.files[path])
        shutil.rmtree("reports", ignore_errors=True)


def rarely(data: st.DataObject) -> bool:
    return data.draw(st.integers(0, 4)) == 4


logging.getLogger("vdae_bench").setLevel(logging.ERROR)
