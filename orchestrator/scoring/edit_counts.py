"""Word and character errors as integers per utterance; every rate is computed from them.

The corpus WER is all errors over all reference words (jiwer's, NIST's). The mean of utterance WERs
is another quantity, in which short clips dominate; it is not computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import DataError


@dataclass(frozen=True)
class EditCounts:
    """The edits of a minimal alignment of each hypothesis to its reference, one entry per
    utterance.
    """

    substitutions: tuple[int, ...]
    deletions: tuple[int, ...]
    insertions: tuple[int, ...]
    reference_words: tuple[int, ...]

    @property
    def errors(self) -> tuple[int, ...]:
        """Word errors per utterance."""
        return tuple(
            map(sum, zip(self.substitutions, self.deletions, self.insertions, strict=True))
        )

    @property
    def wer(self) -> float:
        """Corpus word error rate in percent; above 100 where insertions abound."""
        return error_rate(self.errors, self.reference_words)


def error_rate(errors: Sequence[int], units: Sequence[int]) -> float:
    """Return all errors over all units (words, characters or terms), in percent."""
    return 100 * sum(errors) / sum(units)


def check_with_jiwer(
    references: Sequence[str], hypotheses: Sequence[str], counts: EditCounts
) -> None:
    """Check that jiwer, which people trust, counts as many errors and words; raise RuntimeError
    where it does not.

    Only utterances whose reference has a word are checked: jiwer refuses empty references.
    """
    import jiwer  # a twentieth of a second that only who measures spends

    rows = [row for row, words in enumerate(counts.reference_words) if words]
    texts = [[" ".join(side[row].split()) for row in rows] for side in (references, hypotheses)]
    found = jiwer.process_words(*texts)
    theirs = (
        found.substitutions + found.deletions + found.insertions,
        found.hits + found.substitutions + found.deletions,
    )
    ours = sum(counts.errors[row] for row in rows), sum(counts.reference_words)
    if theirs != ours:
        raise RuntimeError(
            f"jiwer counts {theirs} errors and words where this project counts {ours}; please report it"
        )


def edit_counts(references: Sequence[str], hypotheses: Sequence[str]) -> EditCounts:
    """Count the word edits between normalised texts, split on whitespace.

    The errors of an utterance are its Levenshtein distance, so they and the WER are unique. How
    they divide into substitutions, deletions and insertions is not: alignments of equal cost exist,
    and another scorer may choose another one.

    An empty reference inside a set is legal: each word heard is an insertion. Raises DataError for
    an empty set, for different numbers of texts, and for references without a single word, which
    other scorers call a WER of 0.
    """
    if len(references) != len(hypotheses):
        raise DataError(
            f"{len(references)} references but {len(hypotheses)} hypotheses: each utterance needs exactly one of both. "
            "Decode the whole set again."
        )
    if not references:
        raise DataError(
            "The set has no utterances, so it has no WER. Name a manifest with at least one utterance."
        )
    pairs = [
        (reference.split(), hypothesis.split())
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    if not any(reference for reference, _ in pairs):
        raise DataError(
            f"None of the {len(references)} references holds a word after normalisation, so the set has no WER. "
            "Check the transcripts, or choose another evaluation.normalizer: whisper-en, basic, none."
        )
    substitutions, deletions, insertions = zip(
        *(_edit_distance_counts(*pair) for pair in pairs), strict=True
    )
    return EditCounts(
        substitutions, deletions, insertions, tuple(len(reference) for reference, _ in pairs)
    )


def _edit_distance_counts(reference: list[str], hypothesis: list[str]) -> tuple[int, int, int]:
    # imported here: every command reads measurements, and only who makes them counts edits
    from rapidfuzz.distance import Levenshtein

    tags = [operation.tag for operation in Levenshtein.editops(reference, hypothesis)]
    return tags.count("replace"), tags.count("delete"), tags.count("insert")


def character_counts(
    references: Sequence[str], hypotheses: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Count the character errors and the characters of each reference, spaces included. jiwer's CER
    is the sum of the former over the sum of the latter.
    """
    from rapidfuzz.distance import Levenshtein

    errors = tuple(Levenshtein.distance(*pair) for pair in zip(references, hypotheses, strict=True))
    return errors, tuple(map(len, references))
