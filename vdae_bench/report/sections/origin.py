"""Where the numbers come from: commands, commits, libraries, machine, data; and where runs differ in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vdae_bench.report.numbers.runs import Run, grouped
from vdae_bench.report.numbers.subject import Subject
from vdae_bench.report.style.markdown import bullets, code
from vdae_bench.report.style.section import Section
from vdae_bench.system.words import counted


def _commit(part: Mapping[str, Any]) -> str:
    commit = part.get("git_commit")
    if not commit:
        return "unknown (the code was in no commit)"
    return f"{commit} (dirty: the code was changed after that commit)" if part.get("git_dirty") else str(commit)


def _threads(number: Any) -> str:
    return counted(number, "thread") if isinstance(number, int) else "threads unknown"


def _of_parts(value: Callable[[Mapping[str, Any]], str]) -> Callable[[Run], str]:
    return lambda run: ", then ".join(dict.fromkeys(map(value, run.parts)))


PROPERTIES: dict[str, Callable[[Run], str]] = {
    "command": lambda run: run.command,
    "git commit": _of_parts(_commit),
    "vdae-bench": _of_parts(lambda part: str(part.get("package_version") or "unknown")),
    "torch": _of_parts(lambda part: str(part.get("torch") or "unknown")),
    "Python": _of_parts(lambda part: str(part.get("python") or "unknown")),
    "platform": _of_parts(lambda part: str(part.get("platform") or "unknown")),
    "device": _of_parts(lambda part: f"{part.get('device')}, {_threads(part.get('threads'))}"),
}
MAY_DIFFER = ("command",)
"""Runs of one table may well come from several commands; anything else that differs is pointed out."""


def _text(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    counts = {name: Counter(map(value, runs)) for name, value in PROPERTIES.items()}
    mixed = [name for name, values in counts.items() if len(values) > 1 and name not in MAY_DIFFER]
    total = counted(len(runs), "run")
    if mixed:
        yield f"The runs **differ** in: {', '.join(mixed)}."
    else:
        every = "the one run" if len(runs) == 1 else f"all {total}"
        yield f"All of this is the same for {every}, except the commands."
    dirty = sum(any(part.get("git_dirty") is True for part in run.parts) for run in runs)
    if dirty:
        verb = "is" if dirty == 1 else "are"
        yield f"**Dirty**: {dirty} of {total} {verb} from code that was changed after its commit."
    resumed = sum(len(run.parts) > 1 for run in runs)
    if resumed:
        yield (
            f"**In parts**: {resumed} of {total} continued after a stop with other code, threads or machine; "
            "their flags say at which step."
        )
    for dataset, members in grouped(runs, lambda run: run.cell.dataset).items():
        counts[f"SHA-256 of {dataset}"] = Counter(run.origin("dataset_sha256") for run in members)
    yield bullets([_item(name, values) for name, values in counts.items()])


def _item(name: str, values: Counter[str]) -> str:
    if len(values) == 1:
        return f"{name}: {code(next(iter(values)))}"
    listed = [f"  - {code(value)} ({counted(count, 'run')})" for value, count in values.items()]
    return "\n".join([f"{name}:", *listed])


ORIGIN = Section("Provenance", lambda subject: subject.selection.runs, _text)
