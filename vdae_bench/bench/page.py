"""`reports/performance.md` and its chart, from the raw files of `vdae-bench bench` alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from vdae_bench.bench.entries import Entry, Environment, read_entries
from vdae_bench.errors import UserError
from vdae_bench.report.style.figure import GREY, STYLES, saved
from vdae_bench.report.style.markdown import bullets, code, commit_in_short, escape, table
from vdae_bench.store.layout import not_hidden
from vdae_bench.store.records import Store
from vdae_bench.system import atomic
from vdae_bench.system.words import counted, measured_seconds

PAGE = "performance"
SUBJECTS = {"VAE": STYLES[0], "VAE NLL": STYLES[2], "L-VDAE": STYLES[1], "NICE": STYLES[5], "start-up": STYLES[6]}
"""How each looks in the chart; VAE and L-VDAE as on every page."""
GROWTH_AXES = {
    "m": "latents m",
    "H": "hidden units H",
    "B": "residual blocks B",
    "batch": "images in a batch",
    "R": "replicas R",
}
GROWING = ("VAE", "L-VDAE")
WORKERS = "workers"
"""The subject of entries that have a table of their own, about groups an hour."""
SHOWN = (0.25, 4.0)
"""Times better than a target: what is beyond is drawn at the edge."""
METHOD = (
    "Both sides of a row take turns on the same machine in the same run. Seconds are medians over rounds; a ratio "
    "is taken within each round: its median, lowest and highest. Same architecture (parameters counted), batch, "
    "data and number of samples. A peer is in float32 where ours is mixed: none has a mixed precision of its own on "
    "a CPU. FLOPs are those of matrix products, by torch's counter; the peak is that of a plain matrix product of "
    "the same precision in the same rounds."
)


def build_performance(results: Path, reports: Path) -> Path:
    """Write the page and its chart into the folder `reports`, and return the page's path.

    Raises:
        UserError: there are no raw files, or one is none.
        EnvironmentFault: a file cannot be written.
    """
    for path, content in render_performance(results, reports).items():
        atomic.write(path, content, option="--reports")
    return reports / f"{PAGE}.md"


def render_performance(results: Path, reports: Path) -> dict[Path, bytes]:
    """The content of the page and its chart by their path, with nothing written."""
    machines = [entries for path in not_hidden(Store(results).bench.glob("*.json")) if (entries := read_entries(path))]
    if not machines:
        raise UserError(f"there are no results in {Store(results).bench}; run `vdae-bench bench` first")
    files = {reports / f"{PAGE}.md": page(machines).encode()}
    shown = [entries for entries in machines if any(_advantage(entry) or entry.axis for entry in entries)]
    chart = saved(lambda: _figure(shown or machines))
    files |= {reports / f"{PAGE}.{ending}": content for ending, content in chart.items()}
    return files


def page(machines: Sequence[Sequence[Entry]]) -> str:
    """The page about the raw files of some machines."""
    sections = ["# Performance", METHOD, f"![Targets and growth]({PAGE}.svg)"]
    sections.append(
        "Left: each target, as times better than it asks (right of 1: met; open: mixed precision; lines: lowest to "
        "highest of the rounds). Right: seconds of a whole step, with the exponent of their growth and that of the "
        f"FLOPs (dotted: as those grow), and memory a replica. As pixels: [{PAGE}.png]({PAGE}.png)."
    )
    for entries in machines:
        sections += _machine(entries)
    return "\n\n".join(sections) + "\n"


def _machine(entries: Sequence[Entry]) -> Iterator[str]:
    measured = [entry for entry in entries if entry.skipped is None]
    judged = [entry for entry in measured if entry.target is not None]
    missed = [entry for entry in judged if not entry.met]
    yield f"## {escape(entries[0].run.machine)}"
    yield bullets([_origin(run) for run in _runs(entries)])
    if judged:
        yield f"{len(judged) - len(missed)} of {len(judged)} targets are met."
        yield "### Targets"
        yield _comparisons(judged)
    if missed:
        yield "### Missed targets: what the floor is"
        yield bullets([_about_missed(entry, measured) for entry in missed])
    others = [
        entry
        for entry in measured
        if entry.target is None
        and not entry.axis
        and not entry.profile
        and not entry.noise
        and entry.subject != WORKERS
    ]
    if others:
        yield "### Without a target"
        yield _comparisons(others)
    skipped = [entry for entry in entries if entry.skipped is not None]
    if skipped:
        yield "### Not measured"
        yield bullets([f"{escape(entry.name)}: {escape(entry.skipped or '')}" for entry in skipped])
    yield from _growth(measured)
    yield from _replicas(measured)
    yield from _profiles(measured)
    yield from _noise(measured)
    yield from _workers([entry for entry in measured if entry.subject == WORKERS])


def _runs(entries: Sequence[Entry]) -> list[Environment]:
    """The runs that the entries are from, each once, in the order of time."""
    runs = {entry.run.started_at: entry.run for entry in entries}
    return [runs[when] for when in sorted(runs)]


def _origin(run: Environment) -> str:
    libraries = ", ".join(f"{name} {version or 'not installed'}" for name, version in run.libraries.items())
    commit = commit_in_short(run.git_commit, run.git_dirty)
    threads = counted(run.threads, "thread")
    gpu = "" if run.device == "cpu" else f", {escape(run.device)}"
    versions = f"torch {run.torch}, Python {run.python}; {libraries}"
    return (
        f"{escape(run.platform)}, {threads}{gpu}; {versions}; data: {run.data}; {run.started_at}; {commit}; "
        f"{code(run.command)}"
    )


def _comparisons(entries: Sequence[Entry]) -> str:
    headers = ["what", "a", "ours", "beside", "theirs", "ratio", "lowest to highest", "of peak", "target", "met"]
    rows = []
    for entry in entries:
        spread = f"{entry.spread[0]:.2f} to {entry.spread[1]:.2f}" if entry.spread else ""
        rows.append(
            [
                escape(entry.name),
                entry.per,
                measured_seconds(entry.ours_seconds),
                escape(entry.peer or ""),
                measured_seconds(entry.peer_seconds),
                "" if entry.ratio is None else f"{entry.ratio:.2f}",
                spread,
                "" if entry.peak_fraction is None else f"{entry.peak_fraction:.0%}",
                _target(entry),
                {None: "", True: "yes", False: "**no**"}[entry.met],
            ]
        )
    return table(headers, rows, right=["ours", "theirs", "ratio", "lowest to highest", "of peak", "target"])


def _target(entry: Entry) -> str:
    if entry.target is None:
        return ""
    number = {
        "ratio": f"{entry.target:g}",
        "peak_fraction": f"{entry.target:.0%}",
        "ours_seconds": f"{entry.target:g} s",
    }
    return f"{entry.direction} {number[entry.measure]}"


def floor(entry: Entry) -> float | None:
    """The best value that matrix products alone allow: all of ours at the measured peak, and nothing else.

    Beside our own VAE, where both sides are at the same share of the peak, it is the ratio of FLOPs.
    """
    if entry.measure != "ratio" or not entry.flops:
        return None
    if entry.direction == "at most":
        return entry.flops / entry.peer_flops if entry.peer_flops else None
    if not entry.peer_seconds or not entry.peak_flops_per_second:
        return None
    return entry.peer_seconds * entry.peak_flops_per_second / entry.flops


def _about_missed(entry: Entry, measured: Sequence[Entry]) -> str:
    assert entry.value is not None and entry.target is not None
    words = [f"**{escape(entry.name)}**: {_number(entry, entry.value)}, target {_target(entry)}"]
    bound = floor(entry)
    if bound is not None:
        out_of_reach = bound < entry.target if entry.direction == "at least" else bound > entry.target
        what = (
            f"ours does {bound:.2f} times the FLOPs of the other side"
            if entry.direction == "at most"
            else f"with all its matrix products at the peak and nothing beside them it would be {bound:.2f}"
        )
        verdict = "out of reach without fewer operations" if out_of_reach else "they alone would allow the target"
        words.append(f"{what}: {verdict}")
    profiled = next(
        (
            other
            for other in measured
            if other.profile and (other.subject, other.precision) == (entry.subject, entry.precision)
        ),
        None,
    )
    if profiled and profiled.profile:
        share = profiled.profile.matrix_products
        words.append(
            f"the profile ({escape(profiled.name)}) has {1 - share:.0%} of the time outside matrix products: "
            f"{_outside(profiled)}"
        )
        if entry.direction == "at least":
            words.append(_without_the_rest(entry, share))
    if entry.case == "start-up":
        parts = [each for each in measured if each.case == entry.case and each.target is None]
        words += [f"{escape(each.name)} {measured_seconds(each.ours_seconds)}" for each in parts]
    return "; ".join(words) + "."


def _number(entry: Entry, value: float) -> str:
    """A value of what the entry measures."""
    if entry.measure == "peak_fraction":
        return f"{value:.1%}"
    return measured_seconds(value) if entry.measure == "ours_seconds" else f"{value:.2f}"


def slope(positions: Sequence[float], values: ArrayLike) -> float:
    """The exponent p of `values ~ positions^p`, by least squares of the logarithms.

    >>> round(slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(positions), np.log(values), 1)[0])


