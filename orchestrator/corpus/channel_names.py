"""Finds what a record says of the channel of a recording that it means, under whatever key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_TRANSLATED = "kanal|kanaal|canale?|канал"
_KEY = re.compile(
    rf"(?:audio|reco|recording|wav)?_?(?:channels?|chan|ch|side|{_TRANSLATED})"
    r"_?(?:id|idx|index|no|nr|number|tag|name|selector|label)?"
)
"""Keys that name a channel, after `_is_key` has brought them to lower case with underscores."""
LEFT = "left|links|gauche|izquierd[ao]|sinistr[ao]|левый"
RIGHT = "right|rechts|droite?|derech[ao]|destr[ao]|правый"
"""Names of the second channel of two, as `LEFT` are of the first, in several languages."""
_WORD = rf"(?:ch(?:an(?:nel)?)?|{_TRANSLATED})"
_CHANNEL = re.compile(
    rf"(?:{_WORD}[ _-]?)?(?:\d{{1,2}}(?:\.0)?|{LEFT}|{RIGHT})|(?:{_WORD}[ _-])?[ablr]"
    rf"|(?:{LEFT}|{RIGHT})[ _-]?{_WORD}"
    r"|(?:in|out)bound|rx|tx|local|remote"
    r"|agent|customer|client|operator|caller|callee|user|bot|assistant|doctor|patient"
    r"|kund(?:e|in)|berater(?:in)?|anrufer(?:in)?|agente|cliente|klant|medewerker|клиент|оператор",
    re.IGNORECASE,
)
"""Values that name one channel of a recording; the name of a broadcaster's channel does
not match.
"""
AROUND = re.compile(
    rf"^{_WORD}[ _-]?(?=\d|\w$|{LEFT}|{RIGHT})|(?<=\w)[ _-]?{_WORD}$", re.IGNORECASE
)
"""What may stand before the number or name of a channel, or behind its name."""


def channel_of(record: Mapping[str, Any]) -> str:
    """Return the channel that a record names, as it is written; empty where it names none."""
    return next((str(value) for _, value in channels_of(record)), "")


def channel_keys(record: Mapping[str, Any]) -> set[str]:
    """Return the keys of a record that name one channel of several."""
    return {key for key, _ in channels_of(record)}


def channels_of(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a record that name one channel, with their values."""
    for key, value in record.items():
        if not _is_key(key):
            continue
        alone = value[0] if isinstance(value, list) and len(value) == 1 else value
        if alone is value and re.sub("[^a-z]", "", key.lower()).endswith("channels"):
            continue  # a single value under a plural key is how many there are
        if isinstance(alone, int | float | str) and _CHANNEL.fullmatch(str(alone).strip()):
            yield key, alone


@lru_cache(maxsize=1024)
def _is_key(key: str) -> bool:
    """Whether a key names a channel. Cached, because a manifest has the same keys in every
    record.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip()).lower()
    return _KEY.fullmatch(re.sub(r"[\s-]+", "_", apart)) is not None
