"""Detects the rows of a table among the words of a `.txt`: lines that have times in the places where a table has them.
Read as plain text, the times would be learnt as if they were said. Pure.

Numbers are said, too, so those that people may say count only where several lines have them, later in each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.corpus.label_files.segments import seconds

CLOCK = r"(?:\d{1,2}:)?\d{1,3}:\d\d(?:[.,]\d+)?"
"""A regular expression for `0:05` and `00:00:05.500`."""
NUMBER = r"\d+(?:[.,]\d+)?"
EXACT = r"\d+[.,]\d+"
"""Regular expressions for a number, and for one with decimals."""
TIME = re.compile(rf"{NUMBER}|{CLOCK}")
"""A time, in seconds or as a clock."""
_WRITTEN = rf"-?(?:{EXACT}(?:[eE]-?\d+)?|\d+[eE]-\d+)"
_TABBED = re.compile(rf"{_WRITTEN}\t+{_WRITTEN}\t")
"""The beginning of a row of labels, which nobody says."""
_SPACED_ROW = re.compile(
    rf"(?:(?=[^\sA-Za-z]*[A-Za-z][^\s\d]*\d)\S+\s+)?({EXACT})(?:\s*+[,;|–-]\s*+|\s++)({EXACT})[\s,;|]\s*+(?=.*[^\W\d_]).+"
)
"""A row such as `0.0 2.5 hello`, or one with a name before it, as Switchboard has. Only several of
them prove anything, because people say such numbers too.
"""
_SPAN_WITHIN = re.compile(rf"(?:\S+\s+)?({EXACT})\s+({EXACT})(?:\s.*)?|.*\s({EXACT})\s+({EXACT})")
"""The two times of a row such as `anna 0.0 2.5 hello` or `hello 0.0 2.5`; several of them follow one another."""
_START = re.compile(
    rf"({EXACT})(?: ?s)?(?P<gap>\t\s*+|\s*+[|;)]\s*+|:?\s++)(?=.*[^\W\d_])(?!{EXACT}).+"
)
"""A row such as `0.5 hello` or `0.5s: hello`, of a start alone; numbers of chapters are read aloud in the same form."""
_WHOLE_ROW = re.compile(r"(\d+)\s+(\d+)\s+(?=.*[^\W\d_]).+")
"""A row such as `500 1500 hello there`, in milliseconds; several of them follow one another."""
_LOOKED_AT = 5
"""The number of lines at the beginning by which a table is recognised."""
_SEVERAL = 3
"""The number of starts from which on they are hardly said."""
_LATE = 1.0
"""Seconds by which programs let the last part end after its recording does."""
_MILLISECONDS = 100
"""What the shortest part lasts at least, in milliseconds, or in samples, of which it has more."""
_HIGHEST_RATE = 48_000
"""Samples in a second, at most, in which programs tell times."""


@dataclass(frozen=True)
class Line:
    """A line of a text that is not blank."""

    number: int
    text: str
    opens: bool
    """Whether it begins a paragraph: it is the first line, or a blank one precedes it."""


def first_row(lines: Sequence[Line], length: float) -> Line | None:
    """Return the first line of a table in which every row has at least two times, after a first row
    that may name the columns; None where the text is no table of a recording of `length` seconds.
    """
    if sure := next((line for line in lines if _TABBED.match(line.text)), None):
        return sure
    rows = list(lines[:_LOOKED_AT])
    spaced = [_SPACED_ROW.fullmatch(row.text) for row in rows]
    if len(rows) > 1 and all(row and seconds(row[1]) < seconds(row[2]) for row in spaced):
        return rows[0]
    if _are_whole_rows(rows, length) or _have_spans(lines, length) or _have_starts(lines, length):
        return rows[0]
    if len(rows) > 1 and rows[0].text.count("\t") > 1 and not _times_between_tabs(rows[0]):
        rows = rows[1:]
    named = all(re.search(r"[^\W\d_]", row.text) for row in rows)
    return rows[0] if rows and named and all(_times_between_tabs(row) > 1 for row in rows) else None


def _have_spans(lines: Sequence[Line], length: float) -> bool:
    """Whether each of several lines has two times, those of parts of the recording that follow one another."""
    rows = [row for line in lines if (row := _SPAN_WITHIN.fullmatch(line.text))]
    spans = [tuple(map(seconds, filter(None, row.groups()))) for row in rows]
    in_order = all(one[0] < later[0] for one, later in pairwise(spans))
    are_parts = all(begin < end <= length + _LATE for begin, end in spans)
    return len(spans) == len(lines) > 1 and in_order and are_parts


def _have_starts(lines: Sequence[Line], length: float) -> bool:
    """Whether each of several lines begins with a time of the recording that is later than those before it. Those that
    all lie at its beginning may be numbers of chapters.
    """
    found = [row for line in lines if (row := _START.fullmatch(line.text))]
    starts = [seconds(row[1]) for row in found]
    later = all(one < other for one, other in pairwise(starts))
    if not (len(found) == len(lines) > 1 and later and starts[-1] <= length):
        return False
    set_apart = all(row["gap"].startswith("\t") or "|" in row["gap"] for row in found)
    spread = length == math.inf or 2 * starts[-1] >= length
    return set_apart or (len(found) >= _SEVERAL and spread)


def _are_whole_rows(rows: Sequence[Line], length: float) -> bool:
    """Whether all rows begin with the whole numbers of a part of the recording: in seconds, where the parts follow
    one another without a pause or the first begins at 0, or else in milliseconds or samples, in which a part is as
    long as a word at least. `1 2 buckle my shoe` and the years of a war are said.
    """
    spans = _whole_spans(rows)
    if not spans:
        return False
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    shortest = min(end - begin for begin, end in spans)
    in_order = min(gaps) >= 0 and (len(spans) > 2 or not any(gaps))
    in_seconds = spans[-1][1] <= length + _LATE and (not any(gaps) or spans[0][0] == 0)
    in_parts = shortest >= _MILLISECONDS and spans[-1][1] <= (length + _LATE) * _HIGHEST_RATE
    return in_order and (in_seconds or in_parts)


def begins_with_whole_spans(lines: Sequence[Line]) -> bool:
    """Whether each of the first lines begins with two whole numbers, of which the second is the larger."""
    return bool(_whole_spans(lines[:_LOOKED_AT]))


def _whole_spans(rows: Sequence[Line]) -> list[tuple[int, int]]:
    """Return the two whole numbers with which each of several rows begins, where the second is the larger in all;
    empty for other rows.
    """
    found = [row for line in rows if (row := _WHOLE_ROW.fullmatch(line.text))]
    spans = [(int(row[1]), int(row[2])) for row in found]
    several = len(found) == len(rows) > 1
    return spans if several and all(begin < end for begin, end in spans) else []


def _times_between_tabs(line: Line) -> int:
    """Return the number of cells between tabs that are times."""
    return sum(TIME.fullmatch(cell.strip()) is not None for cell in line.text.split("\t"))