def _along(measured: Sequence[Entry], axis: str, subject: str) -> list[tuple[float, Entry]]:
    """(position, entry) along an axis, in order."""
    found = [
        (entry.position, entry)
        for entry in measured
        if entry.axis == axis and entry.subject == subject and entry.position and entry.ours_seconds and entry.flops
    ]
    return sorted(found, key=lambda pair: pair[0])


def slopes(measured: Sequence[Entry], axis: str, subject: str) -> tuple[float, float] | None:
    """(measured, expected) exponent of a step's time along an axis; expected is that of its FLOPs."""
    points = _along(measured, axis, subject)
    if len(points) < 2:
        return None
    positions = [position for position, _ in points]
    seconds, flops = _seconds_and_flops(points)
    return slope(positions, seconds), slope(positions, flops)


def _seconds_and_flops(points: Sequence[tuple[float, Entry]]) -> NDArray[np.float64]:
    return np.array([(entry.ours_seconds, entry.flops) for _, entry in points], dtype=np.float64).T


def _growth(measured: Sequence[Entry]) -> Iterator[str]:
    rows = []
    for axis, title in GROWTH_AXES.items():
        both = [slopes(measured, axis, subject) for subject in GROWING]
        positions = [f"{position:g}" for position, _ in _along(measured, axis, GROWING[0])]
        if any(both):
            cells = [f"{value:.2f}" for pair in both for value in (pair or (float("nan"),) * 2)]
            rows.append([title, ", ".join(positions), *cells])
    if rows:
        yield "### Growth of a whole step"
        yield (
            "The exponent p of time ~ axis^p, the others at m = 32, H = 256, B = 1, batch 1000, R = 1; float32. "
            "Expected: the exponent of the FLOPs over the same points."
        )
        headers = ["axis", "points", *(f"{subject}{word}" for subject in GROWING for word in ("", ", expected"))]
        yield table(headers, rows, right=headers[2:])


