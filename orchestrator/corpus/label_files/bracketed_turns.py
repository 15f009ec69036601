"""Transcripts whose turns or times stand in brackets: those of MagicHub, `[0.00,2.73]<TAB>G01<TAB>female<TAB>hello`,
of Babel, whose lines stand between their times, `[0.00]`, and the lists in round brackets of the LDC's air traffic
control, `((FROM AAL551) (TEXT ROGER) (TIMES 4.0 5.1))`. Pure.

Sources: https://magichub.com, https://catalog.ldc.upenn.edu/docs/LDC94S14A
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.line_numbers import LineNumbers
from orchestrator.corpus.manifest_errors import UnusableError, show

MAGIC_HUB = "a transcript of MagicHub"
ATC = "a transcript of air traffic control of the LDC"
_ROW = re.compile(
    r"\[(\d+(?:\.\d+)?), ?(\d+(?:\.\d+)?)\]\t(?P<speaker>[^\t]*)\t[^\t]*(?:\t(?P<text>.*))?"
)
BABEL = "a transcript of Babel"
_TIME = re.compile(r"\[(\d+\.\d+)\]")
_SILENCE = "<no-speech>"
_NOBODY = "0"
"""Who speaks where nothing is said."""
_TURN = re.compile(r"^[ \t]*\(\s*\((?:FROM|TO|NUM|TEXT|TIMES|TAPE-HEADER|COMMENT)\b", re.MULTILINE)
_ITEM = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+')
_COMMENT = re.compile(r"^[ \t]*;.*$", re.MULTILINE)

_LOOKED_AT = 4096
"""Signs by which a list is known."""

_List = list["str | _List"]


def is_magic_hub(lines: Sequence[str]) -> bool:
    """Whether the first lines of a text are rows of MagicHub."""
    return bool(lines) and all(map(_ROW.fullmatch, lines[:2]))


def is_babel(lines: Sequence[str]) -> bool:
    """Whether the first lines of a text are a time, what is said, and another time."""
    times = [_TIME.fullmatch(line.strip()) is not None for line in lines[:3]]
    return times == [True, False, True]


def is_atc(text: str) -> bool:
    """Whether a text begins with a list of the LDC's air traffic control."""
    return _TURN.match(_COMMENT.sub("", text[:_LOOKED_AT]).lstrip()) is not None


def read_magic_hub(text: str) -> Iterator[Segment]:
    """Yield a part for each turn. The gender of the speaker, and the dialect beside it, are left out."""
    for number, line in enumerate(text.split("\n"), start=1):
        row = _ROW.fullmatch(line.rstrip())
        if row is not None:
            speaker = row["speaker"].strip()
            said = " ".join((row["text"] or "").split())
            named = "" if speaker == _NOBODY else speaker
            yield Segment(number, float(row[1]), float(row[2]), said, speaker=named)
        elif line.strip():
            raise UnusableError(
                f"is {MAGIC_HUB}, and line {number} is none of its rows: {show(line.strip()[:60])}; a row has "
                "[begin,end], speaker, gender and text with tabs between them"
            )


def read_babel(text: str) -> Iterator[Segment]:
    """Yield a part for what stands between two times, unless nothing is said there."""
    begin, said, first = 0.0, list[str](), 1
    for number, line in enumerate(text.split("\n"), start=1):
        if found := _TIME.fullmatch(line.strip()):
            words = " ".join(" ".join(said).split())
            if words and words != _SILENCE:
                yield Segment(first, begin, float(found[1]), words)
            begin, said = float(found[1]), []
        elif line.strip():
            first = first if said else number
            said.append(line)
    if said:
        raise UnusableError(
            f"is {BABEL}, and no time stands behind line {first}; write its end, [{begin:g}] or later"
        )


def read_atc(text: str) -> Iterator[Segment]:
    """Yield a part for the list of each transmission. A list within its text, which is no word, is written in
    brackets.
    """
    for line, entry in _lists(_COMMENT.sub("", text)):
        fields = {part[0]: part[1:] for part in entry if isinstance(part, list) and part}
        if "TEXT" not in fields:
            continue
        begin, end = _times(fields.get("TIMES", []), line)
        speaker = " ".join(_words(fields.get("FROM", [])))
        yield Segment(line, begin, end, " ".join(_words(fields["TEXT"])), speaker=speaker)


def _lists(text: str) -> Iterator[tuple[int, _List]]:
    """Yield each list that stands in no other one, with the line on which it begins."""
    open_lists: list[_List] = []
    first, lines = 1, LineNumbers(text)
    for found in _ITEM.finditer(text):
        item = found[0]
        if item == "(":
            first = first if open_lists else lines.line_of(found.start())
            open_lists.append([])
        elif item == ")" and len(open_lists) == 1:
            yield first, open_lists.pop()
        elif item == ")" and open_lists:
            closed = open_lists.pop()
            open_lists[-1].append(closed)
        elif item == ")" or not open_lists:
            line = lines.line_of(found.start())
            raise UnusableError(
                f"is {ATC}, and {show(item[:40])} in line {line} stands outside of a list; close each list once"
            )
        else:
            open_lists[-1].append(item)
    if open_lists:
        raise UnusableError(f"is {ATC}, and the list that begins in line {first} is never closed")


def _times(told: Sequence[str | _List], line: int) -> tuple[float, float]:
    try:
        begin, end = (float(str(time)) for time in told)
    except ValueError as error:
        raise UnusableError(
            f"is {ATC}, and the list that begins in line {line} has no (TIMES begin end) in seconds; write them, or "
            "delete it"
        ) from error
    return begin, end


def _words(items: Sequence[str | _List]) -> Iterator[str]:
    for item in items:
        yield item.strip('"') if isinstance(item, str) else f"({' '.join(_words(item))})"
