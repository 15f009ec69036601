"""Counts of listed terms: how often they were said, heard, and found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Terms:
    """A list of words and phrases, normalised like the texts they are looked for in."""

    phrases: tuple[tuple[str, ...], ...]
    """Each phrase as its words, without duplicates."""

    def count(self, reference: str, hypothesis: str) -> tuple[int, int, int]:
        """Count the occurrences in the reference (said), in the hypothesis (heard), and in both
        (found), of all phrases together.

        Of each phrase the smaller of said and heard counts as found, wherever it stands in the
        text: order is measured by the WER. Phrases may overlap, and each is counted.
        """
        said, heard = (
            self._count_phrases(reference.split()),
            self._count_phrases(hypothesis.split()),
        )
        return said.total(), heard.total(), (said & heard).total()

    def _count_phrases(self, words: Sequence[str]) -> Counter[tuple[str, ...]]:
        """Count the phrases in a text. Every window of the text is looked up in the list, which may
        be far longer than the text.
        """
        return Counter(
            window
            for length, phrases in self._by_length.items()
            for at in range(len(words) - length + 1)
            if (window := tuple(words[at : at + length])) in phrases
        )

    @cached_property
    def _by_length(self) -> dict[int, frozenset[tuple[str, ...]]]:
        """The phrases by their number of words."""
        lengths = {len(phrase) for phrase in self.phrases}
        return {
            length: frozenset(phrase for phrase in self.phrases if len(phrase) == length)
            for length in lengths
        }
