"""Word alignment of reference and hypothesis, and how errors changed between two models: by word,
by confusion, by speaker and by length.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

EQUAL, SUBSTITUTION, DELETION, INSERTION = "=SDI"
LENGTHS = (5, 10, 20)
"""Upper bounds, in reference words and inclusive, of the groups of utterances by length; the last
group has none.
"""

_EDITS = {"replace": SUBSTITUTION, "delete": DELETION, "insert": INSERTION}


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Return one letter for each column of the minimal alignment that `edit_counts` counts: `=`
    equal, S substitution, D deletion, I insertion.

    All but I consume the next word of the reference, all but D the next one of the hypothesis.
    """
    columns = []
    for edit in Levenshtein.opcodes(reference, hypothesis):
        length = max(edit.src_end - edit.src_start, edit.dest_end - edit.dest_start)
        columns.append(_EDITS.get(edit.tag, EQUAL) * length)
    return "".join(columns)


@dataclass(frozen=True)
class Utterance:
    """One utterance: its normalised reference and two models' hypotheses, each as words."""

    speaker: str
    reference: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Changed:
    """A word, a confusion, or a group of utterances: its reference words, and the errors of both
    models on it.
    """

    name: str
    words: int
    before: int
    after: int

    @property
    def change(self) -> int:
        """Errors after less errors before; negative where the second model is better."""
        return self.after - self.before


@dataclass(frozen=True)
class WordChanges:
    """How the errors on a set changed between two models. Each part but `lengths` is sorted, the
    largest change in either direction first.
    """

    words: tuple[Changed, ...]
    """Reference words, with how often each was substituted or deleted."""
    confusions: tuple[Changed, ...]
    """Pairs `said -> heard`; an empty right side is a deletion, an empty left side an insertion."""
    speakers: tuple[Changed, ...]
    lengths: tuple[Changed, ...]
    """Groups of utterances by their number of reference words, shortest first."""


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
    """Yield each error as the word that was said and the word that was heard in its place; the
    second is empty for a deletion, the first for an insertion.
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
    """Return the words that either model got wrong at least once, the largest change first."""
    totals = words if isinstance(words, dict) else dict.fromkeys(words, 0)
    found = (Changed(word, total, before[word], after[word]) for word, total in totals.items())
    return tuple(
        sorted((group for group in found if group.before or group.after), key=_by_most_changed)
    )


def _changed_groups(groups: dict[str, list[int]]) -> Iterable[Changed]:
    return (Changed(name, *counts) for name, counts in groups.items())


def _by_most_changed(group: Changed) -> tuple[int, int, str]:
    return -abs(group.change), -(group.before + group.after), group.name
