"""The words of a text in any script, without case and punctuation. Pure."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_][^ ']*(?:'[^\W_][^ ']*)*")
_APOSTROPHES = "'\u2018\u2019\u02bc"
"""What is written for an apostrophe: on a typewriter, or by the rules of typography."""


def plain_words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters, numbers and their marks, with the
    apostrophes inside, all written alike, and without characters of no width, such as a soft hyphen.
    """
    # casefold() turns İ into an i and a combining dot
    folded = unicodedata.normalize("NFKC", text).replace("İ", "i").casefold()
    return _WORD.findall(folded.translate(_OF_A_WORD))


class _OfAWord(dict[int, str]):
    """Code point -> the character where it may stand in a word, nothing where it has no width, and a space for any
    other; filled as characters are met, because a corpus has millions.
    """

    def __missing__(self, point: int) -> str:
        character = chr(point)
        category = unicodedata.category(character)
        # vowel signs (Hindi, Thai, Hebrew) are marks, which Python counts as no part of a word
        stays = character.isalnum() or category[0] == "M"
        # U+200C sets the parts of Persian words apart, as a space does
        other = "" if category == "Cf" and character != "\u200c" else " "
        self[point] = "'" if character in _APOSTROPHES else character if stays else other
        return self[point]


_OF_A_WORD = _OfAWord()
