"""Reading times as records and tables write them: numbers, clocks, and two of them in one value; and recognising times
in spellings that are not read, so that they can be refused. Pure.
"""

from __future__ import annotations

import math
import re
from typing import Any

from orchestrator.corpus.label_files.segments import UNTIL

_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,9}):(\d+(?:[.,]\d+)?)")
_PAIR = re.compile(r"[\[(]([^\[(,;]+)[,;]([^\[(,;]+)[\])]|(\S+)\s*-+>\s*(\S+)")
_EXACT = r"(?:\d+:)+\d+(?:\.\d+)?|\d+\.\d+"
_RANGE = re.compile(rf"({_EXACT})(?:\s*(?:[-–—~,;]|{UNTIL})\s*|\s+)({_EXACT})")
"""`00:01-00:05` or `1.5 to 2.5`; `1-5` and `2020-01-01` may be anything."""
_FRAMES_A_SECOND = 30
_TIMECODE = re.compile(r"(\d{1,9}):(\d\d):(\d\d)[:;](\d\d)")
"""Hours, minutes, seconds and frames, as editors of video print them."""
_WITH_UNIT = re.compile(
    r"(?:PT)?(?:(?P<h>\d{1,9}) ?(?:h(?:ours?|rs?|eures?|oras?)?|std|stunden?|ore|uur)\.? ?)?"
    r"(?:(?P<m>\d{1,9}) ?m(?:in(?:ut(?:[eio]s?|en))?s?)?\.? ?)?(?P<s>\d+(?:[.,]\d+)?) ?"
    r"(?P<unit>(?:m(?:ill?i)?)?s(?:e[ck](?:ond[aeio]?)?s?|ekunden?|econden|egundos?)?)\.?",
    re.IGNORECASE,
)
"""`1.5s`, `1500 ms`, `1m05s`, `1,5 Sek.` and ISO 8601's `PT1.5S`."""


def number_of(value: Any) -> float | None:
    """Return the value of a JSON number or of a table's cell, or the seconds of a clock; None for
    any other value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, rest = clock.groups(default="0")
        return 3600 * int(hours) + 60 * int(minutes) + _decimal(rest)
    try:
        number = _decimal(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def seconds_in_words(value: Any) -> float | None:
    """Return the seconds of a time with its unit, or roughly of one with frames; None for any other value."""
    if not isinstance(value, str):
        return None
    if code := _TIMECODE.fullmatch(value.strip()):
        hours, minutes, seconds, frames = map(int, code.groups())
        return 3600 * hours + 60 * minutes + seconds + frames / _FRAMES_A_SECOND
    if told := _WITH_UNIT.fullmatch(value.strip()):
        scale = 1000 if told["unit"].lower().startswith("m") else 1
        return 3600 * int(told["h"] or 0) + 60 * int(told["m"] or 0) + _decimal(told["s"]) / scale
    return None


def seconds_of(value: Any) -> float | None:
    """Return a time in any spelling, a number as it stands; None for any other value."""
    number = number_of(value)
    return seconds_in_words(value) if number is None else number


def pair_of(value: Any) -> Any:
    """Return two times as a list, where a cell shows them; any other value as it is."""
    if not isinstance(value, str):
        return value
    found = _PAIR.fullmatch(value.strip()) or _RANGE.fullmatch(value.strip())
    return [text.strip() for text in found.groups() if text is not None] if found else value


def _decimal(text: str) -> float:
    return float(text.replace(",", "."))
