"""Secrets in addresses and commands: taken out before anything is written, printed or raised.

A secret is the password in an address (`postgresql://me:SECRET@host/db`), a name there without a password on the web
(a token), and the value of a key that is called like one (`?password=SECRET`).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, unquote, unquote_plus

GONE = "***"
"""Stands where a secret was."""

_SECRET = (
    "(?:pass(?!file)|pwd|secret|token|credential|signature|authorization|bearer|"
    "(?:api|access|account|private|master)[-_]*key)"
)
_KEY = rf"[\w.%+-]*{_SECRET}[\w.%+-]*"
_SHORT_KEY = re.compile("(?:(?<!ssl)key|sig|pw|auth|jwt|sas|psk)$")
_EQUALS = "(=|%(?:25)*3d)"
_END = r"(?=\s+[\w.-]+\s*=|\W*$)"
_QUOTED = "|".join(rf"{sign}(?:.*?{sign}{_END}|(?:[^{sign}\\]|\\.)*{sign}\S*|[^{sign}]*$)" for sign in "'\"")
"""A value in quotes: to one that ends the line or is before another key, as the value may have the sign itself."""
_ASSIGNED = re.compile(rf"(?<![?&;\w.%+-])({_KEY})(\s*=\s*)({_QUOTED}|\S+)", re.IGNORECASE | re.MULTILINE)
_WORD_ASSIGNED = re.compile(rf"^((?:--?[\w-]+=)?{_KEY})(=)(.+?)(?=\s+[\w.-]+=|$)", re.IGNORECASE | re.DOTALL)
"""The same in a word of a command, which its quotes no longer hold together."""
_SECRET_ALONE = re.compile(rf"{_SECRET}(?:word|wd|phrase|code|s)?$", re.IGNORECASE)
"""The end of a key whose value is secret even where it is a number; `token_dim=64` and `passes=3` are settings."""
_ADDRESS = re.compile(r"((?:[A-Za-z][\w+.-]*:)?//)([^\s<>]*@)")
_LOGIN = re.compile(r"(?<![^\s'\"=])([\w.+-]+:)(?!//)\S+(?=@[\w\[])")
"""Name and password of an address whose `//`, or all before it, was forgotten."""
_QUERY = re.compile(rf"([?&;])([^\s=&;?#'\"]+?){_EQUALS}([^\s&;'\"]*)", re.IGNORECASE)
_WHOLE_QUERY = re.compile(rf"([?&;])([^=&;?]+?){_EQUALS}((?:(?![&;][^=&;]+?{_EQUALS}).)*)", re.IGNORECASE | re.DOTALL)
"""The same in an address that ends with its text: a value has whatever comes before the next key."""


def redacted(text: str) -> str:
    """A text without the secrets of the addresses in it.

    >>> redacted("no answer from postgresql://me:s3@cret@host/db?sslmode=require&password=x")
    'no answer from postgresql://me:***@host/db?sslmode=require&password=***'
    >>> redacted("postgresql://me@host/db"), redacted("https://token@host/simple")
    ('postgresql://me@host/db', 'https://***@host/simple')
    """
    text = _LOGIN.sub(rf"\1{GONE}", _ADDRESS.sub(_without_password, text))
    return _ASSIGNED.sub(_without_assigned, _QUERY.sub(_without_value, text))


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
    for secret in sorted({*_secrets(address)} - {""}, key=len, reverse=True):
        text = text.replace(secret, GONE)
    return redacted(text.replace(address, redacted_address(address)))


def redacted_address(word: str) -> str:
    """An address, or a word with one at its end, without its secrets: all up to its last @ may be a password.

    >>> redacted_address("postgresql://me:my pass"), redacted_address("mysql://host/db?pw=a&b;c&charset=x")
    ('postgresql://me:***', 'mysql://host/db?pw=***&charset=x')
    """
    whole = re.fullmatch(r"((?:--?[\w-]+=)?(?:[A-Za-z][\w+.-]*:)?//)(.*@)?(.*)", word, re.DOTALL)
    if not whole:
        return redacted(_WORD_ASSIGNED.sub(_without_assigned, word))
    login = _without_password(whole) if whole[2] else whole[1]
    rest = whole[3] if whole[2] else _without_odd_port(whole[3])
    return redacted(_WHOLE_QUERY.sub(_without_value, login + rest))


def _without_password(found: re.Match[str]) -> str:
    name, colon, _ = found[2][:-1].partition(":")
    web = re.search(r"https?://$", found[1], re.IGNORECASE)
    return found[1] + (f"{name}:{GONE}@" if colon else f"{GONE}@" if web else found[2])


def _without_odd_port(rest: str) -> str:
    """An address without what stands for its port and is no number: a password whose host was forgotten.

    All of it goes, but for keys and values: a password may have the signs that end a port.
    """
    return re.sub(r"^([^/?:\[]*:)(?!\d+(?![^/?])|[/?]|$).+?(?=[?&][\w.%+-]+=|$)", rf"\1{GONE}", rest, flags=re.DOTALL)


def _without_assigned(found: re.Match[str]) -> str:
    setting = re.fullmatch(r"[-+]?[\d.]+(?:e[-+]?\d+)?", found[3], re.IGNORECASE) and not _SECRET_ALONE.search(found[1])
    return found[0] if setting else f"{found[1]}{found[2]}{GONE}"


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{found[3]}{GONE if _is_secret(found[2], found[4]) else found[4]}"


def _is_secret(key: str, value: str) -> bool:
    plain = _plain(key).lower()
    named = re.search(_SECRET, plain) or _SHORT_KEY.search(plain)
    return bool(value and (named or re.search(rf"{_KEY}\s*=", _plain(value), re.IGNORECASE)))


def _plain(text: str) -> str:
    """A text that was percent-encoded, perhaps several times, as it is meant."""
    while (meant := unquote_plus(text)) != text:
        text = meant
    return text


def _secrets(address: str) -> Iterator[str]:
    """The secrets of an address, as they are written, as they are meant, and as they may be written again."""
    rest = address.partition("://")[2]
    user, at, host = rest.rpartition("@")
    found = [user.partition(":")[2]] if at else [host.partition(":")[2]] if _without_odd_port(host) != host else []
    found += [each[4] for each in _WHOLE_QUERY.finditer(address) if _is_secret(each[2], each[4])]
    for each in found:
        meant = _plain(each)
        for form in (each, unquote(each), meant):
            escaped = form.encode("unicode_escape").decode()  # as `repr` and `visible` show what does not print
            yield from (form, escaped, repr(form)[1:-1], repr(os.fsencode(form))[2:-1], escaped.replace("\\\\", "\\"))
        yield from (
            quote(meant, safe, errors=errors) for safe in ("", "/") for errors in ("replace", "surrogateescape")
        )
