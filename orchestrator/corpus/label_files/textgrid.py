"""Reading Praat's TextGrid. Pure.

Sources: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html and
https://www.fon.hum.uva.nl/praat/manual/Special_symbols.html
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from orchestrator.corpus.label_files.segments import ROLES, Segment
from orchestrator.corpus.label_files.word_level import are_joined_words
from orchestrator.corpus.line_numbers import LineNumbers
from orchestrator.corpus.manifest_errors import UnusableError, show

_ITEM = re.compile(r'"((?:[^"]|"")*)"|(?<![^\s=])(<exists>|-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)(?![^\s])')
"""A value of a TextGrid: a quoted string, in which quotes are doubled, or a number or flag."""

_ACCENTS = {
    '"': "\u0308",
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    "~": "\u0303",
    ",": "\u0327",
}
_LETTERS = {
    **{"ss": "ß", "ae": "æ", "Ae": "Æ", "ao": "å", "Ao": "Å", "oe": "œ", "o/": "ø", "O/": "Ø"},
    **{"!d": "¡", "?d": "¿"},
}
_TRIGRAPH = re.compile(rf"\\(?:({'|'.join(map(re.escape, _LETTERS))})|([A-Za-z])([\"'`^~,]))")
"""A letter as Praat writes it in ASCII: `\\o"` is ö, and `\\ss` is ß."""
_LAYER = re.compile(
    r"tier|text|line|layer|level|trans|note|comment|word|phon|sentence|utt|tone|gloss|lang|phrase|segment"
    r"|[tl][ _-]?\d",
    re.IGNORECASE,
)
"""A pattern for names of tiers that are numbered and are nobody, such as `T1` and, of languages, `L2`."""
_TOGETHER = 0.2
"""The share of intervals that begin or end with one of another tier; two people hardly speak so, but a sentence
and its translation or its phrases do.
"""
_SILENT = ("", "#", "sil", "<sil>", "sp", "spn", "<p:>")
"""What aligners and people write into intervals in which nothing is said."""
_ROUNDED = 0.02
"""Seconds by which a time may differ from 0 through rounding."""
_ALIGNED = re.compile(r"\b(word|phone|phoneme|phon)s?$", re.IGNORECASE)
"""Names of tiers of words or sounds, as the Montreal Forced Aligner, WebMAUS and similar aligners
give them: `words`, `anna - phones`.
"""


def read_textgrid(text: str) -> Iterator[Segment]:
    """Read the intervals of the one tier that has texts, or of those of several people, of both the
    long and the short form, which have the same values in the same order.
    """
    items = _GridItems(text)
    items.skip(2)  # both headings
    if (begin := items.number()) > _ROUNDED:
        raise UnusableError(
            f"is Praat TextGrid that begins at {begin:g} s (xmin): where its recording begins there, too, shift its "
            "times to 0 (Praat: Modify, Shift times); where its recording is whole, write 0 as the first xmin"
        )
    items.skip(2)  # the other time and <exists>; the number of tiers follows
    tiers: list[tuple[str, list[Segment]]] = []
    for _ in range(items.count()):
        kind, name = items.text(), items.text()
        items.skip(2)
        intervals = [items.interval(kind) for _ in range(items.count())]
        said = [part for part in intervals if part.text.casefold() not in _SILENT]
        if kind == "IntervalTier" and said:
            tiers.append((name, said))
    names = ", ".join(show(name) for name, _ in tiers)
    if tiers and all(_is_of_words(name, parts) for name, parts in tiers):
        raise UnusableError(
            f"is Praat TextGrid with words or sounds alone, {names}, and nothing says where a sentence ends; "
            "save a tier of sentences, or write what is said as text"
        )
    if len(tiers) > 1 and are_of_people(tiers):
        for name, parts in tiers:
            yield from (replace(part, speaker=name.strip()) for part in parts)
        return
    if len(tiers) > 1:
        raise UnusableError(
            f"is Praat TextGrid with several tiers, {names}; save the one with the sentences alone"
        )
    yield from tiers[0][1] if tiers else ()


def are_of_people(tiers: Sequence[tuple[str, Sequence[Segment]]]) -> bool:
    """Whether each tier is of another person, and the tiers are not layers of what is said: their names differ in
    numbers and a letter alone, as `001-M` and `002-F` or `A` and `B`, or say who speaks in a conversation, and hardly
    any interval of one begins when an interval of another begins, or ends when it ends.
    """
    names = [name.strip().casefold() for name, _ in tiers]
    shapes = {re.sub(r"\d+|(?<![^\W_])[^\W\d_](?![^\W_])", "#", name) for name in names}
    alike = len(shapes) == 1 and "#" in next(iter(shapes)) and _LAYER.search(names[0]) is None
    if len(set(names)) < len(names) or not (alike or ROLES.issuperset(names)):
        return False
    return not any(_go_together(one, other) for (_, one), (_, other) in combinations(tiers, 2))


def _go_together(one: Sequence[Segment], other: Sequence[Segment]) -> bool:
    """Whether more intervals of two tiers begin or end at the same times than those of two people do."""
    begins = {part.begin for part in one} & {part.begin for part in other}
    ends = {part.end for part in one} & {part.end for part in other}
    return max(len(begins), len(ends)) > _TOGETHER * min(len(one), len(other))


def _is_of_words(name: str, parts: list[Segment]) -> bool:
    """Whether a tier has the words or phones that an aligner found in sentences; not words that
    were recorded one by one.
    """
    found = _ALIGNED.search(name)
    if found is None:
        return False
    of_sounds = found[1].lower() != "word" and all(len(part.text.split()) == 1 for part in parts)
    return of_sounds or are_joined_words(parts, least=2)


def _with_letters(text: str) -> str:
    """Return a text with letters in the place of those that Praat writes in ASCII."""
    return _TRIGRAPH.sub(
        lambda found: _LETTERS.get(found[1]) or _with_accent(found[0], found[2], found[3]), text
    )


def _with_accent(written: str, letter: str, accent: str) -> str:
    """Return a letter with its accent as one character; what is `written` where there is none."""
    whole = unicodedata.normalize("NFC", f"{letter}{_ACCENTS[accent]}")
    return whole if len(whole) == 1 else written


class _GridItems:
    """Reads the values of a TextGrid one after another."""

    def __init__(self, text: str) -> None:
        self._found = _ITEM.finditer(text)
        self._lines = LineNumbers(text)

    def skip(self, count: int) -> None:
        for _ in range(count):
            self._next()

    def text(self) -> str:
        return _with_letters((self._next()[1] or "").replace('""', '"'))

    def count(self) -> int:
        return int(self._number(self._next()))

    def number(self) -> float:
        return self._number(self._next())

    def interval(self, kind: str) -> Segment:
        """Read an interval, or in a "TextTier" a point, which begins and ends at its time."""
        begin = self._next()
        end = begin if kind == "TextTier" else self._next()
        return Segment(
            self._line(begin), self._number(begin), self._number(end), " ".join(self.text().split())
        )

    def _number(self, found: re.Match[str]) -> float:
        try:
            number = float(found[2])
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
        raise UnusableError(
            f"is Praat TextGrid, and line {self._line(found)} has no number where one stands; save it again"
        )

    def _line(self, found: re.Match[str]) -> int:
        return self._lines.line_of(found.start())

    def _next(self) -> re.Match[str]:
        found = next(self._found, None)
        if found is None:
            raise UnusableError("is Praat TextGrid that ends early; save it again")
        return found
