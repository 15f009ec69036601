"""Texts that stand beside the name of their recording in a file of that name, as rows of lists do: `F01_BUS A
STRONG TURNOUT` in `F01_BUS.trn` of CHiME-4. Pure.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from orchestrator.corpus.manifests.name_lists import BEHIND, FESTIVAL, text_of_row
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES, UNREAD_SUFFIXES

_BEFORE = re.compile(r"(?P<name>[^\s:|,;]+)(?:\s*[:|,;]\s*|\s+)(?P<text>\S.*)")
_ID = re.compile(r"(?=.*\d)(?=.*[^\d]).{4,}|\d{6,}")
"""What is hardly ever said as a word; `7`, `b2` and `2001` may be said."""


def looks_like_an_id(stem: str) -> bool:
    """Whether the name of a recording has the form of an id, which is hardly ever a word that is said."""
    return _ID.fullmatch(stem) is not None


def is_surely_an_id(stem: str) -> bool:
    """Whether the name of a recording cannot be said: it has an underscore, or a long number that begins with 0
    behind a letter, as `a0001`.
    """
    return "_" in stem or re.search(r"[^\W\d]-?0\d{3}", stem) is not None


def without_own_name(text: str, stem: str) -> str:
    """Return the text of the recording `stem` without its name before or behind the words; any other text is
    returned as it is.
    """
    line = text.strip()
    if "\n" in line or not looks_like_an_id(stem):
        return text
    for form in (FESTIVAL, BEHIND, _BEFORE):
        found = form.fullmatch(line)
        if found is not None and stem_of_name(found["name"]) == stem.casefold():
            return text_of_row(found)
    return text


def stem_of_name(name: str) -> str:
    """Return a path in small letters without its folders, and without the ending of a recording."""
    path = PurePosixPath(name.casefold().replace("\\", "/"))
    return path.stem if path.suffix in (*AUDIO_SUFFIXES, *UNREAD_SUFFIXES) else path.name
