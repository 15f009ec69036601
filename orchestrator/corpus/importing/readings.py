"""Removing how words are read from texts that say it: on the lines below, as THCHS-30 does with
pinyin and phones, behind each word, as AISHELL-3 does, or behind what is written otherwise, as
Korean texts in the notation of ETRI do. Pure.

Source: the notation of KsponSpeech, https://doi.org/10.3390/app10196936.
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
_HANGUL = "\uac00-\ud7a3"
_TWO_FORMS = re.compile(r"\(([^()/]+)\) ?/ ?\(([^()/]+)\)")
"""`(70%)/(칠십 퍼센트)`: as it is written, and as it is said."""
_NOISE = re.compile(r"(?<![A-Za-z])[blnou]/(?![^\s.,?!])")
"""A breath, laughter, noise, another voice, or what is not understood."""
_HESITATION = re.compile(rf"(?<=[{_HANGUL}])[/+*]+(?=[\s.,?!]|$)")
"""Behind a word to fill a pause, one that is said again, and one that is hard to understand."""
_SURE = re.compile(
    rf"(?<!\S)[blnou]/(?!\S)|\((?=[^()/]*[\dA-Za-z])[^()/]+\) ?/ ?\([^()/\dA-Za-z]*[{_HANGUL}][^()/\dA-Za-z]*\)"
)
"""What other texts than those of ETRI hardly have: a mark of noise that stands alone, and a number or Latin letters
beside how they are said.
"""
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


def has_hangul(text: str) -> bool:
    """Whether a text is Korean, at least in part."""
    return re.search(rf"[{_HANGUL}]", text) is not None


def is_surely_notation(text: str) -> bool:
    """Whether a text has a mark that hardly any but one in the notation of ETRI has; `구글+` is also a name."""
    return _SURE.search(text) is not None


def is_noise_alone(text: str) -> bool:
    """Whether a text is nothing but marks of noise of ETRI."""
    return re.fullmatch(r"(?:[blnou]/\s*)+", text) is not None


def as_said_in_korean(text: str) -> str:
    """Return what is said of a Korean text in the notation of ETRI, without its marks; any other text is
    returned as it is.
    """
    if not has_hangul(text):
        return text
    said = _HESITATION.sub("", _NOISE.sub(" ", _TWO_FORMS.sub(r"\2", text)))
    return text if said == text else "\n".join(" ".join(line.split()) for line in said.split("\n"))
