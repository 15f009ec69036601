"""Subtitles: SubRip and WebVTT. Pure.

Source: https://www.w3.org/TR/webvtt1/
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.segments import Segment, seconds

_CLOCK = r"(?:\d+:)?\d+:\d\d(?:[.,]\d+)?"
_CUE = re.compile(rf"\s*(?:{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?|\[{_CLOCK}\s*-->\s*{_CLOCK}\].*)")
"""A line of times; within brackets, as Whisper prints it, with the text behind."""
_TIMES = re.compile(rf"({_CLOCK})\s*-->\s*({_CLOCK})(?:\](.*))?")
LIKE_CUE = re.compile(
    r"(?=.*\d:\d)\s*\[?\d[\d:.,;\s]*(?:-+>|[–—]>|→|[–—](?=\s*[\d:]+[.,]\d))\s*\d[\d:.,;]*(?:\].*|\s.*)?"
)
"""What was meant as one."""
_ASIDE = ("WEBVTT", "NOTE", "STYLE", "REGION")
"""First words of what is no cue of WebVTT."""
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
"""`<i>` and `<v Anna>` of subtitles, and `{\\an8}`."""


def read_subtitles(text: str) -> Iterator[Segment]:
    """Cues: a line of times, and lines of text up to a blank one or the next cue. What stands in none
    is the number or name before one, or a block that WebVTT has for other ends.
    """
    lines = text.split("\n")
    times = [_cue_times(line, number) for number, line in enumerate(lines, start=1)]
    place, aside = 0, False
    while place < len(lines):
        line, found = lines[place].strip(), times[place]
        place += 1
        if found is None:
            aside = bool(line) and (aside or line.split()[0].startswith(_ASIDE))
            if line and not aside and (place == len(lines) or times[place] is None):
                raise UnusableError(
                    f"is subtitles, and line {place} stands in no cue: {show(line[:60])}; a cue is a line such as "
                    "00:00:01,000 --> 00:00:02,500, then its text, without a blank line in it"
                )
            continue
        aside, first = False, place
        while place < len(lines) and lines[place].strip() and not _begins_cue(lines, times, place):
            place += 1
        said = [found[3] or "", *lines[first:place]]
        words = html.unescape(" ".join(_MARKUP.sub(" ", " ".join(said)).split()))
        yield Segment(first, seconds(found[1]), seconds(found[2]), words)


def _cue_times(line: str, number: int) -> re.Match[str] | None:
    """The times of a cue; None for another line. Raises UnusableError for what was meant as one."""
    if _CUE.fullmatch(line):
        return _TIMES.search(line)
    if LIKE_CUE.fullmatch(line):
        raise UnusableError(
            f"is subtitles, and line {number} is no line of times: {show(line.strip()[:60])}; write it as "
            "00:00:01,000 --> 00:00:02,500"
        )
    return None


def _begins_cue(lines: list[str], times: list[re.Match[str] | None], place: int) -> bool:
    """Whether a line is one of times, or the number before one."""
    after = place + 1 < len(lines) and times[place + 1] is not None
    return times[place] is not None or (after and lines[place].strip().isdigit())
