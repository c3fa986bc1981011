"""The site that continuous integration publishes: every page for a browser, with the records that it leads to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vdae_bench.system.yaml_file import YamlFile

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = """\
.RECIPEPREFIX = >
report:
> @mkdir -p reports/quick reports/standard+0123abcd
> @echo '<a href="../../results/seed-0.json">' | tee reports/quick/index.html > reports/standard+0123abcd/index.html
docs:
> @mkdir -p docs/_build/html
> @echo '<a href="../reports/quick/index.html">' > docs/_build/html/index.html
"""


def test_the_site_leads_to_every_page_and_from_there_to_the_records(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "pages", tmp_path / ".ci" / "pages")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "seed-0.json").write_text("{}")
    for _ in range(2):  # what an earlier build left does no harm
        subprocess.run([tmp_path / ".ci" / "pages"], check=True)
    site = tmp_path / "site"
    pages = [site / link for link in links(site / "index.html")]
    assert [page.parent.name for page in pages] == ["docs", "quick", "standard+0123abcd"]
    for page in pages:
        assert [(page.parent / link).is_file() for link in links(page)] == [True]


def links(page: Path) -> list[str]:
    return re.findall(r'href="([^"]+)"', page.read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_scripts_are_there(path: Path) -> None:
    steps = [step for job in YamlFile.read(path).content["jobs"].values() for step in job["steps"]]
    assert [step["uses"] for step in steps if not re.fullmatch(r"[\w/-]+@v\d+", step.get("uses", "a@v1"))] == []
    scripts = [step["run"].split()[0] for step in steps if step.get("run", "").startswith(".ci/")]
    assert scripts and all(os.access(ROOT / script, os.X_OK) for script in scripts)


def test_each_part_that_a_job_asks_for_is_one_that_the_script_runs() -> None:
    jobs = YamlFile.read(ROOT / ".github" / "workflows" / "ci.yml").content["jobs"]
    asked = [
        step["run"].split()[1:] for job in jobs.values() for step in job["steps"] if ".ci/run" in step.get("run", "")
    ]
    script = (ROOT / ".ci" / "run").read_text()
    assert sorted(asked) == [[part] for part in sorted(re.findall(r"^(\w+)\(\)", script, re.MULTILINE))]


def test_what_git_ignores_is_every_page_for_a_browser_and_nothing_else_of_the_reports() -> None:
    names = [f"reports/standard/{name}" for name in ("index.html", "binary.md", "claims.json", "binary-curves.svg")]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("needs a clone of the repository")
    assert done.stdout.split() == ["reports/standard/index.html"]


def test_what_a_committed_report_links_to_is_committed_too() -> None:
    """A file that git ignores is there for whoever drew it, and missing from every clone."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs a clone of the repository")
    tracked = {ROOT / name for name in done.stdout.splitlines()}
    pages = sorted(path for path in tracked if path.suffix == ".md" and path.is_relative_to(ROOT / "reports"))
    targets = {
        (page.parent / link).resolve()
        for page in pages
        for link in re.findall(r"\]\(([^)\s#]+)", page.read_text())
        if "://" not in link
    }
    assert len(targets) > 200 and sorted(path for path in targets - tracked if not path.is_dir()) == []
