"""What the user's pip is told, read with pip's own precedence."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from vdae_bench.data.sources import pip_settings
from vdae_bench.data.sources.pip_settings import PipSettings, read_pip_settings

LISTING = """\
:env:.cert='/ignored/here.pem'
download.index-url='https://download.test/simple'
global.cert='/etc/ours.pem'
global.client-cert='/etc/me.pem'
global.extra-index-url='file:///one/simple\\nhttps://two.test/simple'
global.find-links='/wheels  https://links.test/'
global.index-url='https://global.test/simple'
global.proxy="http://user:it's@proxy.test:3128"
global.timeout='60'
global.trusted-host='\\nglobal.test\\ntwo.test:8443'
install.index-url='https://install.test/simple'
wheel.index-url='https://wheel.test/simple'
"""


def test_without_pip_and_variables_the_default_index_remains() -> None:
    assert read_pip_settings() == PipSettings() == PipSettings(indexes=(PYPI_SIMPLE_ENDPOINT,))


def test_every_option_is_read_from_pips_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_settings, "_pip_config_list", lambda: LISTING)
    assert read_pip_settings() == PipSettings(
        indexes=("https://download.test/simple", "file:///one/simple", "https://two.test/simple"),
        find_links=("/wheels", "https://links.test/"),
        certificates="/etc/ours.pem",
        client_certificate="/etc/me.pem",
        proxy="http://user:it's@proxy.test:3128",
        trusted_hosts=("global.test", "two.test:8443"),
        timeout=60.0,
    )


@pytest.mark.parametrize(
    ("variable", "value", "attribute", "expected"),
    [
        ("PIP_INDEX_URL", "https://mine.test/", "indexes", ("https://mine.test/", "file:///one/simple")),
        ("PIP_INDEX_URL", "", "indexes", ("https://global.test/", "file:///one/simple")),
        (
            "PIP_EXTRA_INDEX_URL",
            "https://a/ https://b/",
            "indexes",
            ("https://global.test/", "https://a/", "https://b/"),
        ),
        ("PIP_NO_INDEX", "1", "indexes", ()),
        ("PIP_NO_INDEX", "0", "indexes", ("https://global.test/", "file:///one/simple")),
        ("PIP_DEFAULT_TIMEOUT", "180", "timeout", 180.0),
        ("PIP_TIMEOUT", "soon", "timeout", None),
        ("PIP_CERT", "/mine.pem", "certificates", "/mine.pem"),
    ],
)
def test_a_variable_beats_the_files_unless_it_is_empty(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, attribute: str, expected: object
) -> None:
    listing = "\n".join(
        [
            "global.index-url='https://global.test/'",
            "global.extra-index-url='file:///one/simple'",
            "global.timeout='60'",
            "global.cert='/global.pem'",
        ]
    )
    monkeypatch.setattr(pip_settings, "_pip_config_list", lambda: listing)
    monkeypatch.setenv(variable, value)
    assert getattr(read_pip_settings(), attribute) == expected


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this Python has no pip")
def test_the_real_pip_is_asked_and_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://file.test/simple\ntrusted-host =\n    file.test\n    it's.test\n"
    )
    # Loaded first, so the machine's own files may override it: nothing else is let in.
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("PIP_INDEX_URL", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_QUIET", "1")
    settings = read_pip_settings()
    assert settings.trusted_hosts == ("file.test", "it's.test")
    assert settings.indexes[0] == "https://file.test/simple"


@pytest.mark.parametrize("fault", ["no pip", "no answer", "no python"])
def test_without_a_pip_that_answers_the_variables_alone_count(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PIP_INDEX_URL", "https://mine.test/simple")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        assert command == [sys.executable, "-m", "pip", "config", "list"]
        if fault == "no answer":
            raise subprocess.TimeoutExpired(command, 20)
        if fault == "no python":
            raise FileNotFoundError(sys.executable)
        return subprocess.CompletedProcess(command, 1, "global.index-url='https://never.test/'", "No module named pip")

    monkeypatch.setattr(subprocess, "run", run)
    assert read_pip_settings().indexes == ("https://mine.test/simple",)
