"""The search: batch after batch is asked, trained and told until a study has its trials, then its winner is frozen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from optuna.storages import BaseStorage
from pydantic import TypeAdapter

from vdae_bench.running.context import RunContext
from vdae_bench.running.pools import WorkerPool
from vdae_bench.running.progress import Progress, scores_text
from vdae_bench.running.schedule import shared_out
from vdae_bench.running.stop import StopToken
from vdae_bench.search.ledger import Ledger, answering, making_sense
from vdae_bench.search.propose import Pruner, propose
from vdae_bench.search.space import parameters_text
from vdae_bench.search.studies import Study
from vdae_bench.search.trials import BatchDisplay, groups_of, train
from vdae_bench.search.winner import Trial, Winner, freeze, own_winner, trials_frozen, write_winner
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.records import Store, keep_aside
from vdae_bench.system import atomic, strict_json
from vdae_bench.system.words import counted, duration

_TRIALS = TypeAdapter(list[Trial])


@dataclass(frozen=True)
class SearchResult:
    """Winner and history of one finished search."""

    winner: Winner
    cell: Cell
    trials: int
    """Number of trials that this call trained."""
    seconds: float
    """Seconds of this call, asking and telling included."""

    def as_text(self) -> str:
        """Result of the search in lines for the terminal."""
        winner = self.winner
        best = scores_text([(self.cell, winner.value)])
        line = (
            f"{winner.cell}{f' ({winner.label})' if winner.label else ''}: trial {winner.winner} of "
            f"{len(winner.trials)} is best, {best}: {parameters_text(winner.chosen)}"
        )
        if not self.trials:
            return line
        rate = f"{counted(round(3600 * self.trials / self.seconds), 'trial')} an hour"
        return f"{line}\n  {counted(self.trials, 'trial')} in {duration(self.seconds)}, {rate}"


def work_of(study: Study, store: Store) -> float:
    """FLOPs that a study has yet to train, for the progress display."""
    return float(max(0, study.trials - trials_frozen(study, store)) * study.train_flops)


def run_study(
    study: Study,
    context: RunContext,
    storage: Callable[[], BaseStorage],
    progress: Progress,
    stop: StopToken,
    pool: WorkerPool | None = None,
) -> SearchResult:
    """Bring a study to its number of trials and freeze its winner; nothing runs where that is done.

    Raises `Interrupted` after a checkpoint when `stop` says so: the study goes on from there.
    """
    started = time.monotonic()
    path = study.path(context.store)
    there = own_winner(study, context.store)
    if there and len(there.trials) >= study.trials:
        for batch in range(-(-study.trials // study.batch)):
            _Results(study, batch, context).remove()  # of a search that another one overtook
        return SearchResult(there, study.cell, 0, 0.0)
    opened, trained = storage(), 0
    ledger = _open(study, opened, there)
    with answering(study, opened):
        for batch in range(-(-study.trials // study.batch)):
            trained += _run_batch(study, batch, ledger, context, progress, stop, pool)
        ended = ledger.ended()
    winner = own_winner(study, context.store)  # of a process that took this one for dead, say
    if winner is None or len(winner.trials) < study.trials:
        winner = freeze(study, [ended[number] for number in range(study.trials)])
        write_winner(path, winner)
    return SearchResult(winner, study.cell, trained, time.monotonic() - started)


def _open(study: Study, storage: BaseStorage, there: Winner | None) -> Ledger:
    """The study's ledger, read once: what was told makes sense.

    Raises:
        UserError: it does not.
        EnvironmentFault: the storage does not answer.
    """
    with making_sense(study, storage):
        ledger = Ledger(study, storage)
        if there:
            ledger.restore(there.trials)
        ledger.release_stale()
        known = {**ledger.asked(), **{number: trial.parameters for number, trial in ledger.ended().items()}}
        wrong = [number for number, parameters in known.items() if not study.has(parameters)]
        if wrong:
            raise ValueError(f"parameters of trial {wrong[0]} are not in its space")
    return ledger


def _run_batch(
    study: Study,
    batch: int,
    ledger: Ledger,
    context: RunContext,
    progress: Progress,
    stop: StopToken,
    pool: WorkerPool | None,
) -> int:
    """Ask, train and tell the trials of a batch that have not ended; return how many that were."""
    first = batch * study.batch
    numbers = range(first, min(first + study.batch, study.trials))
    ended = ledger.ended()
    missing = [number for number in numbers if number not in ended]
    results = _Results(study, batch, context)
    if not missing:
        results.remove()  # where a kill came after the last was told
        return 0
    known = results.read()
    told = [number for number in missing if number in known]
    history = [ended[number] for number in range(first)]
    parameters = ledger.asked()
    if any(number not in parameters for number in missing):
        parameters |= {
            first + position: each
            for position, each in enumerate(propose(study, history, batch, len(numbers)))
            if first + position not in parameters
        }
    if told:  # a kill came between training and telling
        ledger.begin({number: parameters[number] for number in told})
        ledger.tell([known[number] for number in told])
        results.remove()
        return len(told) + _run_batch(study, batch, ledger, context, progress, stop, pool)
    members = {number: parameters[number] for number in missing}
    ledger.begin(members)
    groups = shared_out(groups_of(study, members, Pruner(study, history), context.limit), context, pool)
    label = f"search {study.slug}, trials {missing[0]} to {missing[-1]}"
    display = BatchDisplay(groups, progress, label)
    progress.group_started(label, batch + 1, -(-study.trials // study.batch))
    trials = train(groups, context, display, stop, pool)
    results.write([trials[number] for number in missing])
    ledger.tell([trials[number] for number in missing])
    results.remove()
    progress.group_ended(label, _outcome(study.cell, list(trials.values()), ledger.best()), display.work)
    return len(missing)


def _outcome(cell: Cell, trials: list[Trial], best: Trial | None) -> str:
    lost = [
        f"{len(some)} {state}" for state in ("pruned", "diverged") if (some := [t for t in trials if t.state == state])
    ]
    told = f"best so far {scores_text([(cell, best.value)])} (trial {best.number})" if best else "none finite yet"
    return ", ".join([*lost, told])


class _Results:
    """The results of a trained batch, in a file from the end of training until the last of them is told.

    So a kill while telling trains nothing again and tells nothing twice.
    """

    def __init__(self, study: Study, batch: int, context: RunContext) -> None:
        self._folder = context.store.checkpoints(study.sweep, study.protocol.name)
        self._name = study.batch_name(batch)
        self._path = self._folder / f"{self._name}.json"

    def read(self) -> dict[int, Trial]:
        """The trials by number; none where there is no file, or one that is damaged, which is set aside."""
        try:
            content = atomic.read(self._path)
            if content is None:
                return {}
            results = strict_json.unsealed(content)
            trials = _TRIALS.validate_python(results.pop("trials"))
            if results:
                raise ValueError
        except (ValueError, KeyError):
            keep_aside(self._path, "unreadable")
            return {}
        return {trial.number: trial for trial in trials}

    def write(self, trials: list[Trial]) -> None:
        """Write the results of a trained batch."""
        content = strict_json.sealed({"trials": _TRIALS.dump_python(trials, mode="json")})
        atomic.write(self._path, json.dumps(content, allow_nan=False).encode())

    def remove(self) -> None:
        """Remove the batch's checkpoints, the leases that kills left, and then its results, once all are told."""
        left = [path for ending in ("pt", "lease") for path in self._folder.glob(f"{self._name}-*.{ending}")]
        for path in (*left, self._path):
            path.unlink(missing_ok=True)
