"""Which words of a text were heard, missed, added or mistaken: the alignment behind the counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class AlignedWord:
    """One place of an alignment: what was said and what was heard there; empty where nothing was."""

    said: str
    heard: str

    @property
    def is_error(self) -> bool:
        """A substitution, a deletion or an insertion."""
        return self.said != self.heard


def align(reference: str, hypothesis: str) -> tuple[AlignedWord, ...]:
    """A minimal alignment of the words of two normalised texts (Levenshtein, as jiwer aligns).

    As many places are errors as the counts of the utterance say.
    """
    said, heard = reference.split(), hypothesis.split()
    aligned: list[AlignedWord] = []
    for operation in Levenshtein.opcodes(said, heard):
        own = said[operation.src_start : operation.src_end]
        other = heard[operation.dest_start : operation.dest_end]
        aligned += _places(own, other)
    return tuple(aligned)


def _places(said: Sequence[str], heard: Sequence[str]) -> list[AlignedWord]:
    """Words beside words; one side is empty where words were missed or added."""
    places = max(len(said), len(heard))
    return [
        AlignedWord(
            said[place] if place < len(said) else "", heard[place] if place < len(heard) else ""
        )
        for place in range(places)
    ]
