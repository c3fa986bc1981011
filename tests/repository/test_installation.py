"""What pins an installation: constraints.txt, requirements.lock, and the image that is built from them."""

from __future__ import annotations

import re
import subprocess
import tomllib
from contextlib import suppress
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[2]


def wanted() -> list[Requirement]:
    """What the lock is for: the package itself, its tests, the tools, the cluster, and what builds it."""
    declared = tomllib.loads((TOP / "pyproject.toml").read_text())
    extras = declared["project"]["optional-dependencies"]
    words = [*declared["project"]["dependencies"], *declared["build-system"]["requires"]]
    words += [word for name in ("test", "dev", "cluster") for word in extras[name]]
    return [each for each in map(Requirement, words) if each.name != "torch"]


def locked() -> dict[str, tuple[Requirement, int]]:
    """Each entry of the lock by name, with the number of its hashes."""
    entries = re.split(r"\n(?! )", (TOP / "requirements.lock").read_text().strip())
    found = [(Requirement(entry.partition("\\")[0]), entry.count("--hash=sha256:")) for entry in entries]
    return {canonicalize_name(each.name): (each, hashes) for each, hashes in found}


def test_the_lock_holds_what_the_project_asks_for():
    entries = locked()
    for each in wanted():
        entry, _ = entries[canonicalize_name(each.name)]
        (pin,) = entry.specifier
        assert each.specifier.contains(pin.version), f"{each} is locked as {entry}"
        assert entry.marker == each.marker, f"{each} is locked as {entry}"


def constraints() -> dict[str, SpecifierSet]:
    """The versions of constraints.txt by name."""
    lines = (TOP / "constraints.txt").read_text().splitlines()[1:]
    return {canonicalize_name(each.name): each.specifier for each in map(Requirement, lines)}


def test_every_extra_can_be_installed_under_the_constraints():
    """No requirement excludes a version there: neither our own nor one of the libraries that are installed here.

    Asked are those of the constraints' version, and those of an extra that have none there.
    """
    project, pins = tomllib.loads((TOP / "pyproject.toml").read_text())["project"], constraints()
    own = [word for words in project["optional-dependencies"].values() for word in words] + project["dependencies"]
    asked, seen, refused = [("vdae-bench", Requirement(word)) for word in own], set(), []
    for who, wanted in asked:  # and what those ask for, which is added below
        name = canonicalize_name(wanted.name)
        refused += [f"{who}: {wanted}" for pin in pins.get(name, ()) if not wanted.specifier.contains(pin.version)]
        for extra in {"", *wanted.extras} - {extra for each, extra in seen if each == name}:
            seen.add((name, extra))
            with suppress(PackageNotFoundError):
                if pins[name].contains(version(name)) if name in pins else who == "vdae-bench":
                    needs = map(Requirement, requires(name) or ())
                    asked += [(name, one) for one in needs if not one.marker or one.marker.evaluate({"extra": extra})]
    assert len(seen) > 60 and not refused


def test_the_lock_has_hashes_and_the_constraints_versions():
    entries = locked()
    assert "torch" not in entries and all(hashes for _, hashes in entries.values())
    assert {name: entry.specifier for name, (entry, _) in entries.items()}.items() <= constraints().items()


def test_the_package_says_that_it_has_types():
    """Hatchling packs every file of the package that git knows; type checkers look for this one."""
    assert (TOP / "vdae_bench" / "py.typed").is_file()


def test_the_image_installs_what_is_locked_alone():
    steps = re.findall(r"pip install ([^&\n\\]*)", (TOP / "Containerfile").read_text())
    assert len(steps) == 3
    assert "--require-hashes --no-deps --requirement requirements.lock" in steps[0]
    assert steps[1].split()[-3:] == ["--constraint", "constraints.txt", "torch"]
    assert "--no-build-isolation --no-deps" in steps[2]


def test_the_image_holds_the_code_as_git_knows_it():
    """Else its records would say that the code was changed, or nothing of the commit."""
    listed = subprocess.run(["git", "-C", TOP, "ls-files"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no checkout")
    ignored = [line for line in (TOP / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert {"/results/", "/reports/"} <= set(ignored) and not any(".git" in line for line in ignored)
    patterns = [line.replace("**", "*").rstrip("/") + "/*" for line in ignored]
    lost = {path for path in listed.stdout.split() for each in patterns if fnmatch(f"/{path}/", each)}
    assert lost and {path.split("/")[0] for path in lost} <= {"results", "reports"}
