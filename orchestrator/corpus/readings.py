"""Texts that say below the words how they are read, as THCHS-30 does: words, pinyin, phones. Pure."""

from __future__ import annotations

import re

_SYLLABLE = re.compile(r"[a-zü:]+[0-6]?")
"""Of pinyin or a phone, with its tone or without."""


def without_readings(text: str) -> str:
    """The words of a text whose other lines say how they are read; any other text as it is."""
    first, *others = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    readings = [line.split() for line in others]
    if not readings or first.isascii() or not any(map(str.isalpha, first)):
        return text
    if not all(_SYLLABLE.fullmatch(word) for reading in readings for word in reading):
        return text
    toned = sum(word[-1].isdigit() for word in readings[0])
    return first if 2 * toned > len(readings[0]) else text
