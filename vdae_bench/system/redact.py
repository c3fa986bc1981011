"""Secrets in addresses and commands: taken out before anything is written, printed or raised.

A secret is the password in an address (`postgresql://me:SECRET@host/db`), a name there without a password on the web
(a token), and the value of a key that is called like one (`?password=SECRET`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

GONE = "***"
"""Stands where a secret was."""

_KEY = r"[\w.%+-]*(?:pass(?!file)|pwd|secret|token|credential|signature|api-?_?key|access-?_?key)[\w.%+-]*"
_ASSIGNED = re.compile(rf"({_KEY})(\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)", re.IGNORECASE)
_ADDRESS = re.compile(r"([A-Za-z][\w+.-]*://)([^\s<>]*@)")
_QUERY = re.compile(r"([?&;])([^\s=&;?#'\"]+)=([^\s&;'\"]*)")
_SHORT_KEYS = ("key", "sig", "pw", "auth")


def redacted(text: str) -> str:
    """A text without the secrets of the addresses in it.

    >>> redacted("no answer from postgresql://me:s3@cret@host/db?sslmode=require&password=x")
    'no answer from postgresql://me:***@host/db?sslmode=require&password=***'
    >>> redacted("postgresql://me@host/db"), redacted("https://token@host/simple")
    ('postgresql://me@host/db', 'https://***@host/simple')
    """
    text = _ADDRESS.sub(_without_password, text)
    text = _QUERY.sub(lambda found: f"{found[1]}{found[2]}={_value(found[2], found[3])}", text)
    return _ASSIGNED.sub(lambda found: f"{found[1]}{found[2]}{GONE}", text)


def redacted_command(line: str) -> str:
    """A shell command without the secrets in its words, and else as it is.

    >>> redacted_command("vdae-bench search s.yaml --storage 'postgresql://me:my pass@host/db' --seeds 2")
    "vdae-bench search s.yaml --storage 'postgresql://me:***@host/db' --seeds 2"
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return redacted(line)
    kept = [redacted_address(word) for word in words]
    return line if kept == words else shlex.join(kept)


def without(text: str, address: str) -> str:
    """A text without the secrets of an address, wherever and however written in it: a driver's message, say."""
    for secret in sorted({*_secrets(address)}, key=len, reverse=True):
        text = text.replace(secret, GONE)
    return redacted(text.replace(address, redacted_address(address)))


def redacted_address(word: str) -> str:
    """An address, or a word with one at its end, without its secrets: all up to its last @ may be a password."""
    whole = re.fullmatch(r"((?:--?[\w-]+=)?[A-Za-z][\w+.-]*://)(.*@)(.*)", word, re.DOTALL)
    return redacted(_without_password(whole) + whole[3] if whole else word)


def _without_password(found: re.Match[str]) -> str:
    name, colon, _ = found[2][:-1].partition(":")
    web = re.search(r"https?://$", found[1], re.IGNORECASE)
    return found[1] + (f"{name}:{GONE}@" if colon else f"{GONE}@" if web else found[2])


def _value(key: str, value: str) -> str:
    plain = unquote_plus(unquote(key)).lower()
    secret = re.fullmatch(_KEY, plain) or plain in _SHORT_KEYS
    return GONE if value and (secret or re.search(rf"{_KEY}\s*=", unquote_plus(value), re.IGNORECASE)) else value


def _secrets(address: str) -> Iterator[str]:
    """The secrets of an address, as they are written and as they are meant."""
    rest = address.partition("://")[2]
    user, at, _ = rest.rpartition("@")
    found = [user.partition(":")[2]] if at else []
    found += [each[3] for each in _QUERY.finditer(address) if _value(each[2], each[3]) == GONE]
    for each in found:
        yield from (form for form in (each, unquote(each), unquote_plus(each)) if form)
