"""reports/performance.md from made-up raw files: the numbers, the floors, the slopes, the same bytes twice."""

from __future__ import annotations

import pytest

from tests.support.entries import RUN, entry
from vdae_bench.bench import entries
from vdae_bench.bench.entries import Profile
from vdae_bench.bench.page import build_performance, floor, slopes
from vdae_bench.errors import UserError

PROFILE = entry(
    "VAE step, profiled",
    subject="VAE",
    ours_seconds=0.1,
    profile=Profile(matrix_products=0.7, outside={"softplus": 0.15, "others": 0.1}, rest=0.05),
)
MET = entry(
    "NICE against a library", ours_seconds=0.5, peer="zuko", peer_seconds=1.0, ratio=2.0, spread=(1.9, 2.2),
    target=1.5, peak_fraction=0.93, flops=90.0, peak_flops_per_second=200.0,
)  # fmt: skip
MISSED = entry(
    "VAE epoch", case="vae-epoch", subject="VAE", ours_seconds=1.0, peer="pythae", peer_seconds=1.2, ratio=1.2,
    spread=(1.1, 1.3), target=1.6, peak_fraction=0.8, flops=80.0, peak_flops_per_second=100.0,
)  # fmt: skip
HEAVY = entry(
    "L-VDAE in VAE steps", subject="L-VDAE", ours_seconds=0.3, peer="our VAE", peer_seconds=0.1, ratio=3.0,
    spread=(2.9, 3.2), target=2.5, direction="at most", flops=220.0, peer_flops=100.0,
)  # fmt: skip
SHARE = entry(
    "VAE whole step", subject="VAE", ours_seconds=0.1, target=0.8, measure="peak_fraction", peak_fraction=0.712
)
START = entry(
    "From the command", subject="start-up", ours_seconds=3.5, target=3.0, measure="ours_seconds", direction="at most"
)
SKIPPED = entry("normflows", target=2.0, skipped="normflows cannot be imported")
GROWTH = [
    entry(
        f"{subject} step, {axis} = {x}", subject=subject, case=f"growth-{axis}", axis=axis, position=x,
        ours_seconds=0.01 * x**power, flops=1e9 * x, memory_bytes=x * 2**26 if axis == "R" else None,
    )
    for subject, power in (("VAE", 0.5), ("L-VDAE", 1.0))
    for axis in ("m", "R")
    for x in (1, 2, 4)
]  # fmt: skip
ALL = [MET, MISSED, HEAVY, SHARE, START, SKIPPED, PROFILE, *GROWTH]


def drawn(tmp_path, *machines):
    for index, found in enumerate(machines):
        entries.write_entries(tmp_path / "results" / "bench" / f"machine-{index}.json", found)
    return build_performance(tmp_path / "results", tmp_path / "reports")


def row(page: str, name: str) -> list[str]:
    (found,) = [line for line in page.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_same_bytes_twice(tmp_path):
    path = drawn(tmp_path, ALL)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert set(before) == {"performance.md", "performance.svg", "performance.png"}
    drawn(tmp_path, ALL)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before
    shown = before["performance.svg"].decode()
    assert "<svg" in shown and shown.count("<path") > 100


def test_rows_say_what_was_measured_and_whether_it_is_enough(tmp_path, blank_chart):
    page = drawn(tmp_path, ALL).read_text()
    assert row(page, MET.name)[2:] == [
        "500 ms", "zuko", "1 s", "2.00", "1.90 to 2.20", "93%", "at least 1.5", "yes",
    ]  # fmt: skip
    assert row(page, HEAVY.name)[5:] == ["3.00", "2.90 to 3.20", "", "at most 2.5", "**no**"]
    assert row(page, SHARE.name)[7:] == ["71%", "at least 80%", "**no**"]
    assert row(page, START.name)[2] == "3.5 s" and row(page, START.name)[8:] == ["at most 3 s", "**no**"]
    assert "1 of 5 targets are met" in page
    assert "normflows: normflows cannot be imported" in page
    assert "pythae 0.1.2, zuko not installed" in page and "Abacus, 2 threads" in page


def test_a_missed_target_has_its_floor_and_its_profile(tmp_path, blank_chart):
    assert floor(MISSED) == pytest.approx(1.5)  # 80 FLOPs at 100 a second: 0.8 s beside 1.2 s
    assert floor(HEAVY) == pytest.approx(2.2)
    assert floor(SHARE) is None and floor(START) is None
    page = drawn(tmp_path, ALL).read_text()
    about = {each.name: next(line for line in page.splitlines() if f"**{each.name}**" in line) for each in ALL[1:5]}
    assert "would be 1.50: out of reach" in about[MISSED.name]
    assert "2.20 times the FLOPs" in about[HEAVY.name] and "alone would allow" in about[HEAVY.name]
    for each in (MISSED, SHARE):
        assert "30% of the time outside matrix products: `softplus` 15.0%" in about[each.name]
    assert "profile" not in about[HEAVY.name] and "profile" not in about[START.name]


def test_slopes_beside_those_of_the_flops(tmp_path, blank_chart):
    assert slopes(GROWTH, "m", "VAE") == (pytest.approx(0.5), pytest.approx(1.0))
    assert slopes(GROWTH, "B", "VAE") is None
    page = drawn(tmp_path, ALL).read_text()
    assert row(page, "latents m")[1:] == ["1, 2, 4", "0.50", "1.00", "1.00", "1.00"]


def test_replicas_have_their_share_of_time_and_memory(tmp_path, blank_chart):
    page = drawn(tmp_path, ALL).read_text()
    (found,) = [line for line in page.splitlines() if line.replace(" ", "").startswith("|4|")]
    assert [cell.strip() for cell in found.strip("|").split("|")] == ["4", "5 ms", "64 MiB", "10 ms", "64 MiB"]


def test_each_machine_has_its_part_and_each_run_its_line(tmp_path, blank_chart):
    later = RUN.model_copy(update={"started_at": "2026-12-01T09:00:00+00:00", "git_dirty": True})
    other = RUN.model_copy(update={"machine": "slide-rule-1-thread", "threads": 1})
    mixed = [MET, MISSED.model_copy(update={"run": later})]
    page = drawn(tmp_path, mixed, [MET.model_copy(update={"run": other})]).read_text()
    assert page.count("## abacus-2-threads") == 1 and page.count("## slide-rule-1-thread") == 1
    first = page[page.index("## abacus") : page.index("## slide-rule")]
    assert first.count("`vdae-bench bench`") == 2 and "2026-12-01" in first and "changed since" in first


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match="vdae-bench bench"):
        build_performance(tmp_path, tmp_path)