def _replicas(measured: Sequence[Entry]) -> Iterator[str]:
    columns = [dict(_along(measured, "R", subject)) for subject in GROWING]
    rows = []
    for count in sorted({position for column in columns for position in column}):
        cells = []
        for entry in (column.get(count) for column in columns):
            cells += [
                measured_seconds(entry.ours_seconds / count) if entry and entry.ours_seconds else "",
                _memory(entry, count),
            ]
        rows.append([f"{count:g}", *cells])
    if rows:
        yield "### Replicas"
        yield (
            "A replica's share of a whole step of R replicas, and of the memory that the trainer and its steps add to "
            "the process at their peak."
        )
        headers = ["R", *(f"{subject}, {word}" for subject in GROWING for word in ("time", "memory"))]
        yield table(headers, rows, right=headers)


def _memory(entry: Entry | None, count: float) -> str:
    return f"{entry.memory_bytes / count / 2**20:.0f} MiB" if entry and entry.memory_bytes else ""


def _profiles(measured: Sequence[Entry]) -> Iterator[str]:
    rows = []
    for entry in measured:
        if entry.profile:
            shares = [entry.profile.matrix_products, 1 - entry.profile.matrix_products, entry.profile.rest]
            rows.append(
                [
                    escape(entry.name),
                    measured_seconds(entry.ours_seconds),
                    *(f"{share:.0%}" for share in shares),
                    _outside(entry),
                ]
            )
    if rows:
        yield "### Where the time of a whole step goes"
        headers = ["step", "time", "matrix products", "outside them", "of that Python", "largest outside"]
        yield table(headers, rows, right=headers[1:5])


def _without_the_rest(entry: Entry, share: float) -> str:
    """Sentence on a step with nothing beside its matrix products (`share` of its time), as fast as they are now."""
    assert entry.value is not None and entry.target is not None
    allowed = 1 - entry.target * share / entry.value
    best = f"with nothing beside the products as they run now it would be {_number(entry, entry.value / share)}"
    if allowed <= 0:
        return f"{best}: out of reach without faster products"
    return f"{best}, so that the target leaves at most {allowed:.0%} of the time for everything outside them"


