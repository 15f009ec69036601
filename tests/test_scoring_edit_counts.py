import random

import jiwer
import pytest

from orchestrator.errors import DataError
from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.scoring.normalizers import normalizer

SPOKEN = (
    ("turn left heading two seven zero", "turn left heading 270"),
    (
        "descend and maintain flight level one eight zero",
        "descend maintain flight level one eight zero zero",
    ),
    (
        "contact tower on one one eight decimal seven",
        "contact our on one one eight decimal seven seven seven",
    ),
    ("good morning", ""),
    ("roger", "roger roger that"),
)


def _sentences(generator: random.Random, least: int) -> list[str]:
    return [
        " ".join(generator.choices("abcdefgh", k=generator.randrange(least, 15))) for _ in range(12)
    ]


def test_errors_and_wer_equal_jiwer_on_random_sentences() -> None:
    generator = random.Random(0)
    for _ in range(200):
        references, hypotheses = _sentences(generator, 1), _sentences(generator, 0)
        counts = edit_counts(references, hypotheses)
        oracle = jiwer.process_words(references, hypotheses)
        assert sum(counts.errors) == oracle.substitutions + oracle.deletions + oracle.insertions
        assert counts.wer == pytest.approx(100 * oracle.wer, rel=1e-15)
        for reference, hypothesis, errors in zip(
            references, hypotheses, counts.errors, strict=True
        ):
            one = jiwer.process_words(reference, hypothesis)
            assert errors == one.substitutions + one.deletions + one.insertions


def test_errors_and_wer_equal_jiwer_on_speech() -> None:
    normalize = normalizer("whisper-en")
    references, hypotheses = (
        [normalize(text) for text in texts] for texts in zip(*SPOKEN, strict=True)
    )
    counts = edit_counts(references, hypotheses)
    assert counts.wer == pytest.approx(100 * jiwer.wer(references, hypotheses), rel=1e-15)
    assert counts.reference_words == tuple(len(reference.split()) for reference in references)


def test_kinds_of_edits_are_told_apart() -> None:
    counts = edit_counts(["a b c", "a b c", "a b c"], ["a x c", "a c", "a b c d e"])
    assert (counts.substitutions, counts.deletions, counts.insertions) == (
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 2),
    )
    assert counts.errors == (1, 1, 2)
    assert counts.wer == pytest.approx(100 * 4 / 9)


def test_corpus_wer_weighs_words_not_utterances() -> None:
    assert edit_counts(["a", "a b c d e f g h i"], ["b", "a b c d e f g h i"]).wer == 10.0


def test_words_heard_in_silence_count_as_insertions() -> None:
    counts = edit_counts(["", "a b"], ["x y z", "a b"])
    assert counts.insertions == (3, 0)
    assert counts.reference_words == (0, 2)
    assert counts.wer == 150.0
    assert counts.wer == 100 * jiwer.wer(["", "a b"], ["x y z", "a b"])


def test_an_empty_set_is_refused_although_jiwer_scores_it_perfect() -> None:
    assert jiwer.wer([], []) == 0
    with pytest.raises(DataError) as refused:
        edit_counts([], [])
    assert str(refused.value) == (
        "The set has no utterances, so it has no WER. Name a manifest with at least one utterance."
    )


def test_references_without_a_word_are_refused() -> None:
    with pytest.raises(DataError) as refused:
        edit_counts(["", " "], ["", "x"])
    assert str(refused.value) == (
        "None of the 2 references holds a word after normalisation, so the set has no WER. "
        "Check the transcripts, or choose another evaluation.normalizer: whisper-en, basic, none."
    )


def test_a_missing_hypothesis_is_refused() -> None:
    with pytest.raises(DataError) as refused:
        edit_counts(["a", "b"], ["a"])
    assert str(refused.value) == (
        "2 references but 1 hypotheses: each utterance needs exactly one of both. Decode the whole set again."
    )
