"""`make chaos`: random SIGKILLs over short real sweeps and searches, then a comparison with undisturbed ones.

Each life is a process of its own, forked from one that has everything imported, so that hundreds fit into minutes.
A sweep is run by one or two processes at once; or by one with workers, in which it or one of them is killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import psutil
import torch

from tests.support.figures import keep
from vdae_bench.cli import main as cli
from vdae_bench.cli import run as commands
from vdae_bench.running import schedule, workbench
from vdae_bench.search.ledger import JOURNAL, open_storage
from vdae_bench.search.trials import search_images
from vdae_bench.store.provenance import code_state
from vdae_bench.store.records import Store

KILLS = {"sweep": 150, "search": 60, "workers": 50}
LIFE_SECONDS = {"sweep": 2.0, "search": 2.0, "workers": 12.0}
"""The longest that a process is let live: long enough to come further than the one before, most of the time."""
SEED = 0

SPEC = """\
version: 1
name: short
grid: {dataset: [binary-mnist], method: [vae, lvdae], latents: [4]}
include:
  - {dataset: continuous-mnist, method: nice, latents: 784}
  - {dataset: continuous-mnist, method: vdae-resnet, latents: 784}
protocol: {base: smoke, epochs: 20, batch_size: 100, train_images: 400, validation_images: 100, elbo_images: 200,
           nll_images: 50, importance_samples: 50}
hyperparameters: {hidden_size: 16, coupling_hidden_size: 16, coupling_layers: 1, decoder_hidden_size: 16,
                  learning_rate: 1e-3}
search:
  method: random
  trials: 6
  batch: 3
  cell: binary-mnist_lvdae_4
  parameters:
    learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
    hidden_size: {values: [8, 16]}
