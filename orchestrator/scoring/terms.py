"""Words that matter: how often listed terms were said, heard, and found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """A list of words and phrases, normalised like the texts they are looked for in."""

    phrases: tuple[tuple[str, ...], ...]
    """Each as its words; different ones."""

    def count(self, reference: str, hypothesis: str) -> tuple[int, int, int]:
        """Occurrences in the reference, in the hypothesis, and in both, of all phrases together.

        Of each phrase the smaller of the two numbers is found: where in the text it stands is the
        business of the WER. Phrases may overlap, and each is counted.
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
