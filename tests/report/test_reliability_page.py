"""reports/reliability.md from made-up raw files: counts as they are, faults in bold, checked like every page."""

from __future__ import annotations

import pytest

from vdae_bench.cli.results import Differs, write_reports
from vdae_bench.errors import UserError
from vdae_bench.report.pages.reliability import ChaosRun, render_reliability, write

CHAOS_RUN = ChaosRun(
    title="Random SIGKILLs over a sweep",
    method="killed",
    done={"kills survived": 1234},
    faults={"records lost": 0, "records doubled": 0},
    seconds=61.4,
    started_at="2026-01-02T03:04:05+00:00",
    git_commit="0123456789abcdef",
    git_dirty=False,
    platform="Linux x86_64",
    python="3.11.9",
    torch="2.13.0",
    command="make chaos",
)


def text(results, reports) -> str:
    return render_reliability(results, reports)[reports / "reliability.md"].decode()


def test_counts_commit_and_command(tmp_path):
    write(tmp_path, "kills", CHAOS_RUN)
    page = text(tmp_path, tmp_path / "reports")
    assert "| kills survived  |   1,234 |" in page and "| records lost    |       0 |" in page
    assert "Nothing was lost" in page and "0123456789ab;" in page and "`make chaos`, 61 s" in page
    write(tmp_path, "more", CHAOS_RUN.model_copy(update={"faults": {"records lost": 2}, "git_dirty": True}))
    page = text(tmp_path, tmp_path / "reports")
    assert "**2 faults were found.**" in page and "**2**" in page and "changed since" in page


def test_it_is_written_and_checked_with_all_reports(tmp_path, capsys):
    results, reports = tmp_path / "results", tmp_path / "reports"
    write(results, "kills", CHAOS_RUN)
    write_reports(results, reports, None, None, None, check=False)
    write_reports(results, reports, None, None, None, check=True)
    write(results, "kills", CHAOS_RUN.model_copy(update={"done": {"kills survived": 1}}))
    with pytest.raises(Differs, match=r"reliability\.md differs"):
        write_reports(results, reports, None, None, None, check=True)


def test_what_is_no_raw_file_is_named(tmp_path):
    (tmp_path / "chaos").mkdir()
    ((tmp_path / "chaos") / "kills.json").write_text("{}")
    with pytest.raises(UserError, match=r"kills\.json does not hold figures"):
        render_reliability(tmp_path, tmp_path)
