"""Removing how words are read from texts that say it: on the lines below, as THCHS-30 does with
pinyin and phones, or behind each word, as AISHELL-3 does. Pure.
"""

from __future__ import annotations

import re

_SYLLABLE = re.compile(r"[a-zü:]+[0-6]?")
"""A syllable of pinyin or a phone, with its tone or without."""
_TONED = re.compile(r"(?:[bpmfdtnlgkhjqxrzcsyw]?h?[aeiouvü:]{1,4}(?:ng?)?r?|ng?|h?m|hng)[0-6]")
"""A syllable of pinyin with its tone; `mp3` and `b2` do not match."""
_HAN = "\u3400-\u9fff\U00020000-\U0003ffff"
_HAN_TEXT = re.compile(rf"[{_HAN}]")
_HAN_SYLLABLE = re.compile(rf"[{_HAN}]儿?")
_FEW = 2
"""The number of words with their pinyin up to which these may be said."""


def without_readings(text: str) -> str:
    """Return the first line of a text whose other lines say how it is read; any other text is
    returned as it is.
    """
    first, *others = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    readings = [line.split() for line in others]
    if not readings or not _HAN_TEXT.search(first):
        return text
    if not all(_SYLLABLE.fullmatch(word) for reading in readings for word in reading):
        return text
    toned = sum(_TONED.fullmatch(word) is not None for word in readings[0])
    return first if 2 * toned > len(readings[0]) else text


def without_pinyin(text: str) -> str:
    """Return the words of a text in which each is followed by its pinyin with tone; any other text
    is returned as it is.
    """
    words = text.split()
    pairs = list(zip(words[::2], words[1::2], strict=False))
    each = all(_HAN_SYLLABLE.fullmatch(word) and _TONED.fullmatch(said) for word, said in pairs)
    return " ".join(words[::2]) if each and len(words) == 2 * len(pairs) > _FEW else text
