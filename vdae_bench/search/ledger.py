"""A study in Optuna's storage (asked and told trials): a journal file by default, any Optuna URL on request.

Each trial carries its number (0 .. trials - 1) as the attribute `number`; Optuna's own counts interrupted ones too. One
process at a time works on a results folder's studies, so that a trial found running was left behind by a kill: it is
told FAIL, and its parameters are asked again under the same number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
from optuna.trial import FrozenTrial, TrialState

from vdae_bench.errors import EnvironmentFault, UserError, VdaeBenchError
from vdae_bench.running.options import STORAGE_VARIABLE
from vdae_bench.search.space import distributions, quiet_optuna
from vdae_bench.search.studies import Study
from vdae_bench.search.winner import Trial, best_of
from vdae_bench.system import atomic
from vdae_bench.system.lease import SECONDS_TO_DEATH, Held, Lease
from vdae_bench.system.redact import GONE, redacted, redacted_address, without
from vdae_bench.system.words import first_line

JOURNAL = "optuna.journal"
LARGEST_JOURNAL = 2**32
JOURNAL_LOCK_SECONDS = 1.0
"""An append to the journal takes milliseconds: a lock older than this was left behind by a kill."""


@contextmanager
def only_search_in(folder: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold the lease of a folder's searches while the block runs; `say` takes a line where that has to be waited for.

    Raises:
        EnvironmentFault: another one is.
    """
    lease, said = Lease(folder / "search.lease"), False
    while True:
        try:
            lease.take()
            break
        except Held as held:
            if held.lives:
                raise EnvironmentFault(
                    f"another search works in {folder} ({held}); wait until it ends, or give another --results"
                ) from None
            if not said:
                say(f"another search may work in {folder} ({held}): waiting {SECONDS_TO_DEATH:.0f} s to be sure")
                said = True
            time.sleep(1)  # on another machine: its next beat tells, or that there is none
    with lease.kept():
        yield


def repair_journal(journal: Path) -> None:
    """Make a journal whole that a kill left torn; nobody else may be writing.

    Optuna reads past a torn last line but glues the next one to it, after which nothing reads: the last line is cut off
    unless it is whole. A lock that a kill left behind is removed (Optuna would wait half a minute for it).
    """
    lock = journal.with_name(f"{journal.name}.lock")
    try:
        if time.time() - lock.lstat().st_mtime < JOURNAL_LOCK_SECONDS:
            time.sleep(JOURNAL_LOCK_SECONDS)
        lock.unlink()
    except FileNotFoundError:
        pass
    _cut_torn_end(journal)


def _cut_torn_end(journal: Path) -> None:
    content = atomic.read(journal, LARGEST_JOURNAL) or b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole:
        last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
        try:
            json.loads(last)
        except ValueError:
            whole = whole[: -len(last)]
    if len(whole) < len(content):
        with journal.open("r+b") as file:
            file.truncate(len(whole))


class _Lock(JournalFileSymlinkLock):
    def release(self) -> None:
        with suppress(RuntimeError):  # of a process that was stopped for long, the next search removed it
            super().release()


