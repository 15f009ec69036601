"""The words that a trial changed: aligned as jiwer aligns, and text whatever they are."""

from __future__ import annotations

import jiwer
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting import html, markdown
from orchestrator.reporting.document import AlignedUtterances, Document, Table
from orchestrator.reporting.word_changes import ChangedUtterance, _set_blocks, hits
from orchestrator.scoring.alignment import AlignedWord, align

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=8).map(" ".join)


@given(WORDS.filter(bool), WORDS)
def test_as_many_places_are_errors_as_jiwer_counts(reference: str, hypothesis: str) -> None:
    theirs = jiwer.process_words(reference, hypothesis)
    ours = align(reference, hypothesis)
    missed = sum(bool(word.said) and not word.heard for word in ours)
    added = sum(bool(word.heard) and not word.said for word in ours)
    errors = sum(word.is_error for word in ours)
    assert errors == theirs.substitutions + theirs.deletions + theirs.insertions
    # of several minimal alignments another may be taken, but never one that adds or misses more
    assert missed - added == theirs.deletions - theirs.insertions
    assert " ".join(word.said for word in ours if word.said) == reference
    assert " ".join(word.heard for word in ours if word.heard) == hypothesis


def changed(name: str, reference: str, before: str, after: str) -> ChangedUtterance:
    return ChangedUtterance(
        name, "anna", reference, align(reference, before), align(reference, after)
    )


UTTERANCES = [
    changed("u1", "call tango nine", "call tango nine", "call mango"),
    changed("u2", "tango <script>alert(1)</script>", "mango", "tango <script>alert(1)</script>"),
    changed("u3", "tango here", "mango here", "tango here"),
    changed("u4", "the same", "the same", "the same"),
]


def test_the_worst_come_first_and_words_are_counted() -> None:
    blocks = list(_set_blocks("domain", "trial 3", UTTERANCES))
    worse, better = (block for block in blocks if isinstance(block, AlignedUtterances))
    assert [one.title for one in worse.utterances] == ["u1, speaker anna: 0 -> 2 errors"]
    assert [one.title.split(",")[0] for one in better.utterances] == ["u2", "u3"]
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert ("tango", "3", "1", "2", "+1") in table.rows
    assert ("nine", "1", "1", "0", "-1") in table.rows
    assert all(row[0] != "same" for row in table.rows)


def test_errors_are_marked_and_transcripts_stay_text() -> None:
    blocks = tuple(_set_blocks("domain", "trial 3", UTTERANCES))
    page = html.render(Document("Sweep s", "ACCEPT", (), blocks))
    assert "call <del>tango</del><ins>mango</ins> <del>nine</del>" in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "More errors in domain: 1 of 1" in page
    assert "tango" not in markdown.render(Document("Sweep s", "ACCEPT", (), blocks))


def test_a_word_counts_as_heard_where_it_was_said() -> None:
    assert hits([(AlignedWord("a", "a"), AlignedWord("b", "a"), AlignedWord("", "a"))]) == {"a": 1}
