"""Telling what the three columns of a `|`-separated list without a header are: in LJSpeech a text
and how it is read aloud, in VITS and similar ones a speaker and a text, in either order. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.plain_words import plain_words
from orchestrator.corpus.names_of_nobody import used_for

_TWICE = ("audio_filepath", "text", "normalized_text")
_SPEAKER_FIRST = ("audio_filepath", "speaker", "text")
_SPEAKER_LAST = ("audio_filepath", "text", "speaker")
_NAMED_ID = re.compile(r"[^\W\d_]+[_-]?\d\w*")
"""Ids of speakers such as spk0 and p225; `4th` and 1089 do not match."""
_DECIMAL = re.compile(r"\d+[.,]\d+")
"""A number as lengths in seconds are, and no names."""
_COLUMNS = {"languages": "language", "genders or ages": "gender", "the parts of a corpus": "split"}
"""The names of columns whose cells are nobody's names, by what these are used for."""
_FEW = 2
"""The number of rows per name, at least, for names of several words to be recognised as speakers by
how few they are.
"""


def columns_of_three(rows: Sequence[Sequence[str]], where: str) -> tuple[str, ...]:
    """Return the names of the three columns that all `rows` have. Raises UnusableError, with
    `where` before the example, if every cell is one word and nothing tells a speaker from a text, or
    numbers or languages stand beside the texts.
    """
    if not rows:
        return _TWICE
    first, second = ([row[column].strip() for row in rows] for column in (1, 2))
    one_word = (_are_words(first), _are_words(second))
    beside_texts = first if one_word == (True, False) else second if one_word[1] else []
    beside_texts = list(filter(None, beside_texts))
    if beside_texts and all(map(_DECIMAL.fullmatch, beside_texts)):
        raise UnusableError(
            f"is a list with numbers beside the texts, {where} {show(beside_texts[0])}, which name no speaker; write a "
            "first line that names the columns, such as path|duration|text or path|text|duration"
        )
    what = used_for(set(beside_texts)) if one_word[0] != one_word[1] else ""
    if what:
        column = _COLUMNS[what]
        raise UnusableError(
            f"is a list with {what} beside the texts, {where} {show(beside_texts[0])}, which name no speaker; write a "
            f"first line that names the columns, such as path|{column}|text or path|text|{column}, or "
            "path|speaker|text where they are people"
        )
    if one_word == (True, False):
        return _SPEAKER_FIRST
    if one_word == (False, True):
        return _SPEAKER_LAST
    pairs = list(zip(first, second, strict=True))
    # a text and how it is read aloud have words in common; a speaker and a text do not
    alike = sum(not set(plain_words(text)).isdisjoint(plain_words(read)) for text, read in pairs)
    if 2 * alike >= len(pairs):
        return _TWICE
    if one_word == (False, False):
        return _SPEAKER_FIRST if _few_beside_many(first, second) else _TWICE
    if _are_ids(first, second):
        return _SPEAKER_FIRST
    if _are_ids(second, first):
        return _SPEAKER_LAST
    example = show("|".join(rows[0])[:60])
    raise UnusableError(
        f"is a list of which nothing tells speakers from texts, {where} {example}; write a first line that names "
        "the columns, such as path|speaker|text, path|text|speaker or path|text|normalized_text"
    )


def _are_words(cells: Sequence[str]) -> bool:
    """Whether each cell is one word or empty, and not all are empty."""
    return any(cells) and all(len(cell.split()) <= 1 for cell in cells)


def _few_beside_many(names: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether `names`, such as `Ann Smith`, return again and again beside different texts."""
    several = len(set(names)) * _FEW <= len(names) and len(set(texts)) > _FEW * len(set(names))
    return several and max(len(name.split()) for name in names) <= 3


def _are_ids(cells: Sequence[str], others: Sequence[str]) -> bool:
    """Whether `cells` are ids of speakers, by their digits. Plain numbers may be read aloud, so
    they count as ids only where they stand beside several of the `others`.
    """
    if any(character.isdigit() for other in others for character in other):
        return False
    known = [cell for cell in cells if cell]
    if all(map(_NAMED_ID.fullmatch, known)):
        return True
    pairs = {(cell, other) for cell, other in zip(cells, others, strict=True) if cell}
    return all(map(str.isdigit, known)) and len(pairs) > len(set(known))
