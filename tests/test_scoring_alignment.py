"""Alignments have the errors that are counted, and what is summed from them is what jiwer finds."""

from __future__ import annotations

from collections import Counter

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kruskal

from orchestrator.scoring.alignment import Changed, Utterance, align, word_changes
from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.scoring.importance import importances

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=8)


@given(WORDS.filter(bool), WORDS)
def test_an_alignment_has_the_edits_that_are_counted(said: list[str], heard: list[str]) -> None:
    letters = align(said, heard)
    counts = edit_counts([" ".join(said)], [" ".join(heard)])
    found = tuple((letters.count(letter),) for letter in "SDI")
    assert found == (counts.substitutions, counts.deletions, counts.insertions)
    theirs = jiwer.process_words(" ".join(said), " ".join(heard))
    errors = theirs.substitutions + theirs.deletions + theirs.insertions
    assert len(letters) - letters.count("=") == errors


@given(WORDS, WORDS)
def test_an_alignment_leads_through_both_texts(said: list[str], heard: list[str]) -> None:
    reference, hypothesis = iter(said), iter(heard)
    for letter in align(said, heard):
        word = None if letter == "I" else next(reference)
        other = None if letter == "D" else next(hypothesis)
        assert (word == other) == (letter == "=")
    assert not list(reference) and not list(hypothesis)


def utterance(speaker: str, said: str, before: str, after: str) -> Utterance:
    return Utterance(speaker, tuple(said.split()), tuple(before.split()), tuple(after.split()))


CHANGED = word_changes(
    [
        utterance("anna", "call tango nine", "call tango nine", "call mango"),
        utterance("ben", "tango here now please and then go", "mango here now", "tango here now"),
        utterance("ben", "the same", "the same same", "the same"),
    ]
)


def test_words_confusions_speakers_and_lengths_are_counted() -> None:
    words = {each.name: each for each in CHANGED.words}
    assert words["tango"] == Changed("tango", 2, 1, 1)
    assert words["nine"] == Changed("nine", 1, 0, 1)
    assert words["please"] == Changed("please", 1, 1, 1) and "same" not in words
    pairs = {each.name: (each.before, each.after) for each in CHANGED.confusions}
    assert pairs["tango -> mango"] == (1, 1) and pairs["nine -> "] == (0, 1)
    assert pairs[" -> same"] == (1, 0)
    assert set(CHANGED.speakers) == {Changed("anna", 3, 0, 2), Changed("ben", 9, 6, 4)}
    assert CHANGED.lengths == (
        Changed("0 to 5 words", 5, 1, 2),
        Changed("6 to 10 words", 7, 5, 4),
    )


def test_the_largest_change_comes_first() -> None:
    assert CHANGED.confusions[0].change != 0
    changes = [abs(each.change) for each in CHANGED.confusions]
    assert changes == sorted(changes, reverse=True)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=6))
def test_every_sum_is_the_errors_of_all(columns: list[tuple[list[str], ...]]) -> None:
    rows = [Utterance("x", *map(tuple, each)) for each in columns]
    found = word_changes(rows)
    expected = Counter[str]()
    for side in ("before", "after"):
        for row in rows:
            letters = align(row.reference, getattr(row, side))
            expected[side] += len(letters) - letters.count("=")
    for groups in (found.confusions, found.speakers, found.lengths):
        assert sum(each.before for each in groups) == expected["before"]
        assert sum(each.after for each in groups) == expected["after"]


@pytest.mark.parametrize("seed", range(5))
def test_importance_is_the_effect_size_of_the_kruskal_wallis_test(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 3, 40)
    values = random.integers(0, 9, 40) + 2 * groups  # with ties
    own = [values[groups == group] for group in range(3)]
    statistic = kruskal(*own).statistic
    found = importances([{"rank": int(group)} for group in groups], list(values))
    assert found["rank"] == pytest.approx(max(0.0, (statistic - 3 + 1) / (40 - 3)))


def test_importance_says_nothing_where_nothing_can_be_said() -> None:
    assert importances([{"a": 1}, {"a": 2}, {"a": 1}], [1.0, 2.0, 3.0]) == {}
    assert importances([{"a": 1}] * 8, list(range(8))) == {}
    assert importances([{"a": each % 2} for each in range(8)], [1.0] * 8) == {"a": 0.0}
    assert importances([], []) == {}


def test_many_numbers_are_taken_in_thirds() -> None:
    settings = [{"rate": each, "word": str(each % 2)} for each in range(9)]
    found = importances(settings, [float(each // 3) for each in range(9)])
    assert list(found) == ["rate", "word"] and found["rate"] == pytest.approx(1.0)
