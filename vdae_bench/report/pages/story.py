"""`reports/README.md`: the long runs that are committed, beside the paper's numbers, what each cost, what is missing.

Drawn from records and from the specs of `EVIDENCE` and `EXPERIMENTS` alone; where none of the evidence's runs is there,
there is no such page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vdae_bench.report.numbers.cost import total_flops, total_seconds
from vdae_bench.report.numbers.rows import SCORES
from vdae_bench.report.numbers.runs import load_runs
from vdae_bench.report.numbers.units import unit_of
from vdae_bench.report.pages.chapters import Chapter, Part
from vdae_bench.report.sections.results import outside_table
from vdae_bench.report.style.markdown import bullets, escape, table
from vdae_bench.store.records import Store
from vdae_bench.system.words import rough_duration

NAME = "README.md"
NOTES = "../vdae_bench/paper/README.md"

EVIDENCE = (
    Part("evidence/binary"),
    Part("evidence/continuous"),
    Part("evidence/paper", seeds=1),
    Part("lvdae-784", "standard"),
    Part("evidence/noise"),
)
"""What `make evidence` runs, in its order."""

EXPERIMENTS = (
    Part("readings/latents-64"),
    Part("readings/latents-64", settings=(("log_det_rows", 4),)),
    Part("readings/latents-64-linear"),
)
"""Where the evidence differs from the paper, what was tried to see why."""


def render_story(
    store: Store,
    reports: Path,
    beside: Sequence[Path] = (),
    parts: Sequence[Part] = EVIDENCE,
    experiments: Sequence[Part] = EXPERIMENTS,
) -> dict[Path, bytes]:
    """The page by its path, with nothing written; nothing where no run of the evidence is there.

    `beside` are the other pages of the folder, for it to lead to.
    """
    runs = load_runs(store)
    chapters, tried = ([Chapter(part, store, runs) for part in each] for each in (parts, experiments))
    if not any(chapter.runs for chapter in chapters):
        return {}
    return {reports / NAME: page(chapters, tried, [path.name for path in beside]).encode()}


def page(chapters: Sequence[Chapter], experiments: Sequence[Chapter] = (), beside: Sequence[str] = ()) -> str:
    """The page about all parts."""
    runs = [run for chapter in chapters for run in chapter.runs]
    wanted, missing = (sum(getattr(each, name) for each in chapters) for name in ("wanted", "missing"))
    dates = sorted(run.started_at[:10] for run in runs)
    devices = sorted({f"{run.record.cost.device}, {run.record.cost.threads} threads" for run in runs})
    sections = [
        "# What was run, and what came of it",
        f"The long runs that `make evidence` makes: {wanted - missing} of {wanted} are here, from {dates[0]} to "
        f"{dates[-1]} ({'; '.join(devices)}), {rough_duration(total_seconds(runs))} of training and evaluation and "
        f"{rough_duration(sum(each.search_seconds for each in chapters))} of searches. Ours are means over seeds ± "
        "their sample standard deviation. Whether a number may stand beside the paper's is in its own column: runs "
        "shorter than the paper's, whose curves still fall, say nothing of it. Hours and operations are of all seeds "
        "of a row; hours are by the clock, and longer where the machine had other work.",
    ]
    for chapter in chapters:
        sections += chapter.sections()
    sections += _experiments(experiments)
    sections += ["## Numbers of others", "Other networks and training, and no part of any verdict."]
    for dataset in dict.fromkeys(each.job.cell.dataset for chapter in chapters for each in chapter.plans):
        outside = outside_table(dataset)
        sections += [f"{escape(dataset)}, in {unit_of(dataset).name}:", outside] if outside else []
    speed = total_flops(runs) / total_seconds(runs)
    left = [line for chapter in chapters for line in chapter.remains(chapter.speed or speed)]
    sections += ["## What remains", bullets(left) if left else "Nothing."]
    links = [f"[{name.removesuffix('.md')}]({name})" for name in beside]
    sections += ["## Beside these", bullets(links)] if links else []
    return "\n\n".join(sections) + "\n"


def _experiments(chapters: Sequence[Chapter]) -> Iterator[str]:
    rows = [[escape(chapter.title), *row] for chapter in chapters for row in chapter.outcomes()]
    if not rows:
        return
    yield "## Why it differs: experiments"
    yield f"Their numbers, from test images as above; what they decide is in the [fidelity notes]({NOTES})."
    scores = [name for name, _ in SCORES]
    headers = ["what", "settings", "method", *scores, "unit", "epochs", "seeds", "hours", "records"]
    yield table(headers, rows, right=[*scores, "epochs", "hours"])
    found = [f"{escape(chapter.title)}: {line}" for chapter in chapters for line in chapter.findings()]
    yield from [bullets(found)] if found else []
