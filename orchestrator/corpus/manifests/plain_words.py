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
    return _WORD.findall("".join(map(_of_a_word, folded)))


def _of_a_word(character: str) -> str:
    """Return a character that may stand in a word, and a space for any other."""
    # vowel signs (Hindi, Thai, Hebrew) are marks, which Python counts as no part of a word
    stays = character.isalnum() or character in "'’" or unicodedata.category(character)[0] == "M"
    return character if stays else " "
