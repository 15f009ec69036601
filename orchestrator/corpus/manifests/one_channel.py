"""Refuses records that mean one channel of a recording that has several. Channels are never read
separately here, so the mean of all would silently stand for the text of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.corpus.channel_names import AROUND, LEFT, RIGHT, channels_of
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.recordings.containers import open_audio

_PLACES = {1: re.compile(f"0|a|l|{LEFT}"), 2: re.compile(f"b|r|{RIGHT}")}
"""The values that surely mean a channel, counted from 1."""
_A_COUNT = '; where it says how many there are, call it "num_channels"'


def refuse_one_of_several(record: Mapping[str, Any], source: Path | bytes, name: str) -> None:
    """Raise UnusableError where `record`, the keys that no field was made of, names a channel of
    the file `name` and the file has more than one.
    """
    named = next(channels_of(record), None)
    if named is None:
        return
    import soundfile

    count = soundfile.info(open_audio(source, name).source).channels
    if count > 1:
        key, value = named
        many = str(value) == str(count)
        raise UnusableError(
            f'{name} has {count} channels and the record means one, for "{key}" is {show(value)}; save that one as '
            f"mono audio, for the texts of that channel alone: {_command(value)}{_A_COUNT if many else ''}"
        )


def _command(channel: object) -> str:
    """Return the command that saves a channel; of a number from 1 on nobody knows whether the first
    is 0 or 1.
    """
    name = AROUND.sub("", str(channel).strip().casefold())
    place = next((place for place, form in _PLACES.items() if form.fullmatch(name)), None)
    if place is None:
        return "sox IN.wav OUT.wav remix 1 saves the first, remix 2 the second"
    return f"sox IN.wav OUT.wav remix {place}"
