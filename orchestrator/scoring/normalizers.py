"""Text normalisers by name, which decide what counts as a word, and the detection of decodes that
loop.

An error rate depends on its normaliser: the normaliser's version is in the evaluation fingerprint,
so numbers made with different rules are never compared.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files

Normalizer = Callable[[str], str]

APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))
"""Typographic apostrophes to the ASCII one. The Whisper rules know only the latter: without this,
"it’s" and "it's" are different words, and an adapter would gain by copying the manifest's
typography."""

_ELLIPSIS = re.compile(r"\.{2,}|\u2026")
"""The Whisper rules leave a word "." of it, so an adapter would gain by copying the manifest's
punctuation."""

_LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")
_BASIC_RULES = (
    "4: NFKC, lower case (İ is i), letters marks numbers, inner apostrophes, format characters, variation selectors "
    "and enclosing marks dropped, marks without a letter dropped"
)
_WHISPER_RULES = "3: apostrophes folded, ellipses to spaces, EnglishTextNormalizer, signs alone dropped, lower case"
_WHISPER_SOURCES = ("english.py", "basic.py", "normalizers/english.json")
_LONG_WORD = re.compile(r"\b[A-Za-z]{5,}\b")
_BRACKET = re.compile(r"[(\[<]")
_LONGEST_LOOP = 4
_WORD_REPEATS, _PHRASE_REPEATS = 4, 3


@cache
def normalizer(name: str) -> Normalizer:
    """Return the normaliser of that name: text in, words separated by single spaces out. Its
    results are cached.

    - `whisper-en`: OpenAI's English rules with their spelling map (Radford et al. 2022, appendix C), as packaged in
      `whisper-normalizer`. Numbers become digits, contractions are spelled out, fillers and bracketed notes vanish.
    - `basic`: any language. NFKC, lower case; punctuation and symbols become spaces, apostrophes inside words stay.
      I is lowered to i, in Turkish too: there "Işık" and "ışık" are two words.
    - `none`: only whitespace is collapsed; case and punctuation count.

    Raises ValueError for any other name.
    """
    if name == "whisper-en":
        return _cache_results(_normalize_english)
    if name == "basic":
        return _cache_results(_normalize_basic)
    if name == "none":
        return _collapse_spaces
    raise ValueError(f"unknown normalizer {name!r}; allowed: whisper-en, basic, none")


def is_surely_said(text: str) -> bool:
    """Whether a text without brackets has a word of five ASCII letters or more, of which every
    normaliser leaves something: the fillers that `whisper-en` drops are shorter.
    """
    return bool(_LONG_WORD.search(text)) and not _BRACKET.search(text)


@cache
def _english_rules() -> Normalizer:
    # imported here: it loads the number and spelling rules, and most commands never score
    from whisper_normalizer.english import EnglishTextNormalizer

    english: Normalizer = EnglishTextNormalizer()
    return english


@cache
def normalizer_version(name: str) -> str:
    """Return the name, package version and digest of everything that the normaliser's output
    depends on; part of the evaluation fingerprint.

    The digest covers the rules and spelling map of the installed package and the interpreter's
    Unicode tables.
    """
    if name == "whisper-en":
        package = files("whisper_normalizer")
        sources = [package.joinpath(path).read_bytes() for path in _WHISPER_SOURCES]
        return f"{name}/{version('whisper-normalizer')}/{_short_digest(_WHISPER_RULES.encode(), *sources)}"
    if name == "basic":
        return f"{name}/{_short_digest(_BASIC_RULES.encode())}"
    normalizer(name)
    return f"{name}/{_short_digest(b'1: whitespace collapsed')}"


def has_loop(words: Sequence[str]) -> bool:
    """Whether a hypothesis ends in a repeated n-gram: one word 4 times or more, 2 to 4 words 3
    times or more.

    A decoder that has lost its way repeats until its token cap, so only the end is looked at. Real
    speech says "no, no, no"; it hardly ends a sentence with the same word four times.
    """
    return any(_ends_repeated(words, n) for n in range(1, _LONGEST_LOOP + 1))


def _ends_repeated(words: Sequence[str], n: int) -> bool:
    repeats = _WORD_REPEATS if n == 1 else _PHRASE_REPEATS
    tail = list(words[-n * repeats :])
    return len(tail) == n * repeats and tail == tail[:n] * repeats


def _normalize_english(text: str) -> str:
    words = _english_rules()(_ELLIPSIS.sub(" ", text.translate(APOSTROPHES))).split()
    # a sign that stands alone, such as %, is left by the rules and not said
    said = (word for word in words if any(map(str.isalnum, word)))
    # the rules lower the text before they take № and bold letters apart, which leaves capitals
    return " ".join(said).lower()


def _normalize_basic(text: str) -> str:
    # lower() turns İ into an i and a combining dot
    whole = unicodedata.normalize("NFKC", text).replace("İ", "i")
    folded = unicodedata.normalize("NFKC", whole.lower()).translate(APOSTROPHES)
    kept = "".join(map(_spoken_character, folded))
    words = map(_without_leading_marks, _LOOSE_APOSTROPHE.sub(" ", kept).split())
    return " ".join(filter(None, words))


def _without_leading_marks(word: str) -> str:
    """Remove the marks that have no letter before them: NFKC makes a space and such a mark of an accent that stands
    alone.
    """
    others = (character for character in word if unicodedata.category(character)[0] != "M")
    first = next(others, None)
    return "" if first is None else word[word.index(first) :]


def _spoken_character(character: str) -> str:
    if character == "'":
        return character
    category = unicodedata.category(character)
    if category in ("Cf", "Me") or "VARIATION SELECTOR" in unicodedata.name(character, ""):
        # Soft hyphens, zero-width characters, what makes an emoji of a sign, and the frame around a digit are not
        # heard.
        return ""
    return character if category[0] in "LMN" else " "


def _collapse_spaces(text: str) -> str:
    return " ".join(text.split())


def _cache_results(normalize: Normalizer) -> Normalizer:
    # References are normalised again at every rung of every trial; half a millisecond each would
    # add up to minutes in a sweep.
    return lru_cache(maxsize=65_536)(normalize)


def _short_digest(*parts: bytes) -> str:
    content = hashlib.sha256(unicodedata.unidata_version.encode())
    for part in parts:
        content.update(hashlib.sha256(part).digest())
    return content.hexdigest()[:12]