class _Journal(JournalFileBackend):
    """Optuna's journal file. What a write left in part, on a full disk say, is cut off before anybody writes on.

    Optuna itself glues the next line to it, perhaps of another study, after which nothing reads the file.
    """

    def __init__(self, journal: Path) -> None:
        # of a link with a relative target Optuna cannot tell the age, and would wait for ever for who left it
        super().__init__(str(journal), _Lock(str(journal.absolute())))
        self._journal, self._torn = journal, False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write log entries, all or none.

        Raises:
            EnvironmentFault: they cannot be written.
        """
        try:
            self._mend()
            super().append_logs(logs)
        except OSError as error:
            self._torn = True
            with suppress(OSError, EnvironmentFault):  # else before the next write
                self._mend()
            raise atomic.fault(self._journal, error) from error

    def _mend(self) -> None:
        if self._torn:
            with get_lock_file(self._lock):
                _cut_torn_end(self._journal)
            self._torn = False


TRIES_TO_OPEN = 5
SECONDS_BETWEEN_TRIES = 0.5


def _database(url: str) -> BaseStorage:
    """A database, whose tables another process may be making at this moment: Optuna looks for them before it does."""
    from sqlalchemy.exc import DBAPIError, IntegrityError

    for _ in range(TRIES_TO_OPEN - 1):
        try:
            return optuna.storages.get_storage(url)
        except DBAPIError as error:
            if not (isinstance(error, IntegrityError) or "already exists" in str(error.orig)):
                raise
        time.sleep(SECONDS_BETWEEN_TRIES)
    return optuna.storages.get_storage(url)


def open_storage(folder: Path, url: str | None) -> BaseStorage:
    """The storage at an Optuna URL, or the journal in a folder.

    Raises:
        UserError: there is no such storage, or the journal is damaged beyond its last line.
    """
    with quiet_optuna():
        if url is None:
            journal = folder / JOURNAL
            try:
                repair_journal(journal)
                return optuna.storages.JournalStorage(_Journal(journal))
            except (OSError, VdaeBenchError):
                raise
            except Exception as error:  # of what is no journal; on hostile files Optuna fails in any way
                raise _damaged(journal, error, "delete it") from None
        if GONE in url:
            raise UserError(
                f"--storage has {GONE} where its password was, which no record keeps: give the whole address as "
                f"{STORAGE_VARIABLE}, or one without a password beside PGPASSFILE"
            )
        try:
            return _database(url)
        except Exception as error:  # SQLAlchemy's and drivers' own, of any kind
            reason = without(f"{error}", url).partition("\n")[0]  # a password may have an end of line
            raise UserError(f"cannot open the storage {redacted_address(url)}: {reason}") from None


def _damaged(what: object, error: Exception, otherwise: str) -> UserError:
    """Error that names a storage whose content makes no sense, with a remedy."""
    reason = redacted(f"{type(error).__name__}: {error}".splitlines()[0])
    return UserError(f"{what} is damaged ({reason}); take it from a backup, or {otherwise}: frozen winners are kept")


@contextmanager
def answering(study: Study, storage: BaseStorage) -> Iterator[None]:
    """Run a block that uses a study's storage, of a database that may stop to answer at any time.

    Raises:
        EnvironmentFault: it does not answer, or cannot be written. Nothing is wrong with what it holds.
    """
    try:
        yield
    except Exception as error:
        module = type(error).__module__.partition(".")[0]
        if isinstance(storage, JournalStorage) or module not in ("sqlalchemy", "optuna"):
            raise
        reason = redacted(first_line(error.__cause__ or error))
        raise EnvironmentFault(
            f"the storage of study {study.name} does not answer ({reason}); its trials are kept: "
            "give the same command again when it answers"
        ) from error


@contextmanager
def making_sense(study: Study, storage: BaseStorage) -> Iterator[None]:
    """Run a block that reads a study's storage, which a person may have changed.

    Raises:
        UserError: its content makes no sense.
        EnvironmentFault: it does not answer.
    """
    try:
        with answering(study, storage):
            yield
    except (OSError, VdaeBenchError):
        raise
    except Exception as error:  # Optuna fails in any way
        otherwise = "delete it" if isinstance(storage, JournalStorage) else "give another --storage"
        raise _damaged(f"the storage of study {study.name}", error, otherwise) from None


class Ledger:
    """One study in Optuna's storage: asks, tells and reads its trials."""

    def __init__(self, study: Study, storage: BaseStorage) -> None:

        self._space = distributions(study.space)
        self._of, self._storage = study, storage
        self._begun: dict[int, int] = {}
        """Optuna's id of the entry of each trial that this process began, by the trial's number."""
        with quiet_optuna():
            self._study = optuna.create_study(
                storage=storage, study_name=study.name, direction="minimize", load_if_exists=True
            )
        if not self._study.user_attrs:
            self._study.set_user_attr("cell", study.cell.slug)
            self._study.set_user_attr("spec_digest", study.spec_digest)

    def _trials(self) -> list[FrozenTrial]:
        """All trials that have a number; a person may have added others in a dashboard."""
        trials = self._study.get_trials(deepcopy=False)
        return [each for each in trials if isinstance(each.user_attrs.get("number"), int)]

    def release_stale(self) -> None:
        """Tell FAIL for what a kill left running, and ask it again."""
        for each in self._trials():
            if each.state == TrialState.RUNNING:
                self._release(each)

    def _release(self, trial: FrozenTrial) -> None:
        self._attribute(trial, "stale", True)
        self._study.tell(trial.number, state=TrialState.FAIL)

    def _attribute(self, trial: FrozenTrial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(trial._trial_id, name, value)

    def asked(self) -> dict[int, dict[str, Any]]:
        """Parameters by number, of all trials that were ever asked."""
        found: dict[int, dict[str, Any]] = {}
        for each in self._trials():
            found.setdefault(each.user_attrs["number"], dict(each.params))
        return found

    def ended(self) -> dict[int, Trial]:
        """The trials that were told, by number; a stale one was not."""
        states: dict[TrialState, Literal["complete", "pruned", "diverged"]] = {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "diverged",
        }
        found: dict[int, Trial] = {}
        for each in self._trials():
            attributes, state = each.user_attrs, states.get(each.state)
            if state == "diverged" and ("stale" in attributes or "diverged_at" not in attributes):
                continue
            if state:
                number = attributes["number"]
                trial = Trial(
                    number=number,
                    state=state,
                    parameters={name: each.params[name] for name in self._space},
                    value=each.value,
                    epochs=attributes["epochs"],
                    seconds=attributes["seconds"],
                    seed=attributes["seed"],
                    curve=sorted(each.intermediate_values.items()),
                    diverged_at=attributes.get("diverged_at"),
                )
                found.setdefault(number, trial)
        return found

    def begin(self, members: Mapping[int, dict[str, Any]]) -> None:
        """Enter trials as running, in their order: each at once, with all it has."""
        for number, parameters in members.items():
            entry = optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=parameters,
                distributions=self._space,
                user_attrs={"number": number, "seed": self._of.trial_seed(number)},
            )
            self._begun[number] = self._storage.create_new_trial(self._study._study_id, entry)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Tell how trials that were begun here ended, in their order; each is told once, whoever else works on it.

        Another search may: of another results folder on one storage, or of a process that took this one for dead, as it
        was stopped for long. It has called the entries of this one stale, and perhaps told the same trials itself.
        """
        ended = self.ended()
        for trial in trials:
            entry = self._storage.get_trial(self._begun[trial.number])
            if trial.number in ended:
                if entry.state == TrialState.RUNNING:
                    self._release(entry)
                continue
            if entry.state != TrialState.RUNNING:
                self.begin({trial.number: trial.parameters})
                entry = self._storage.get_trial(self._begun[trial.number])
            for epoch, value in trial.curve:
                self._storage.set_trial_intermediate_value(entry._trial_id, epoch, value)
            self._attribute(entry, "epochs", trial.epochs)
            self._attribute(entry, "seconds", trial.seconds)
            if trial.state == "diverged":
                self._attribute(entry, "diverged_at", trial.diverged_at)
                self._study.tell(entry.number, state=TrialState.FAIL)
            elif trial.state == "pruned":
                self._study.tell(entry.number, state=TrialState.PRUNED)
            else:
                self._study.tell(entry.number, trial.value)

    def restore(self, trials: Sequence[Trial]) -> None:
        """Enter trials of a frozen winner into an empty study: its storage was deleted, or is elsewhere."""
        if not self._trials():
            self.begin({trial.number: trial.parameters for trial in trials})
            self.tell(trials)

    def best(self) -> Trial | None:
        """Best complete trial so far; None without one."""
        return best_of(list(self.ended().values()))
