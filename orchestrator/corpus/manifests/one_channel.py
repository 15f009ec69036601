"""Detects records that mean one channel of a recording that has several. Channels are never read
separately here, so the mean of all would silently stand for the text of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.recordings.containers import open_audio

_KEY = re.compile(
    r"(?:audio|reco|recording|wav)?_?(?:channels?|chan|side)_?(?:id|idx|index|no|nr|number|tag|name|selector|label)?"
)
"""Keys that name a channel, after `_is_key` has brought them to lower case with underscores."""
_CHANNEL = re.compile(
    r"(?:ch(?:an(?:nel)?)?[ _-]?)?\d{1,2}(?:\.0)?|[ablr]|left|right|(?:in|out)bound|rx|tx|local|remote"
    r"|agent|customer|client|operator|caller|callee|user|bot|assistant|doctor|patient",
    re.IGNORECASE,
)
"""Values that name one channel of a recording; the name of a broadcaster's channel does
not match.
"""
_PLACES = {"0": 1, "a": 1, "l": 1, "left": 1, "b": 2, "r": 2, "right": 2}
"""Which channel a value means, counted from 1, where that is certain."""
_PREFIX = re.compile(r"ch(an(nel)?)?[ _-]?(?=\d)")
_A_COUNT = '; where it says how many there are, call it "num_channels"'


def refuse_one_of_several(record: Mapping[str, Any], source: Path | bytes, name: str) -> None:
    """Raise UnusableError where `record`, the keys that no field was made of, names a channel of
    the file `name` and the file has more than one.
    """
    named = next(_channels_of(record), None)
    if named is None:
        return
    import soundfile

    count = soundfile.info(open_audio(source, name).source).channels
    if count > 1:
        key, value = named
        many = str(value) == str(count)
        raise UnusableError(
            f'{name} has {count} channels and the record means one, for "{key}" is {show(value)}; save that one as '
            f"mono audio: {_command(value)}{_A_COUNT if many else ''}"
        )


def _command(channel: object) -> str:
    """Return the command that saves a channel; of a number from 1 on nobody knows whether the first
    is 0 or 1.
    """
    place = _PLACES.get(_PREFIX.sub("", str(channel).strip().casefold()))
    if place is None:
        return "sox IN.wav OUT.wav remix 1 saves the first, remix 2 the second"
    return f"sox IN.wav OUT.wav remix {place}"


def channel_of(record: Mapping[str, Any]) -> str:
    """Return the channel that a record names, as it is written; empty where it names none."""
    return next((str(value) for _, value in _channels_of(record)), "")


def channel_keys(record: Mapping[str, Any]) -> set[str]:
    """Return the keys of a record that name one channel of several."""
    return {key for key, _ in _channels_of(record)}


def _channels_of(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
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
