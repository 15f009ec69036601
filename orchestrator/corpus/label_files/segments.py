"""What is said in a part of a recording, whichever file tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

NAME = r"[^\W\d_][\w.'-]*(?: [\w.'-]+){0,3}"
"""How people and programs name a speaker before what is said; a regular expression."""

_UNSPOKEN = ("ignore_time_segment_in_scoring", "inter_segment_gap")
"""What stands in an STM, in small letters or in capitals, where nothing is to be scored."""


@dataclass(frozen=True)
class Segment:
    """What is said in a part of a recording, and the line where that stands."""

    line: int
    begin: float
    """Seconds."""
    end: float
    text: str
    recording: str = ""
    """Empty where the file is of the one recording beside it."""
    speaker: str = ""
    before: str = ""
    """What stood before the words and is none: the name of who speaks, or a dash."""
    channel: str = ""
    """Of a recording of several, where the file tells it."""


def is_unspoken(text: str) -> bool:
    """Whether a text is the mark of a part that is not to be scored."""
    return text.strip().casefold() in _UNSPOKEN


def seconds(time: str) -> float:
    """`0:01:02,500` and `62.5`."""
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total
