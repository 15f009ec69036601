"""Counts of listed terms: how often they were said, heard, and found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


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
        counts: Counter[tuple[str, ...]] = Counter()
        for length in {len(phrase) for phrase in self.phrases}:
            windows = Counter(
                tuple(words[at : at + length]) for at in range(len(words) - length + 1)
            )
            counts.update(
                {phrase: windows[phrase] for phrase in self.phrases if len(phrase) == length}
            )
        return counts
