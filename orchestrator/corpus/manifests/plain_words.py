"""The words of a text in any script, without case and punctuation. Pure."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_][^ '’]*(?:['’][^\W_][^ '’]*)*")


def plain_words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters, numbers and their marks, with the
    apostrophes inside.
    """
    # casefold() turns İ into an i and a combining dot
    folded = unicodedata.normalize("NFKC", text).replace("İ", "i").casefold()
    return _WORD.findall(folded.translate(_OF_A_WORD))


class _OfAWord(dict[int, str]):
    """Code point -> the character where it may stand in a word, and a space for any other; filled
    as characters are met, because a corpus has millions.
    """

    def __missing__(self, point: int) -> str:
        character = chr(point)
        # vowel signs (Hindi, Thai, Hebrew) are marks, which Python counts as no part of a word
        is_mark = unicodedata.category(character)[0] == "M"
        stays = character.isalnum() or character in "'’" or is_mark
        self[point] = character if stays else " "
        return self[point]


_OF_A_WORD = _OfAWord()
