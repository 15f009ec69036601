"""Times of a segment under keys that are not read: the whole recording would be taken for its text
without a word. Pure: no file is touched here.

Data sets whose audio is cut already keep such columns too (`begin_time`, `end_time`); there they
tell the length of the file, and nothing is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

from orchestrator.corpus.manifest_errors import UnusableError

_PAIRS = (
    ("start", "end"),
    ("start_time", "end_time"),
    ("begin_time", "end_time"),
    ("begin", "end"),
    ("start_sec", "end_sec"),
    ("segment_start", "segment_end"),
    ("segment_start_time", "segment_end_time"),
    ("start_ms", "end_ms"),
)
_KEYS = frozenset(chain.from_iterable(_PAIRS))
_TOLERANCE = 0.3
"""Seconds; lhotse calls a larger difference between a cut and its audio serious."""


def refuse_unread_times(extra: Mapping[str, Any], seconds: float, name: str) -> None:
    """Raise UnusableError where `extra`, the keys of a record that nothing was made of, tell a
    segment of another length than the `seconds` that the record takes of the file `name`.
    """
    if _KEYS.isdisjoint(extra):
        return  # nearly every record; 20,000 of them are read before a sweep starts
    for first, last in _PAIRS:
        start, end = _number(extra.get(first)), _number(extra.get(last))
        if start is None or end is None or end <= start:
            continue
        if abs(end - start - seconds) > _TOLERANCE:
            raise UnusableError(
                f'"{first}" is {start:g} and "{last}" is {end:g}, which are not read, and {name} would be taken '
                f"whole, {seconds:.2f} s; a segment is written in seconds as "
                f'"offset" and "duration": the start and the length'
            )


def _number(value: Any) -> float | None:
    """A time of JSON, or of a cell of a table; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
