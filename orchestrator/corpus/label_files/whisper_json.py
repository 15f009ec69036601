"""Reading the JSON that Whisper and its relatives write of one recording, with times:
openai-whisper, whisperX, faster-whisper, whisper.cpp and the pipelines of transformers. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from orchestrator.corpus.channel_names import channel_of
from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.word_level import refuse_words
from orchestrator.corpus.manifest_errors import UnusableError, show


def is_whisper(value: object) -> bool:
    """Whether a JSON value is the transcript of one recording in timed parts."""
    parts = _parts(value)
    return bool(parts) and all(_times(part) is not None for part in parts[:5])


def parts_of_whisper(text: str) -> list[Segment] | None:
    """Return every part in which something is said; None for text that is no such JSON. The end of
    a part is infinite where it has none: transformers gives none for a part that the end of the
    recording cuts off.

    Raises UnusableError where a part cannot be read, or the parts are single words.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not is_whisper(value):
        return None
    parts = _parts(value)
    unread = [number for number, part in enumerate(parts, start=1) if _times(part) is None]
    if unread:
        shown = show(json.dumps(parts[unread[0] - 1], ensure_ascii=False)[:80])
        raise UnusableError(
            f"has {len(unread)} of {len(parts)} parts that cannot be read; part {unread[0]} is {shown}, and a part "
            "needs a text, a begin and an end in seconds: write them, or delete it"
        )
    spoken = [segment for part in parts if (segment := _segment(part)).text]
    refuse_words(spoken, "JSON")
    return spoken


def _segment(part: Mapping[str, Any]) -> Segment:
    begin, end = _times(part) or (0.0, 0.0)
    speaker = part.get("speaker")
    named = isinstance(speaker, str | int) and not isinstance(speaker, bool)
    said = " ".join(str(part["text"]).split())
    own = str(speaker) if named else ""
    return Segment(1, begin, end, said, speaker=own, channel=channel_of(part))


def _parts(value: object) -> list[Any]:
    """Return the list of parts, under whichever key it stands; empty where there is none."""
    if isinstance(value, Mapping):
        # insanely-fast-whisper has the same parts twice, once with who says them
        if isinstance(turns := value.get("speakers"), list) and any(map(_times, turns)):
            return turns
        for key in ("segments", "chunks", "transcription"):
            if isinstance(entry := value.get(key), list):
                return entry
    return value if isinstance(value, list) else []


def _times(part: object) -> tuple[float, float] | None:
    """Return the begin and end in seconds of a part that has a text; None for anything else."""
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        return None
    both: Any = (part.get("start"), part.get("end"))
    scale = 1.0
    if isinstance(part.get("timestamp"), list | tuple):
        both = part["timestamp"]
    elif isinstance(part.get("offsets"), Mapping):
        both, scale = (part["offsets"].get("from"), part["offsets"].get("to")), 1000.0
    if len(both) != 2 or not _is_time(both[0]) or not (both[1] is None or _is_time(both[1])):
        return None
    return both[0] / scale, math.inf if both[1] is None else both[1] / scale


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e12  # neither NaN nor infinity
