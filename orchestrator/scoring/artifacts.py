"""Traces that programs leave in texts, which nobody says and which count as errors: characters without
a width and control characters, accents and doubled quotes in the place of apostrophes, HTML entities, line ends and
other characters written with a backslash, and UTF-8 or Windows-1252 that was read as Latin.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.scoring.normalizers import Normalizer

_LIKE_APOSTROPHES = "\u00b4`\u2032\u02b9\u02bb\u02c8\u201b\uff40"
_LATIN = "".join(
    bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0x100)
)
"""The characters that the bytes 0x80 to 0xFF become when they are read as Windows-1252, or as
Latin-1 where that has none.
"""
_CONTROLS = {chr(code): code for code in range(0x80, 0xA0)}
"""The same characters where the bytes are read as Latin-1, which has signs from 0xA0 on alone."""
_BYTES = {character: code for code, character in enumerate(_LATIN, start=0x80)} | _CONTROLS
_TRACE = re.compile(
    r"(?P<entity>&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]{2,8});)"
    r"|(?P<line_end>(?:\\[nrtNh])+)"  # the last two are those of subtitles (ASS)
    r"|(?P<escaped>(?:\\u[0-9a-fA-F]{4})+)"
    r"|(?P<hex>(?:\\x[0-9a-fA-F]{2})+)"
    rf"|(?P<bytes>[{re.escape(''.join(_BYTES))}]{{2,}}|[\x80-\x9f])"
    r"|(?P<unseen>(?:[\x00-\x08\x0e-\x1b\x7f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064]"
    # the joiners belong to the spelling of Persian and Hindi
    r"|[\u2066-\u2069\ufeff\ufffd]|(?<![\u0600-\u1fff])[\u200c\u200d])+)"
    # in Hebrew two are written for the sign of an abbreviation
    rf"|(?P<apostrophe>(?<=\w)(?:[{_LIKE_APOSTROPHES}]|''(?![\u05d0-\u05ea])|\\+['\u2019])(?=\w))"
)
_END_OF_WORD = re.compile(r"[^\W\d_]\W+")
"""A letter and the signs behind a word, which may by chance be the bytes of one character: of ß and a quotation mark,
or of é, a hard space and ».
"""
_OF_LATIN = re.compile(r"[\u0080-\u017f\u2000-\u22ff]")
"""Letters of most languages of Europe, and signs, each of which may be meant alone in a text without other traces."""


@dataclass(frozen=True)
class Artifacts:
    """The texts whose normalised words differ because of traces of programs in them."""

    rows: tuple[int, ...]
    """The positions of these texts in the list that was searched."""
    traces: tuple[tuple[str, int], ...]
    """Each trace in these texts and how often it occurs, the most frequent first."""


def find_artifacts(texts: Iterable[str], normalize: Normalizer) -> Artifacts:
    """Find the texts that normalise to other words than they would without their traces."""
    rows: list[int] = []
    traces = Counter[str]()
    for row, text in enumerate(texts):
        found = list(_traces(text))
        if found and normalize(text) != normalize(without_artifacts(text)):
            rows.append(row)
            traces.update(found)
    return Artifacts(tuple(rows), tuple(traces.most_common()))


def without_artifacts(text: str) -> str:
    """Replace each trace by what is meant: an apostrophe, the character of an HTML entity or of an escape such as
    \\u2019, a space for a line end, the text whose bytes were read as Latin, or nothing for characters
    without a width.
    """
    return _TRACE.sub(_meant, text)


def _traces(text: str) -> Iterator[str]:
    if _is_plain(text):
        return iter(())
    return (found[0] for found in _TRACE.finditer(text) if _meant(found) != found[0])


def _is_plain(text: str) -> bool:
    """Whether a text has no sign with which a trace begins: most have none, and are not searched for each kind."""
    seen = text.isascii() and text.isprintable()
    return seen and not any(sign in text for sign in ("&", "\\", "`", "''"))


def _meant(found: re.Match[str]) -> str:
    written = found[0]
    match found.lastgroup:
        case "entity":
            return html.unescape(written)
        case "escaped":
            return str(json.loads(f'"{written}"'))
        case "hex":
            return _decoded(bytes.fromhex(written.replace("\\x", ""))) or written
        case "bytes":
            decoded = _decoded(bytes(_BYTES[character] for character in written))
            if decoded and (_OF_LATIN.match(decoded) or not _END_OF_WORD.fullmatch(written)):
                return decoded
            return "".join(
                _LATIN[_CONTROLS[each] - 0x80] if each in _CONTROLS else each for each in written
            )
        case "apostrophe":
            return "'"
        case "line_end":
            return " "
        case _:
            return ""


def _decoded(content: bytes) -> str:
    """Return bytes as text; empty where they are no UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return ""