seeds: 2
"""


def command(what: str, results: Path) -> list[str]:
    """The words of a life."""
    more = {"sweep": ["--no-search"], "workers": ["--no-search", "--workers", "2"]}.get(what, [])
    words = ["-q", "--threads", "2" if what == "workers" else "1", "--checkpoint-every", "0.02s"]
    return ["search" if what == "search" else "sweep", "short.yaml", *words, "--results", str(results), *more]


def start(words: list[str]) -> int:
    """Run `vdae-bench` in a process of its own; its number."""
    number = os.fork()
    if number:
        return number
    with Path("said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.argv = ["vdae-bench", *words]
    # A worker that is started imports the main module first: that of a user's command, not this one with all it needs.
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("vdae_bench.__main__")
    try:
        cli.main()
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    os._exit(70)  # a traceback


def warm_up(what: str) -> None:
    """Import and count, once for all lives, what takes each longer to start than to work."""
    with Path("said.txt").open("w") as said, contextlib.redirect_stdout(said):
        cli.cli.main([*command(what, Path("none")), "--dry-run"], standalone_mode=False)


def kill_a_worker(number: int, chance: random.Random) -> bool:
    """Kill one of a process's workers, if it has any."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(number).children()
        workers = [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        if workers:
            chance.choice(workers).kill()
            return True
    return False


def end(number: int, seconds: float) -> int:
    """Let a process live so long, then kill it; -9 if that was its end, else its exit code."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def kill_until_done(what: str, results: Path, chance: random.Random, counts: Counter[str], kills: int) -> None:
    """Lives of random lengths until one of them comes to the end."""
    while True:
        together = chance.choice([1, 2]) if what == "sweep" else 1
        lives = [start(command(what, results)) for _ in range(together)]
        if what == "workers" and chance.random() < 0.5:
            time.sleep(chance.uniform(0, LIFE_SECONDS[what]))
            counts["workers killed"] += kill_a_worker(lives[0], chance)
        longest = LIFE_SECONDS[what] if counts["kills"] < kills else 600.0
        codes = [end(number, chance.uniform(0, longest)) for number in lives]
        counts["lives"] += len(codes)
        counts["kills"] += codes.count(-signal.SIGKILL)
        counts["lives with a sibling"] += together if together > 1 else 0
        counts["failures"] += sum(code not in (0, -signal.SIGKILL) for code in codes)
        if 0 in codes:
            end(start(command(what, results)), 600.0)  # once more: it finds all done, and clears what a kill left
            return


def records(results: Path) -> list[tuple[str, Any]]:
    """(place, numbers) of every record there is, those that were set aside too."""
    found = []
    for path in sorted(results.glob("*/*/*/*.json")):
        if path.name.startswith("seed-"):
            record = Store(results).read(path)
            place = str(path.relative_to(results)).partition(".superseded")[0].removesuffix(".json")
            if record is None:
                found.append((place, None))
                continue
            content = record.model_dump(exclude={"cost"})
            found.append((place, {**content, "provenance": record.run_digest}))
    return found


def trials(results: Path) -> list[tuple[str, Any]]:
    """(number, what came of it) of every trial of the frozen winners."""
    found = []
    for path in sorted(results.glob("*/*/search/*.json")):
        content = json.loads(path.read_text())
        found.append((path.name, (content["winner"], content["chosen"], content["value"])))
        found += [(f"{path.name}, {each['number']}", {**each, "seconds": 0}) for each in content["trials"]]
    return found


def told_twice(results: Path) -> int:
    """Trials that the journal has ended more than once."""
    twice = 0
    for journal in results.rglob(JOURNAL):
        storage = open_storage(journal.parent, None)
        for study in optuna.get_all_study_summaries(storage):
            told = Counter(
                each.user_attrs["number"]
                for each in optuna.load_study(study_name=study.study_name, storage=storage).trials
                if "stale" not in each.user_attrs
            )
            twice += sum(count - 1 for count in told.values())
    return twice


def compare(found: list[tuple[str, Any]], whole: list[tuple[str, Any]], counts: Counter[str]) -> None:
    """Count what is lost, doubled, or not the same."""
    there = Counter(place for place, _ in found)
    counts["expected"] += len(whole)
    counts["lost"] += sum(place not in there for place, _ in whole)
    counts["doubled"] += sum(count - 1 for count in there.values())
    expected = dict(whole)
    counts["different"] += sum(content != expected.get(place) for place, content in found)


def survived(what: str) -> bool:
    """Kill one kind of run until there were enough kills; whether nothing was lost or wrong."""
    started, chance, counts = datetime.now(UTC), random.Random(SEED), Counter[str]()
    read = trials if what == "search" else records
    end(start(command("search" if what == "search" else "sweep", Path("whole"))), 600)
    whole = read(Path("whole"))
    assert whole, Path("said.txt").read_text()
    while counts["kills"] < KILLS[what]:
        kill_until_done(what, Path("killed"), chance, counts, KILLS[what])
        compare(read(Path("killed")), whole, counts)
        if what == "search":
            counts["doubled"] += told_twice(Path("killed"))
        left = [path for path in Path("killed").rglob("*") if path.suffix in (".pt", ".lease") or ".tmp-" in path.name]
        counts["left over"] += len(left)
        counts["brought to the end"] += 1
        print(f"{what}: {dict(counts)}", flush=True)
        shutil.rmtree("killed")
    things = "trials and winners" if what == "search" else "records"
    faults = {
        f"{things} lost": counts["lost"],
        f"{things} doubled": counts["doubled"],
        f"{things} that differ from the undisturbed run's": counts["different"],
        "lives that ended in an error": counts["failures"],
        "checkpoints, leases or temporary files left over": counts["left over"],
    }
    os.chdir(ROOT)
    name = {"workers": "sweep with workers"}.get(what, what)
    keep(
        f"kills-{what}",
        f"Random SIGKILLs over a {name}",
        f"A short {name} on real MNIST, started again with the same command after each SIGKILL until it comes to its "
        f"end, then compared with an undisturbed one. A life lasts up to {LIFE_SECONDS[what]:g} s, at random."
        + (" Every other time, at random, two start at once on one results folder." if what == "sweep" else ""),
        {
            "kills survived": counts["kills"],
            "lives": counts["lives"],
            **({"of them two at once": counts["lives with a sibling"]} if what == "sweep" else {}),
            **({"workers killed beside them": counts["workers killed"]} if what == "workers" else {}),
            f"{'searches' if what == 'search' else 'sweeps'} brought to their end": counts["brought to the end"],
            f"{things} expected": counts["expected"],
        },
        faults,
        started,
        "python -m tests.chaos.kills",
    )
    return not sum(faults.values())


ROOT = Path.cwd()


def main() -> None:
    """The kinds that the command names, else all of them, each in a folder that is thrown away."""
    torch.set_num_threads(1)
    code_state()
    workbench.cached_images("mnist", None)
    search_images("mnist", None, "binary", torch.device("cpu"), 400)
    commands.report_sweep = lambda *_: None  # type: ignore[assignment]  # drawing takes longer than all the rest
    schedule.SECONDS_BETWEEN_QUESTIONS = 0.02
    right = True
    for what in sys.argv[1:] or KILLS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            Path("short.yaml").write_text(SPEC)
            warm_up(what)
            right &= survived(what)
    sys.exit(not right)


if __name__ == "__main__":
    main()
