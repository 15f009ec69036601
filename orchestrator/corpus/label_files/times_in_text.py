"""Detects times and names of speakers among the words of a `.txt`, as dictation services, players
and annotation programs print them. Read as plain text, they would be learnt as if they were said.
Pure.

A time of day may be said too, so a single clock is no proof: it must be one that no day has, such
as 00:00:03, or several lines must begin with one, later in each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from orchestrator.corpus.label_files.rows_in_text import (
    CLOCK,
    NUMBER,
    TIME,
    Line,
    begins_with_whole_spans,
    first_row,
)
from orchestrator.corpus.label_files.segments import COLON, COUNTED, NAME, UNTIL, seconds
from orchestrator.corpus.label_files.speakers_in_cues import is_read_aloud
from orchestrator.corpus.manifest_errors import show

_TIMED = re.compile(
    rf"(?:(?P<name>{NAME}) ?)?[\[(]\s*(?P<inside>{CLOCK})(?P<span>\s*(?:-+>?|–|—|{UNTIL})\s*{CLOCK})?\s*[\])]"
    rf"(?P<colon>:?)\s*(?P<said>.*)|(?P<bare>{CLOCK})(?:\s*-+\s*{CLOCK})?(?:$|[\s:|-]+(?P<words>.*))"
)
"""A line such as `[00:00:00.000 - 00:00:02.500] Anna: hello`, `Anna (00:03): hello`, `0:00 hello`
or the clock alone.
"""
_PRINTED = re.compile(
    rf"(?:(?=[^\s\d]*\d)\S+\s+)?\[\s*(?:{NUMBER} ?s?\s*-+>\s*{NUMBER} ?s?|\d+\.\d+\s*[-,]\s*\d+\.\d+)\s*\].*"
)
"""A line such as `[0.00s -> 2.50s] hello`, as scripts print the segments of faster-whisper, or
`[6.29-8.24]: hello` of IEMOCAP, which may stand behind the name of a turn.
"""
_TURN_BETWEEN_GAPS = re.compile(rf"{NAME}(?:\s{{2,}}|\t)(?P<clock>{CLOCK})(?:\s{{2,}}|\t)\S.*")
"""A line such as `Speaker 0    00:00:02    hello`, as Rev prints them."""
_SPAN_ALONE = re.compile(rf"(?P<clock>{CLOCK})\s*(?:,|-+|–)\s*{CLOCK}")
"""A line such as `0:00:00.500,0:00:02.310` of SBV, which stands above what is said."""
_WITHIN = re.compile(rf"\[({CLOCK})\]")
_ARROW = re.compile(r"\d+[.,]\d+ ?s?\s*-+>\s*\d+[.,]\d+ ?s?(?:$|\s.*)")
"""A line such as `0.50 --> 1.50`, as of subtitles, but without a clock."""
_HEADING = re.compile(
    rf"(?P<name>{NAME}|(?i:{COUNTED}))(?P<gap>\s{{2,}}|\t|\s*[\[(|]\s*| )(?P<clock>{CLOCK})[\])]?:?"
)
"""A line such as `Speaker 1 0:00`, which stands above what is said."""
_NEVER_SAID = re.compile(
    r"#\d\d:\d\d:\d\d-\d#|\x15\d+_\d+\x15|(?<![\d:])\d\d:\d\d:\d\d[:;]\d\d(?![\d:])|^\*[A-Z\d]{2,7}:\t"
)
"""Times of f4 and CHAT and times with frames, anywhere in a line, and the name that begins a line of
CHAT.
"""
_MACHINE = re.compile(COUNTED, re.IGNORECASE)
_MACHINE_TURN = re.compile(rf"\[{COUNTED}\]:?\s+\S.*|{COUNTED}{COLON}?", re.IGNORECASE)
_TURN = re.compile(rf"(?:>> ?)?\[?(?P<name>{NAME}|(?i:{COUNTED}))\]?(?:\s?:\s+|：\s*|\t+)\S.*")
_CAPITALS = "".join(filter(str.isupper, map(chr, range(0x2000))))
"""The capitals of all alphabets that have them, but for a few rare ones."""
_TURNS_IN_LINE = re.compile(
    rf"(?:(?<=[.!?…] )|^)(?P<name>[{_CAPITALS}][\w'-]*(?: [{_CAPITALS}\d][\w'-]*)?): (?=\S)"
    rf"|(?<!\S)(?P<letter>[{_CAPITALS}]): (?=\S)"
)
"""`D: When? P: Last night. D: Where?` in one line."""
_ENDS = (".", "!", "?", "…", ":", "。", "！", "？")
_MANY_TURNS = 4
"""The number of lines, each beginning with a name and some with the same, from which on a text is
taken for a conversation.
"""
_FEW_TURNS = 2
"""The same number for turns within one line; one of them may be said."""

_NEXT = "export it as SubRip, WebVTT or Praat TextGrid"


@dataclass(frozen=True)
class _Mark:
    """A line that begins with a time, or has one as its heading."""

    line: Line
    seconds: float
    sure: bool
    """Whether the time cannot be a time of day."""


def times_or_turns(text: str, length: float = math.inf) -> tuple[int, str] | None:
    """Find the line that proves that a text is more than what is said in its recording of `length`
    seconds. Returns the line's number, and why with what to do; None for a text that people may
    say.
    """
    lines = list(_filled_lines(text))
    if line := first_row(lines, length):
        return line.number, (
            f"is a row of a table with times, {show(line.text[:60])}; {_NEXT}, or write rows of begin, end and "
            "text in seconds with tabs between them"
        )
    if mark := _first_mark(lines, length):
        return mark.number, (
            f"has a time beside what is said, {show(mark.text[:60])}, which would be learnt as words; {_NEXT}, or "
            "write what is said alone, and a time that is said within its line"
        )
    if line := _first_turn(lines):
        return line.number, (
            f"begins with a speaker, {show(line.text[:60])}, who would be learnt as words; {_NEXT}, or write what "
            "is said alone"
        )
    return None


def may_name_speakers(text: str) -> bool:
    """Whether a text has several lines and each begins with a name that may or may not be said."""
    lines = list(_filled_lines(text))
    return len(lines) > 1 and all(_TURN.fullmatch(line.text) for line in lines)


def may_begin_with_times(text: str) -> bool:
    """Whether a text has several lines and each begins with two numbers, of which the second is later, that may be
    times in any unit, or may be said.
    """
    return bool(begins_with_whole_spans(list(_filled_lines(text))))


def kind_of_json(text: str) -> str:
    """Return "JSON" or "JSON lines" where a text holds JSON objects, else an empty string;
    `[laughs]` and `{noise}` are no JSON.
    """
    start = text.lstrip("\ufeff").strip()
    if not start.startswith(("{", "[")):
        return ""
    for kind, part in (("JSON", start), ("JSON lines", start.splitlines()[0])):
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            continue
        first = value[0] if isinstance(value, list) and value else value
        return kind if isinstance(first, dict) else ""
    return ""


def _filled_lines(text: str) -> Iterator[Line]:
    opens = True
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if said := line.strip():
            yield Line(number, said, opens)
        opens = not said


def _first_mark(lines: Sequence[Line], length: float) -> Line | None:
    """Return the first line that has a time at its head which is not said; None where there is
    none. Times that could be times of day count only where several lines have one, in order, and
    all lie within the recording's `length`: later ones may be those of a timetable, or verses of
    the Bible.
    """
    if found := next((line for line in lines if _NEVER_SAID.search(line.text)), None):
        return found
    if printed := _first_printed(lines):
        return printed
    for marks in (_leading_times(lines), _headings(lines)):
        sure = next((mark.line for mark in marks if mark.sure), None)
        if sure is not None:
            return sure
        later = all(first.seconds <= second.seconds for first, second in pairwise(marks))
        within = all(mark.seconds <= length for mark in marks)
        if len(marks) > 1 and later and within and 3 * len(marks) >= len(lines):
            return marks[0].line
    return None


def _first_printed(lines: Sequence[Line]) -> Line | None:
    """Return the first line whose times are written as only programs write them."""
    for line, following in zip_longest(lines, lines[1:]):
        alone = _SPAN_ALONE.fullmatch(line.text)
        starts = alone is not None and re.match(r"0+:|.*\.", alone["clock"]) is not None
        if (
            _PRINTED.fullmatch(line.text)
            or _ARROW.fullmatch(line.text)
            or (starts and following is not None)
        ):
            return line
        turn = _TURN_BETWEEN_GAPS.fullmatch(line.text)
        if turn is not None and re.match("0+:", turn["clock"]):
            return line
        within = [seconds(clock) for clock in _WITHIN.findall(line.text)]
        if len(within) > 1 and all(first <= second for first, second in pairwise(within)):
            return line
    return None


def _leading_times(lines: Sequence[Line]) -> list[_Mark]:
    """Return the lines that begin with a time and have words behind it or in the next line."""
    marks: list[_Mark] = []
    wrapped = False
    for place, line in enumerate(lines):
        found = _TIMED.fullmatch(line.text)
        if found is None:
            wrapped = False
            continue
        clock = found["inside"] or found["bare"]
        # hour zero with minutes and seconds is no time of day that anybody says
        midnight = re.match("0+:", clock) is not None
        sure = midnight and clock.count(":") == 2
        # where a sentence is wrapped, a line may begin with a time that is said
        goes_on = place > 0 and not line.opens and not lines[place - 1].text.endswith(_ENDS)
        wrapped = bool(found["words"]) and not sure and goes_on and (wrapped or not marks)
        if wrapped:
            continue
        said = found["said"] or found["words"]
        if not said and (place + 1 == len(lines) or TIME.fullmatch(lines[place + 1].text)):
            continue  # without words behind it, the time itself is said
        if found["inside"]:
            named = found["name"] is not None and not found["colon"]
            sure = (sure or midnight or found["span"] is not None) and not named
        elif not said and place == 0:
            sure = sure or re.fullmatch("[0:]+", clock) is not None
        marks.append(_Mark(line, seconds(clock), sure))
    return marks


def _headings(lines: Sequence[Line]) -> list[_Mark]:
    """Return the lines of a name and a time that stand above what is said. A sentence may also end
    with a time; so there must be as many of them as paragraphs, or a wide gap, brackets or a
    numbered name (`Speaker 1`) must set the time apart.
    """
    marks = []
    for line, following in pairwise(lines):
        found, after = _HEADING.fullmatch(line.text), _HEADING.fullmatch(following.text)
        if found is None or after is not None:
            continue
        machine = _MACHINE.fullmatch(found["name"]) is not None
        if not (machine or found["gap"] != " " or line.opens):
            continue
        apart = found["gap"] != " " and found["clock"].startswith("0")
        marks.append(_Mark(line, seconds(found["clock"]), machine or (apart and line is lines[0])))
    paragraphs = sum(line.opens for line in lines)
    opening = sum(mark.line.opens for mark in marks)
    return marks if any(mark.sure for mark in marks) or opening == paragraphs else []


def _first_turn(lines: Sequence[Line]) -> Line | None:
    """Return the first line, where it begins with a program's name for a speaker, or all of several
    lines begin with names; else None.
    """
    turns = [_TURN.fullmatch(line.text) for line in lines]
    names = [turn["name"] for turn in turns if turn]
    if turns and turns[0] and _MACHINE.fullmatch(turns[0]["name"]):
        return lines[0]
    if (
        lines
        and _MACHINE_TURN.fullmatch(lines[0].text)
        and (len(lines) > 1 or "[" in lines[0].text)
    ):
        return lines[0]
    every = len(names) == len(lines) >= _MANY_TURNS and 2 * len(set(names)) <= len(names)
    return lines[0] if every or (lines and _goes_on_with_turns(lines[0].text)) else None


def _goes_on_with_turns(line: str) -> bool:
    """Whether three turns or more stand in one line, of which the first one's name returns."""
    if line.count(": ") <= _FEW_TURNS:
        return False
    found = list(_TURNS_IN_LINE.finditer(line))
    names = [turn["name"] or turn["letter"] for turn in found]
    if len(names) <= _FEW_TURNS or found[0].start() or is_read_aloud(names[0].casefold()):
        return False
    return names[0] in names[1:] and len(set(names)) > 1
