"""Texts that say how their words are read: below them, as THCHS-30 does with pinyin and phones, or behind
each, as AISHELL-3 does. Pure.
"""

from __future__ import annotations

import re

_SYLLABLE = re.compile(r"[a-zü:]+[0-6]?")
"""Of pinyin or a phone, with its tone or without."""
_TONED = re.compile(r"(?:[bpmfdtnlgkhjqxrzcsyw]?h?[aeiouvü:]{1,4}(?:ng?)?r?|ng?|h?m|hng)[0-6]")
"""Of pinyin with its tone, which `mp3` and `b2` are not."""
_HAN = "\u3400-\u9fff\U00020000-\U0003ffff"
_HAN_TEXT = re.compile(rf"[{_HAN}]")
_HAN_SYLLABLE = re.compile(rf"[{_HAN}]儿?")
_FEW = 2
"""Words and their pinyin, which may be said."""


def without_readings(text: str) -> str:
    """The words of a text whose other lines say how they are read; any other text as it is."""
    first, *others = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    readings = [line.split() for line in others]
    if not readings or not _HAN_TEXT.search(first):
        return text
    if not all(_SYLLABLE.fullmatch(word) for reading in readings for word in reading):
        return text
    toned = sum(_TONED.fullmatch(word) is not None for word in readings[0])
    return first if 2 * toned > len(readings[0]) else text


def without_pinyin(text: str) -> str:
    """The words of a text in which pinyin with its tone stands behind each; any other text as it is."""
    words = text.split()
    pairs = list(zip(words[::2], words[1::2], strict=False))
    each = all(_HAN_SYLLABLE.fullmatch(word) and _TONED.fullmatch(said) for word, said in pairs)
    return " ".join(words[::2]) if each and len(words) == 2 * len(pairs) > _FEW else text
