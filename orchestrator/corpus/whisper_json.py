"""What Whisper and its kin say of one recording, with times: the JSON of openai-whisper, whisperX,
faster-whisper, whisper.cpp and of the pipelines of transformers. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any


def is_whisper(value: object) -> bool:
    """Whether a JSON value is the transcript of one recording in parts."""
    parts = _parts(value)
    return bool(parts) and all(_times(part) is not None for part in parts[:5])


def parts_of_whisper(text: str) -> list[tuple[float, float, str, str]] | None:
    """Begin and end in seconds, text and speaker of every part; None for another text. The end is
    infinite where there is none: transformers knows none of a part that the recording cuts off.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not is_whisper(value):
        return None
    return list(_read(_parts(value)))


def _read(parts: list[Any]) -> Iterator[tuple[float, float, str, str]]:
    for part in parts:
        times = _times(part)
        if times is not None:
            speaker = part.get("speaker")
            said = " ".join(str(part["text"]).split())
            yield *times, said, speaker if isinstance(speaker, str) else ""


def _parts(value: object) -> list[Any]:
    """The list of parts, wherever it stands."""
    if isinstance(value, Mapping):
        for key in ("segments", "chunks", "transcription"):
            if isinstance(entry := value.get(key), list):
                return entry
    return value if isinstance(value, list) else []


def _times(part: object) -> tuple[float, float] | None:
    """Begin and end in seconds of a part with a text; None for anything else."""
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        return None
    both: Any = (part.get("start"), part.get("end"))
    scale = 1.0
    if isinstance(part.get("timestamp"), list | tuple):
        both = part["timestamp"]
    elif isinstance(part.get("offsets"), Mapping):
        both, scale = (part["offsets"].get("from"), part["offsets"].get("to")), 1000.0
    if len(both) != 2 or not isinstance(both[0], int | float):
        return None
    begin, end = both[0] / scale, math.inf if both[1] is None else both[1]
    return (begin, end / scale) if isinstance(end, int | float) else None
