"""What is computed for sets grows no faster than they do: with the segments of one long recording,
and with the length of a list of terms.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.overlap import Recordings, shared_audio
from orchestrator.corpus.utterance import Utterance
from orchestrator.scoring.terms import Terms
from tests.test_growth import MOST, calls_of

SEGMENTS = 50
"""Of the small set; the larger ones have twice and four times as many."""


def cut_from_one(segments: int, first: float) -> Recordings:
    """Return a set of segments of one recording of half a second, two seconds apart, from `first`
    on.
    """
    utterances = tuple(
        Utterance(
            id=f"{number}",
            text="words",
            audio=Path("/book.wav"),
            duration=0.5,
            offset=first + 2 * number,
            line=number + 1,
            explicit_id=False,
        )
        for number in range(segments)
    )
    return Recordings(Manifest(Path("/list.jsonl"), "", utterances), ("/book.wav",) * segments, ())


def test_segments_of_one_recording_are_not_compared_each_with_each() -> None:
    taken = []
    for segments in (SEGMENTS, 2 * SEGMENTS, 4 * SEGMENTS):
        sets = (cut_from_one(segments, 0), cut_from_one(segments, 1))
        calls, found = calls_of(lambda sets=sets: shared_audio(*sets))  # type: ignore[misc]
        assert found == []
        taken.append(calls)
    small, middle, large = taken
    assert (large - middle) / (middle - small) < MOST


@pytest.mark.parametrize(
    ("offset", "duration", "line"),
    [
        (2.2, 0.5, 2),
        (1.9, 2.7, 2),  # of two segments that it overlaps, the one that stands first in the list
        (0.55, 0.9, None),
        (2.45, 1.0, None),  # touching, as after rounding
        (5.0, None, 1),  # up to where is not known
    ],
)
def test_the_first_segment_in_the_list_that_shares_sound_is_named(
    offset: float, duration: float | None, line: int | None
) -> None:
    other = Utterance(id="b", text="words", audio=Path("/book.wav"), duration=duration,
                      offset=offset, line=1)  # fmt: skip
    second = Recordings(Manifest(Path("/b.jsonl"), "", (other,)), ("/book.wav",), ())
    found = [shared.other.line for shared in shared_audio(cut_from_one(3, 0), second)]
    assert found == ([] if line is None else [line])


class Phrase(tuple[str, ...]):
    """A phrase of a list of terms that counts how often its hash is computed."""

    hashed = 0

    def __hash__(self) -> int:
        """Count, and hash."""
        Phrase.hashed += 1
        return super().__hash__()


def test_a_list_of_terms_is_not_gone_through_for_every_text() -> None:
    terms = Terms(tuple(Phrase((f"word{number}", "more")) for number in range(500)))
    assert terms.count("word7 more word8 more", "word8 more") == (2, 1, 1)
    once = Phrase.hashed
    for _ in range(20):
        terms.count("word7 more word8 more", "word8 more")
    assert Phrase.hashed == once
