"""Where the numbers come from: commands, commits, libraries, machine, data; and where runs differ in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from vdae_bench.report.numbers.runs import Run, grouped
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import bullets, code
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import counted


def _commit(run: Run) -> str:
    commit, dirty = run.record.provenance.get("git_commit"), run.record.provenance.get("git_dirty")
    if not commit:
        return "unknown (the code was in no commit)"
    return f"{commit} (dirty: the code was changed after that commit)" if dirty else str(commit)


PROPERTIES: dict[str, Callable[[Run], str]] = {
    "command": lambda run: run.command,
    "git commit": _commit,
    "vdae-bench": lambda run: run.origin("package_version"),
    "torch": lambda run: run.origin("torch"),
    "Python": lambda run: run.origin("python"),
    "platform": lambda run: run.origin("platform"),
    "device": lambda run: f"{run.record.cost.device}, {counted(run.record.cost.threads, 'thread')}",
}
MAY_DIFFER = ("command",)
"""Runs of one table may well come from several commands; anything else that differs is pointed out."""


def _text(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    counts = {name: Counter(map(value, runs)) for name, value in PROPERTIES.items()}
    mixed = [name for name, values in counts.items() if len(values) > 1 and name not in MAY_DIFFER]
    if mixed:
        yield f"**Mixed** among the runs: {', '.join(mixed)}."
    else:
        every = "the one run" if len(runs) == 1 else f"all {counted(len(runs), 'run')}"
        yield f"The same for {every}, but for the commands."
    dirty = sum(run.record.provenance.get("git_dirty") is True for run in runs)
    if dirty:
        verb = "is" if dirty == 1 else "are"
        yield f"**Dirty**: {dirty} of {counted(len(runs), 'run')} {verb} from code that was changed after its commit."
    for dataset, members in grouped(runs, lambda run: run.cell.dataset).items():
        counts[f"SHA-256 of {dataset}"] = Counter(run.origin("dataset_sha256") for run in members)
    yield bullets([_item(name, values) for name, values in counts.items()])


def _item(name: str, values: Counter[str]) -> str:
    if len(values) == 1:
        return f"{name}: {code(next(iter(values)))}"
    listed = [f"  - {code(value)} ({counted(count, 'run')})" for value, count in values.items()]
    return "\n".join([f"{name}:", *listed])


ORIGIN = Section("Provenance", lambda subject: subject.selection.runs, _text)
