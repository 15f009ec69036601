"""Times of a segment under keys that are not read: the whole recording would be taken for its text
without a word. Pure: no file is touched here.

Data sets whose audio is cut already keep such columns too (`begin_time`, `end_time`); there they
tell the length of the file, in whichever unit, and nothing is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from orchestrator.corpus.manifest_errors import UnusableError

Role = Literal["start", "end", "length"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("start", "begin", "from", "onset", "tmin", "xmin"), "start"),
    **dict.fromkeys(("starttime", "begintime"), "start"),
    **dict.fromkeys(("end", "stop", "to", "tmax", "xmax", "endtime"), "end"),
    **dict.fromkeys(("length", "len", "dur", "duration"), "length"),
}
"""Words of a key that say which end of a segment it is."""
_SECOND, _FRAMES = 1, 0
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), _SECOND),
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1000),
    **dict.fromkeys(("frame", "frames", "sample", "samples"), _FRAMES),
}
"""Words of a key that tell how many of what it counts make a second."""
_PARTS = {"segment", "seg", "clip", "audio", "utterance", "utt"}
"""Of what they are the times; two keys of one segment have the same."""
_SAY_NOTHING = {"t", "time", "timestamp", "ts", "offset"}
_BOTH = ("segment", "timestamp", "timestamps", "span", "interval")
"""Keys that hold both ends."""
_FRAME_RATES = (16_000, 100, 50, 30, 25, 24)
"""A second, of what is called frames: samples, features, and pictures of a video."""
_FORMER_RATES = (8_000, 22_050, 44_100, 48_000)
"""Of a file before it was resampled, whose length may still be told from 0 on."""
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")
_PAIR = re.compile(r"[\[(]\s*([^\[(,;]+?)\s*[,;]\s*([^\[(,;]+?)\s*[\])]")
_SHORTEST = 0.1
"""Seconds, of a part in which something is said."""
_ROUNDED = 0.02
"""Seconds that times may differ by that were rounded."""
_TOLERANCE = 0.3
"""Seconds; lhotse calls a larger difference between a cut and its audio serious."""


@dataclass(frozen=True)
class _Time:
    """What a key means."""

    key: str
    role: Role
    unit: int | None
    """How many make a second; `_FRAMES` for an unknown number, None where the key does not tell."""
    part: frozenset[str]
    by_itself: bool
    """False for from and to, which are people and languages too."""
    words: frozenset[str]


def time_keys(record: Mapping[str, Any]) -> set[str]:
    """The keys of a record that mean times of a segment."""
    return {time.key for time in _times_of(record)} | {
        key for key in record if _spelled(key) in _BOTH
    }


def span_keys(names: Iterable[str]) -> tuple[str, str] | None:
    """The keys of the start and of the end or the length of a segment, where these are the only ones of
    their kind that mean it by themselves.
    """
    times = [time for time in _times_of(dict.fromkeys(names)) if time.by_itself]
    starts, ends, lengths = (
        [time.key for time in times if time.role == role and time.unit != _FRAMES]
        for role in ("start", "end", "length")
    )
    last = ends or lengths
    return (starts[0], last[0]) if len(starts) == 1 == len(last) else None


def span_in_seconds(
    first: str, start: object, last: str, end: object
) -> tuple[float, float] | None:
    """Begin and end of a segment that `first` and `last`, as `span_keys` gives them, hold; None where one of
    them is no time.
    """
    told = _number(start), _number(end)
    keys = _meaning(first), _meaning(last)
    if None in told or None in keys:
        return None
    begin, until = (
        float(value or 0) / ((key and key.unit) or _SECOND)
        for key, value in zip(keys, told, strict=True)
    )
    is_length = keys[1] is not None and keys[1].role == "length"
    return begin, round(begin + until, 6) if is_length else until


def is_end(record: Mapping[str, Any]) -> bool:
    """Whether the `offset` of a record is where its segment ends: its `onset` is before that, by its
    `duration` where it has one.
    """
    offset, duration = _number(record.get("offset")), _number(record.get("duration"))
    if offset is None:
        return False
    onsets = (_number(record[time.key]) for time in _times_of(record) if "onset" in time.words)
    return any(
        onset < offset and (duration is None or abs(offset - onset - duration) <= _TOLERANCE)
        for onset in onsets
        if onset is not None
    )


def told_start(extra: Mapping[str, Any], duration: float | None, length: float) -> float | None:
    """The start in seconds of a part of a file of `length` seconds that a record of a `duration` tells
    without an offset: its start and its end, which that lies between. None where it tells none.
    """
    if duration is None or abs(duration - length) <= _TOLERANCE:
        return None
    times = [time for time in _times_of(extra) if time.by_itself and time.unit in (None, _SECOND)]
    told = {time.role: _number(extra[time.key]) for time in times}
    start, end = told.get("start"), told.get("end")
    if len(times) != 2 or start is None or end is None:
        return None
    agree = start >= 0 and abs(end - start - duration) <= _ROUNDED
    return start if agree and end <= length + _ROUNDED else None


def refuse_unread_times(extra: Mapping[str, Any], seconds: float, rate: int, name: str) -> None:
    """Raise UnusableError where `extra`, the keys of a record that nothing was made of, tell a
    segment of another length than the `seconds` at `rate` Hz that the record takes of the file
    `name`.
    """
    for key, value in extra.items():
        ends = _two_ends(value) if _spelled(key) in _BOTH else None
        if ends and _is_part(*ends, None, seconds, rate):
            told = f'"{key}" is {ends[0]:g} to {ends[1]:g}, which is not read'
            raise UnusableError(_taken_whole(told, seconds, name))
    times = _times_of(extra)
    for first, last in product(times, times):
        if _belong_together(first, last):
            _refuse_span(first, last, extra, (seconds, rate), name)


def refuse_unread_end(extra: Mapping[str, Any], offset: float, seconds: float, name: str) -> None:
    """Raise UnusableError where a record without a duration tells another end than that of the file
    `name`, which lasts `seconds`.
    """
    for time in _times_of(extra):
        number = _number(extra[time.key])
        if number is None or time.role == "start" or not time.by_itself or time.unit == _FRAMES:
            continue
        told = number / (time.unit or _SECOND)
        end = told if time.role == "end" else offset + told
        if (time.role == "end" or not time.part) and offset < end < seconds - _TOLERANCE:
            raise UnusableError(
                f'"{time.key}" is {told:g}, which is not read, and {name} would be taken from {offset:g} s to its end '
                f'at {seconds:.2f} s; write the length in seconds as "duration"'
            )


def _belong_together(first: _Time, last: _Time) -> bool:
    """Whether two keys are the start of a segment, and its end or its length."""
    if first.role != "start" or last.role == "start" or first.part != last.part:
        return False
    units = {first.unit, last.unit}
    return last.role == "length" or len(units) == 1 or units == {None, _SECOND}


def _refuse_span(
    first: _Time, last: _Time, extra: Mapping[str, Any], file: tuple[float, int], name: str
) -> None:
    start, end = _number(extra[first.key]), _number(extra[last.key])
    if start is None or end is None:
        return
    unit = last.unit if first.by_itself and last.by_itself else _SECOND
    if not _is_part(start, start + end if last.role == "length" else end, unit, *file):
        return
    told = f'"{first.key}" is {start:g} and "{last.key}" is {end:g}, which are not read'
    raise UnusableError(_taken_whole(told, file[0], name))


def _taken_whole(told: str, seconds: float, name: str) -> str:
    return (
        f"{told}, and {name} would be taken whole, {seconds:.2f} s; a segment is written in seconds as "
        f'"offset" and "duration": the start and the length; where these are no times of it, take them out'
    )


def _is_part(start: float, end: float, unit: int | None, seconds: float, rate: int) -> bool:
    """Whether a span means a part of the file, in any unit that it may be told in. One that lies
    outside of it is of what the audio was cut from, or no time at all.
    """
    if not 0 <= start < end or _is_whole(end - start, unit, seconds, rate):
        return False
    if start == 0 and any(abs(end / each - seconds) <= _SHORTEST for each in _FORMER_RATES):
        return False
    others = {None: (_SECOND, 1000, rate), _FRAMES: (rate, *_FRAME_RATES)}.get(unit, (unit or 1,))
    return any(
        each and end / each <= seconds + _TOLERANCE and (end - start) / each >= _SHORTEST
        for each in others
    )


def _is_whole(span: float, unit: int | None, seconds: float, rate: int) -> bool:
    """Whether a span is the file: its audio is cut already. Of a key that tells no unit it may be
    milliseconds or samples.
    """
    if unit == 1000:
        return abs(span / 1000 - seconds) <= _TOLERANCE
    if unit != _FRAMES and abs(span - seconds) <= _TOLERANCE:
        return True
    others = {None: (1000, rate), _FRAMES: (rate, *_FRAME_RATES)}.get(unit, ())
    near = min(_TOLERANCE, seconds / 10)
    return any(each and abs(span / each - seconds) <= near for each in others)


def _times_of(record: Mapping[str, Any]) -> list[_Time]:
    """The keys of a record that mean times. An offset beside an onset is an end."""
    times = [time for time in map(_meaning, record) if time]
    if not any("onset" in time.words for time in times):
        return times
    return [
        replace(time, role="end")
        if "offset" in time.words and _ROLES.keys().isdisjoint(time.words)
        else time
        for time in times
    ]


@lru_cache(maxsize=1024)
def _meaning(key: str) -> _Time | None:
    """`End Time`, `endTime` and `end_time` are one. Kept: a manifest has the same keys in every
    record, and 20,000 of them are read before a sweep starts.
    """
    words = frozenset(re.findall(r"[a-z]+", _spelled(key)))
    said = words & _ROLES.keys()
    rest = words - said - _UNITS.keys()
    unit = next((_UNITS[word] for word in words if word in _UNITS), None)
    if len(said) == 1 and rest <= _PARTS | _SAY_NOTHING:
        role = _ROLES[next(iter(said))]
    elif not said and rest == {"offset"}:
        role = "start"
    elif not said and rest == {"num"} and unit == _FRAMES:
        role = "length"
    else:
        return None
    by_itself = said.isdisjoint({"from", "to"})
    return _Time(key, role, unit, rest & _PARTS, by_itself, words)


def _spelled(key: str) -> str:
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip())).lower()


def _two_ends(value: Any) -> tuple[float, float] | None:
    """Of a list of two, or of a cell that shows one."""
    if isinstance(value, str) and (found := _PAIR.fullmatch(value.strip())):
        value = list(found.groups())
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    start, end = map(_number, value)
    return None if start is None or end is None else (start, end)


def _number(value: Any) -> float | None:
    """A number of JSON, or of a cell of a table, or the seconds of a clock; None for what is
    none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, rest = clock.groups(default="0")
        return 3600 * int(hours) + 60 * int(minutes) + float(rest.replace(",", "."))
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
