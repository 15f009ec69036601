"""One form for texts and names that different systems write differently. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def composed(text: str) -> str:
    """Return a text or a name with composed letters (NFC): macOS writes an umlaut in the name of a
    file as two characters, and a keyboard types one.
    """
    return unicodedata.normalize("NFC", text)


def unique_folds(names: Iterable[str]) -> dict[str, str]:
    """Return each of several names by its form without capitals, but for those that have this form in common."""
    found: dict[str, str] = {}
    for name in names:
        fold = name.casefold()
        found[fold] = "" if fold in found else name
    return {fold: name for fold, name in found.items() if name}


def in_one_line(text: str) -> str:
    """Return a text `composed`, with one plain space for a no-break space, a tab, a line end or
    several spaces: most tokenizers know no other, and would learn `<unk>`.
    """
    return " ".join(composed(text).split())
