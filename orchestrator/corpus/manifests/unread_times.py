"""Detects times of a segment under keys that are not read, because the whole recording would
silently be taken for the segment's text. Pure: no file is touched here.

Data sets whose audio is cut already keep such columns too (`begin_time`, `end_time`); there they
tell the length of the file, in whichever unit, and nothing is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.manifests.time_values import (
    number_of,
    pair_of,
    seconds_in_words,
    seconds_of,
)
from orchestrator.corpus.manifests.time_words import (
    AMBIGUOUS,
    EDGES,
    FRAMES,
    PARTS,
    ROLES,
    SAY_NOTHING,
    SECOND,
    SHORT,
    TRANSLATED,
    UNITS,
    WHOLES,
    Role,
)

_BOTH = ("segment", "timestamp", "timestamps", "time", "times", "span", "interval")
"""Keys whose value holds both the start and the end."""
_FROM_TO = ("from", "to")
_REGIONS = ("label", "labels", "region", "regions")
"""Keys whose value may hold a list of regions, as Label Studio exports them."""
_FRAME_RATES = (16_000, 100, 50, 30, 25, 24)
"""The numbers per second of what may be called frames: samples, features, and pictures of
a video.
"""
_FORMER_RATES = (8_000, 22_050, 44_100, 48_000)
"""Sample rates in Hz that a file may have had before it was resampled; its length may still be told
in them, from 0 on.
"""
_SHORTEST = 0.1
"""Seconds, at least, of a part in which something is said."""
_ROUNDED = 0.02
"""Seconds by which times may differ through rounding."""
TOLERANCE = 0.3
"""Seconds. lhotse calls a larger difference between a cut and its audio serious."""


@dataclass(frozen=True)
class _Time:
    """A key that means a time, and what it means."""

    key: str
    role: Role
    unit: int | None
    """How many of its unit make a second; `FRAMES` for frames of an unknown rate, None where the
    key does not tell the unit.
    """
    part: frozenset[str]
    """The words of the key that say what the time is of, as in `PARTS`."""
    by_itself: bool
    """Whether the key surely means a time of a segment; false for from and to, which may also be
    people and languages, for the like, and for the length of what the audio was cut from.
    """
    words: frozenset[str]
    """All words of the key."""


def time_keys(record: Mapping[str, Any]) -> set[str]:
    """Return the keys of a record that mean times of a segment."""
    return {time.key for time in _times_of(record)} | {
        key for key in record if _spelled(key) in _BOTH
    }


def span_keys(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the key of a segment's start and that of its end, or else of its length, where each is the only one of
    its kind that surely means a time, in English; None elsewhere. Times in what the audio was cut from count only
    where there is no other start.
    """
    times = [
        time
        for time in _times_of(dict.fromkeys(names))
        if time.by_itself and time.words.isdisjoint(TRANSLATED)
    ]
    of_audio = [time for time in times if time.part.isdisjoint(WHOLES)]
    times = of_audio if any(time.role == "start" for time in of_audio) else times
    starts, ends, lengths = (
        [time.key for time in times if time.role == role and time.unit != FRAMES]
        for role in ("start", "end", "length")
    )
    last = ends or lengths
    return (starts[0], last[0]) if len(starts) == 1 == len(last) else None


def span_in_seconds(
    first: str, start: object, last: str, end: object
) -> tuple[float, float] | None:
    """Return the begin and the end of a segment, which stand under the keys `first` and `last` that `span_keys`
    returned, in seconds; None where one of the values is no time.
    """
    told = number_of(start), number_of(end)
    keys = _meaning(first), _meaning(last)
    if None in told or None in keys:
        return None
    begin, until = (
        float(value or 0) / ((key and key.unit) or SECOND)
        for key, value in zip(keys, told, strict=True)
    )
    is_length = keys[1] is not None and keys[1].role == "length"
    return begin, round(begin + until, 6) if is_length else until


def is_end(record: Mapping[str, Any]) -> bool:
    """Whether the `offset` of a record is where its segment ends: the record has an `onset` before
    it, which agrees with its `duration` where it has one.
    """
    offset, duration = number_of(record.get("offset")), number_of(record.get("duration"))
    if offset is None:
        return False
    onsets = (number_of(record[time.key]) for time in _times_of(record) if "onset" in time.words)
    return any(
        onset < offset and (duration is None or abs(offset - onset - duration) <= TOLERANCE)
        for onset in onsets
        if onset is not None
    )


