"""Detects transcripts whose parts are the single words of continuous sentences, as recognisers and
aligners write them: a model that learned from them would hear 0.3 s at a time. Pure.

Words that were recorded one by one, for a set of keywords, differ: they have pauses between them,
or parts that are longer than a word is in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.manifest_errors import UnusableError, show

_LEAST = 5
"""The number of parts of a recording below which nothing is concluded."""
_SHARE = 0.9
"""The share of parts that must be single words."""
_TOUCHING = 0.1
"""Seconds between two parts that were said without a pause, at most."""
_WORD = 0.6
"""Seconds. The median length of parts that are words of sentences is at most this: in a sentence,
words last half of it (0.2 to 0.4 s), and parts cut around a single word last longer.
"""


def are_joined_words(parts: Sequence[Segment], least: int = _LEAST) -> bool:
    """Whether the parts of one recording are the words of its sentences: nine of ten are one word,
    half of them follow one another without a pause, and they are as short as words. Always false
    for fewer than `least` parts.
    """
    if len(parts) < least or len(parts) < 2:
        return False
    single = sum(len(part.text.split()) == 1 for part in parts)
    gaps = [second.begin - first.end for first, second in pairwise(parts)]
    touching = sum(gap <= _TOUCHING for gap in gaps)
    short = median(part.end - part.begin for part in parts) <= _WORD
    return single >= _SHARE * len(parts) and 2 * touching >= len(gaps) and short


def refuse_words(parts: Sequence[Segment], kind: str) -> None:
    """Raise UnusableError where the parts of a recording are the words of its sentences."""
    by_recording: dict[str, list[Segment]] = {}
    for part in parts:
        by_recording.setdefault(part.recording, []).append(part)
    for own in by_recording.values():
        if are_joined_words(own):
            raise UnusableError(
                f"is {kind} whose {len(own)} parts are single words, from {show(own[0].text)} at "
                f"{own[0].begin:g} s on, and nothing says where a sentence ends; write it again with a part for each "
                "sentence (transformers: return_timestamps=True, whisper.cpp: without -ml 1), or write what is said as "
                "text"
            )
