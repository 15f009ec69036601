"""Recognising and reading label files, which tell what is said in a recording, and when: SubRip,
WebVTT, Praat's TextGrid, Audacity's labels, transcripts of LDC, MagicHub and Babel, and STM, whose
rows name their recordings. Pure.

Sources: https://manual.audacityteam.org/man/importing_and_exporting_labels.html, and for STM,
NIST's sclite: https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from orchestrator.corpus.label_files.bracketed_turns import (
    ATC,
    BABEL,
    MAGIC_HUB,
    is_atc,
    is_babel,
    is_magic_hub,
    read_atc,
    read_babel,
    read_magic_hub,
)
from orchestrator.corpus.label_files.rows_in_text import EXACT, NUMBER
from orchestrator.corpus.label_files.segments import SHORTEST_WORD, Segment, is_unspoken, seconds
from orchestrator.corpus.label_files.subtitles import LIKE_CUE, read_subtitles
from orchestrator.corpus.label_files.textgrid import read_textgrid
from orchestrator.corpus.label_files.word_level import refuse_words
from orchestrator.corpus.manifest_errors import UnusableError, show

_LYRICS = re.compile(r"\[\d+:\d\d(?:\.\d+)?\].*|\[[a-z]+:.*\]")
_SURELY_LYRICS = re.compile(r"\[\d+:\d\d\.|\[[a-z]+:")
"""The beginning of a lyrics line that plain text never has; `[10:30] bring lunch` could be said."""
_TIME = rf"-?{NUMBER}(?:[eE]-?\d+)?"
_AUDACITY = re.compile(rf"({_TIME})\t({_TIME})(?:\t(.*))?")
"""A row of labels; what begins before the recording has a negative time, and scripts write `1e-05`."""
_NO_SPEAKER = re.compile(r" |^\d+[.,]\d+$")
"""What names no speaker of a label track: several words, or how sure a recogniser is."""
_LONG = 100.0
"""Seconds. A part of this length or more, told in whole numbers, is more likely told in
milliseconds.
"""
_STM = re.compile(
    rf"(?P<recording>\S+)\s+(?P<channel>\S+)\s+(?P<speaker>\S+)\s+(?P<begin>{NUMBER})\s+(?P<end>{NUMBER})"
    r"(?:\s+(?P<label><[^>\s]*>))?(?:\s+(?P<text>\S.*))?"
)
_LDC = re.compile(
    rf"({EXACT})\s+({EXACT})(?:\s+(?:(?P<speaker>[^\W\d_][\w .#'-]{{0,30}}):(?P<tab> *\t)?)?\s*(?P<text>.*))?"
)
"""A row such as `1.25 2.40 A: hello` of Fisher; the Santa Barbara Corpus has tabs in between."""
_CTM = re.compile(rf"\S+\s+\S+\s+{EXACT}\s+{EXACT}\s+\S+(\s+{NUMBER})?")
_RTTM = re.compile(rf"(?:SPEAKER|SPKR-INFO|LEXEME)\s+\S+\s+\S+\s+(?:<NA>|{NUMBER})\s.*")
_COUNTED = re.compile(r"(\d+)\s+(\d+)\s+\S+")
"""A row of HTK or TIMIT: begin and end in units of their own, and a word or a sound."""
_TIMIT = re.compile(r"0 (?:[89]\d{3}|\d{5,}) (?P<text>\D.*)", re.DOTALL)
"""The first sample, the last sample and the sentence, which lasts half a second or more (8,000
samples); `0 2000 euros` could be said.
"""
_WHISPER = "a table of Whisper"
_WHISPER_FIRST = re.compile(r"start\tend\ttext *(?:\r?\n(?:\d+\t\d+\t|\s*\Z)|\Z)")
_WHISPER_ROW = re.compile(r"(\d+)\t(\d+)\t(.*)")
_HTK = "HTK or TIMIT labels"
_XLABEL = "labels of xwaves"
_XLABEL_ROW = re.compile(r"\s*(\d+\.\d+)\s+\d+\s+\S+")
"""A row such as `0.0800 125 pau` of Festival and CMU ARCTIC, below a line of `#`: an end in
seconds, a colour and a sound.
"""
LDC = "a transcript of LDC"
_LOOKED_AT = 5
"""The number of lines at the beginning by which a list is recognised."""


def kind_of_labels(text: str) -> str:
    """Return the name of the label format, of one recording, that a file beginning with `text` has;
    empty for any other text.
    """
    if text.startswith("WEBVTT"):
        return "WebVTT"
    if any(map(LIKE_CUE.fullmatch, text.splitlines())):
        return "SubRip"
    if "ooTextFile" in text[:200] and '"TextGrid"' in text[:200]:
        return "Praat TextGrid"
    if _WHISPER_FIRST.match(text):
        return _WHISPER
    if is_atc(text):
        return ATC
    lines = _first_lines(text)
    if is_magic_hub(lines):
        return MAGIC_HUB
    if is_babel(lines):
        return BABEL
    if all(map(_LYRICS.fullmatch, lines)) and any(map(_SURELY_LYRICS.match, lines)):
        return "LRC"
    if _is_label_track(lines):
        return "Audacity labels"
    if _is_ldc(lines):
        return LDC
    ends = [found[1] for line in lines if (found := _XLABEL_ROW.fullmatch(line))]
    if len(ends) > 1 and text.lstrip().startswith(("#\n", "#\r\n", "separator ;")):
        return _XLABEL
    counted = [found for line in lines if (found := _COUNTED.fullmatch(line.strip()))]
    joined = all(one[2] == next_one[1] for one, next_one in pairwise(counted))
    return _HTK if len(counted) == len(lines) > 1 and joined else ""


def _is_ldc(lines: list[str]) -> bool:
    """Whether lines are a transcript of LDC: at least two are rows with a speaker, whatever the
    others are, or one is and all others are rows too.
    """
    rows = [row for line in lines if (row := _LDC.fullmatch(line.strip()))]
    rows = [row for row in rows if seconds(row[1]) < seconds(row[2])]
    named = sum(row["speaker"] is not None for row in rows)
    return named > 1 or (named == 1 and len(rows) == len(lines))


def _is_label_track(lines: list[str]) -> bool:
    """Whether lines are Audacity labels: rows of begin, end and text. Whole numbers count as times
    only where words stand behind them.
    """
    rows = [row for line in lines if (row := _AUDACITY.fullmatch(line))]
    exact = sum(re.search("[.,eE]", row[1]) is not None for row in rows)
    if rows and _AUDACITY.fullmatch(lines[0]) and exact == len(rows):
        # one that is none of them has its own fault
        return len(rows) == len(lines) or 2 * len(rows) > len(lines)
    if not rows or len(rows) < len(lines):
        return False
    has_words = any(re.search(r"[^\W\d_]", row[3] or "") for row in rows)
    return has_words and all(
        seconds(row[1]) <= seconds(row[2]) and "\t" not in (row[3] or "") for row in rows
    )


def kind_of_list(text: str, ending: str = "") -> str:
    """Return the name of the format of a list that tells parts of several recordings and begins with `text`; empty for
    any other list. The `ending` .stm of its name tells an STM too, one with a line that is none, or in whole seconds.
    """
    lines = [line.strip() for line in _first_lines(text)]
    if not lines:
        return ""
    if all(map(_RTTM.fullmatch, lines)):
        return "RTTM"
    if all(map(_CTM.fullmatch, lines)):
        return "CTM"
    rows = [row for line in lines if (row := _STM.fullmatch(line))]
    spans = len(rows) == len(lines) and all(map(_is_span, rows))
    is_stm = (rows and ending.lower() == ".stm") or (spans and any(map(_is_surely_stm, rows)))
    return "STM" if is_stm else ""


def _first_lines(text: str) -> list[str]:
    lines = [line.strip("\r\n") for line in text.split("\n")]
    # comments of an STM and of LDC, and the frequencies of a selection in Audacity
    lines = [line for line in lines if line.strip() and not line.startswith((";;", "# ", "\\"))]
    return lines[:_LOOKED_AT]


def _is_span(row: re.Match[str]) -> bool:
    return seconds(row["begin"]) <= seconds(row["end"])


def _is_surely_stm(row: re.Match[str]) -> bool:
    """Whether the two numbers of a row are times, and not numbers in a text: one has a decimal
    point, or a label follows, which no text has.
    """
    return re.search("[.,]", row["begin"] + row["end"]) is not None or row["label"] is not None


def has_sentences(text: str) -> bool:
    """Whether a text that begins so may hold sentences: it is not a label file of words or sounds
    alone.
    """
    return kind_of_labels(text) not in WITHOUT_SENTENCES


def sentence_of_timit(text: str) -> str | None:
    """Return the sentence of a `.TXT` file of TIMIT; None for any other text."""
    found = _TIMIT.fullmatch(text.strip())
    return found["text"] if found else None


def segments_of(text: str, kind: str) -> list[Segment]:
    """Return every part that has a text, in the file's order. Raises UnusableError where the file
    cannot be read, or its kind has no sentences.
    """
    if why := WITHOUT_SENTENCES.get(kind):
        raise UnusableError(f"is {kind}, {why}; write what is said as text")
    found = [
        segment
        for segment in _READERS[kind](text.replace("\r\n", "\n").replace("\r", "\n"))
        if segment.text and not is_unspoken(segment.text)
    ]
    if not found:
        raise UnusableError(f"is {kind} in which nothing is said; write what is said, or delete it")
    refuse_words(found, kind)
    return found


def _rows(text: str, comment: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither blank nor begin with `comment`, with their numbers."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.startswith(comment):
            yield number, line


def _audacity(text: str) -> Iterator[Segment]:
    """Yield rows of begin, end and text, or of a speaker before the text, where each has one."""
    found = list(_label_rows(text))
    cells = [segment.text.split("\t") for segment in found if segment.text]
    names = [row[0].strip() for row in cells]
    if all(len(row) == 1 for row in cells):
        yield from found
        return
    returns = len(set(names)) < len(names) and not any(map(_NO_SPEAKER.search, names))
    if not (returns and all(len(row) == 2 for row in cells)):
        line = next(segment.line for segment in found if "\t" in segment.text)
        raise UnusableError(
            f"is rows of begin, end and text, and line {line} has a tab within its text; name the columns in a first "
            "row: start, end, speaker, text"
        )
    for segment in found:
        name, _, said = segment.text.partition("\t")
        yield replace(segment, text=said.strip(), speaker=name.strip(), before=f"{name.strip()}:")


def _label_rows(text: str) -> Iterator[Segment]:
    for number, line in _rows(text, "\\"):  # lines with \ are the frequencies of a selection
        row = _AUDACITY.fullmatch(line)
        if row is None:
            raise UnusableError(
                f"is Audacity labels, and line {number} is none: {show(line[:60])}; export the labels again, or write "
                "begin, end and text in seconds with tabs between them"
            )
        begin, end = seconds(row[1]), seconds(row[2])
        if f"{row[1]}{row[2]}".isdigit() and end - begin >= _LONG:
            raise UnusableError(
                f"is Audacity labels, and line {number} would last {end - begin:g} s, from {row[1]} to {row[2]}; "
                f"write milliseconds as seconds, {begin / 1000:.3f}, and seconds with a point, {begin:.1f}"
            )
        yield Segment(number, begin, end, (row[3] or "").strip())


def _whisper_table(text: str) -> Iterator[Segment]:
    """Read rows of begin and end in milliseconds, and the text. Raises UnusableError where the
    longest part would be too short for a word.
    """
    rows = [row for row in map(_WHISPER_ROW.fullmatch, text.split("\n")[1:]) if row]
    longest = max((int(row[2]) - int(row[1]) for row in rows), default=0)
    if 0 < longest < SHORTEST_WORD:
        raise UnusableError(
            f"is {_WHISPER}, whose times are milliseconds, and its longest part would last {longest} ms; where they "
            "are seconds, separate the columns by commas and name the file .csv"
        )
    for number, line in enumerate(text.split("\n")[1:], start=2):
        row = _WHISPER_ROW.fullmatch(line)
        if row is not None:
            yield Segment(number, int(row[1]) / 1000, int(row[2]) / 1000, row[3].strip())
        elif line.strip():
            raise UnusableError(
                f"is {_WHISPER}, and line {number} is none of its rows: {show(line[:60])}; write it again"
            )


def _ldc(text: str) -> Iterator[Segment]:
    """Read the rows of a transcript of LDC. A row without a speaker continues what the row before
    it says, but only where tabs separate the columns: elsewhere a name before a colon may be part
    of what is said.
    """
    nobody, named = 0, 0
    for number, line in _rows(text, "#"):
        row = _LDC.fullmatch(line.strip())
        if row is None:
            raise UnusableError(
                f"is {LDC}, and line {number} is none of its rows: {show(line[:60])}; a row has begin, end, speaker "
                "with a colon, and text"
            )
        nobody = nobody or (number if row["text"] and row["speaker"] is None else 0)
        named = named or (number if row["speaker"] and not row["tab"] else 0)
        if nobody and named:
            raise UnusableError(
                f"is {LDC}, and line {named} begins with a name, which may be said, for line {nobody} has none; write "
                "a speaker with a colon in every row, or put tabs between begin, end and text alone"
            )
        begin, end = seconds(row[1]), seconds(row[2])
        yield Segment(number, begin, end, row["text"] or "", speaker=row["speaker"] or "")


def _stm(text: str) -> Iterator[Segment]:
    channels: dict[str, str] = {}
    for number, line in _rows(text, ";;"):
        row = _STM.fullmatch(line.strip())
        if row is None:
            raise UnusableError(
                f"is STM, and line {number} is none: {show(line[:60])}; a line has recording, "
                "channel, speaker, begin, end and text"
            )
        # parts of different channels would all be cut from the mean of the channels
        first = channels.setdefault(row["recording"], row["channel"])
        if first != row["channel"]:
            raise UnusableError(
                f"is STM, and line {number} is of channel {show(row['channel'])} of {show(row['recording'])}, whose "
                f"lines before are of {show(first)}; save each channel as a mono recording of its own name, or "
                f"where the recording is one mix of all, write {first} as channel in every line"
            )
        begin, end = seconds(row["begin"]), seconds(row["end"])
        said = (row["text"] or "").strip()
        yield Segment(
            number, begin, end, said, row["recording"], row["speaker"], channel=row["channel"]
        )


WITHOUT_SENTENCES = {
    "LRC": "which says when a line begins and not when it ends",
    "CTM": "which has words with their times, and nothing says where a sentence ends",
    "RTTM": "which says who speaks when, and no words",
    **dict.fromkeys(
        (_HTK, _XLABEL),
        "which has words or sounds with their times, and nothing says where a sentence ends",
    ),
}
"""The kinds of label files from which no sentences can be made, and why."""
_READERS: dict[str, Callable[[str], Iterable[Segment]]] = {
    "SubRip": read_subtitles,
    "WebVTT": read_subtitles,
    "Audacity labels": _audacity,
    _WHISPER: _whisper_table,
    "STM": _stm,
    LDC: _ldc,
    MAGIC_HUB: read_magic_hub,
    ATC: read_atc,
    BABEL: read_babel,
    "Praat TextGrid": read_textgrid,
}
"""The function that reads the parts of a label file, by its kind."""