def told_start(extra: Mapping[str, Any], duration: float | None, length: float) -> float | None:
    """Return the start, in seconds, of the part of a file that a record means which has no offset
    but a `duration`, a start and an end that agree; None where it means no such part. `length` is
    that of the file in seconds.
    """
    if duration is None or abs(duration - length) <= TOLERANCE:
        return None
    times = [time for time in _times_of(extra) if time.by_itself and time.unit in (None, SECOND)]
    starts, ends = (
        [number_of(extra[time.key]) for time in times if time.role == role]
        for role in ("start", "end")
    )
    agreeing = {
        start
        for start, end in product(starts, ends)
        if start is not None and end is not None
        if start >= 0 and abs(end - start - duration) <= _ROUNDED and end <= length + _ROUNDED
    }
    return agreeing.pop() if len(agreeing) == 1 else None


def refuse_unread_times(extra: Mapping[str, Any], seconds: float, rate: int, name: str) -> None:
    """Raise UnusableError where `extra`, the keys of a record that no field was made of, tells a
    segment of another length than the file `name`, which the record takes whole: `seconds` long, at
    `rate` Hz.
    """
    for key, value in extra.items():
        ends = _two_ends(_only_region(value)) if _spelled(key) in _BOTH + _REGIONS else None
        if ends and _is_part(*ends, None, seconds, rate):
            told = f'"{key}" is {ends[0]:g} to {ends[1]:g}, which is not read'
            raise UnusableError(_taken_whole(told, seconds, name))
    times = _times_of(extra)
    for first, last in product(times, times):
        if _belong_together(first, last):
            _refuse_span(first, last, extra, (seconds, rate), name)
    ends_alone = [time for time in times if time.role == "end" and time.by_itself]
    if len(ends_alone) == 1 and not any(time.role == "start" for time in times):
        # writers that leave out what is 0 leave out such a start
        [last] = ends_alone
        end, unit = _told(last, extra)
        if end is not None and _is_part(0, end, unit, seconds, rate):
            told = f'"{last.key}" is {end:g}, which is not read'
            raise UnusableError(_taken_whole(told, seconds, name))


def refuse_unread_end(extra: Mapping[str, Any], offset: float, seconds: float, name: str) -> None:
    """Raise UnusableError where a record with an offset and without a duration tells, under a key
    that is not read, another end than that of the file `name`, which lasts `seconds`.
    """
    for time in _times_of(extra):
        number, unit = _told(time, extra)
        if number is None or time.role == "start" or not time.by_itself or unit == FRAMES:
            continue
        told = number / (unit or SECOND)
        end = told if time.role == "end" else offset + told
        if (time.role == "end" or not time.part) and offset < end < seconds - TOLERANCE:
            raise UnusableError(
                f'"{time.key}" is {told:g}, which is not read, and {name} would be taken from {offset:g} s to its end '
                f'at {seconds:.2f} s; write the length in seconds as "duration"'
            )


def _told(time: _Time, record: Mapping[str, Any]) -> tuple[float | None, int | None]:
    """Return the number that a key holds, None where that is no time; and its unit, which the value may tell itself."""
    number = number_of(record[time.key])
    if number is None:
        return seconds_in_words(record[time.key]), SECOND
    return number, time.unit


def _belong_together(first: _Time, last: _Time) -> bool:
    """Whether two keys are the start of one segment, and its end or its length."""
    if first.role != "start" or last.role == "start" or first.part != last.part:
        return False
    units = {first.unit, last.unit}
    return last.role == "length" or len(units) == 1 or units == {None, SECOND}


