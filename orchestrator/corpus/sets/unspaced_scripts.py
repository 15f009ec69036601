"""Whether texts are written without spaces between their words, so that splitting at spaces does
not give words.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

_LONGEST_WORDS = {"CJK": 3, "HIRAGANA": 3, "KATAKANA": 3} | dict.fromkeys(
    "THAI LAO KHMER MYANMAR TIBETAN".split(), 8
)
"""Scripts that are written without spaces. A mean length of stretches between spaces, in letters,
beyond the number given shows that these are not words that somebody set apart.
"""


def without_spaces(texts: Iterable[str]) -> bool:
    """Whether more than half of the letters are of such scripts, in stretches longer than words."""
    stretches = [stretch for text in texts for stretch in text.split()]
    counted = Counter("".join(stretches))
    letters = {letter: count for letter, count in counted.items() if letter.isalpha()}
    limits = {letter: _LONGEST_WORDS.get(_script_of(letter), 0) for letter in letters}
    total = sum(letters.values())
    spaceless = sum(count for letter, count in letters.items() if limits[letter])
    if spaceless <= total / 2:
        return False
    # the limits of the scripts, weighted by how many letters each has
    mean_limit = sum(limits[letter] * count for letter, count in letters.items()) / spaceless
    return total / len(stretches) > mean_limit


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """The first word of the letter's Unicode name, such as CJK or LATIN."""
    return unicodedata.name(letter, "").split(" ")[0]
