"""Words in scripts whose vowels are marks: two texts that differ in these alone say different
things.
"""

from __future__ import annotations

import pytest

from orchestrator.corpus.manifests.plain_words import plain_words
from orchestrator.corpus.manifests.words_beside import words_beside
from orchestrator.corpus.sets.overlap import sentence_key


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("मेरी बेटी", "मेरा बेटा"),
        ("वह जाता है", "वह जाती है"),
        ("กิน", "กัน"),
        ("மழை", "மாழு"),
        ("שָׁלוֹם", "שלום"),
        ("ɛ̃", "ɛ̀"),
    ],
)
def test_a_vowel_sign_tells_two_sentences_apart(text: str, other: str) -> None:
    assert sentence_key(text) != sentence_key(other)
    assert list(words_beside(text, {"transcription": other})) == [("transcription", other)]


@pytest.mark.parametrize(
    "other",
    ["Don’t stop, it’s 5!", "don\u02bct stop it\uff07s 5", "don\u2018t st\u00adop\u200b it's 5"],
)
def test_apostrophes_are_one_and_what_has_no_width_is_none(other: str) -> None:
    assert sentence_key(other) == sentence_key("don't stop it's 5") == "don't stop it's 5"
    assert sentence_key("می\u200cروم") == sentence_key("می روم")


def test_words_are_whole_and_without_signs() -> None:
    assert plain_words("वह, जाती है। — ❤️ 'İstanbul' d’Été's snake_case") == [
        *("वह", "जाती", "है", "istanbul", "d'été's", "snake", "case")
    ]


def test_the_same_words_beside_a_text_are_not_told() -> None:
    assert list(words_beside("वह jati है", {"transcription": "वह JATI है!"})) == []
    assert list(words_beside("café it's", {"sentence": "cafe\u0301, it’s"})) == []