def _outside(entry: Entry) -> str:
    assert entry.profile is not None
    return ", ".join(f"{code(name)} {share:.1%}" for name, share in entry.profile.outside.items())


def _figure(machines: Sequence[Sequence[Entry]]) -> Figure:
    counts = [len({_target_name(entry) for entry in entries if _advantage(entry)}) for entries in machines]
    heights = [max(6.2, 0.26 * count + 1.4) for count in counts]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    blocks = figure.subfigures(len(machines), 1, squeeze=False, height_ratios=heights)[:, 0]
    for block, entries in zip(blocks, machines, strict=True):
        _block(block, [entry for entry in entries if entry.skipped is None])
    return figure


def _block(block: SubFigure, measured: list[Entry]) -> None:
    block.suptitle(measured[0].run.machine if measured else "", x=0.01, ha="left", fontsize=9)
    grid = block.add_gridspec(3, 3, width_ratios=(1.15, 1, 1))
    _targets(block.add_subplot(grid[:, 0]), measured)
    places = [block.add_subplot(grid[row, column]) for row in range(3) for column in (1, 2)]
    for axes, (axis, title) in zip(places, GROWTH_AXES.items(), strict=False):
        _draw_growth(axes, measured, axis, title)
    _draw_memory(places[-1], measured)


def _advantage(entry: Entry) -> tuple[float, float, float] | None:
    """Times better than the target asks (1: just met), with its spread."""
    if entry.target is None or entry.value is None:
        return None
    values = (entry.value, *(entry.spread if entry.spread and entry.measure == "ratio" else (entry.value,) * 2))
    low_to_high = sorted(values[1:])
    if entry.direction == "at least":
        return values[0] / entry.target, low_to_high[0] / entry.target, low_to_high[1] / entry.target
    return entry.target / values[0], entry.target / low_to_high[1], entry.target / low_to_high[0]


def _target_name(entry: Entry) -> str:
    """The name of its line in the chart, which both precisions share."""
    return entry.name.replace(f", {entry.precision}", "")


def _targets(axes: Axes, measured: Sequence[Entry]) -> None:
    judged = [(entry, found) for entry in measured if (found := _advantage(entry))]
    names = list(dict.fromkeys(_target_name(entry) for entry, _ in judged))
    both = {name for name in names if len([entry for entry, _ in judged if _target_name(entry) == name]) > 1}
    for entry, (value, low, high) in judged:
        aside = 0.17 if _target_name(entry) in both else 0.0
        place = names.index(_target_name(entry)) + (-aside if entry.precision == "float32" else aside)
        style = SUBJECTS.get(entry.subject, STYLES[6])
        face = style.colour if entry.precision == "float32" else "white"
        value, low, high = (min(max(each, SHOWN[0]), SHOWN[1]) for each in (value, low, high))
        axes.plot((low, high), (place, place), color=style.colour, linewidth=1)
        axes.plot(value, place, marker=style.marker, color=style.colour, markerfacecolor=face, markersize=5)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 34) for name in names], fontsize=7)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(SHOWN[0] / 1.1, SHOWN[1] * 1.1)
    ticks = [0.25, 0.5, 1, 2, 4]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvspan(SHOWN[0] / 2, 1, color=GREY, alpha=0.08, linewidth=0)
    axes.set_title("missed", loc="left", fontsize=8, color=GREY)
    axes.set_title("met", loc="right", fontsize=8, color=GREY)
    axes.set_xlabel("times better than its target")
    shown = [
        _mark(name, name != "mixed") for name in ("float32", "mixed") if any(e.precision == name for e, _ in judged)
    ]
    if len(shown) > 1:
        axes.legend(handles=shown, loc="lower left", fontsize=7, handletextpad=0.3)
    axes.grid(axis="y", linewidth=0.3)


def _draw_growth(axes: Axes, measured: Sequence[Entry], axis: str, title: str) -> None:
    handles = []
    for subject in GROWING:
        points = _along(measured, axis, subject)
        if points:
            positions = [position for position, _ in points]
            seconds, flops = _seconds_and_flops(points)
            handles.append(_line(axes, subject, positions, seconds))
            expected = flops / flops[0] * seconds[0]
            axes.plot(positions, expected, color=SUBJECTS[subject].colour, linestyle=":", linewidth=0.8)
            found = slopes(measured, axis, subject)
            if found:
                handles[-1].set_label(f"{subject}: exponent {found[0]:.2f}, FLOPs {found[1]:.2f}")
    _logarithmic(axes, title, "seconds a step")
    if handles and axis == next(iter(GROWTH_AXES)):
        handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=0.8, label="growing as the FLOPs do"))
    if handles:
        axes.legend(handles=handles, fontsize=7, loc="upper left", handlelength=2.6)


