"""Times of a segment under keys that are not read: the whole recording would be taken for its text
without a word. Pure: no file is touched here.

Data sets whose audio is cut already keep such columns too (`begin_time`, `end_time`); there they
tell the length of the file, and nothing is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from orchestrator.corpus.manifest_errors import UnusableError

_PAIRS = (
    ("start", "end"),
    ("start", "stop"),
    ("tmin", "tmax"),
    ("xmin", "xmax"),
    ("start_time", "end_time"),
    ("begin_time", "end_time"),
    ("begin", "end"),
    ("start_sec", "end_sec"),
    ("segment_start", "segment_end"),
    ("segment_start_time", "segment_end_time"),
    ("start_ms", "end_ms"),
)
_KEYS = frozenset((*chain.from_iterable(_PAIRS), "segment"))
_ENDS = frozenset(last for _, last in _PAIRS)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")
_TOLERANCE = 0.3
"""Seconds; lhotse calls a larger difference between a cut and its audio serious."""


def refuse_unread_times(extra: Mapping[str, Any], seconds: float, name: str) -> None:
    """Raise UnusableError where `extra`, the keys of a record that nothing was made of, tell a
    segment of another length than the `seconds` that the record takes of the file `name`.
    """
    written = _times_of(extra)
    segment = extra.get(written.get("segment", ""))
    if isinstance(segment, list) and len(segment) == 2:
        _refuse_span(("segment", segment[0]), ("segment", segment[1]), seconds, name)
    for pair in _PAIRS:
        if all(key in written for key in pair):
            first, last = ((written[key], extra[written[key]]) for key in pair)
            _refuse_span(first, last, seconds, name)


def refuse_unread_end(extra: Mapping[str, Any], offset: float, seconds: float, name: str) -> None:
    """Raise UnusableError where a record without a duration tells another end than that of the file
    `name`, which lasts `seconds`.
    """
    for key, given in _times_of(extra).items():
        end = _seconds(given, extra[given]) if key in _ENDS else None
        if end is not None and offset < end < seconds - _TOLERANCE:
            raise UnusableError(
                f'"{given}" is {end:g}, which is not read, and {name} would be taken from {offset:g} s to its end at '
                f'{seconds:.2f} s; write the length in seconds as "duration"'
            )


def _times_of(extra: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a record that mean times, by how they are spelled above: `End Time` is one."""
    if not extra:
        return {}  # nearly every record; 20,000 of them are read before a sweep starts
    spelled = {re.sub(r"[\s-]+", "_", key.strip().lower()): key for key in extra}
    return {key: given for key, given in spelled.items() if key in _KEYS}


def _refuse_span(first: tuple[str, Any], last: tuple[str, Any], seconds: float, name: str) -> None:
    start, end = _seconds(*first), _seconds(*last)
    if start is None or end is None or end <= start:
        return
    if abs(end - start - seconds) > _TOLERANCE:
        raise UnusableError(
            f'"{first[0]}" is {start:g} and "{last[0]}" is {end:g}, which are not read, and {name} would be taken '
            f"whole, {seconds:.2f} s; a segment is written in seconds as "
            f'"offset" and "duration": the start and the length'
        )


def _seconds(key: str, value: Any) -> float | None:
    """A time of JSON, or of a cell of a table, as a number or a clock; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, rest = clock.groups(default="0")
        return 3600 * int(hours) + 60 * int(minutes) + float(rest.replace(",", "."))
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    number /= 1000 if key.lower().endswith("_ms") else 1
    return number if math.isfinite(number) else None
