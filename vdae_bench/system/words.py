"""Quantities as people write and read them: durations, floating point operations, the nearest known word."""

from __future__ import annotations

import difflib
import re
import shlex
import unicodedata
from collections.abc import Iterable
from typing import Any

from vdae_bench.errors import UserError


def duration(seconds: float) -> str:
    """A duration in words for people.

    >>> duration(7), duration(200), duration(9000)
    ('7 s', '3 min 20 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def parse_duration(text: str) -> float:
    """Number of seconds in a word such as 90s, 30m, 1.5h.

    Raises:
        UserError: it is no such word.

    >>> parse_duration("1.5h")
    5400.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0.0
    if not 0 < seconds < LONGEST_SECONDS:
        raise UserError(f"a time is written as 90s, 30m or 8h, not {text[:40]!r}")
    return seconds


LONGEST_SECONDS = 1e9
"""Bound on times that are asked for: 30 years."""


def quoted(word: str) -> str:
    r"""A word as bash, zsh and ksh read it, in text that is Unicode and prints: other bytes are escaped.

    >>> print(quoted("a b"), quoted("caf\udce9"), quoted("a\nb"))
    'a b' $'caf\xe9' $'a\x0ab'
    """
    if word.isprintable():
        return shlex.quote(word)
    parts = (each if each.isprintable() and each not in "'\\" else _escaped(each) for each in word)
    return f"$'{''.join(parts)}'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def number(value: float) -> str:
    """A number as it names things: in six digits where they are all of it, else in as many as tell it from any other.

    >>> number(-3.0), number(0.1), number(0.12345678), number(1e-9)
    ('-3', '0.1', '0.12345678', '1e-09')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def reason(error: BaseException) -> str:
    """The text of an error, or its kind where it says nothing.

    >>> reason(ValueError("out of range")), reason(NotImplementedError())
    ('out of range', 'NotImplementedError')
    """
    return str(error).strip() or type(error).__name__


def first_line(error: BaseException) -> str:
    r"""The first line of what an error says, or its kind where it says nothing.

    >>> first_line(ValueError("a\nb")), first_line(MemoryError())
    ('a', 'MemoryError')
    """
    return reason(error).splitlines()[0]


def visible(text: str) -> str:
    r"""A text of one line in which all that would be obeyed and not shown is written out: controls, ends of lines.

    >>> print(visible("a\x1b[2Jb\nc\u202e"))
    a\x1b[2Jb\nc\u202e
    """
    return "".join(each if _is_shown(each) else each.encode("unicode_escape").decode() for each in text)


def _is_shown(character: str) -> bool:
    """True for what is no control, format, surrogate, private or unassigned character and ends no line."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


FLOP_UNITS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"))


def seconds(value: float) -> str:
    """A number of seconds in digits, to three of them or to the hundredth.

    >>> seconds(1234.5), seconds(31.4159), seconds(0.0123)
    ('1234', '31.4', '0.01')
    """
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2f}"


def measured_seconds(seconds: float | None) -> str:
    """A measured time to three digits, in the unit that suits it; empty where none was measured.

    >>> measured_seconds(0.01234), measured_seconds(4.5), measured_seconds(None)
    ('12.3 ms', '4.5 s', '')
    """
    if seconds is None:
        return ""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def rough_duration(value: float) -> str:
    """A time to three digits, in seconds, minutes or hours.

    >>> rough_duration(90), rough_duration(2700), rough_duration(36000), rough_duration(7.5e6)
    ('90 s', '45 min', '10 h', '2,083 h')
    """
    if value < 120:
        return f"{value:.3g} s"
    if value < 7200:
        return f"{value / 60:.3g} min"
    return f"{value / 3600:,.0f} h" if value >= 3.6e6 else f"{value / 3600:.3g} h"


def core_hours(core_seconds: float) -> str:
    """An amount of work in hours of one core.

    >>> core_hours(36000), core_hours(7.5e6), core_hours(0.1)
    ('10 core-hours', '2,083 core-hours', 'less than 0.01 core-hours')
    """
    hours = core_seconds / 3600
    if 0 < hours < 0.01:
        return "less than 0.01 core-hours"
    return f"{hours:,.0f} core-hours" if hours >= 100 else f"{hours:.3g} core-hours"


def flop_unit(largest: float) -> tuple[float, str]:
    """The unit in which `largest` is 1 to 1000: the floating point operations in it, and its name."""
    return next((unit for unit in FLOP_UNITS if largest >= unit[0]), FLOP_UNITS[-1])


def flops(value: float) -> str:
    """A number of floating point operations, in the unit that suits it.

    >>> flops(2.5e13)
    '25 TFLOP'
    """
    size, name = flop_unit(value)
    return f"{value / size:.3g} {name}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things, its noun in the singular for one of them.

    >>> counted(1, "cell"), counted(2, "cell"), counted(1, "study", "studies"), counted(0, "study", "studies")
    ('1 cell', '2 cells', '1 study', '0 studies')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def nearest(word: str, known: Iterable[Any]) -> str:
    """The words ' (did you mean X?)' with the nearest known word, or nothing.

    Near is a word of nearly the same letters, one that has this one as a part or beginning, or one of these initials.

    >>> nearest("vea", ["vae", "nice"]), nearest("VAE", ["vae"]), nearest("lr", ["epochs", "learning_rate"])
    (" (did you mean 'vae'?)", " (did you mean 'vae'?)", " (did you mean 'learning_rate'?)")
    """
    said = str(word).lower()
    by_lower = {str(each).lower(): str(each) for each in known}
    match = difflib.get_close_matches(said, by_lower, n=1)
    if not match and len(said) > 1:
        match = [each for each in by_lower if said == "".join(part[:1] for part in re.split(r"[-_ ]", each))]
        match += sorted((each for each in by_lower if said in re.split(r"[-_ ]", each)), key=len)
        match += sorted((each for each in by_lower if each.startswith(said)), key=len)
    return f" (did you mean {by_lower[match[0]]!r}?)" if match else ""