def _refuse_span(
    first: _Time, last: _Time, extra: Mapping[str, Any], file: tuple[float, int], name: str
) -> None:
    """Raise UnusableError where two keys tell a part of the file, whose length and rate
    are `file`.
    """
    (start, _), (end, own_unit) = _told(first, extra), _told(last, extra)
    if start is None or end is None:
        return
    # from and to without a unit are taken for times only where they would be seconds of the file
    unit = own_unit if first.by_itself and last.by_itself else own_unit or SECOND
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
    """Whether a span means a part of the file, in any unit that it may be told in. A span that lies
    outside of the file is one of what the audio was cut from, or no time at all.
    """
    if not 0 <= start < end or _is_whole(end - start, unit, seconds, rate):
        return False
    if start == 0 and any(abs(end / each - seconds) <= _SHORTEST for each in _FORMER_RATES):
        return False
    others = {None: (SECOND, 1000, rate), FRAMES: (rate, *_FRAME_RATES)}.get(unit, (unit or 1,))
    return any(
        each and end / each <= seconds + TOLERANCE and (end - start) / each >= _SHORTEST
        for each in others
    )


def _is_whole(span: float, unit: int | None, seconds: float, rate: int) -> bool:
    """Whether a span is the whole file, because the audio is cut already. Where the key tells no
    unit it may be in milliseconds or samples.
    """
    if unit == 1000:
        return abs(span / 1000 - seconds) <= TOLERANCE
    if unit != FRAMES and abs(span - seconds) <= TOLERANCE:
        return True
    others = {None: (1000, rate), FRAMES: (rate, *_FRAME_RATES)}.get(unit, ())
    near = min(TOLERANCE, seconds / 10)
    return any(each and abs(span / each - seconds) <= near for each in others)


def _times_of(record: Mapping[str, Any]) -> list[_Time]:
    """Return the keys of a record that mean times. An offset beside an onset is an end."""
    times = [time for time in map(_meaning, record) if time]
    if not any("onset" in time.words for time in times):
        return times
    return [
        replace(time, role="end")
        if "offset" in time.words and ROLES.keys().isdisjoint(time.words)
        else time
        for time in times
    ]


@lru_cache(maxsize=1024)
def _meaning(key: str) -> _Time | None:
    """Return what a key means; None where it means no time. `End Time`, `endTime` and `end_time`
    are the same. Cached, because a manifest has the same keys in each of its 20,000 records.
    """
    spelled = _spelled(key)
    words = frozenset(
        part
        for word in re.findall(r"[^\W\d_]+", SHORT.get(spelled, spelled))
        for part in ([word] if word in ROLES or word in UNITS else re.findall("[a-z]+", word))
    )
    said = words & ROLES.keys() or (words & EDGES.keys() if "offset" not in words else set())
    rest = words - said - UNITS.keys()
    unit = next((UNITS[word] for word in words if word in UNITS), None)
    of_anything = said & {"first", "last"} and unit != FRAMES
    if of_anything or words in ({"sentence", "length"}, {"phrase", "length"}):
        return None  # a sentence is as long as its words are many
    if len(said) == 1 and rest <= PARTS | SAY_NOTHING:
        role = {**EDGES, **ROLES}[next(iter(said))]
    elif not said and rest - PARTS == {"offset"}:
        role = "start"
    elif not said and rest in ({"num"}, {"n"}) and unit == FRAMES:
        role = "length"
    else:
        return None
    of_whole = role == "length" and not rest.isdisjoint(WHOLES)
    by_itself = said.isdisjoint(AMBIGUOUS) and not of_whole
    return _Time(key, role, unit, rest & PARTS, by_itself, words)


def _spelled(key: str) -> str:
    """Return a key in lower case, with underscores between its words."""
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip())).lower()


def _two_ends(value: Any) -> tuple[float, float] | None:
    """Return the start and end that a list of two, a mapping, or a table cell that shows them,
    holds; None for any other value.
    """
    value = pair_of(value)
    if isinstance(value, Mapping):
        keys = span_keys(map(str, value)) or (_FROM_TO if value.keys() >= {*_FROM_TO} else None)
        return None if keys is None else span_in_seconds(*_with_values(keys, value))
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    start, end = map(seconds_of, value)
    return None if start is None or end is None else (start, end)


def _only_region(value: Any) -> Any:
    """Return the only mapping of a list of regions, which in a table is a cell of JSON; any other
    value as it is.
    """
    if isinstance(value, str) and value.startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    is_list = isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping)
    return value[0] if is_list else value


def _with_values(
    keys: tuple[str, str], value: Mapping[str, Any]
) -> tuple[str, object, str, object]:
    first, last = keys
    return first, value[first], last, value[last]
