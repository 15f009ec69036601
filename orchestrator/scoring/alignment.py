"""Which word stands for which: the alignment behind the edit counts, and what it says of words and
speakers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

EQUAL, SUBSTITUTION, DELETION, INSERTION = "=SDI"
LENGTHS = (5, 10, 20)
"""Last word of each group of lengths but the longest."""

_EDITS = {"replace": SUBSTITUTION, "delete": DELETION, "insert": INSERTION}


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """A letter for each column of the alignment that `edit_counts` counts: = S D I.

    All but I take the next word of the reference, all but D the next one of the hypothesis.
    """
    columns = []
    for edit in Levenshtein.opcodes(reference, hypothesis):
        length = max(edit.src_end - edit.src_start, edit.dest_end - edit.dest_start)
        columns.append(_EDITS.get(edit.tag, EQUAL) * length)
    return "".join(columns)


@dataclass(frozen=True)
class Utterance:
    """One utterance as it was said and as two models heard it, normalised and in words."""

    speaker: str
    reference: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Changed:
    """A group of words or utterances: how many reference words it has, and the errors of both
    models.
    """

    name: str
    words: int
    before: int
    after: int

    @property
    def change(self) -> int:
        """Below zero where errors went away."""
        return self.after - self.before


@dataclass(frozen=True)
class WordChanges:
    """What became of the words of a set; every part is sorted, the largest change first."""

    words: tuple[Changed, ...]
    """Reference words by how often they were not heard as they are."""
    confusions: tuple[Changed, ...]
    """Pairs `said -> heard`; an empty side is a word that was left out or put in."""
    speakers: tuple[Changed, ...]
    lengths: tuple[Changed, ...]
    """By reference words, shortest first."""


def word_changes(utterances: Iterable[Utterance]) -> WordChanges:
    """Count missed words, confusions, and errors by speaker and by length, before and after."""
    said: Counter[str] = Counter()
    missed: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    confused: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    speakers: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    lengths: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for utterance in utterances:
        said.update(utterance.reference)
        for side, hypothesis in enumerate((utterance.before, utterance.after)):
            errors = list(_word_errors(utterance.reference, hypothesis))
            missed[side].update(word for word, _ in errors if word)
            confused[side].update(f"{word} -> {heard}" for word, heard in errors)
            for group in (
                speakers[utterance.speaker],
                lengths[_length_class(len(utterance.reference))],
            ):
                group[side + 1] += len(errors)
        for group in (
            speakers[utterance.speaker],
            lengths[_length_class(len(utterance.reference))],
        ):
            group[0] += len(utterance.reference)
    pairs = {pair: 0 for side in confused for pair in side}
    return WordChanges(
        words=_sorted_changes(said, *missed),
        confusions=_sorted_changes(pairs, *confused),
        speakers=tuple(sorted(_changed_groups(speakers), key=_by_most_changed)),
        lengths=tuple(
            sorted(_changed_groups(lengths), key=lambda group: int(group.name.split()[0]))
        ),
    )


def _word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterable[tuple[str, str]]:
    """What was said and what was heard in its place; one of both is empty for a deletion or an
    insertion.
    """
    said, heard = iter(reference), iter(hypothesis)
    for letter in align(reference, hypothesis):
        word = "" if letter == INSERTION else next(said)
        other = "" if letter == DELETION else next(heard)
        if letter != EQUAL:
            yield word, other


def _length_class(words: int) -> str:
    first = 0
    for last in LENGTHS:
        if words <= last:
            return f"{first} to {last} words"
        first = last + 1
    return f"{first} words and more"


def _sorted_changes(
    words: Iterable[str], before: Counter[str], after: Counter[str]
) -> tuple[Changed, ...]:
    """Those that were heard wrongly at least once."""
    totals = words if isinstance(words, dict) else dict.fromkeys(words, 0)
    found = (Changed(word, total, before[word], after[word]) for word, total in totals.items())
    return tuple(
        sorted((group for group in found if group.before or group.after), key=_by_most_changed)
    )


def _changed_groups(groups: dict[str, list[int]]) -> Iterable[Changed]:
    return (Changed(name, *counts) for name, counts in groups.items())


def _by_most_changed(group: Changed) -> tuple[int, int, str]:
    return -abs(group.change), -(group.before + group.after), group.name