def _draw_memory(axes: Axes, measured: Sequence[Entry]) -> None:
    for subject in GROWING:
        points = [(position, entry.memory_bytes) for position, entry in _along(measured, "R", subject)]
        held = [(position, size / position / 2**20) for position, size in points if size]
        if held:
            _line(axes, subject, *zip(*held, strict=True)).set_label(subject)
    _logarithmic(axes, GROWTH_AXES["R"], "MiB a replica")
    axes.set_yscale("linear")
    if axes.lines:
        axes.set_ylim(0, 1.5 * max(float(np.max(line.get_ydata())) for line in axes.lines))
        axes.legend(fontsize=7, loc="upper left", handlelength=2.6)


def _mark(label: str, filled: bool) -> Line2D:
    face = GREY if filled else "white"
    return Line2D([], [], label=label, linestyle="", marker="s", color=GREY, markerfacecolor=face, markersize=5)


def _line(axes: Axes, subject: str, x: Any, y: Any) -> Line2D:
    style = SUBJECTS[subject]
    look: Any = {"color": style.colour, "linestyle": style.dashes, "marker": style.marker, "markersize": 4}
    return axes.plot(x, y, **look)[0]


def _logarithmic(axes: Axes, title: str, unit: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    positions = sorted({float(x) for line in axes.lines for x in np.asarray(line.get_xdata())})
    axes.set_xticks(positions, [f"{position:g}" for position in positions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(y=0.4)
    axes.set_xlabel(title)
    axes.set_ylabel(unit)


def _noise(entries: Sequence[Entry]) -> Iterator[str]:
    found = [(entry, entry.noise) for entry in entries if entry.noise]
    if not found:
        return
    yield "### Noise of the gradient of log det C"
    yield (
        "L-VDAE's encoder after a few steps of training on binary images. Variances of the gradient of one image's log "
        "det C over the square of its mean: between images, and what one probe of `lanczos` adds. Then the variance of "
        "`lanczos` over that of `subset` for as many rows of Jacobian, and for as many FLOPs: above 1, `subset` is "
        "better. Of log det C itself, in nats: deviation between images, of a probe, and bias of k steps."
    )
    headers = ["m", "k", "steps of training", "images", "variance of images", "of a probe", "equal rows", "equal FLOPs"]
    headers += ["log det C: images", "a probe", "bias", "condition of C"]
    rows = [
        [
            *map(str, (noise.latents, noise.lanczos_steps, noise.trained_steps, noise.images)),
            f"{noise.images_variance:.3g}",
            f"{noise.probe_variance:.3g}",
            f"{entry.ratio:.3g}",
            f"{noise.equal_flops:.3g}",
            f"{noise.images_deviation_nats:.2g}",
            f"{noise.probe_deviation_nats:.2g}",
            f"{noise.bias_nats:.1g}",
            f"{noise.condition:.3g}",
        ]
        for entry, noise in found
    ]
    yield table(headers, rows, right=headers)


def _workers(entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    yield "### Workers on this machine"
    yield (
        "Eight groups of a sweep, through `--workers` with this machine's threads divided fairly, or with no "
        "scheduler; and sixteen equal ones. Where the group's records are there already, only the scheduler's work is "
        "left."
    )
    headers = ["what", "a group", "groups an hour", "beside", "a group", "groups an hour", "ratio", "lowest to highest"]
    rows = []
    for entry in entries:
        assert entry.ours_seconds and entry.peer_seconds and entry.spread
        rows.append(
            [
                escape(entry.name),
                measured_seconds(entry.ours_seconds),
                f"{3600 / entry.ours_seconds:,.0f}",
                escape(entry.peer or ""),
                measured_seconds(entry.peer_seconds),
                f"{3600 / entry.peer_seconds:,.0f}",
                f"{entry.ratio:.2f}",
                f"{entry.spread[0]:.2f} to {entry.spread[1]:.2f}",
            ]
        )
    yield table(headers, rows)
