"""Traces that programs leave in texts, which nobody says and which count as errors: characters without
a width, accents in the place of apostrophes, HTML entities, line ends written as backslash and n,
and UTF-8 that was read as Latin.
"""

from __future__ import annotations

import html
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
_BYTES = {character: code for code, character in enumerate(_LATIN, start=0x80)}
_TRACE = re.compile(
    r"(?P<entity>&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]{2,8});)"
    r"|(?P<line_end>(?:\\[nrt])+)"
    rf"|(?P<bytes>[{re.escape(_LATIN)}]{{2,}})"
    r"|(?P<unseen>[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffd]+)"
    rf"|(?P<apostrophe>(?<=\w)[{_LIKE_APOSTROPHES}](?=\w))"
)


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
    """Replace each trace by what is meant: an apostrophe, the character of an HTML entity, a space
    for a line end, the text whose UTF-8 bytes were read as Windows-1252, or nothing for characters
    without a width.
    """
    return _TRACE.sub(_meant, text)


def _traces(text: str) -> Iterator[str]:
    return (found[0] for found in _TRACE.finditer(text) if _meant(found) != found[0])


def _meant(found: re.Match[str]) -> str:
    written = found[0]
    match found.lastgroup:
        case "entity":
            return html.unescape(written)
        case "bytes":
            try:
                return bytes(_BYTES[character] for character in written).decode("utf-8")
            except UnicodeDecodeError:
                return written
        case "apostrophe":
            return "'"
        case "line_end":
            return " "
        case _:
            return ""
