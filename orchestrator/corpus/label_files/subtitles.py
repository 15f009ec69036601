"""Reading subtitles: SubRip and WebVTT. Pure.

Source: https://www.w3.org/TR/webvtt1/
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from orchestrator.corpus.label_files.segments import Segment, seconds
from orchestrator.corpus.label_files.speakers_in_cues import with_speakers
from orchestrator.corpus.manifest_errors import UnusableError, show

_CLOCK = r"(?:\d+:)?\d+:\d\d(?:[.,]\d+)?"
_CUE = re.compile(rf"\s*(?:{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?|\[{_CLOCK}\s*-->\s*{_CLOCK}\].*)")
"""The line of times of a cue; in brackets, as Whisper prints it, the text follows on the
same line.
"""
_TIMES = re.compile(rf"({_CLOCK})\s*-->\s*({_CLOCK})(?:\](.*))?")
LIKE_CUE = re.compile(
    r"(?=.*\d:\d)\s*\[?\d[\d:.,;\s]*(?:-+>|[–—]>|→|[–—](?=\s*[\d:]+[.,]\d))\s*\d[\d:.,;]*(?:\].*|\s.*)?"
)
"""A line that was meant as the times of a cue, but may not be written correctly."""
_ASIDE = ("WEBVTT", "NOTE", "STYLE", "REGION")
"""The first words of blocks of WebVTT that are no cues."""
_CHARACTER = re.compile(r"&#?\w+;")
_FORMAT = re.compile(
    rf"(?:</?(?:[biu]|em|strong)(?:\.[^\s<>]*)?\s*/?>|</?(?:c|lang|font|span)(?:[.\s][^<>]*)?>|<{_CLOCK}>"
    r"|\{\\[^{}]*\})+",
    re.IGNORECASE,
)
"""Markup of how words look and when they are shown, `<i>` or `{\\an8}`, which may stand within a word or before its
comma; `a < b` is none.
"""
_MARKUP = re.compile(r"</?(?:br|ruby|rt)\s*/?>|</?v(?:[.\s][^<>]*)?>|[♩-♬]", re.IGNORECASE)
"""Other markup, `<br>` or `<v Anna>`, and notes around what is sung, between words."""
_NEXT = re.compile(r"</.*<[^/\d]")
"""The end of one format and the beginning of another, which parts two words."""
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
_INNER_TIME = re.compile(rf"<{_CLOCK}>")
"""The time of one word within a cue."""
_MOMENT = 0.05
"""Seconds. Nobody can read a cue that is shown no longer than this."""
_ROLLING = 3
"""The number of cues repeating the one before from which on captions without times of words are
taken to roll.
"""


def read_subtitles(text: str) -> list[Segment]:
    """Read every cue, with the speaker of its voice tag (`<v Anna>`), or of its beginning
    (`SPEAKER_01:`, `MAN:`) as `with_speakers` finds it.

    Raises UnusableError for a line outside of all cues, and for captions that roll.
    """
    lines = text.split("\n")
    times = [_cue_times(line, number) for number, line in enumerate(lines, start=1)]
    _refuse_rolling(lines, times)
    return with_speakers(list(_cues(lines, times)))


def _cues(lines: list[str], times: list[re.Match[str] | None]) -> Iterator[Segment]:
    """Yield the cues: a line of times, then lines of text up to a blank line or the next cue.
    Outside of cues there may be the number of the next one, and in WebVTT alone its name, or a
    block for other purposes (`_ASIDE`).
    """
    place, aside, web = 0, False, lines[0].startswith(_ASIDE[0])
    while place < len(lines):
        line, found = lines[place].strip(), times[place]
        place += 1
        if found is None:
            aside = bool(line) and web and (aside or line.split()[0] in _ASIDE)
            is_name = place < len(lines) and times[place] is not None and (web or line.isdigit())
            if line and not aside and not is_name:
                raise UnusableError(
                    f"is subtitles, and line {place} stands in no cue: {show(line[:60])}; a cue is a line such as "
                    "00:00:01,000 --> 00:00:02,500, then its text, without a blank line in it"
                )
            continue
        aside, first = False, place
        while place < len(lines) and lines[place].strip() and not _begins_cue(lines, times, place):
            place += 1
        rows = [found[3] or "", *lines[first:place]]
        said = " ".join(rows)
        voices = {html.unescape(voice[1]).strip() for voice in _VOICE.finditer(said)}
        speaker = voices.pop() if len(voices) == 1 else ""  # two voices are no one speaker
        yield Segment(
            first, seconds(found[1]), seconds(found[2]), _plain_lines(rows), speaker=speaker
        )


def _without_markup(said: str) -> str:
    """Return a text without markup, and with the line ends and hard spaces that ASS writes with a backslash."""
    plain = _FORMAT.sub(lambda found: " " if _NEXT.match(found[0]) else "", said)
    return _MARKUP.sub(" ", re.sub(r"\\[Nn]", "\n", plain).replace("\\h", " "))


def _plain(said: str) -> str:
    """Return the words of a line without markup and with character references replaced; a reference
    ends with a semicolon, so `AT&T` is none.
    """
    named = _CHARACTER.sub(lambda found: html.unescape(found[0]), _without_markup(said))
    return " ".join(named.split())


def _plain_lines(rows: Sequence[str]) -> str:
    """Return the lines as they are shown. Markup is removed from all together, because it may
    extend over line ends.
    """
    return "\n".join(filter(None, map(_plain, _without_markup("\n".join(rows)).split("\n"))))


def _refuse_rolling(lines: list[str], times: list[re.Match[str] | None]) -> None:
    """Raise UnusableError where most cues repeat what the cue before them says, on a line of their
    own or for a moment, as captions do that roll up a screen.
    """
    before, pairs, repeated, first = "", 0, 0, 0
    timed = any(_INNER_TIME.search(line) for line in lines)
    starts = [place for place, found in enumerate(times) if found]
    for start, end in pairwise([*starts, len(lines)]):
        said = [words for line in lines[start + 1 : end] if (words := _plain(line))]
        if end < len(lines) and said and said[-1].isdigit():
            said.pop()  # the number of the next cue
        found = times[start]
        if not said or found is None:
            continue
        moment = seconds(found[2]) - seconds(found[1]) <= _MOMENT
        pairs += bool(before)
        if said[0] == before and (said[-1] != before or moment):
            repeated, first = repeated + 1, first or start + 1
        before = said[-1]
    if 2 * repeated >= pairs and repeated >= (1 if timed else _ROLLING):
        raise UnusableError(
            f"is captions that roll, as YouTube makes them by itself: {repeated} cues, the first in line {first}, say "
            "again what the one before says; take captions that a person wrote (yt-dlp --write-subs), or have the "
            "recording transcribed and keep that as SubRip"
        )


def _cue_times(line: str, number: int) -> re.Match[str] | None:
    """Match the times of a cue; None for any other line. Raises UnusableError for a line that was
    meant as one.
    """
    if _CUE.fullmatch(line):
        return _TIMES.search(line)
    if LIKE_CUE.fullmatch(line):
        raise UnusableError(
            f"is subtitles, and line {number} is no line of times: {show(line.strip()[:60])}; write it as "
            "00:00:01,000 --> 00:00:02,500"
        )
    return None


def _begins_cue(lines: list[str], times: list[re.Match[str] | None], place: int) -> bool:
    """Whether the line `place` has the times of a cue, or its number, just before the times."""
    after = place + 1 < len(lines) and times[place + 1] is not None
    return times[place] is not None or (after and lines[place].strip().isdigit())
